"""What every executor passes; whoever writes one inherits it and adds what is special about theirs.

::

    class TestMine(ExecutorConformance):
        @pytest.fixture
        def executor_factory(self):
            return MyExecutor
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

from farmhand import codec
from farmhand.events import (
    ExecutorEvent,
    ItemFailed,
    ItemOverMemory,
    ItemsDone,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    Reported,
    SetupFailed,
)
from farmhand.executor import Executor, Job
from farmhand.shipping import Shipper
from farmhand.task import Report, Task

__all__ = ["Drive", "ExecutorConformance", "eventually", "is_alive", "needs_processes", "note", "when_there"]

E = TypeVar("E", bound=ExecutorEvent)
T = TypeVar("T")
OpenDrive: TypeAlias = "Callable[..., Drive]"
Lose: TypeAlias = "Callable[[Executor, int], None]"

HANG = 60.0  # seconds after which something that should happen is said never to happen
_LOOK = 0.2  # seconds

# The task of most tests is `eval`: an item says itself what its process is to do, and workers
# need not import this module.


def note(path: Path) -> str:
    """An item that leaves a file behind, so that a test can tell that it was run."""
    return f"__import__('pathlib').Path({str(path)!r}).write_text('')"


def when_there(path: Path) -> str:
    """An item that runs until there is a file ``path``; its result is then None."""
    look = f"__import__('time').sleep(0.005) or __import__('os').path.exists({str(path)!r})"
    return f"any(iter(lambda: {look}, True)) or None"


def is_alive(pid: int) -> bool:
    """Whether a process ``pid`` exists; one that ended but was not waited for does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return not os.path.isdir("/proc/self")  # without /proc, existing is all that can be known


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


