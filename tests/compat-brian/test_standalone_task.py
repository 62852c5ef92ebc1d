"""One model, built once, run with the parameters of many items: real compilers, real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("brian2")

import numpy as np
from brian2 import ms

import waiting
from farmhand import open_store, run_tasks
from farmhand.seeds import item_seed
from farmhand_brian import StandaloneTask
from standalone_models import Model
from waiting import DEADLINE, wait_until

pytestmark = [pytest.mark.brian, pytest.mark.timeout(600)]  # compilers share the CPUs with other tests

FAST = {"gui": False, "progress": "none"}

# changes of parameters, and a seed; what is told apart below has a name
RAMP = np.arange(4) * 0.75
ITEMS = {
    "plain": ({}, 1),
    "tau": ({"tau": 5 * ms}, 1),
    "a": ({"a": RAMP}, 1),
    "drive": ({"drive": np.array([0.0, 0.0, 3.0, 3.0, 0.0])}, 1),
    "crash": ({"kind": -1, "a": RAMP}, 1),
    "stopped": ({"kind": 2}, 1),
    "plain again": ({}, 1),
    "infinite": ({"tau": float("inf") * ms}, 1),
    "a backwards": ({"a": RAMP[::-1]}, 1),
    "too few": ({"w": np.arange(3.0)}, 1),
    "no room": ({"room": False}, 1),
    "other seed": ({}, 2),
    "no seed": ({}, None),
    "no seed either": ({}, None),
    "plain at last": ({}, 1),
    "the farm's seed": ({}, "farm"),
}
ITEMS["the same by hand"] = ({}, item_seed(7, 2 * list(ITEMS).index("the farm's seed")))


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """Where compiled models are kept, for all processes of pytest."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "programs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Iterator[Path]:
    """The temporary files of the runs of this module, alone in a folder."""
    folder, before = tmp_path_factory.mktemp("tmp"), os.environ["TMPDIR"]
    os.environ["TMPDIR"] = str(folder)
    yield folder
    os.environ["TMPDIR"] = before


@pytest.fixture(scope="module")
def sweep(programs, temporary, tmp_path_factory):
    """Each item once in each of two processes: results and failures, by name and process."""
    store = open_store(":memory:")
    items = [item for item in ITEMS.values() for _ in range(2)]
    meeting = tmp_path_factory.mktemp("meeting")
    one = {"initargs": (str(programs), str(meeting)), "seed": 7, "errors": "collect", "poolsize": 2, **FAST}
    run_tasks(store, Model, items, **one)
    names = [name for name in ITEMS for _ in range(2)]
    results: dict[str, list] = {name: [] for name in ITEMS}
    for record in store.records():
        outcome = store[record.key] if record.error is None else record
        results[names[record.index]].append(outcome)
    results["left"] = sorted(
        path.name for path in temporary.rglob("*") if path.parent.name != "static_arrays"
    )
    results["store"] = store
    return results


def same(one, other):
    """Whether two simulations were the same, spike by spike."""
    return all(np.array_equal(a, b) for a, b in zip(one["spikes"], other["spikes"], strict=True)) and all(
        np.array_equal(a, b) for a, b in zip(one["synapses"], other["synapses"], strict=True)
    )


# -- parameters and results --------------------------------------------------------------------------


def test_parameters_of_an_item_reach_the_program(sweep):
    """A number, an array, and a TimedArray; what they change is seen in the results."""
    plain, tau, a, drive = (sweep[name][0] for name in ("plain", "tau", "a", "drive"))
    assert (plain["tau"], tau["tau"]) == (10, 5)
    assert plain["a"].tolist() == [0, 0.5, 1, 1.5]
    assert a["a"].tolist() == RAMP.tolist()
    assert plain["count"] > 0 != drive["count"]
    assert min(drive["spikes"][0]) >= 20 > min(plain["spikes"][0])


def test_an_array_may_be_a_view(sweep):
    """Which Brian itself refuses, with an error that says nothing to a user."""
    assert sweep["a backwards"][0]["a"].tolist() == RAMP[::-1].tolist()


