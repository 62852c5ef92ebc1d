"""Plugins are found as ``importlib.metadata`` finds them, however they were installed."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import zipfile

import pytest

from farmhand.entrypoints import entry_points, load

POINTS = """
[console_scripts]
mine = no:thing

[test-group]
# a comment
 one=package.module
two = os : path.join [extra]
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A ``sys.path`` of nothing but a folder of the test's own."""
    importlib.metadata.version("pytest")  # so that the library has imported what it needs, from elsewhere
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def install(info, text=POINTS):
    info.mkdir(parents=True)
    for name in ("METADATA", "PKG-INFO"):
        (info / name).write_text("Name: " + info.name.partition("-")[0])
    (info / "entry_points.txt").write_text(text)


def check(expected, group="test-group"):
    library = [(point.name, point.value) for point in importlib.metadata.entry_points(group=group)]
    assert sorted(entry_points(group)) == sorted(library) == sorted(expected)


BOTH = [("one", "package.module"), ("two", "os : path.join [extra]")]


def test_any_python_finds_what_the_library_finds():
    """With whatever is installed where the tests run."""
    for group in ("console_scripts", "pytest11", "farmhand", "no such group"):
        check([(point.name, point.value) for point in importlib.metadata.entry_points(group=group)], group)


def test_nothing_is_found_where_nothing_is(path, monkeypatch):
    """Folders that do not exist, and distributions without entry points, are no matter."""
    (path / "plain-1.0.dist-info").mkdir()
    (path / "old-1.0.egg-info").write_text("Metadata-Version: 1.0\n")
    monkeypatch.setattr(sys, "path", [str(path), str(path / "nowhere"), "__editable__.x.__path_hook__"])
    check([])


@pytest.mark.parametrize("name", ["mine-1.0.dist-info", "Mine.egg-info", "mine-1.0.egg/EGG-INFO"])
def test_each_kind_of_installation_is_found(path, monkeypatch, name):
    """pip's, a checkout of long ago, and a folder that is the distribution itself."""
    install(path / name)
    monkeypatch.setattr(sys, "path", [os.path.dirname(path / name)])
    check(BOTH)


def test_of_one_distribution_the_first_on_the_path_counts(path, monkeypatch):
    """As with modules; an old copy behind it is not asked."""
    install(path / "new" / "my_own.thing-2.0.dist-info", "[test-group]\nnew = new\n")
    install(path / "old" / "My_own_thing-1.0.dist-info", "[test-group]\nold = old\n")
    monkeypatch.setattr(sys, "path", [str(path / "new"), str(path / "old")])
    check([("new", "new")])


def test_the_current_folder_is_looked_at(path, monkeypatch):
    """It is on the path of an interactive session."""
    install(path / "mine-1.0.dist-info")
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", [""])
    check(BOTH)


def test_an_archive_is_looked_into(path, monkeypatch):
    """A program may be one zip file with all it needs."""
    install(path / "other-1.0.dist-info", "[test-group]\nthree = three\n")
    archive = path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("mine-1.0.dist-info/entry_points.txt", POINTS)
        file.writestr("mine-1.0.dist-info/METADATA", "Name: mine")
    monkeypatch.setattr(sys, "path", [str(path), str(archive)])
    check([*BOTH, ("three", "three")])


def test_a_finder_of_somebody_else_is_asked(path, monkeypatch):
    """It may know distributions that are in no folder."""

    class Theirs(importlib.metadata.Distribution):
        def read_text(self, filename):
            return {"entry_points.txt": POINTS, "METADATA": "Name: theirs\n"}.get(filename)

        def locate_file(self, path):
            raise NotImplementedError

    class Finder:
        def find_distributions(self, context=None):
            return [Theirs()]

        def find_spec(self, name, path=None, target=None):
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    check(BOTH)


def test_a_value_names_a_module_or_what_is_in_it():
    """As the standard of entry points says."""
    assert load("os.path") is os.path
    assert load("os : path.join [extra]") is os.path.join
    assert load("os:path") is os.path
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module")
    with pytest.raises(AttributeError):
        load("os:no_such_thing")
