"""A package that is called ``brian`` never passes for the simulator, and makes way for one."""

import doctest
import inspect
import pickle
import pydoc
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import farmhand_brian
from waiting import DEADLINE

OURS = Path(farmhand_brian.__file__).parents[1]


def run(code, folder, *options):
    """A fresh interpreter that runs ``code`` in ``folder``."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def printed(code, folder, *options):
    """What it prints; it may not fail, nor say anything on stderr."""
    ran = run(code, folder, *options)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


# -- what it says ----------------------------------------------------------------------------------


def test_import_brian_says_what_it_is_in_one_sentence_at_the_line_that_imports_it(tmp_path):
    """Whoever types it expects the simulator."""
    (tmp_path / "script.py").write_text("import sys\nimport brian\n")
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE
    )
    assert ran.returncode == 0
    assert ran.stderr.count("not the simulator") == 1
    assert "script.py:2: UserWarning: this package `brian` is not the simulator" in ran.stderr
    assert "pip install brian2" in ran.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "from brian.tools.taskfarm import run_tasks",
        "from brian.tools.datamanager import *",
        "import brian.tools.taskfarm",
        "from brian.tools import taskfarm, datamanager",
    ],
)
def test_nothing_is_said_to_who_wants_the_task_farm(statement, tmp_path):
    """They have what they came for; also where warnings are errors."""
    assert printed(statement, tmp_path, "-W", "error") == []


def test_processes_say_nothing(tmp_path):
    """A task that refers to the module has it imported in each process, once in the script is enough."""
    code = """
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import brian
        from brian.tools.datamanager import DataManager
        from brian.tools.taskfarm import run_tasks

        def name(k):
            return brian.__name__

        store = DataManager("names")
        run_tasks(store, name, range(3), gui=False, poolsize=2)
        print("results", *store.values(), *(store.output(record.key) for record in store.records()))
    """
    assert printed(code, tmp_path)[-4:] == ["results", "brian", "brian", "brian"]


# -- what it refuses -------------------------------------------------------------------------------

REFUSED = {
    "from brian import *": "brian.NeuronGroup",
    "from brian import NeuronGroup": "brian.NeuronGroup",
    "from brian import ms, run": "brian.ms",
    "import brian.hears": "brian.hears",
    "import brian.library.IF": "brian.library",
    "from brian.library.IF import *": "brian.library",
    "from brian.tools import *": "brian.tools.statistics",
    "from brian.tools import tabulate": "brian.tools.tabulate",
    "from brian.tools.parameters import Parameters": "brian.tools.parameters",
    "from brian.utils.progressreporting import ProgressReporter": "brian.utils",
}


@pytest.mark.parametrize("statement", REFUSED)
@pytest.mark.filterwarnings("ignore:this package `brian` is not the simulator")
def test_an_import_of_the_simulator_fails_and_points_to_brian_2(statement):
    """By an ImportError, so that `try: from brian import ... except ImportError:` goes on as ever."""
    with pytest.raises(ImportError, match=r"from brian2 import \*") as caught:
        exec(statement, {})
    message = str(caught.value)
    assert message.startswith(f"there is no {REFUSED[statement]}: ")
    assert "not the simulator" in message
    assert "pip install brian2" in message


@pytest.fixture
def brian():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwds: None)
        import brian
    return brian


def test_an_attribute_of_the_simulator_is_an_attribute_error(brian):
    """As Python's own, or whatever looks around in modules breaks."""
    with pytest.raises(AttributeError, match=r"there is no brian.NeuronGroup: .*from brian2 import \*"):
        brian.NeuronGroup  # noqa: B018
    assert not hasattr(brian, "NeuronGroup")
    assert getattr(brian, "ms", None) is None


def test_what_looks_around_in_modules_is_not_broken(brian):
    """Help, doctest, inspect and pickle find a package like any other."""
    from brian.tools.datamanager import DataManager
    from brian.tools.taskfarm import run_tasks

    assert hasattr(brian, "__path__")
    assert inspect.getmodule(run_tasks).__name__ == "brian.tools.taskfarm"
    assert dict(inspect.getmembers(brian))["__name__"] == "brian"
    assert "Not the simulator" in pydoc.plain(pydoc.render_doc(brian))
    assert doctest.DocTestFinder().find(brian)
    assert pickle.loads(pickle.dumps((run_tasks, DataManager))) == (run_tasks, DataManager)