def eventually(condition: Callable[[], T]) -> T:
    """Look until ``condition`` holds."""
    deadline = time.monotonic() + HANG
    while not (outcome := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return outcome


def needs_processes(test: T) -> T:
    """Mark a test of what only real processes can do; see `ExecutorConformance.real_processes`."""
    test.needs_processes = True  # type: ignore[attr-defined]
    return test


class Drive:
    """An executor at work, and all that it said.

    Attributes
    ----------
    room : int
        For how many processes it said that there was room, before it was opened.
    events : list
        Everything, in order.
    """

    def __init__(self, executor: Executor, task: Any, initargs: Sequence[Any] = (), **job: Any) -> None:
        self.executor = executor
        self.events: list[ExecutorEvent] = []
        self._fresh: list[ExecutorEvent] = []  # not yet handed out by `next`
        self.shipper = Shipper()
        checked = Task.check(task, initargs)
        self.room = executor.room()
        executor.open(Job(checked, partial(self.shipper.ship, checked), **{"processes": 2, **job}))

    def start(self, number: int = 0) -> int | None:
        """Start a process, wait until it is ready, and say its pid, if it is on this computer."""
        self.executor.start(number)
        pid = self.started(number)
        self.next(ProcessReady, number)
        return pid

    def started(self, number: int) -> int | None:
        """Wait until the system has started a process, and say its pid, if it is on this computer."""
        event = self.next(ProcessStarted, number)
        return None if event.computer else event.pid

    def send(self, number: int, items: Mapping[int, Any], run: Sequence[int] | None = None) -> None:
        """Send items, by index, as one block."""
        indices = list(items)
        payload = codec.encode_items(list(items.values()))
        self.executor.send(number, indices, payload, indices if run is None else run)

    def look(self, timeout: float = _LOOK) -> None:
        """Take what the executor has to say."""
        events = self.executor.wait(timeout)
        self.events += events
        self._fresh += events

    def next(self, kind: type[E], number: int | None = None) -> E:
        """The next event of this kind (and process) that was not handed out yet."""
        deadline = time.monotonic() + HANG
        while True:
            for event in self._fresh:
                if isinstance(event, kind) and number in (None, getattr(event, "number", None)):
                    self._fresh.remove(event)
                    return event
            assert time.monotonic() < deadline, f"no {kind.__name__} ever came, only {self.events}"
            self.look()

    def results(self, count: int) -> dict[int, Any]:
        """All results so far, by index, once there are at least ``count``."""
        deadline = time.monotonic() + HANG
        while len(done := self.done()) < count:
            assert time.monotonic() < deadline, f"{count} results never came, only {self.events}"
            self.look()
        return done

    def done(self) -> dict[int, Any]:
        """The results that have arrived, by index. Also checks that none came twice."""
        results: dict[int, Any] = {}
        for event in self.events:
            if isinstance(event, ItemsDone):
                assert len(event.indices) == len(event.values) == len(event.seconds)
                for index, value in zip(event.indices, event.values, strict=True):
                    assert index not in results, f"item {index} was done twice"
                    results[index] = codec.decode(value)
        return results

    def of(self, kind: type[E]) -> list[E]:
        """All events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def of_processes(self) -> list[Any]:
        """All that was said of processes so far; the rest is about the way to them, and the room."""
        return _of_processes(self.events)


class ExecutorConformance:
    """The contract of `farmhand.executor.Executor`, as tests.

    A subclass gives the fixture ``executor_factory``, which makes an executor that was not opened and has
    room for three processes; and perhaps ``lose``.

    Attributes
    ----------
    real_processes : bool
        Set to False for an executor whose processes are none: what an item does to its process
        it would do to the test.
    start_method : str
        For the `Job`.
    """

    real_processes = True
    start_method = "spawn"

    @pytest.fixture
    def executor_factory(self) -> Callable[[], Executor]:
        """What makes the executor under test."""
        raise NotImplementedError("a conformance test gives executor_factory")

    @pytest.fixture
    def lose(self) -> Lose | None:
        """What takes away the computer (or what stands for one) that a process is on; None if nothing can.

        It is called with the executor and the number of the process, which has a running item.
        """
        return None

    @pytest.fixture(autouse=True)
    def _skip_what_cannot_be(self, request: pytest.FixtureRequest) -> None:
        if not self.real_processes and getattr(request.function, "needs_processes", False):
            pytest.skip("this executor has no processes that could be blocked, killed or looked for")

    @pytest.fixture
    def drive(self, executor_factory: Callable[[], Executor]) -> Iterator[Callable[..., Drive]]:
        """Makes a `Drive` of the executor; whatever happens, it is closed in the end."""
        executors = []

        def make(task: Any = eval, initargs: Sequence[Any] = (), **job: Any) -> Drive:
            executors.append(executor_factory())
            return Drive(executors[-1], task, initargs, **{"start_method": self.start_method, **job})

        yield make
        for executor in executors:
            executor.close()

    # -- work --------------------------------------------------------------------------------------

    def test_a_process_starts_and_is_ready(self, drive: OpenDrive) -> None:
        """First the system has it, then it has made its task."""
        farm = drive()
        farm.start(0)
        assert [type(event) for event in farm.of_processes()] == [ProcessStarted, ProcessReady]

    def test_results_come_back_encoded_and_equal(self, drive: OpenDrive) -> None:
        """With when each started and how long it took; the order is that of the block."""
        farm = drive()
        farm.start(0)
        farm.send(0, {5: "6 * 7", 6: "'a cow'", 7: "[None, {'deep': 1.5}]"})
        assert farm.results(3) == {5: 42, 6: "a cow", 7: [None, {"deep": 1.5}]}
        assert [index for event in farm.of(ItemsDone) for index in event.indices] == [5, 6, 7]
        assert all(seconds >= 0 for event in farm.of(ItemsDone) for seconds in event.seconds)

    def test_only_the_items_to_be_run_are_run(self, drive: OpenDrive) -> None:
        """A block keeps the form in which it was read; what has ended elsewhere is left out."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "0", 1: "1", 2: "2", 3: "3"}, run=[1, 3])
        farm.send(0, {4: "4"})
        assert farm.results(3) == {1: 1, 3: 3, 4: 4}

    def test_a_process_works_on_one_block_after_the_other(self, drive: OpenDrive) -> None:
        """What is sent while it is busy waits for it; nothing is lost or done twice."""
        farm = drive()
        farm.start(0)
        for first in range(0, 100, 10):
            farm.send(0, {index: f"{index} ** 2" for index in range(first, first + 10)})
        assert farm.results(100) == {index: index**2 for index in range(100)}

    def test_processes_are_told_apart(self, drive: OpenDrive) -> None:
        """Each event names the process that it is about."""
        farm = drive()
        farm.start(0)
        farm.start(1)
        farm.send(0, {0: "'from 0'"})
        farm.send(1, {1: "'from 1'"})
        assert farm.results(2) == {0: "from 0", 1: "from 1"}
        assert {(event.number, index) for event in farm.of(ItemsDone) for index in event.indices} == {
            (0, 0),
            (1, 1),
        }

    def test_progress_is_reported_while_an_item_runs(self, drive: OpenDrive) -> None:
        """Together with the names that the task has given itself, and the part of the item that it is at."""
        farm = drive(_reporting)
        farm.start(0)
        farm.send(0, {3: "milking"})
        assert farm.results(1) == {3: "milking done"}
        reports = farm.of(Reported)
        assert {(report.number, report.index) for report in reports} == {(0, 3)}
        assert 0.5 in [report.complete for report in reports]
        assert reports[-1].taskname == "milking"
        assert reports[-1].phase == "the first half"

    # -- what fails ----------------------------------------------------------------------------------

    def test_an_item_that_raises_fails_and_the_process_goes_on(self, drive: OpenDrive) -> None:
        """The error comes as text; results from before it come before it."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "1", 1: "1 / 0", 2: "3"})
        assert farm.results(2) == {0: 1, 2: 3}
        (failed,) = farm.of(ItemFailed)
        assert (failed.number, failed.index, failed.error.kind) == (0, 1, "raised")
        assert failed.error.type == "ZeroDivisionError"
        assert "by zero" in failed.error.message
        assert "ZeroDivisionError" in failed.error.traceback
        before = [index for event in farm.events[: farm.events.index(failed)] if isinstance(event, ItemsDone)
                  for index in event.indices]  # fmt: skip
        assert before == [0]

    def test_leaving_the_interpreter_is_a_failure_of_the_item_alone(self, drive: OpenDrive) -> None:
        """SystemExit is no Exception, and must not end a process."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "__import__('sys').exit(3)", 1: "1"})
        assert farm.results(1) == {1: 1}
        assert [(failed.index, failed.error.type) for failed in farm.of(ItemFailed)] == [(0, "SystemExit")]

    @pytest.mark.parametrize(
        "result",
        ["(n for n in ())", "type('T', (), {'__reduce__': lambda self: (int, ('no number',))})()"],
        ids=["not pickled", "not unpickled"],
    )
    def test_a_result_that_cannot_travel_is_a_failure(self, drive: OpenDrive, result: str) -> None:
        """Whether pickling it fails, or only unpickling would."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: result, 1: "1"})
        assert farm.results(1) == {1: 1}
        assert [(f.index, f.error.kind) for f in farm.of(ItemFailed)] == [(0, "unpicklable result")]

    def test_a_block_that_cannot_be_decoded_is_asked_for_again(self, drive: OpenDrive) -> None:
        """One bad item spoils the pickle of all of them; sent apart, it fails alone."""
        farm = drive()
        farm.start(0)
        items = {0: "0", 1: _Poison(), 2: "2"}
        farm.send(0, items)
        unreadable = farm.next(ItemsUnreadable, 0)
        assert list(unreadable.indices) == [0, 1, 2]
        farm.executor.send(
            0, [0, 1, 2], codec.encode_each([codec.encode(item) for item in items.values()]), [0, 1, 2]
        )
        assert farm.results(2) == {0: 0, 2: 2}
        assert [(f.index, f.error.kind) for f in farm.of(ItemFailed)] == [(1, "unpicklable item")]

    def test_a_task_that_cannot_be_made_is_a_failed_setup(self, drive: OpenDrive) -> None:
        """A class whose __init__ raises: not ready, its error as text, and then the process ends."""
        farm = drive(partial)  # functools.partial is a class that insists on an argument
        farm.executor.start(0)
        failed = farm.next(SetupFailed, 0)
        assert failed.error.type == "TypeError"
        assert "argument" in failed.error.message
        assert farm.next(ProcessDied, 0).index is None
        assert not farm.of(ProcessReady)

    # -- recalling -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("everything", [True, False], ids=["everything", "half"])
    def test_an_item_is_either_returned_or_run(
        self, drive: OpenDrive, tmp_path: Path, everything: bool
    ) -> None:
        """However the recall and the work come together; the answer is one event."""
        farm = drive()
        farm.start(0)
        farm.send(0, {index: note(tmp_path / str(index)) for index in range(50)})
        farm.executor.recall(0, everything)
        returned = set(farm.next(ItemsReturned, 0).indices)
        farm.send(0, {50: "0"})
        assert farm.results(51 - len(returned)).keys() == set(range(51)) - returned
        assert {int(path.name) for path in tmp_path.iterdir()} == set(range(50)) - returned
        assert len(farm.of(ItemsReturned)) == 1

    @needs_processes
    def test_all_that_has_not_begun_can_be_recalled(self, drive: OpenDrive, tmp_path: Path) -> None:
        """Items of the running block and of later ones; the running item goes on to its end."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: self.gate(tmp_path), 1: note(tmp_path / "1"), 2: note(tmp_path / "2")})
        farm.send(0, {3: note(tmp_path / "3")})
        self.at_gate(tmp_path)
        farm.executor.recall(0, True)
        assert sorted(farm.next(ItemsReturned, 0).indices) == [1, 2, 3]
        self.open_gate(tmp_path)
        farm.send(0, {4: "4"})
        assert farm.results(2).keys() == {0, 4}
        assert not {"1", "2", "3"} & {path.name for path in tmp_path.iterdir()}

    @needs_processes
    def test_half_of_what_has_not_begun_can_be_recalled(self, drive: OpenDrive, tmp_path: Path) -> None:
        """For a process that has nothing to do: some, but not all, and the rest is run here."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: self.gate(tmp_path), **{index: str(index) for index in range(1, 9)}})
        self.at_gate(tmp_path)
        farm.executor.recall(0, False)
        returned = set(farm.next(ItemsReturned, 0).indices)
        assert 0 < len(returned) < 8
        assert returned < set(range(1, 9))
        self.open_gate(tmp_path)
        assert farm.results(9 - len(returned)).keys() == set(range(9)) - returned

    @pytest.mark.parametrize("blocks", [1, 3])
    def test_what_a_process_is_about_to_begin_is_not_all_taken_from_it(
        self, drive: OpenDrive, blocks: int
    ) -> None:
        """Else two processes could for ever take the same items from each other."""
        farm = drive()
        farm.executor.start(0)
        for block in range(blocks):
            farm.send(0, {2 * block: "0", 2 * block + 1: "1"})
        farm.executor.recall(0, False)
        returned = farm.next(ItemsReturned, 0).indices
        assert len(returned) < 2 * blocks
        assert len(farm.results(2 * blocks - len(returned))) == 2 * blocks - len(returned)

    def test_an_idle_process_has_nothing_to_return(self, drive: OpenDrive) -> None:
        """It still answers."""
        farm = drive()
        farm.start(0)
        farm.executor.recall(0, True)
        assert list(farm.next(ItemsReturned, 0).indices) == []

    # -- ends --------------------------------------------------------------------------------------------

    @needs_processes
    @pytest.mark.parametrize(
        ("death", "reason"), [("_exit(3)", "3"), ("kill(__import__('os').getpid(), 9)", "9")]
    )
    def test_a_process_that_dies_says_on_which_item(self, drive: OpenDrive, death: str, reason: str) -> None:
        """Results that were sent come before its death, and later items were not run."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "'early'"})
        farm.results(1)
        farm.send(0, {1: "1", 2: f"__import__('os').{death}", 3: "3"})
        died = farm.next(ProcessDied, 0)
        assert died.index == 2
        assert reason in died.reason
        assert farm.done().keys() - {1} == {0}
        assert farm.of_processes()[-1] == died

    @needs_processes
    def test_a_process_can_be_killed_in_the_middle_of_an_item(self, drive: OpenDrive, tmp_path: Path) -> None:
        """For a time-out: at once, whatever the item does."""
        farm = drive()
        pid = farm.start(0)
        farm.send(0, {0: self.gate(tmp_path), 1: "1"})
        self.at_gate(tmp_path)
        farm.executor.kill(0)
        assert farm.next(ProcessDied, 0).index == 0
        assert not farm.done()
        if pid is not None:
            eventually(partial(_is_gone, pid))

    @needs_processes
    def test_a_process_that_is_stopped_hands_over_what_it_has_finished(
        self, drive: OpenDrive, tmp_path: Path
    ) -> None:
        """In the middle of an item as well; that item ends there."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "'finished'", 1: self.gate(tmp_path), 2: note(tmp_path / "2")})
        self.at_gate(tmp_path)
        farm.executor.stop(0)
        farm.next(ProcessDied, 0)
        assert farm.done() == {0: "finished"}
        assert not (tmp_path / "2").exists()

    def test_an_idle_process_leaves_when_it_is_asked_to(self, drive: OpenDrive) -> None:
        """Having handed over everything; it was on no item."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "1"})
        farm.results(1)
        farm.executor.stop(0)
        assert farm.next(ProcessDied, 0).index is None
        assert farm.done() == {0: 1}

    def test_a_process_can_be_stopped_before_it_is_ready(self, drive: OpenDrive) -> None:
        """A farm may be over before all its processes have begun."""
        farm = drive()
        farm.executor.start(0)
        farm.executor.stop(0)
        farm.next(ProcessDied, 0)

    def test_a_number_can_be_started_again_after_its_death(self, drive: OpenDrive) -> None:
        """What was sent to it in between is dropped, not kept for the next."""
        farm = drive()
        farm.start(0)
        farm.executor.kill(0)
        farm.next(ProcessDied, 0)
        farm.send(0, {0: "'lost'"})
        farm.executor.recall(0, True)
        farm.executor.stop(0)
        farm.executor.kill(0)
        farm.start(0)
        farm.send(0, {1: "'kept'"})
        assert farm.results(1) == {1: "kept"}
        assert len(farm.of(ProcessDied)) == 1

    def test_what_is_sent_to_a_number_that_was_never_started_is_dropped(self, drive: OpenDrive) -> None:
        """It is no error: whoever sends it may not yet have heard of a death."""
        farm = drive()
        farm.start(0)
        farm.send(1, {0: "'lost'"})
        farm.executor.recall(1, True)
        farm.executor.stop(1)
        farm.executor.kill(1)
        farm.send(0, {1: "'kept'"})
        assert farm.results(1) == {1: "kept"}
        assert {event.number for event in farm.of_processes()} == {0}

    @needs_processes
    def test_a_process_that_is_lost_with_its_computer_says_so(
        self, drive: OpenDrive, lose: Lose | None, tmp_path: Path
    ) -> None:
        """It is no fault of its item, which can be run elsewhere; what had arrived stands."""
        if lose is None:
            pytest.skip("this executor has no computers to lose")
        farm = drive()
        farm.start(0)
        farm.send(0, {0: "'early'"})
        farm.results(1)
        farm.send(0, {1: self.gate(tmp_path)})
        self.at_gate(tmp_path)
        lose(farm.executor, 0)
        died = farm.next(ProcessDied, 0)
        assert died.kind == "lost"
        assert died.index in (1, None)
        assert died.reason
        self.open_gate(tmp_path)
        farm.start(0)
        farm.send(0, {1: "'elsewhere'"})
        assert farm.results(2) == {0: "early", 1: "elsewhere"}

    # -- time ----------------------------------------------------------------------------------------------

    @needs_processes
    def test_an_item_that_runs_for_too_long_is_named_once(self, drive: OpenDrive) -> None:
        """To kill its process is the farm's decision."""
        farm = drive(timeout=0.2)
        farm.start(0)
        farm.send(0, {0: "'short'", 1: "__import__('time').sleep(600)"})
        slow = farm.next(ItemTimedOut, 0)
        assert slow.index == 1
        assert slow.seconds >= 0.2
        farm.look(0.0)
        farm.executor.kill(0)
        assert farm.next(ProcessDied, 0).index == 1
        assert len(farm.of(ItemTimedOut)) == 1

    @needs_processes
    def test_how_long_an_item_may_take_can_be_said_while_it_runs(
        self, drive: OpenDrive, tmp_path: Path
    ) -> None:
        """When the durations of others show what is too long."""
        farm = drive()
        farm.start(0)
        farm.send(0, {0: self.gate(tmp_path)})
        self.at_gate(tmp_path)
        farm.executor.limit(0.01)
        late = farm.next(ItemTimedOut, 0)
        assert late.index == 0
        assert late.seconds >= 0.01
        self.open_gate(tmp_path)

    @needs_processes
    def test_what_an_item_prints_comes_with_its_end(self, drive: OpenDrive, tmp_path: Path) -> None:
        """Whether it is done, fails, or takes its process along; of much output the end."""
        farm = drive(capture=100)
        farm.start(0)
        farm.send(0, {0: "print('milk')", 1: "2", 2: "print('x' * 500)", 3: "print('sour') or 1 / 0"})
        farm.results(3)
        usage = {index: used for event in farm.of(ItemsDone) for index, used in event.usage.items()}
        assert usage[0].output == "milk\n"
        assert 1 not in usage or not usage[1].output
        assert usage[2].output == "x" * 99 + "\n"
        assert farm.next(ItemFailed, 0).usage.output == "sour\n"
        farm.send(0, {4: "print('spilt') or __import__('os')._exit(1)"})
        assert farm.next(ProcessDied, 0).usage.output == "spilt\n"

    @needs_processes
    def test_a_process_that_uses_too_much_memory_is_named(self, drive: OpenDrive, tmp_path: Path) -> None:
        """Together with the item that it is on, and with how much it is."""
        if not os.path.isdir("/proc/self/task"):
            pytest.skip("the memory of processes is not known here")
        farm = drive(memory_limit=1)
        farm.start(0)
        farm.send(0, {7: self.gate(tmp_path)})
        while farm.next(ItemOverMemory, 0).index != 7:
            pass
        assert farm.events
        self.open_gate(tmp_path)

    @needs_processes
    def test_the_running_item_is_known(self, drive: OpenDrive, tmp_path: Path) -> None:
        """For displays: which, and for how long; None for a process that has none or is none.

        From far away it may come a little later.
        """
        farm = drive()
        assert farm.executor.current(0) is None
        farm.start(0)
        assert farm.executor.current(0) is None
        farm.send(0, {0: "0", 1: self.gate(tmp_path)})
        self.at_gate(tmp_path)

        def running() -> int | None:
            farm.look(0.0)
            current = farm.executor.current(0)
            assert current is None or current[1] >= 0
            return None if current is None else current[0]

        eventually(lambda: running() == 1)
        self.open_gate(tmp_path)
        farm.results(2)
        eventually(lambda: running() is None)

    def test_wake_makes_the_next_wait_return(self, drive: OpenDrive) -> None:
        """Although nothing has happened, and nothing will."""
        farm = drive()
        farm.start(0)
        farm.executor.wake()
        assert not _of_processes(farm.executor.wait(None))

    @needs_processes
    def test_wake_works_from_another_thread(self, drive: OpenDrive) -> None:
        """While the farm's own thread waits, or just before."""
        farm = drive()
        farm.start(0)
        waker = threading.Timer(0.05, farm.executor.wake)
        waker.start()
        began = time.monotonic()
        while farm.executor.wait(HANG):
            pass  # how long the way is, say
        assert time.monotonic() - began < HANG
        waker.join()

    def test_nothing_happens_within_no_time(self, drive: OpenDrive) -> None:
        """A wait of zero seconds is a look."""
        farm = drive()
        assert not _of_processes(farm.executor.wait(0.0))

    # -- names of the script -------------------------------------------------------------------------------

    def test_names_of_main_are_defined_in_all_processes(
        self, drive: OpenDrive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In those that run and in those that start later, before the blocks that need them."""
        cow = type("Cow", (), {"__module__": "__main__"})
        monkeypatch.setattr(sys.modules["__main__"], "Cow", cow, raising=False)
        farm = drive(vars)
        farm.start(0)
        items = []
        for name in ("Ada", "Bella"):
            items.append(cow())
            items[-1].name = name
        definitions = farm.shipper.definitions(codec.encode_items(items))
        assert definitions is not None
        farm.executor.define(definitions)
        farm.send(0, {0: items[0]})
        farm.start(1)
        farm.send(1, {1: items[1]})
        assert farm.results(2) == {0: {"name": "Ada"}, 1: {"name": "Bella"}}

    # -- room -----------------------------------------------------------------------------------------------

    def test_it_says_for_how_many_processes_there_is_room(
        self, executor_factory: Callable[[], Executor]
    ) -> None:
        """Before anything else, and perhaps for nothing: the call may end there."""
        executor = executor_factory()
        room = executor.room()
        executor.close()
        assert isinstance(room, int)
        assert room >= 0

    # -- closing -------------------------------------------------------------------------------------------

    def test_it_can_be_closed_twice_and_before_it_was_opened(
        self, executor_factory: Callable[[], Executor]
    ) -> None:
        """Whatever went wrong before."""
        executor = executor_factory()
        executor.close()
        executor.close()
        executor.wake()  # from a signal handler that came late

    @needs_processes
    def test_no_process_is_left_after_closing(self, drive: OpenDrive, tmp_path: Path) -> None:
        """Idle, in the middle of an item or still starting."""
        farm = drive(processes=3)
        pids = [farm.start(0), farm.start(1)]
        farm.send(1, {0: self.gate(tmp_path)})
        self.at_gate(tmp_path)
        farm.executor.start(2)
        pids.append(farm.started(2))
        farm.executor.close()
        for pid in pids:
            if pid is not None:
                eventually(partial(_is_gone, pid))

    # -- an item that waits until the test lets it go on -----------------------------------------------------

    def gate(self, folder: Path) -> str:
        """An item that says that it runs, and then waits."""
        return f"({note(folder / 'begun')}, {when_there(folder / 'go')})"

    def at_gate(self, folder: Path) -> None:
        """Wait until the item runs."""
        eventually((folder / "begun").exists)

    def open_gate(self, folder: Path) -> None:
        """Let it go on."""
        (folder / "go").touch()


def _of_processes(events: Sequence[ExecutorEvent]) -> list[Any]:
    return [event for event in events if hasattr(event, "number")]


def _reporting(item: str, report: Report) -> str:
    report.taskname = item
    report.stage("the first half", 0, 0.5)
    report(1.0)
    return f"{item} done"


class _Poison:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("no number",)
