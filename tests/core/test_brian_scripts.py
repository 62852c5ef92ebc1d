"""Scripts as users of Brian 2 write them: all names imported with a star, settings at the top, no guard.

What the farm gives is what a loop in the script gives. Everything here runs with Brian's numpy target,
which compiles nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waiting import DEADLINE

pytest.importorskip("brian2")

HEAD = """\
from brian2 import *
from farmhand import open_store, run_tasks

prefs.codegen.target = "numpy"

def farm(task, items, **kwds):
    with open_store(":memory:") as store:
        run_tasks(store, task, items, **{"gui": False, "progress": "none", "poolsize": 2, **kwds})
        return [store[record.key] for record in sorted(store.records(), key=lambda each: each.index)]
"""


def run(folder: Path, body: str, head: str = HEAD) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(head + textwrap.dedent(body))
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, cwd=folder, timeout=DEADLINE
    )


def printed(folder: Path, body: str, head: str = HEAD) -> object:
    """What the script prints last, as the value that it is."""
    done = run(folder, body, head)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.strip().splitlines()[-1])


def test_a_whole_script_gives_what_its_loop_gives(tmp_path):
    """Everything that a model is made of at the top of a script is there: constants, functions with units,
    arrays of input, equations, the clock, preferences. Quantities go in and come out."""
    body = """
        defaultclock.dt = 0.05*ms
        prefs.core.default_float_dtype = float32
        tau = 10*ms
        taps = TimedArray(arange(1, 11)*mV, dt=1*ms)
        small = 0.5

        @check_units(x=volt, result=volt)
        def halved(x):
            return x * small

        @implementation("numpy", discard_units=True)
        @check_units(x=1, result=1)
        def squared(x):
            return x**2

        eqs = Equations("dv/dt = (halved(taps(t)) + I - v)/tau*squared(factor) : volt")
        eqs += Equations("I : volt (constant)")
        factor = 1.5

        def task(drive):
            seed(3)
            G = NeuronGroup(3, eqs, method="euler")
            G.I = drive*rand(3)
            M = StateMonitor(G, "v", record=True)
            net = Network(collect())
            net.run(10*ms)
            return mean(M.v), M.t[1] - M.t[0], array(G.v).dtype.name, len(M.t)

        drives = [0*mV, 3*mV, 5*mV]
        found, expected = farm(task, drives), [task(drive) for drive in drives]
        print(found, expected)
        def same(a, b): return a == b and (isinstance(a, str) or have_same_dimensions(a, b))
        print(([[bool(same(x, y)) for x, y in zip(a, b)] for a, b in zip(found, expected)], expected[0][2:]))
    """
    assert printed(tmp_path, body) == ([[True] * 4] * 3, ("float32", 200))


# -- what the script has from the library ------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_a_worker(tmp_path_factory):
    """What a task sees of the names that a star has imported."""
    return printed(
        tmp_path_factory.mktemp("worker"),
        """
        p, draw = prefs, rand                        # the script's own names for them
        def task(what):
            import brian2, numpy
            if what == "same":
                return [each is theirs for each, theirs in [
                    (prefs, brian2.prefs), (p, brian2.prefs), (defaultclock, brian2.defaultclock),
                    (device, brian2.device), (magic_network, brian2.magic_network), (sin, brian2.sin),
                    (run, brian2.run), (mV, brian2.mV), (rcParams, brian2.rcParams)]]
            if what == "random":
                seed(5)
                first = rand(), randn(), draw()
                numpy.random.seed(5)
                return first == (numpy.random.rand(), numpy.random.randn(), numpy.random.rand())
            prefs.codegen.loop_invariant_optimisations = False
            defaultclock.dt = 1*ms
            clock = NeuronGroup(1, "v : 1").clock
            return brian2.prefs["codegen.loop_invariant_optimisations"], float(clock.dt)
        from farmhand.shipping import Shipper
        from farmhand.task import Task
        print([*farm(task, ["same", "random", "set"]), len(Shipper().ship(Task.check(task))) < 20_000])
        """,
    )


def test_a_name_of_the_library_is_the_librarys_own(in_a_worker):
    """A copy of ``prefs`` would be 267 kB, and without effect."""
    assert in_a_worker[0] == [True] * 9
    assert in_a_worker[3]


def test_random_functions_draw_from_the_generator_that_is_seeded(in_a_worker):
    """A copy of ``rand`` would bring the script's state with it, for all processes the same numbers."""
    assert in_a_worker[1] is True