def test_nothing_of_an_item_is_seen_in_the_next_one(sweep):
    """Parameters, spikes, synapses and clocks are of this simulation, whatever came before."""
    names = ["plain", "plain again", "plain at last"]
    first, *others = (result for name in names for result in sweep[name])
    for other in others:
        assert same(first, other)
        assert first["count"] == other["count"] == len(other["spikes"][0])
        assert np.array_equal(first["a"], other["a"])
        assert np.array_equal(first["v"], other["v"])
        assert np.array_equal(first["trace"], other["trace"])
        assert first["end"] == other["end"] == 50
        assert first["tau"] == other["tau"] == 10
        assert len(other["w"]) == len(other["synapses"][0])


def test_a_simulation_that_was_stopped_has_recorded_less(sweep):
    """As much as in the one before is not taken for granted."""
    for result in sweep["stopped"]:
        assert result["trace"].shape[0] == 2
        assert result["trace"].shape[1] < sweep["plain"][0]["trace"].shape[1] == 10
        assert result["end"] < 50


def test_files_of_parameters_do_not_pile_up(sweep):
    """Ten thousand items leave no ten thousand files; those of a crash stay."""
    for name in ("plain", "tau", "a", "drive", "a backwards"):
        for result in sweep[name]:
            assert len(result["parameters"]) <= 2, result[
                "parameters"
            ]  # of the crash before it, with its lock


def test_a_value_that_cannot_be_passed_is_refused(sweep):
    """Brian would take it for the name of a file, and simulate with the value before."""
    for record in sweep["infinite"]:
        assert record.error.type == "ValueError"
        assert "tau = inf" in record.error.message


def test_an_array_of_another_size_is_refused(sweep):
    """Brian knows the number of synapses in the program alone, which would go on with the values before."""
    for record in sweep["too few"]:
        assert record.error.type == "farmhand_brian.errors.SimulationFailed"


# -- seeds -------------------------------------------------------------------------------------------


def test_results_depend_on_the_seed_and_not_on_the_process(sweep):
    """Synapses that the program draws, and its Poisson spikes."""
    results = [*sweep["plain"], *sweep["plain again"]]
    assert len({result["pid"] for result in sweep["plain"]}) == 2
    assert all(same(results[0], other) for other in results[1:])
    assert same(*sweep["other seed"])
    assert not same(sweep["other seed"][0], results[0])


def test_the_seed_of_an_item_is_that_of_its_program(sweep):
    """By which that one simulation can be made again, also by hand."""
    first, second = sweep["the farm's seed"]
    assert not same(first, second)
    assert all(same(first, again) for again in sweep["the same by hand"])


def test_without_a_seed_each_simulation_is_another(sweep):
    """As in Brian itself."""
    results = [*sweep["no seed"], *sweep["no seed either"]]
    assert not any(same(one, other) for one in results for other in results if one is not other)


def test_numbers_that_the_model_draws_in_python_are_the_same_in_all_processes(sweep):
    """Or else each process would simulate another network."""
    drawn = {tuple(result["drawn"]) for name in ITEMS for result in sweep[name] if isinstance(result, dict)}
    assert len(drawn) == 1


# -- progress ----------------------------------------------------------------------------------------


def test_each_run_of_the_program_is_reported_from_0_to_1(sweep):
    """In Brian's words, with units; the last one has arrived before the item goes on."""
    reports = sweep["plain"][0]["reports"]
    runs = [[report for report in reports if report[2:] == run] for run in [(0, 30), (30, 20)]]
    assert sum(map(len, runs)) == len(reports)
    for run in runs:
        complete = [report[1] for report in run]
        assert run[0][:2] == (0, 0)  # by which a beginning is known
        assert complete[-1] == 1
        assert complete == sorted(complete)


def test_a_simulation_that_was_stopped_ends_below_1(sweep):
    """From which farmhand knows that this is no good result."""
    reports = sweep["stopped"][0]["reports"]
    last = [report[1] for report in reports if report[2] == 0][-1]
    assert 0 <= last < 1


# -- what goes wrong ---------------------------------------------------------------------------------


def test_a_program_that_crashes_costs_its_item_alone(sweep):
    """The error says how it ended, where its files are, and how to see it crash again."""
    for record in sweep["crash"]:
        assert record.error.type == "farmhand_brian.errors.SimulationFailed"
        assert "signal 11 (SIGSEGV)" in record.error.message
        command = record.error.message.partition("To run it again: ")[2]
        again = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert again.returncode in (139, -11)
    assert all(isinstance(result, dict) for result in sweep["plain again"])


