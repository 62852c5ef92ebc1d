"""What several test files of core need."""

from __future__ import annotations

import sys
import textwrap
from types import ModuleType

import pytest

from farmhand import open_store, owner
from farmhand.cli import main
from farmhand.testing.stores import a_run


@pytest.fixture
def brian2() -> ModuleType:
    """Brian 2, where it is installed."""
    return pytest.importorskip("brian2")


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


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """``plugins(name=source, ...)`` installs plugins for this test, as pip would have."""

    def install(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[farmhand]\n{name} = {name}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)
