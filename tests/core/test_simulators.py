"""What is seen of simulations of Brian 2 while they run, with its numpy target, which compiles nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import pytest

from farm_tasks import FAST
from farmhand import MemoryStore, TasksFailed, run_tasks
from farmhand.progress import PREPARING
from farmhand.task import Task
from farmhand.testing.frontends import RecordingFrontend
from waiting import wait_until


@pytest.fixture
def b2(brian2):
    """Brian 2, with its numpy target and nothing left of other tests."""
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    yield brian2
    brian2.prefs.codegen.target = before


@pytest.fixture
def sent():
    return []


@pytest.fixture
def run_item(sent):
    """Runs one item of a task in this process; what it reports is in ``sent``."""

    def run(task, item=None):
        return Task.check(task).make(0, lambda *report: sent.append(report))(0, item)

    return run


def seen(sent):
    """The fractions that neither begin nor end a simulation: somebody has looked at it."""
    return [complete for _, complete, _, _ in sent if complete is not None and 0.0 < complete < 1.0]


def rounded(sent):
    return [round(complete, 2) for complete in seen(sent)]


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "farmhand watch"]


def network_that_waits(b2, until, at=0.5, **clocks):
    """A network that goes on from half of its second as soon as ``until()`` is true."""
    G = b2.NeuronGroup(2, "dv/dt = -v/(10*ms) : 1", method="exact", **clocks)
    waited = []

    def wait(t):
        if t >= at * b2.second and not waited:
            wait_until(until)
            waited.append(True)

    operation = b2.NetworkOperation(wait, dt=10 * b2.ms)
    return b2.Network(G, operation)


# -- what is seen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["a network", "run()", "a report of one's own"])
def test_a_running_simulation_is_looked_at_however_it_was_begun(b2, run_item, sent, way):
    """Brian's own next report would come after ten seconds; this one waits until its bar has moved."""

    def task(x, report):
        network = network_that_waits(b2, lambda: 0.5 in rounded(sent))
        if way == "run()":
            _group, _operation = network.objects  # it takes what it finds here
            b2.run(1 * b2.second, report=report)
        elif way == "a network":
            network.run(1 * b2.second, report=report)
        else:
            network.run(1 * b2.second, report=lambda *args: report(*args))

    run_item(task)
    assert (sent[0][1], sent[-1][1]) == (0.0, 1.0)


def test_groups_may_have_clocks_of_their_own(b2, run_item, sent):
    """The network's time is that of the clock which is next."""

    def task(x, report):
        network = network_that_waits(b2, lambda: seen(sent), dt=0.5 * b2.ms)
        network.run(1 * b2.second, report=report)

    run_item(task)
    assert sent[-1][1] == 1.0


def test_a_simulation_that_goes_on_where_one_ended_has_a_bar_of_its_own(b2, run_item, sent):
    """What counts is how far this ``run`` is, and not the network's time; also after ``restore``."""

    def task(x, report):
        network = network_that_waits(b2, lambda: 0.5 in rounded(sent), at=4.5)
        network.store()
        network.run(4 * b2.second)
        sent.clear()
        network.run(1 * b2.second, report=report)
        network.restore()
        network.run(1 * b2.second, report=report)

    run_item(task)
    assert 0.5 in rounded(sent)  # where it waited
    assert [each[3] for each in sent if each[1] == 0.0] == ["", "run 2"]
    assert sent[-1][1] == 1.0


def test_the_stages_of_a_task_hold_for_what_is_seen(b2, run_item, sent):
    """It is the same simulation."""

    def task(x, report):
        report.stage("all", 0.8, 1)
        network = network_that_waits(b2, lambda: 0.9 in rounded(sent))
        network.run(1 * b2.second, report=report)

    run_item(task)
    assert all(complete >= 0.8 for complete in seen(sent))


def test_nobody_looks_any_more_when_a_simulation_is_over(b2, run_item):
    """Neither at its end, nor while what comes after it takes long."""

    def task(x, report):
        network_that_waits(b2, lambda: watchers()).run(1 * b2.second, report=report)
        wait_until(lambda: not watchers())

    run_item(task)


def test_nobody_looks_any_more_when_a_simulation_raises(b2, run_item):
    """Brian says nothing then. The network may go on to be used, by a run that does not report."""

    def task(x, report):
        def fail(t):
            if t > 50 * b2.ms:
                wait_until(watchers)
                raise ZeroDivisionError

        network = b2.Network(b2.NetworkOperation(fail, dt=10 * b2.ms))
        with pytest.raises(ZeroDivisionError):
            network.run(1 * b2.second, report=report)
        wait_until(lambda: not watchers())
        report(1.0)

    run_item(task)


