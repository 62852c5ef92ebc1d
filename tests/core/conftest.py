"""What several test files of core need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture
def brian2() -> Iterator[ModuleType]:
    """Brian 2, where it is installed. What its import does to Ctrl-C is undone for the tests that follow."""
    before = signal.getsignal(signal.SIGINT)
    yield pytest.importorskip("brian2")
    signal.signal(signal.SIGINT, before)
