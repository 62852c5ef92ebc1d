"""The folder listing is the architecture: who may import whom, and what stays light.

The rooms are those of the design's third section. A module imports only what is above it in
``LAYERS``: earlier lines, or earlier on its own line. So there are no circles, and each module can
be read with nothing but what was read before it.
"""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import farmhand
from farmhand import errors
from waiting import DEADLINE

SOURCE = Path(farmhand.__file__).parent
REPOSITORY = Path(__file__).parents[2]

LAYERS = [
    ["errors", "values", "stdlib"],
    [
        "events",
        "imports",
        "simulators",
        "codec",
        "progress",
        "bars",
        "durations",
        "courses",
        "spread",
        "trends",
        "eta",
        "timeleft",
        "wording",
        "chunking",
        "spans",
        "cgroups",
        "cpus",
        "resources",
        "entrypoints",
        "owner",
        "locks",
        "scratch",
        "quantities",
        "seeds",
        "origins",
        "cython_cache",
    ],
    ["report", "task", "scheduler", "shipping", "kept", "spool", "plain", "messages", "remote"],
    ["files", "shelf", "replay", "sweeps", "tables", "dataframes", "datasets", "exports", "notebook"],
    ["store", "feed", "executor"],
    ["hookspecs", "memory", "text"],
    [
        "local",
        "local.frames",
        "local.page",
        "local.output",
        "local.launch",
        "local.worker",
        "local.supervise",
        "companion",
    ],
    ["builtin"],
    ["control", "merge", "plugins", "arguments", "outlook", "monitor", "resume", "interrupts", "provenance"],
    ["farm"],
    [""],  # farmhand itself, which only re-exports
    ["rerun"],
    [
        "cli.terminal",
        "cli.stores",
        "cli.reading",
        "cli.writing",
        "cli.rerunning",
        "cli.steering",
        "cli",
        "__main__",
    ],
]
ORDER = [module for layer in LAYERS for module in layer]

# Imports that point upwards all the same, each with its reason. There are none: what is made on
# demand (`builtin`) is above what it makes, and what only a type checker reads points downwards too.
UPWARD: dict[tuple[str, str], str] = {}


def name_of(path: Path) -> str:
    """'local.worker' for farmhand/local/worker.py; '' for farmhand itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PATHS = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
TESTING = {name for name in PATHS if name.split(".")[0] == "testing"}
PRODUCT = sorted(PATHS.keys() - TESTING)


def imports_of(path: Path) -> Iterator[tuple[str, str | None]]:
    """Every import in a file, wherever it stands: (module, name in it or None)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


def rooms_imported_by(path: Path) -> set[str]:
    """The modules of farmhand that a file imports, by their short names."""
    rooms = set()
    for module, name in imports_of(path):
        if module.split(".")[0] == "farmhand":
            full = f"{module}.{name}" if name and f"{module}.{name}".partition(".")[2] in PATHS else module
            rooms.add(full.partition(".")[2])
    return rooms


def top_level_imports(path: Path) -> set[str]:
    """The packages that importing a file imports at once, functions left aside."""
    names: set[str] = set()
    todo = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return names


# what takes as long to import as a good part of Python's start
HEAVY = {
    *(
        "asyncio",
        "dill",
        "logging",
        "matplotlib",
        "numpy",
        "pandas",
        "pluggy",
        "sqlite3",
        "subprocess",
        "tkinter",
    ),
    *("ast", "dataclasses", "email", "hashlib", "importlib.metadata", "inspect", "pickle", "re", "typing"),
}


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE
    ).stdout.strip()


# -- who imports whom ------------------------------------------------------------------------------


def test_every_module_has_its_room():
    """A new module is given a place in the house, here and in the design."""
    assert set(PRODUCT) == set(ORDER)


@pytest.mark.parametrize("module", PRODUCT, ids=lambda name: name or "farmhand")
def test_imports_point_downwards(module):
    """Also those inside functions and those that only a type checker reads."""
    above = set(ORDER[ORDER.index(module) :]) | TESTING
    found = {(module, room) for room in rooms_imported_by(PATHS[module]) & above}
    assert found <= UPWARD.keys()