def test_a_value_of_a_class_of_brian_1_says_why_it_cannot_be_read(brian):
    """A store of that time may hold quantities of Brian 1."""
    with pytest.raises(ImportError, match=r"there is no brian\.fundamentalunits"):
        pickle.loads(b"cbrian.fundamentalunits\nQuantity\n.")


def test_what_no_brian_ever_had_is_missing_as_anything_else(brian):
    """`python -m brian` looks for __main__, and has an answer of Python's own."""
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'brian.__main__'$"):
        exec("import brian.__main__")


def test_star_imports_bring_the_names_of_brian_1():
    """And nothing else, which might hide a name of the script."""
    names = {}
    exec("from brian.tools.taskfarm import *\nfrom brian.tools.datamanager import *", names)
    assert names.keys() - {"__builtins__"} == {"run_tasks", "DataManager"}


# -- when it makes way -----------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    """A folder with another brian, which has more modules, and a task farm of its own."""
    files = {
        "brian/__init__.py": "from brian.groups import NeuronGroup\nms = 0.001\n__version__ = '1.5'\n",
        "brian/groups.py": "class NeuronGroup: pass\n",
        "brian/_stand_in.py": "value = 'of the real one'\n",
        "brian/tools/__init__.py": "",
        "brian/tools/taskfarm.py": "def run_tasks(): return 'the real one'\n",
    }
    folder = tmp_path / "real"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


ORDERS = {
    "before": "import sys; sys.path.insert(0, {!r})\n",
    "behind": "import sys; sys.path.append({!r})\n",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "code",
    [
        "import brian; print(brian.ms, brian.__version__, brian.__file__)",
        "from brian import *; print(ms, '1.5', __import__('brian').__spec__.origin)",
        "import brian.groups; print(brian.ms, '1.5', brian.__path__[0] + '/__init__.py')",
    ],
)
def test_a_real_brian_is_the_one_that_is_imported(order, code, real, tmp_path):
    """Wherever it stands on the path: somebody has made the effort to have it."""
    found = printed(ORDERS[order].format(str(real)) + code, tmp_path, "-W", "error")
    assert found == ["0.001", "1.5", str(real / "brian" / "__init__.py")]


@pytest.mark.parametrize("order", ORDERS)
def test_modules_inside_come_from_the_real_brian_too(order, real, tmp_path):
    """The task farm is its own then, and what it has not got is missing: nothing of two packages is mixed."""
    code = """
from brian.tools.taskfarm import run_tasks
from brian import _stand_in, NeuronGroup
print(_stand_in.value, run_tasks(), sep="/")
try:
    import brian.tools.datamanager
except ModuleNotFoundError as error:
    print(error)
"""
    found = printed(ORDERS[order].format(str(real)) + code, tmp_path, "-W", "error")
    assert " ".join(found) == ("of the real one/the real one No module named 'brian.tools.datamanager'")


def test_a_real_brian_that_fails_says_so_itself(real, tmp_path):
    """It is not as if there were none."""
    (real / "brian" / "__init__.py").write_text("print 'Python 2'\n")
    ran = run(ORDERS["behind"].format(str(real)) + "import brian", tmp_path)
    assert "SyntaxError" in ran.stderr
    assert str(real) in ran.stderr


def test_a_folder_of_results_that_is_called_brian_is_no_package(tmp_path):
    """Python would take it for one, if there were nothing else."""
    (tmp_path / "brian" / "tools").mkdir(parents=True)
    code = ORDERS["behind"].format(str(tmp_path)) + "from brian.tools.taskfarm import run_tasks; print(1)"
    assert printed(code, tmp_path, "-W", "error") == ["1"]


def test_another_copy_of_this_package_is_no_simulator(tmp_path):
    """Such as one in a checkout, beside the installed one."""
    for name in ("brian", "farmhand_brian"):
        shutil.copytree(OURS / name, tmp_path / name)
    code = ORDERS["behind"].format(str(tmp_path)) + "from brian.tools.taskfarm import run_tasks; print(1)"
    assert printed(code, Path.home(), "-W", "error") == ["1"]