def test_a_network_is_not_kept_alive(b2, run_item):
    """A sweep makes one for each item."""
    networks = []

    def task(x, report):
        network = network_that_waits(b2, watchers)
        networks.append(weakref.ref(network))
        network.run(1 * b2.second, report=report)

    run_item(task)
    gc.collect()
    assert networks[0]() is None


@pytest.mark.parametrize("duration", [0.0, 1.0], ids=["no time", "no objects"])
def test_a_simulation_of_nothing_is_none(b2, run_item, sent, duration):
    """Brian reports nothing of an empty network, and all at once of no time."""

    def task(x, report):
        objects = [] if duration else [b2.NeuronGroup(1, "v : 1")]
        b2.Network(*objects).run(duration * b2.second, report=report)
        return "done"

    assert run_item(task) == "done"
    assert [complete for _, complete, _, _ in sent] == ([] if duration else [0.0, 1.0])


def test_what_is_no_simulation_of_brians_is_not_looked_at(b2, run_item):
    """The same call by hand, or by somebody else's simulator."""

    def run(report):
        report(0.0, 0.0, 0.0, 1.0)
        assert not watchers()
        report(1.0, 1.0, 0.0, 1.0)

    run_item(lambda x, report: run(report))


# -- the end of a simulation -----------------------------------------------------------------------


def test_many_simulations_in_a_row_are_none_that_was_stopped(b2, run_item):
    """Times are sums of floats: the last report of a whole ``run`` need not be exactly 1."""

    def task(x, report):
        network = b2.Network(b2.NeuronGroup(1, "v : 1"))
        for k in range(6):
            network.run((0.1 + 0.2 * k) * b2.ms, report=report)

    run_item(task)


def test_a_simulation_that_stop_ended_is_a_failed_item(b2):
    """In the store it is told from the others, which are whole."""

    def task(stops, report):
        G = b2.NeuronGroup(1, "v : 1")
        if stops:
            operation = b2.NetworkOperation(lambda t: b2.stop() if t >= 0.5 * b2.ms else None)
            network = b2.Network(G, operation)
        else:
            network = b2.Network(G)
        network.run(10 * b2.ms, report=report)
        if stops == "and means it":
            report(1.0)
        return "done"

    store = MemoryStore()
    options = {**FAST, "poolsize": 1, "start_method": "fork"}
    with pytest.raises(TasksFailed):
        run_tasks(store, task, ["", "by mistake", "and means it"], **options)
    assert [record.index for record in store.records() if record.status == "done"] == [0, 2]
    (failure,) = store.failures()
    assert (failure.index, failure.error.kind) == (1, "raised")
    assert failure.error.type == "farmhand.errors.StoppedEarly"
    assert "of its 0.01 s" in failure.error.message
    assert "report(1.0)" in failure.error.message


# -- its period ------------------------------------------------------------------------------------


def test_the_period_is_a_time_as_brian_has_it(b2, run_item, sent):
    """Brian refuses a plain number there."""

    def task(x, report):
        assert b2.have_same_dimensions(report.period, b2.second)
        network = b2.Network(b2.NeuronGroup(1, "v : 1"))
        network.run(1 * b2.ms, report=report, report_period=report.period)
        return float(report.period)

    assert run_item(task) == 0.1


def test_without_brian_the_period_is_a_number():
    """Nothing is imported to find out."""
    code = (
        "import sys; from farmhand.task import Task\n"
        "print(Task.check(lambda x, report: report.period).make(0, print)(0, 0), 'brian2' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["0.1", "False"]


# -- in a farm -------------------------------------------------------------------------------------


def test_a_farm_shows_what_goes_before_what_runs_and_what_comes_second(b2, tmp_path):
    """From the preparation to the second simulation, each as its row in a window has it."""
    phases = []

    def script(snapshot):
        for view in snapshot.processes:
            if view.index is not None:
                moves = view.complete is not None and 0.0 < view.complete < 1.0
                word = f"{view.phase} moves" if moves else view.phase
                if word not in phases:
                    phases.append(word)
                    (tmp_path / word).touch()
        return ()

    def task(x, report):
        def there(name):
            return lambda: (tmp_path / name).exists()

        wait_until(there(PREPARING))
        network_that_waits(b2, there(" moves")).run(1 * b2.second, report=report)
        network_that_waits(b2, there("run 2 moves")).run(1 * b2.second, report=report)

    options = {**FAST, "poolsize": 1, "start_method": "fork", "progress": RecordingFrontend(script)}
    run_tasks(MemoryStore(), task, [1], **options)
    assert [word for word in phases if word not in ("", "run 2")] == [PREPARING, " moves", "run 2 moves"]