@pytest.mark.parametrize("module", ["scheduler", "chunking"])
def test_decisions_are_pure(module):
    """No clock, no chance, no system, nobody to tell: any history can be replayed exactly."""
    seen, todo = set(), [module]
    while todo:
        room = todo.pop()
        seen.add(room)
        packages = {each.split(".")[0] for each, _ in imports_of(PATHS[room])}
        forbidden = {
            "time",
            "datetime",
            "os",
            "random",
            "secrets",
            "logging",
            "pluggy",
            "threading",
            "socket",
        }
        assert not packages & forbidden, room
        todo += rooms_imported_by(PATHS[room]) - seen


def test_a_worker_imports_little():
    """A process starts in tens of milliseconds, since it knows only what it needs."""
    shared = {"local", "local.frames", "local.output", "local.page"}
    allowed = {
        "task",
        "report",
        "codec",
        "errors",
        "values",
        "stdlib",
        "seeds",
        "shipping",
        "simulators",
        "spool",
        "cython_cache",
        "imports",
    } | shared
    assert rooms_imported_by(PATHS["local.worker"]) <= allowed
    loaded = run(
        "import sys; before = {*sys.modules}; import farmhand.local.worker\n"
        "print(*(name[9:] for name in sys.modules if name.startswith('farmhand.')))\n"
        f"print(*sorted({HEAVY} & sys.modules.keys() - before))"
    ).split("\n")
    assert set(loaded[0].split()) <= allowed | {"local.worker"}
    assert loaded[1:] in ([], [""]), "heavy modules in every process"


@pytest.mark.parametrize("module", ["farmhand", "farmhand.farm"])
def test_importing_farmhand_is_light(module):
    """Neither numpy nor a window nor dill before somebody needs them, nor what of Python itself is slow."""
    loaded = run(
        f"import sys; before = {{*sys.modules}}; import {module}\n"
        f"print(*sorted({HEAVY} & sys.modules.keys() - before))"
    )
    assert loaded == ""


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_running_a_plain_function_is_light(start_method):
    """On both sides; what the function itself needs is its own affair."""
    code = f"""
import sys

heavy = {HEAVY} - {{"subprocess", *sys.modules}}

def loaded(k):
    return sorted(heavy & sys.modules.keys())

if __name__ == "__main__":
    from farmhand import open_store, run_tasks
    store = open_store(":memory:")
    run_tasks(store, loaded, [1], gui=False, progress="none", start_method={start_method!r})
    allowed = ["re"] if {start_method!r} == "spawn" else []  # subprocess wants it
    print(store.values(), [name for name in loaded(0) if name not in allowed])
"""
    assert run(code) == "[[]] []"


def test_reading_a_store_starts_no_farm():
    """A script that only looks at results imports neither the loop nor the processes."""
    loaded = run(
        "import sys; from farmhand import open_store; open_store(':memory:').values()\n"
        "print(*(name for name in sys.modules if name.startswith('farmhand.')))"
    ).split()
    assert not {"farmhand.farm", "farmhand.scheduler", "farmhand.local"} & set(loaded)


def test_core_needs_pluggy_and_dill_and_nothing_else():
    """numpy and pandas are used where a user has them: inside a function, never before."""
    at_once = set().union(*(top_level_imports(PATHS[module]) for module in PRODUCT))
    ever = {each.split(".")[0] for module in PRODUCT for each, _ in imports_of(PATHS[module])}
    own = {"farmhand", *sys.stdlib_module_names}
    assert at_once - own <= {"pluggy"}
    assert ever - own <= {"pluggy", "dill", "numpy", "pandas", "pyarrow"}


def test_the_distribution_says_what_it_needs():
    """What the code imports and what pip installs are the same."""
    path = REPOSITORY / "packages" / "core" / "pyproject.toml"
    if not path.exists():
        pytest.skip("needs the repository")
    needs = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    assert sorted(need.partition(">=")[0] for need in needs) == ["dill", "pluggy"]


PLUGINS = sorted(REPOSITORY.glob("packages/*/src/*/**/*.py"))
PLUGINS = [path for path in PLUGINS if path.relative_to(REPOSITORY).parts[1] != "core"]
DISTRIBUTIONS = {
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]: path.parent
    for path in REPOSITORY.glob("packages/*/pyproject.toml")
}


def import_names(distribution: Path) -> set[str]:
    """The packages that the distribution in a folder brings."""
    return {path.parent.name for path in distribution.glob("src/*/__init__.py")}


