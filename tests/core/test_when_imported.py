"""Something is done when a module has been imported, and only then."""

import importlib
import sys

import pytest

from farmhand.imports import WhenImported


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that can be imported, and has not been."""
    (tmp_path / "waited_for.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield "waited_for"
    sys.modules.pop("waited_for", None)
    assert sys.meta_path == before, "nobody waits any more"


def test_it_happens_once_when_the_module_is_whole(module):
    """Whoever waits sees what the module has; nothing was imported for it."""
    seen = []
    WhenImported(module, lambda module: seen.append(module.value))
    assert module not in sys.modules
    importlib.import_module(module)
    importlib.import_module(module)
    assert seen == [1]


def test_several_may_wait_for_one_module(module):
    """Each of them is told."""
    seen = []
    for waiting in ("one", "other"):
        WhenImported(module, lambda module, waiting=waiting: seen.append(waiting))
    importlib.import_module(module)
    assert sorted(seen) == ["one", "other"]


def test_who_has_cancelled_is_not_told(module):
    """It may be cancelled twice."""
    seen = []
    waiting = WhenImported(module, seen.append)
    waiting.cancel()
    waiting.cancel()
    importlib.import_module(module)
    assert seen == []


def test_a_module_that_is_not_there_stays_an_import_error(module):
    """As if nobody had waited."""
    WhenImported("no_such_module_anywhere", print)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_anywhere")


def test_a_module_that_raises_is_not_told_of(module, tmp_path):
    """It was not imported."""
    (tmp_path / "waited_for.py").write_text("raise ValueError('broken')\n")
    seen = []
    WhenImported(module, seen.append)
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module(module)
    assert seen == []
