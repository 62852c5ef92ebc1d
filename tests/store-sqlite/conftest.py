"""What several of these test files need."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from farmhand import open_store, run_tasks


@pytest.fixture(scope="session")
def everything_is_imported(tmp_path_factory):
    """What a run imports on demand: another user may have no right to read it later."""
    with open_store(tmp_path_factory.mktemp("first") / "first.db") as store:
        run_tasks(store, abs, [-1], gui=False, poolsize=1)
        assert store.values() == [1]


@pytest.fixture
def nobody(everything_is_imported):
    """A folder, and the rights of a user who owns nothing else; root itself may write anywhere."""
    folder = Path(tempfile.mkdtemp())
    me = os.geteuid()
    if not me:
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)
    shutil.rmtree(folder)