def may_use(distribution: Path) -> set[str]:
    """What a plugin may import of ours: itself, and what it says that pip must install beside it."""
    about = tomllib.loads((distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = {need.partition(">=")[0] for need in about["dependencies"]} & DISTRIBUTIONS.keys()
    return import_names(distribution).union(*(import_names(DISTRIBUTIONS[name]) for name in needs))


def plugin_name(path: Path) -> str:
    """'brian.tools.taskfarm' for packages/compat-brian/src/brian/tools/taskfarm.py."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts[3:])


@pytest.mark.parametrize("path", PLUGINS, ids=plugin_name)
def test_a_plugin_imports_public_names_alone_and_no_other_plugin(path):
    """What is in a module's ``__all__`` is what others may rely on; a dependency that is declared, too."""
    distribution = REPOSITORY.joinpath(*path.relative_to(REPOSITORY).parts[:2])
    own, usable = import_names(distribution), may_use(distribution)
    ours = set().union(*map(import_names, DISTRIBUTIONS.values()))
    for module, name in imports_of(path):
        package = module.split(".")[0]
        assert package in usable or package not in ours, f"{module}: another plugin"
        if package in usable - own and name is not None:
            home = importlib.import_module(module)
            is_module = f"{module}.{name}".partition(".")[2] in PATHS and package == "farmhand"
            assert is_module or name in home.__all__, f"{module}.{name} is not public"


# -- public names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", PRODUCT, ids=lambda name: name or "farmhand")
def test_all_names_what_is_there(module):
    """Every module says what others may use of it."""
    home = importlib.import_module(f"farmhand.{module}".rstrip("."))
    if module == "local":
        return  # a folder
    assert home.__all__, "says nothing"
    assert sorted(set(home.__all__)) == sorted(home.__all__), "says something twice"
    for name in home.__all__:
        assert getattr(home, name) is not None


def test_farmhand_offers_each_public_name_and_nothing_else():
    """``from farmhand import *`` and completion in a session show the same."""
    assert set(farmhand.__all__) <= set(dir(farmhand))
    with pytest.raises(AttributeError, match="has no attribute 'run_task'"):
        farmhand.run_task  # noqa: B018
    namespace: dict[str, object] = {}
    exec("from farmhand import *", namespace)
    assert set(farmhand.__all__) == namespace.keys() - {"__builtins__"}
    assert {"open_store", "run_tasks", "call", "hookimpl", "DataManager"} <= set(farmhand.__all__)


def test_every_error_is_offered():
    """Whoever catches one finds it in ``farmhand``."""
    assert set(errors.__all__) <= set(farmhand.__all__)
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)} - {
        "Mapping",
        "Sequence",
    }
    assert classes == set(errors.__all__)


# -- errors ----------------------------------------------------------------------------------------

EXAMPLES = {
    "FarmhandError": ("text",),
    "UsageError": ("text",),
    "UnknownName": ("store", ".xyz", [".db"], "Install it"),
    "PluginError": ("text",),
    "TaskNotPicklable": ("the global 'x'", "TypeError: no"),
    "SetupError": (3, "ValueError: text", "Traceback ..."),
    "ProcessesKeepDying": (4, "signal 9 (SIGKILL)"),
    "StoppedEarly": (1.2, 3.5),
    "TasksFailed": (2, 5, ["item 1: ValueError: text"]),
    "StoreError": ("results.db", "it is read-only", "Choose another"),
}


def test_every_error_has_an_example_here():
    """A new one is pickled below, too."""
    assert EXAMPLES.keys() == set(errors.__all__)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_crosses_a_process_boundary(name, protocol):
    """Class, arguments and text are the same on the other side; a TasksFailed keeps its summary."""
    error = getattr(errors, name)(*EXAMPLES[name])
    error.summary = {"done": 3}
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert str(copy) == str(error)
    assert copy.summary == {"done": 3}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_error_says_what_it_was_given(name):
    """Nothing of its arguments is lost in its text, which is no bare tuple."""
    error = getattr(errors, name)(*EXAMPLES[name])
    for argument in EXAMPLES[name]:
        for part in argument if isinstance(argument, list) else [argument]:
            assert str(part) in str(error)
    assert not str(error).startswith("(")
    assert isinstance(error, errors.FarmhandError)


def test_errors_are_what_python_programmers_expect():
    """A wrong argument is a ValueError, what cannot be pickled a TypeError."""
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.UnknownName, errors.UsageError)
    assert issubclass(errors.TaskNotPicklable, TypeError)
