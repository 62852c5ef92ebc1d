"""What several of these test files need."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def nobody():
    """A folder, and the rights of a user who owns nothing else; root itself may write anywhere."""
    folder = Path(tempfile.mkdtemp())
    me = os.geteuid()
    if not me:
        for place in folder.parents:  # that user, who is still of our group, must get there
            if place.stat().st_mode & 0o011 != 0o011:
                place.chmod(place.stat().st_mode & 0o7777 | 0o011)
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)
    shutil.rmtree(folder)
