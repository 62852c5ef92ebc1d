"""What several of these test files need."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import farmhand.farm
import farmhand.local.supervise  # noqa: F401 - that user may have no right to read these later


@pytest.fixture
def nobody():
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
