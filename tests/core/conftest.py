"""What several test files of core need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import ModuleType

import pytest

from farmhand import open_store, owner
from farmhand.cli import main
from farmhand.testing.stores import a_run


@pytest.fixture
def brian2() -> Iterator[ModuleType]:
    """Brian 2, where it is installed. What its import does to Ctrl-C is undone for the tests that follow."""
    before = signal.getsignal(signal.SIGINT)
    yield pytest.importorskip("brian2")
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def farmhand(capsys):
    """Types a command; gives its exit status, and what it printed on both streams."""

    def type_it(*words):
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback (most recent" not in printed.err
        return status, printed.out, printed.err

    return type_it


@pytest.fixture
def a_store(path):
    """Writes one run by hand; ``outcome=''`` leaves it without an end."""

    def write(*turns, outcome="finished", **about):
        with open_store(path) as store:
            session = store.begin(a_run(**{"owner": owner.here(), **about}))
            for turn in turns:
                session.record(turn)
            session.close(outcome, 2000.0 if outcome else None)
        return path

    return write