def test_what_a_task_sets_is_set(in_a_worker):
    assert in_a_worker[2] == (False, 0.001)


# -- settings ----------------------------------------------------------------------------------------------

SETTINGS = """
    import brian2 as b2
    from farmhand import open_store, run_tasks

    b2.prefs.codegen.target = "numpy"
    b2.prefs.codegen.max_cache_dir_size = 7
    b2.defaultclock.dt = 0.25*b2.ms
    wanted = ("numpy", 7, 0.00025)
    def farm(task, items):
        with open_store("results.data") as store:
            run_tasks(store, task, items, gui=False, progress="none", poolsize=1)
            return set(store.values())
"""

LOOK = """
    import brian2
    def look(x):
        prefs = brian2.prefs
        return prefs["codegen.target"], prefs["codegen.max_cache_dir_size"], float(brian2.defaultclock.dt)
"""


def test_settings_of_the_script_hold_in_the_task(tmp_path):
    """Otherwise a simulation would run with another time step, and nobody would be told."""
    (tmp_path / "looks.py").write_text(textwrap.dedent(LOOK))
    body = """
        import looks
        def in_the_task(x):
            from looks import look
            return look(x)
        class Task:
            def __init__(self): self.seen = looks.look(0)
            def __call__(self, x): return self.seen, look(x), in_the_task(x)
        print((farm(Task, [1]) == {(wanted, wanted, wanted)}, farm(looks.look, [1]) >= {wanted}))
    """
    assert printed(tmp_path, "".join(map(textwrap.dedent, (SETTINGS, LOOK, body))), head="") == (True, True)


def test_what_the_script_has_set_last_holds(tmp_path):
    """Its modules set their own while they are imported, in the script before it says otherwise."""
    (tmp_path / "model.py").write_text(
        "from brian2 import *\ndefaultclock.dt = 9*ms\n" + textwrap.dedent(LOOK)
    )
    body = """
        from model import look
        b2.defaultclock.dt = 0.25*b2.ms
        class Task:
            def __init__(self): self.seen = look(0)
            def __call__(self, x): return self.seen, look(x)
        print((farm(look, [1]) == {wanted}, farm(lambda x: look(x), [1]) == {wanted},
            farm(Task, [1]) >= {(wanted, wanted)}))
    """
    assert printed(tmp_path, "".join(map(textwrap.dedent, (SETTINGS, body))), head="") == (True, True, True)


def test_a_preference_of_another_package_holds_where_that_is_imported(tmp_path):
    """Elsewhere nothing is said of it: Brian would take it for a spelling mistake."""
    package = """
        from brian2 import *
        speed = BrianPreference(1, "How fast.", validator=lambda value: True)
        prefs.register_preferences("others", "Of another package.", speed=speed)
    """
    (tmp_path / "package.py").write_text(textwrap.dedent(package))
    body = """
        import package
        prefs.others.speed = 5
        def of_package(x): return package.prefs["others.speed"]
        def of_none(x): return [len(prefs.prefs_unvalidated), "others.speed" in prefs]
        print(farm(of_package, [1]) + farm(of_none, [1]))
    """
    assert printed(tmp_path, body) == [5, [0, False]]