def test_results_that_are_cut_by_a_full_disk_are_an_error(sweep):
    """Brian's program does not look, and Brian takes what is there for all there is."""
    for record in sweep["no room"]:
        assert "not all results of the compiled simulation could be written" in record.error.message
    assert all(isinstance(result, dict) for result in sweep["other seed"])


def test_nothing_is_left_but_the_directories_of_crashes(sweep, temporary):
    """And there is none for the program that all had in common."""
    (run,) = (temporary / f"farmhand-scratch-{os.geteuid()}").iterdir()
    kept = {path.name for path in run.iterdir()}
    crashed = {record.process for name in ("crash", "too few") for record in sweep[name]}
    assert kept == {f"process-{n}{ending}" for n in crashed for ending in ("", ".kept")}
    assert (run / f"process-{min(crashed)}" / "model-failed-1" / "results").exists()


class Broken(StandaloneTask):
    """What no compiler accepts."""

    def build(self):
        from brian2 import NeuronGroup, device, ms, prefs, run

        G = NeuronGroup(1, "v : 1")  # noqa: F841 - Brian finds it
        device.insert_code("main", "this_is_no_word_of_cpp;")
        prefs.codegen.cpp.extra_compile_args = ["-O0", "-w"]
        prefs.devices.cpp_standalone.make_cmd_unix = "make main.o"
        run(1 * ms)

    def __call__(self, item):
        self.run()


def test_a_model_that_does_not_compile_ends_the_run(temporary):
    """With what the compiler said, and where the sources are."""
    from farmhand.errors import SetupError

    before = set(temporary.rglob("main.cpp"))
    with pytest.raises(SetupError, match="this_is_no_word_of_cpp") as failure:
        run_tasks(open_store(":memory:"), Broken, [1], **FAST)
    assert "make main.o ended with exit code 2" in str(failure.value)
    (source,) = set(temporary.rglob("main.cpp")) - before
    assert str(source.parent) in str(failure.value)


# -- the end of the farm -----------------------------------------------------------------------------

FARM = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {os.path.dirname(waiting.__file__)!r}]
from farmhand import open_store, run_tasks
from standalone_models import Model

run_tasks(sys.argv[1], Model, [({{}}, 1), ({{"kind": 1}}, 1)], initargs=(sys.argv[2],), poolsize=1,
          gui=False, progress="none")
"""


@pytest.fixture
def farm(programs, tmp_path, monkeypatch):
    """A farm whose second item's program is running, and will be for ten minutes."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process = subprocess.Popen([sys.executable, "-c", FARM, tmp_path / "r.data", programs], stderr=-3)
    store = tmp_path / "r.data"

    def one_done():
        return store.exists() and len(open_store(store)) == 1

    wait_until(one_done, "the first item", seconds=5 * DEADLINE)
    wait_until(lambda: simulations(process), "the second program")
    process.program = simulations(process)[0]
    yield process
    process.kill()
    process.wait()


def simulations(process):
    """The compiled programs that run in a farm."""
    found = []
    for each in psutil.Process(process.pid).children(recursive=True):
        try:
            found += [each] if each.name() == "main" and each.status() != psutil.STATUS_ZOMBIE else []
        except psutil.Error:
            pass
    return found


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "a batch system"])
def test_a_farm_that_is_stopped_ends_the_program(farm, tmp_path, end):
    """And removes its directory; the item that was done is stored."""
    farm.send_signal(end)
    farm.wait(DEADLINE)
    assert has_ended(farm.program)
    assert not [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("farmhand")]
    assert len(open_store(tmp_path / "r.data")) == 1


def test_a_farm_that_is_killed_leaves_no_program(farm, tmp_path):
    """Nor, once another farm has run, its directory."""
    farm.kill()
    farm.wait()
    wait_until(lambda: has_ended(farm.program), "the end of the program")
    run_tasks(open_store(":memory:"), abs, [1], **FAST)
    assert not list((tmp_path / "tmp").glob("farmhand-scratch*"))
