"""C libraries that are compiled in a test and loaded before all others into a Python process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def build(source: str, folder: Path) -> dict[str, str]:
    """Compile the file ``source`` beside this one; returns the environment that loads it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux loads a library before others in this way")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = folder / f"{source}.so"
    path = Path(__file__).with_name(source)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, path, "-ldl"]
    subprocess.run(command, check=True)
    helpers = str(Path(__file__).parents[1])  # for a test file that runs as a program
    return os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": helpers}
