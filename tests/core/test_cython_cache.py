"""How a process builds modules for Brian 2, with something in place of Brian's builder.

That Brian's own is guarded, and what for, is shown in tests/compat-brian, where a compiler may run.
"""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from farmhand import MemoryStore, run_tasks

MANAGER = """
import importlib.util, os, sys

prefs = {"codegen.runtime.cython.multiprocess_safe": True}


class CythonExtensionManager:
    def create_extension(self, cache, name, code):
        path = os.path.join(cache, name + ".py")
        return self._load_module(path, module_name=name, lib_dir=cache, code=code)

    def _load_module(self, module_path, module_name, lib_dir, code):
        sys.path.insert(0, lib_dir)
        if not os.path.isfile(module_path):
            if code == "refused":
                return None
            with open(os.path.join(lib_dir, "helper.pyd"), "w"):
                pass
            with open(module_path, "w") as file:
                file.write(code)
        spec = importlib.util.spec_from_file_location(module_name, module_path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.path.pop(0)
        return module
"""


@pytest.fixture
def in_a_process(tmp_path, monkeypatch):
    """Runs a function with a cache in a process of a farm that finds a Brian with this builder."""
    folder = tmp_path / "site" / "brian2" / "codegen" / "runtime" / "cython_rt"
    folder.mkdir(parents=True)
    for package in (folder, *folder.parents[:3]):
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # what is built here stands for what has no such thing
    cache = tmp_path / "cache"
    cache.mkdir()

    def run(function, manager=MANAGER, **options):
        (folder / "extension_manager.py").write_text(textwrap.dedent(manager))
        store = MemoryStore()
        run_tasks(store, function, [str(cache)], gui=False, progress="none", **options)
        return store.values()[0], sorted(entry.name for entry in cache.iterdir())

    for name in [name for name in sys.modules if name.split(".")[0] == "brian2"]:
        monkeypatch.delitem(sys.modules, name)
    return run


def build(cache, code="from sys import path; value = list(path)"):
    import sys

    from brian2.codegen.runtime.cython_rt.extension_manager import CythonExtensionManager

    before = list(sys.path)
    module = CythonExtensionManager().create_extension(cache, "module", code)
    return module and (module.__file__, module.value, sys.path == before, len(before))


def test_a_module_is_built_aside_and_moved_with_what_belongs_to_it(in_a_process):
    """What is in the cache is whole, and a module says that it is from there."""
    (file, path, restored, _), contents = in_a_process(build)

    assert contents == ["helper.pyd", "module.py"]
    assert os.path.basename(path[0]) == "module.building"
    assert os.path.dirname(file) == os.path.dirname(path[0])
    assert restored


def test_a_module_that_cannot_be_loaded_is_built_anew(in_a_process, tmp_path):
    """Only an ImportError says so, and the way to other modules is as before."""
    (tmp_path / "cache" / "module.py").write_text("raise ImportError('file too short')")

    (_, path, restored, length), contents = in_a_process(build)

    assert contents == ["helper.pyd", "module.py"]
    assert (len(path), restored) == (length + 1, True)


def test_a_folder_of_a_process_that_was_killed_is_taken_over(in_a_process, tmp_path):
    """Nothing of it gets into the cache."""
    left = tmp_path / "cache" / "module.building"
    left.mkdir()
    (left / "module.py").write_text("half of")

    _, contents = in_a_process(build)

    assert contents == ["helper.pyd", "module.py"]


def test_without_a_lock_two_processes_build_in_folders_of_their_own(in_a_process, tmp_path):
    """Brian can be told to lock nothing: then a folder may be somebody's who is at work."""
    (tmp_path / "cache" / "module.building").mkdir()

    (_, path, _, _), contents = in_a_process(
        build, MANAGER.replace('multiprocess_safe": True', 'multiprocess_safe": False')
    )

    assert contents == ["helper.pyd", "module.building", "module.py"]
    folder = os.path.basename(path[0])
    assert folder.startswith("module.")
    assert folder.endswith(".building")
    assert folder != "module.building"


def test_compilers_put_temporary_files_where_the_farm_removes_them(in_a_process, monkeypatch):
    """Those of a compiler that is killed would stay. To all others it is as if nothing had been changed."""
    monkeypatch.delenv("TMPDIR", raising=False)

    def temporary(cache):
        import os
        import tempfile

        from farmhand import scratch_directory

        _, value, _, _ = build(cache, "from os import environ; value = environ['TMPDIR']")
        scratch = str(scratch_directory())
        return value == scratch, os.environ.get("TMPDIR"), tempfile.gettempdir() == scratch

    assert in_a_process(temporary)[0] == (True, None, False)


def test_what_the_compiler_refuses_leaves_nothing(in_a_process):
    """Brian has its own way to say so."""

    def refused(cache):
        return build(cache, "refused")

    assert in_a_process(refused) == (None, [])


def test_a_brian_that_works_in_another_way_is_left_alone(in_a_process):
    """Better than to break it: what is relied on is private."""
    (_, path, _, _), contents = in_a_process(build, MANAGER.replace("lib_dir", "folder"))

    assert contents == ["helper.pyd", "module.py"]
    assert os.path.basename(path[0]) == "cache"