def test_settings_are_there_when_an_item_is_run_again(tmp_path):
    """What a run was sent is kept with it, and its settings with that; afterwards all is as it was."""
    body = textwrap.dedent(SETTINGS) + textwrap.dedent(LOOK)
    assert printed(tmp_path, body + "\nprint(farm(look, [1]) == {wanted})", head="") is True
    again = """
        from farmhand import open_store
        from farmhand.rerun import Rerun, Surroundings
        import brian2
        store = open_store("results.data")
        run, = store.runs()
        brian2.prefs.codegen.loop_invariant_optimisations = False
        brian2.defaultclock.dt = 1*brian2.ms
        before = dict(brian2.prefs.items())
        with Surroundings(store, run) as there:
            tried = Rerun(there, store, run, 0).run()
            meanwhile = brian2.prefs["codegen.loop_invariant_optimisations"]
        print((tried.value, meanwhile, dict(brian2.prefs.items()) == before, float(brian2.defaultclock.dt)))
    """
    assert printed(tmp_path, again, head="") == (("numpy", 7, 0.00025), True, True, 0.001)


def test_an_item_of_a_run_without_settings_is_run_again_without_any(tmp_path):
    """Whatever is set where that happens."""
    look = "from farmhand import open_store, run_tasks\n" + textwrap.dedent(LOOK)
    (tmp_path / "looks.py").write_text(look)
    body = """
        from looks import *
        with open_store("results.data") as store:
            run_tasks(store, look, [1], gui=False, progress="none", poolsize=1)
            from farmhand.rerun import Rerun, Surroundings
            brian2.defaultclock.dt = 1*brian2.ms
            run, = store.runs()
            with Surroundings(store, run) as there:
                tried = Rerun(there, store, run, 0).run()
            print((tried.value == store.values()[0], float(brian2.defaultclock.dt)))
    """
    assert printed(tmp_path, body, head="") == (True, 0.001)


def test_a_task_that_needs_no_brian_does_not_import_it_for_the_settings(tmp_path):
    """Its import takes a second in each process."""
    body = """
        def task(x):
            import sys
            return "brian2" in sys.modules
        print(farm(task, [1]))
    """
    assert printed(tmp_path, body) == [False]


def test_a_device_of_the_script_is_not_lost_in_silence(tmp_path):
    """What a compiled simulation needs is different for each process: the task has to choose it."""
    body = """
        set_device("cpp_standalone", build_on_run=False)
        def task(x): return get_device() is all_devices["runtime"]
        print(farm(task, [1, 2, 3]))
    """
    done = run(tmp_path, body)
    assert done.stdout.strip() == "[True, True, True]"
    assert done.stderr.count("set_device('cpp_standalone') of the script has no effect") == 1
    assert "farmhand_brian.standalone" in done.stderr
    assert "script.py:8: RuntimeWarning" in done.stderr, "it points to the script's own line"


# -- words in equations -------------------------------------------------------------------------------------


def test_what_is_made_for_equations_travels_however_large_it_is(tmp_path):
    """A recorded input is megabytes. A function without units is never meant by an equation."""
    body = """
        my_input = TimedArray(ones((50_000, 10))*nA, dt=0.1*ms)
        my_other_input = TimedArray([1, 2], dt=1*ms)
        def my_plain(x): return x
        my_number = 3
        @check_units(x=1, result=1)
        def my_function(x): return my_deeper(x) + 1
        def my_deeper(x): return my_number*x
        def task(x):
            "Has nothing to do with my_other_input."
            eqs = "I = my_input(t, i)*my_function(1) : amp", "my_plain"
            return sorted(name for name in globals() if name[:3] == "my_")
        print(farm(task, [1]))
    """
    assert printed(tmp_path, body) == [["my_deeper", "my_function", "my_input", "my_number"]]


