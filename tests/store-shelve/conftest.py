"""What several of these test files need."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

PRELUDE = """
import os, signal, sys
from farmhand import owner
from farmhand.errors import StoreError
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done, failed
from farmhand_shelve import ShelveStore
def say(what): print(what, flush=True)
def hear(): return sys.stdin.readline()
location = sys.argv[1]
"""


@pytest.fixture
def location(tmp_path):
    return tmp_path / "rates.data"


@pytest.fixture
def prelude():
    """What the code of another process begins with."""
    return PRELUDE


@pytest.fixture
def nobody():
    """A folder, and the rights of a user who owns nothing else; root itself may write anywhere."""
    from farmhand import run_tasks
    from farmhand_shelve import ShelveStore

    folder = Path(tempfile.mkdtemp())
    with ShelveStore(folder / "first.data") as store:  # imports what the other user may have no right to read
        run_tasks(store, abs, [-1], gui=False, progress="none", poolsize=1)
        store.session("s")["k"] = list(store.check())
    shutil.rmtree(folder / "first.data")
    me = os.geteuid()
    if not me:
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)
