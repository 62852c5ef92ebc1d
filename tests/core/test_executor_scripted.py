"""The scripted executor keeps the contract, and whole farms run through any history with it."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farmhand import codec, run_tasks
from farmhand.errors import ProcessesKeepDying, SetupError
from farmhand.events import ItemFailed, ItemsDone, ItemsReturned, ProcessDied
from farmhand.memory import MemoryStore
from farmhand.testing.executors import Drive, ExecutorConformance
from farmhand.testing.scheduling import ManualClock, ScriptedExecutor, Step

scripts = st.integers(0, 2**32) | st.lists(st.integers(0, 255), max_size=60)
quiet = {"gui": False, "progress": "none"}


class TestScripted(ExecutorConformance):
    real_processes = False

    @pytest.fixture(params=[None, 0, 1, 2], ids=["first", "seed 0", "seed 1", "seed 2"])
    def executor_factory(self, request):
        return lambda: ScriptedExecutor(request.param)


# -- the clock -----------------------------------------------------------------------------------------


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(1.5) == 6.5
    assert clock() == 6.5


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_manual_clock_never_goes_back(seconds):
    with pytest.raises(ValueError, match="goes forward"):
        ManualClock().advance(seconds)


# -- scripts -------------------------------------------------------------------------------------------


def prefer(*wanted: Step):
    """A script that takes each of these steps as soon as it is possible, and else the first."""
    waiting = list(wanted)

    def script(steps):
        if waiting and waiting[0] in steps:
            return waiting.pop(0)
        return steps[0]

    return script


def whenever(kind: str, index: int | None = None):
    """A script that takes each step of this kind on this item, and else the first that is possible."""

    def script(steps):
        return next((step for step in steps if (step.kind, step.index) == (kind, index)), steps[0])

    return script


def test_a_script_can_crash_a_process_on_an_item():
    """Results that it had not delivered are lost with it."""
    script = prefer(Step("work", 0, 0), Step("crash", 0, 1))
    farm = Drive(ScriptedExecutor(script, crashes=1), str.upper)
    farm.start(0)
    farm.send(0, {0: "a", 1: "b", 2: "c"})
    died = farm.next(ProcessDied, 0)
    assert (died.index, died.reason) == (1, "signal 11 (SIGSEGV)")
    assert farm.done() == {}


def test_a_script_can_keep_results_back():
    """They come together, in one event."""
    script = prefer(Step("work", 0, 0), Step("work", 0, 1), Step("finish", 0, 2))
    farm = Drive(ScriptedExecutor(script), str.upper)
    farm.start(0)
    farm.send(0, {0: "a", 1: "b", 2: "c"})
    assert list(farm.next(ItemsDone, 0).indices) == [0, 1, 2]


def test_a_script_can_answer_a_recall_late():
    """Items that have ended in the meantime are not returned."""
    script = prefer(Step("start", 0), Step("finish", 0, 0), Step("finish", 0, 1), Step("answer", 0, 2))
    farm = Drive(ScriptedExecutor(script), str.upper)
    farm.start(0)
    farm.send(0, dict(enumerate("abcd")))
    farm.executor.recall(0, everything=True)
    assert list(farm.next(ItemsReturned, 0).indices) == [3]
    assert farm.results(3).keys() == {0, 1, 2}


def test_a_script_that_chooses_the_impossible_is_wrong():
    """And is told so, instead of bending the history."""
    farm = Drive(ScriptedExecutor(lambda steps: Step("finish", 7, 7)), str.upper)
    farm.executor.start(0)
    with pytest.raises(AssertionError, match="cannot happen"):
        farm.look()


def test_items_take_virtual_time():
    """By the clock of the test."""
    clock = ManualClock(100.0)
    farm = Drive(ScriptedExecutor(seconds=2.0, clock=clock), str.upper)
    farm.start(0)
    farm.send(0, {0: "a", 1: "b"})
    farm.results(2)
    assert [event.started for event in farm.of(ItemsDone)] == [100.0, 102.0]
    assert [event.seconds for event in farm.of(ItemsDone)] == [[2.0], [2.0]]


def test_waiting_for_nothing_for_ever_is_an_error():
    """It would be a hang of the farm; a limited wait is none."""
    farm = Drive(ScriptedExecutor(), str.upper)
    assert farm.executor.wait(10.0) == []
    with pytest.raises(AssertionError, match="waits for ever"):
        farm.executor.wait(None)


@given(script=scripts)
@settings(max_examples=20, deadline=None)
def test_the_same_script_plays_the_same_history(script):
    """Or a failure could not be looked into."""
    histories = []
    for _ in range(2):
        executor = ScriptedExecutor(script, crashes=3, timeouts=2)
        run_tasks(
            MemoryStore(),
            abs,
            range(20),
            poolsize=3,
            executor=executor,
            retries=5,
            backoff=0,
            timeout=9,
            **quiet,
        )
        histories.append(executor.history)
    assert histories[0] == histories[1]


# -- whole farms ---------------------------------------------------------------------------------------


class Poison:
    """An item that can be pickled, but not unpickled."""

    def __reduce__(self):
        return int, ("no number",)


class Milk:
    """A class task: made once in each process."""

    def __init__(self, process_number):
        self.process_number = process_number

    def __call__(self, litres, report):
        self.taskname = f"{litres} litres"
        report(0.5)
        return make_cheese(litres)


def make_cheese(litres):
    """The task: some items fail, one way or the other."""
    if litres % 7 == 3:
        raise ValueError(f"{litres} litres are sour")
    if litres % 11 == 5:
        return (drop for drop in "abc")  # no generator can be pickled
    return [litres, "cheese" * (litres % 3)]


def expected(items):
    """What becomes of each item, by index: its result, or the kind of its failure."""
    outcome = {}
    for index, item in enumerate(items):
        if isinstance(item, Poison) or callable(item):
            outcome[index] = "unpicklable item"
        elif item % 7 == 3:
            outcome[index] = "raised"
        elif item % 11 == 5:
            outcome[index] = "unpicklable result"
        else:
            outcome[index] = make_cheese(item)
    return outcome


def stored(store):
    """The same, as a store has it; no item may be there twice."""
    outcome = {}
    for run in store.runs():
        for index, data in store.encoded(run.uid):
            assert index not in outcome
            outcome[index] = codec.decode(data)
        for record in store.records(run.uid):
            if record.status == "failed":
                assert record.index not in outcome
                outcome[record.index] = record.error.kind
    return outcome


items_to_run = st.lists(st.integers(0, 100) | st.builds(Poison), max_size=40)


@given(
    items=items_to_run,
    script=scripts,
    crashes=st.integers(0, 5),
    crashes_at_start=st.integers(0, 2),
    timeouts=st.integers(0, 3),
    losses=st.integers(0, 3),
    processes=st.integers(1, 4),
    seconds=st.sampled_from([1e-6, 0.001, 0.03, 5.0]),
    recycle=st.none() | st.integers(1, 5),
    told=st.none() | st.integers(0, 60),
    task=st.sampled_from([make_cheese, Milk]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_stored_does_not_depend_on_what_happens(
    items, script, crashes, crashes_at_start, timeouts, losses, processes, seconds, recycle, told, task
):
    """Whatever crashes, is too slow, is lost, is recalled or comes in another order: with enough retries
    (for losses none are needed) the store has what one loop over the items would have made, each item once.
    (An item that fails by itself may happen to be killed at its last attempt.)"""
    executor = ScriptedExecutor(
        script,
        crashes=crashes,
        crashes_at_start=crashes_at_start,
        timeouts=timeouts,
        losses=losses,
        seconds=seconds,
    )
    store = MemoryStore()
    summary = run_tasks(
        store, task, iter(items), poolsize=processes, numitems=told, executor=executor, recycle=recycle,
        retries=crashes + timeouts, backoff=0, timeout=10.0, errors="collect", **quiet,
    )  # fmt: skip
    outcome, hoped = stored(store), expected(items)
    for index in hoped.keys() | outcome.keys():
        if outcome[index] not in ("died", "timeout"):
            assert outcome[index] == hoped[index]
        else:
            assert isinstance(hoped[index], str), "an item failed that was tried often enough"
    assert summary.done + summary.failed == len(items)
    assert not summary.stopped
    recorded = [index for run in store.runs() for block in store.blocks(run.uid) for index in block.indices]
    assert sorted(recorded) == list(range(len(items))), "each item is in one block"


@given(items=items_to_run, script=scripts, crashes=st.integers(0, 6), processes=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_without_retries_a_crash_costs_one_item(items, script, crashes, processes):
    """The one the process was on; whatever else it held is run by others."""
    executor = ScriptedExecutor(script, crashes=crashes)
    store = MemoryStore()
    run_tasks(store, make_cheese, items, poolsize=processes, executor=executor, errors="collect", **quiet)
    outcome, hoped = stored(store), expected(items)
    lost = {index for index in hoped if outcome[index] != hoped[index]}
    assert all(outcome[index] == "died" for index in lost)
    assert len(lost) <= [step.kind for step in executor.history].count("crash")


@given(items=items_to_run, script=scripts, losses=st.integers(0, 40), processes=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_however_many_processes_are_lost_the_run_ends(items, script, losses, processes):
    """And no item is blamed that was not lost three times before; without an item to blame it gives up."""
    executor = ScriptedExecutor(script, losses=losses)
    store = MemoryStore()
    try:
        run_tasks(store, make_cheese, items, poolsize=processes, executor=executor, errors="collect", **quiet)
    except ProcessesKeepDying:
        assert losses >= 10 * processes
        return
    outcome, hoped = stored(store), expected(items)
    blamed = [index for index in hoped if outcome[index] != hoped[index]]
    assert all(outcome[index] == "lost" for index in blamed)
    assert 4 * len(blamed) <= losses


@given(
    items=st.lists(st.integers(0, 30).map(lambda number: number * 77), max_size=40),  # none of these fails
    script=scripts,
    crashes=st.integers(0, 3),
    processes=st.integers(1, 3),
    after=st.integers(0, 30),
)
@settings(max_examples=80, deadline=None)
def test_a_farm_that_was_interrupted_anywhere_can_be_resumed(items, script, crashes, processes, after):
    """Ctrl-C loses nothing that had been recorded; the second run does the rest, and nothing twice."""
    executor = Interrupted(script, after, crashes=crashes)
    store = MemoryStore()
    try:
        run_tasks(
            store,
            make_cheese,
            items,
            poolsize=processes,
            executor=executor,
            retries=crashes,
            backoff=0,
            **quiet,
        )
        before = len(items)
    except KeyboardInterrupt:
        before = store.itemcount()
    summary = run_tasks(
        store, make_cheese, items, poolsize=processes, executor=ScriptedExecutor(), resume=True, **quiet
    )
    assert (summary.skipped, summary.done) == (before, len(items) - before)
    results = [codec.decode(data) for run in store.runs() for _, data in store.encoded(run.uid)]
    assert sorted(results) == sorted(make_cheese(item) for item in items)


class Interrupted(ScriptedExecutor):
    """Somebody presses Ctrl-C in the n-th turn."""

    def __init__(self, script, after, **options):
        super().__init__(script, **options)
        self._turns_left = after

    def wait(self, timeout):
        self._turns_left -= 1
        if self._turns_left == 0:
            signal.raise_signal(signal.SIGINT)
        return super().wait(timeout)


def test_a_farm_whose_processes_die_at_their_start_gives_up():
    """As with real processes."""
    executor = ScriptedExecutor(whenever("crash at start"), crashes_at_start=100)
    with pytest.raises(ProcessesKeepDying):
        run_tasks(MemoryStore(), abs, [1, 2], poolsize=1, executor=executor, **quiet)


class Broken:
    """A class task that cannot be made."""

    def __init__(self):
        raise RuntimeError("no cow")

    def __call__(self, item):
        """Never reached."""


@pytest.mark.parametrize("seed", range(5))
def test_a_task_that_cannot_be_made_ends_the_run(seed):
    with pytest.raises(SetupError, match="no cow"):
        run_tasks(MemoryStore(), Broken, range(9), poolsize=3, executor=ScriptedExecutor(seed), **quiet)


def test_an_item_that_is_always_too_slow_fails_as_such():
    """And the others are run."""
    store = MemoryStore()
    executor = ScriptedExecutor(whenever("time out", 3), timeouts=100)
    run_tasks(
        store,
        abs,
        range(6),
        poolsize=2,
        executor=executor,
        retries=2,
        backoff=0,
        timeout=9,
        errors="collect",
        **quiet,
    )
    (failure,) = store.failures()
    assert (failure.index, failure.error.kind, failure.attempts) == (3, "timeout", 3)
    assert store.itemcount() == 5


def test_failures_are_told_in_the_order_in_which_things_ended():
    """As by a real process: what was done before comes before."""
    farm = Drive(ScriptedExecutor(prefer(Step("work", 0, 0), Step("work", 0, 1))), make_cheese)
    farm.start(0)
    farm.send(0, {0: 0, 1: 3})
    farm.next(ItemFailed, 0)
    assert [type(event) for event in farm.events[-2:]] == [ItemsDone, ItemFailed]