def test_the_units_of_what_is_made_for_equations_stay_units(tmp_path):
    """Brian pickles a unit as a quantity, or as a number: equations would refuse what has such a one. That
    must not depend on the names that the script has for units, nor on the way by which it is sent."""
    body = """
        import brian2 as b2
        from farmhand import open_store, run_tasks
        b2.prefs.codegen.target = "numpy"
        tau = 10*b2.ms
        number = b2.TimedArray([1, 2], dt=1*b2.ms)
        density = b2.TimedArray([1, 2]*b2.uA/b2.cm**2, dt=1*b2.ms)
        @b2.check_units(x=b2.amp/b2.metre**2, result=b2.amp/b2.metre**2)
        def twice(x): return 2*x
        def by_name(x):
            return simulated("dv/dt = (number(t)*twice(density(t)) - v)/tau : amp/metre**2", {})
        def simulated(equations, namespace):
            G = b2.NeuronGroup(1, equations, method="euler", namespace=namespace or None)
            b2.Network(G).run(1*b2.ms)
            return float(G.v[0])
        def as_item(taps): return simulated("dv/dt = (taps(t) - v)/tau : 1", {"taps": taps, "tau": tau})
        class Bound:
            def __init__(self, taps): self.taps = taps
            def __call__(self, x): return as_item(self.taps)
        def unit(x): return repr(number._return_unit), type(number._return_unit) is b2.Unit
        with open_store(":memory:") as store:
            for task, items in (by_name, [1]), (as_item, [number]), (Bound(number), [1]), (unit, [1]):
                run_tasks(store, task, items, gui=False, progress="none", poolsize=1)
            print((store.values(), [by_name(1), as_item(number), as_item(number), unit(1)]))
    """
    found, expected = printed(tmp_path, body, head="")
    assert found == expected
    assert expected[0] > 0


def test_equations_may_be_anywhere_in_what_the_task_brings(tmp_path):
    """In a string or as ``Equations``; a global, an attribute of a class or an instance, an argument."""
    body = """
        my_a = my_b = my_c = my_d = my_e = my_f = 1*ms
        eqs = Equations("dv/dt = -v/my_a : 1")
        class Task:
            one = "dv/dt = -v/my_b : 1"
            two = Equations("dv/dt = -v/my_c : 1")
            def __init__(self):
                self.three = "dv/dt = -v/my_d : 1"
            def __call__(self, x, more=Equations("dv/dt = -v/my_e : 1")):
                return eqs, sorted(name for name in globals() if name[:3] == "my_")
        print(farm(Task(), [1])[0][1])
    """
    assert printed(tmp_path, body) == ["my_a", "my_b", "my_c", "my_d", "my_e"]


def test_a_word_that_names_a_part_of_a_simulation_does_no_harm(tmp_path):
    """The script may have run one itself, before."""
    body = """
        G = NeuronGroup(1, "v : 1")
        M = StateMonitor(G, "v", record=True)
        run(1*ms)
        task = lambda x: ("G, M", "G" in globals(), "M" in globals())[1:]
        print(farm(task, [1]))
    """
    assert printed(tmp_path, body) == [(False, False)]


# -- results -------------------------------------------------------------------------------------------------


def test_an_array_of_memory_that_is_gone_is_no_result(tmp_path):
    """Brian 2.10 gives such arrays: ``M.t[:]`` does not keep what the monitor has recorded."""
    body = """
        from ctypes import POINTER, PYFUNCTYPE, c_int, c_void_p, cast, py_object, pythonapi
        import numpy as np

        def view(array):
            "The same memory without an owner, as a C program has numpy make it (by PyArray_New)."
            pythonapi.PyCapsule_GetPointer.restype = c_void_p
            pythonapi.PyCapsule_GetPointer.argtypes = [py_object, c_void_p]
            functions = pythonapi.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
            kinds = py_object, py_object, c_int, c_void_p, c_int, c_void_p, c_void_p, c_int, c_int, c_void_p
            new = PYFUNCTYPE(*kinds)(cast(functions, POINTER(c_void_p))[93])
            size = np.array(array.shape, dtype=np.intp)
            return new(np.ndarray, 1, size.ctypes.data, array.dtype.num, None, array.ctypes.data, 0, 1, None)

        kept = np.arange(3.0), np.arange(200_000.0)

        def task(size, copy):
            times = view(kept[size])
            return {"t": Quantity(times.copy() if copy else times, dim=second.dim)}

        items = [(0, True), (1, True), (0, False), (1, False)]
        with open_store("results.db") as store:
            run_tasks(store, task, items, gui=False, progress="none", errors="collect", poolsize=1)
            print([each.error and str(each.error) for each in store.records()])
    """
    *copied, small, large = printed(tmp_path, body)
    assert copied == [None, None]
    assert all("memory that nobody keeps" in text and "M.t[:].copy()" in text for text in (small, large))


def test_of_a_simulation_only_values_can_be_returned(tmp_path):
    """A monitor that was pickled would be read as one that has recorded nothing but errors."""
    pytest.importorskip("farmhand_sqlite")  # whose results may go through files
    body = """
        def task(what):
            G = NeuronGroup(3, "dv/dt = 1/ms : 1", threshold="v>1", reset="v=0", method="euler")
            M = SpikeMonitor(G)
            S = StateMonitor(G, "v", record=True)
            run(3*ms)
            return {"t": M.t[:].copy(), "trains": M.spike_trains(), "v": S.v, "states": G.get_states(),
                    "view": M.t,
                    "monitor": M, "group": [G, ones(200_000)], "text": "brian2.groups, brian2.monitors"}[what]
        names = "t", "trains", "v", "states", "view", "monitor", "group", "text"
        with open_store("results.db") as store:
            run_tasks(store, task, names, gui=False, progress="none", errors="collect", poolsize=2)
            said = [each.error and str(each.error) for each in store.records()]
            print((repr(store[list(store.records())[0].key]), said))
    """
    spikes, said = printed(tmp_path, body)
    assert spikes == "array([1. , 1. , 1. , 2.1, 2.1, 2.1]) * msecond"
    assert [text is None for text in said] == [True, True, True, True, False, False, False, True]
    view, monitor, group = said[4:7]
    assert "its result, a VariableView, cannot be pickled" in view
    assert "A variable of a Brian 2 object lives only as long as that does" in view
    assert "a SpikeMonitor of Brian 2 is a part of a simulation" in monitor
    assert "its result, a list, " in group
    assert "a NeuronGroup of Brian 2 is a part of a simulation" in group
    assert all("Return what you need of it as values: M.t[:]" in text for text in said[4:7])


# -- what cannot travel --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What is said of each part of a simulation that a task names."""
    return dict(
        printed(
            tmp_path_factory.mktemp("refusals"),
            """
        from functools import partial
        G = NeuronGroup(2, "v : 1")
        S = Synapses(G, G); S.connect()
        net = Network(G, S)
        M = StateMonitor(G, "v", record=True)
        clock = Clock(dt=1*ms)
        v = G.v
        parts = {"all": [1, net]}
        tasks = {
            "a group": lambda x: G.v[0],
            "synapses": lambda x: S.N,
            "a network": lambda x: net.run(x*ms),
            "a monitor": lambda x: M.v,
            "a clock": lambda x: clock.dt,
            "a variable": lambda x: v[0],
            "in a container": lambda x: parts,
            "bound": partial(divmod, G),
        }
        said = []
        for name, task in tasks.items():
            try:
                farm(task, [1])
            except TypeError as error:
                said.append((name, (type(error).__name__, str(error))))
        print(said)
        """,
        )
    )


@pytest.mark.parametrize(
    ("kind", "culprit"),
    [
        ("a group", "because of the global 'G': a NeuronGroup"),
        ("synapses", "because of the global 'S': a Synapses"),
        ("a network", "because of the global 'net': a Network"),
        ("a monitor", "because of the global 'M': a StateMonitor"),
        ("a clock", "because of the global 'clock': a Clock"),
        ("a variable", "because of the global 'v': a variable of a group"),
        ("in a container", "because of the global 'parts'['all'][1]: a Network"),
        ("bound", ".args[0]: a NeuronGroup"),
    ],
)
def test_a_part_of_a_simulation_is_refused_in_one_sentence(refusals, kind, culprit):
    """Pickle would take it, and what the process got would not be a part of any simulation."""
    name, text = refusals[kind]
    assert name == "TaskNotPicklable"
    assert culprit in text
    assert "is a part of a simulation, which lives in one process. Create it inside the task" in text
    assert text.count("\n") == 0
