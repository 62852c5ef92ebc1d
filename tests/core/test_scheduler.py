"""The scheduler: short histories that say what it decides, then any history at all."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farmhand.chunking import LARGEST
from farmhand.errors import ProcessesKeepDying, SetupError, UsageError
from farmhand.events import (
    KINDS,
    Command,
    Event,
    ExecutorFailed,
    Finish,
    Finished,
    ItemError,
    ItemFailed,
    ItemOverMemory,
    ItemRejected,
    ItemsDone,
    ItemsEnded,
    ItemsRead,
    ItemsReturned,
    ItemsUnreadable,
    ItemTimedOut,
    KillProcess,
    LimitItems,
    MemoryLow,
    Pause,
    ProcessDied,
    ProcessReady,
    ProcessStarted,
    ReadItems,
    RecallItems,
    RecordDone,
    RecordFailed,
    Reported,
    Resize,
    Resume,
    RoomChanged,
    RoundTrip,
    SendItems,
    SetupFailed,
    StartProcess,
    Stop,
    StopProcess,
    Tick,
)
from farmhand.scheduler import GRACE, Scheduler

RAISED = ItemError("raised", "ValueError", "no milk")
SEGFAULT = "signal 11 (SIGSEGV)"
GONE = "no word from its worker for 30 s"
LOSSES = 3  # attempts at an item that may be lost before one that is its last


class History:
    """A scheduler, told what happens one event at a time; its invariants are checked after each.

    Items are read one batch at a time, as the test says with `feed`: ``ReadItems`` is answered at
    once, as farm.py does, with as many items as were asked for until they are used up.
    """

    def __init__(self, items: int = 100, processes: int = 2, told: bool = True, **options) -> None:
        self.scheduler = Scheduler(processes, items if told else None, remember=1000, **options)
        self.now = 0.0
        self.left = items
        self.next_index = 0
        self.commands = self._perform(self.scheduler.begin(self.now))

    def __call__(self, *events: Event, after: float = 0.0) -> list[Command]:
        """What was decided upon these events, reading apart."""
        self.now += after
        self.commands = []
        for event in events:
            self.commands += self._tell(event)
        return self.commands

    def ready(self, number: int) -> list[Command]:
        return self(ProcessReady(number))

    def done(self, number: int, *indices: int, seconds: float = 1.0) -> list[Command]:
        return self(done(number, *indices, seconds=seconds))

    def _tell(self, event: Event) -> list[Command]:
        commands = self._perform(self.scheduler.handle(event, self.now))
        self.scheduler.check()
        return commands

    def _perform(self, commands: list[Command]) -> list[Command]:
        performed: list[Command] = []
        for command in commands:
            if not isinstance(command, ReadItems):
                performed.append(command)
                continue
            count = min(command.count, self.left)
            indices = range(self.next_index, self.next_index + count)
            self.next_index += count
            self.left -= count
            if count < command.count:
                performed += self._tell(ItemsEnded())
            performed += self._tell(ItemsRead(command.number, indices))
        return performed


def done(number: int, *indices: int, seconds: float = 1.0) -> ItemsDone:
    return ItemsDone(number, indices, [b"%d" % index for index in indices], 0.0, [seconds] * len(indices))


def failed(number: int, index: int) -> ItemFailed:
    return ItemFailed(number, index, RAISED, 0.0, 1.0)


def sends(commands: list[Command]) -> dict[int, list[int]]:
    return {command.number: list(command.indices) for command in commands if isinstance(command, SendItems)}


def only(kind: type, commands: list[Command]) -> list[Command]:
    return [command for command in commands if isinstance(command, kind)]


# -- beginning and ending --------------------------------------------------------------------------


def test_a_farm_begins_by_starting_its_processes():
    """All at once; nothing is read before one of them is ready."""
    farm = History(items=100, processes=3)
    assert farm.commands == [StartProcess(0), StartProcess(1), StartProcess(2)]
    assert farm.next_index == 0


def test_no_more_processes_are_started_than_there_are_items():
    """A process costs a tenth of a second and memory."""
    assert History(items=2, processes=8).commands == [StartProcess(0), StartProcess(1)]


def test_a_process_that_is_ready_gets_one_item():
    """Nobody knows yet how long an item takes."""
    farm = History()
    assert farm.ready(0) == [SendItems(0, range(1))]
    assert farm.ready(1) == [SendItems(1, range(1, 2))]


def test_a_result_is_recorded_and_the_next_item_sent():
    """In this order: what ended is written down before anything else is decided."""
    farm = History()
    farm.ready(0)
    result = done(0, 0)
    assert farm(result) == [RecordDone(result), SendItems(0, range(1, 2))]


def test_when_the_last_item_has_ended_all_processes_leave_and_then_the_run_is_over():
    """Finished comes when they are gone, and is the last word."""
    farm = History(items=2)
    farm.ready(0)
    farm.ready(1)
    farm.done(0, 0)
    assert farm.done(1, 1)[1:] == [StopProcess(0), StopProcess(1)]
    assert farm(ProcessDied(1, None, "exit code 0")) == []
    assert farm(ProcessDied(0, None, "exit code 0")) == [Finished()]
    assert (farm.scheduler.state, farm.scheduler.done, farm.scheduler.stopped) == ("ended", 2, False)


def test_a_farm_without_items_starts_nothing():
    """farm.py knows before it begins that the feed is empty."""
    scheduler = Scheduler(4, 0)
    assert scheduler.handle(ItemsEnded(), 0.0) == [Finished()]
    assert scheduler.begin(0.0) == []


def test_a_process_that_does_not_leave_is_killed_after_a_grace():
    """And again, should that be needed; `next_wake` says when to look."""
    farm = History(items=1, processes=1)
    farm.ready(0)
    assert farm.scheduler.next_wake() is None
    assert farm.done(0, 0)[1:] == [StopProcess(0)]
    assert farm.scheduler.next_wake() == pytest.approx(farm.now + GRACE)
    assert farm(Tick(), after=GRACE / 2) == []
    assert farm(Tick(), after=GRACE / 2) == [KillProcess(0)]
    assert farm(Tick(), after=GRACE) == [KillProcess(0)]


@pytest.mark.parametrize("told", [0, 1, 1000, None])
def test_a_wrong_length_costs_speed_but_never_items(told):
    """numitems is only what the user said."""
    world = World(processes=2, items=20, told=told)
    world.play_to_the_end()
    assert world.ended == dict.fromkeys(range(20), "done")


def test_a_feed_that_is_longer_than_it_should_be_occupies_all_processes():
    """Once more came than there should be, the number means nothing any more."""
    farm = History(items=100, processes=4, told=False)
    farm.scheduler.learn(1)
    farm.ready(0)
    farm.done(0, 0)
    assert len(farm.scheduler.processes) == 4


def test_the_feed_is_asked_before_a_process_is_started_only_to_find_it_empty():
    """All items that there should be have ended, the feed has not said that it has, and no process is left.

    This was a hang: a process that died on the last item was not replaced, and only a process
    that is ready made the farm ask for more.
    """
    scheduler = Scheduler(1, 1)
    assert scheduler.begin(0.0) == [StartProcess(0)]
    assert scheduler.handle(ProcessReady(0), 0.0) == [ReadItems(0, 1)]
    assert scheduler.handle(ItemsRead(0, [0]), 0.0) == [SendItems(0, [0])]
    commands = scheduler.handle(ProcessDied(0, 0, SEGFAULT), 0.0)
    assert [type(command) for command in commands] == [RecordFailed, ReadItems]
    assert scheduler.handle(ItemsEnded(), 0.0) == []
    assert scheduler.handle(ItemsRead(0, []), 0.0) == [Finished()]


def test_items_that_come_although_none_should_be_left_are_run():
    """The answer to a question that no process asked waits for a process."""
    scheduler = Scheduler(2, 0)
    assert scheduler.begin(0.0) == [ReadItems(0, 1)]
    assert scheduler.handle(ItemsRead(0, [0]), 0.0) == [StartProcess(0), StartProcess(1)]
    assert scheduler.handle(ProcessReady(0), 0.0) == [SendItems(0, [0])]


def test_processes_are_started_before_the_feed_is_asked():
    """Its answer may end the run at once, and then they are asked to leave: not before they are started."""
    scheduler = Scheduler(2)
    scheduler.begin(0.0)
    scheduler.handle(ProcessReady(0), 0.0)
    scheduler.handle(ItemsRead(0, [0]), 0.0)
    scheduler.handle(ProcessReady(1), 0.0)
    scheduler.handle(ItemsRead(1, [1]), 0.0)
    scheduler.handle(done(0, 0), 0.0)
    scheduler.handle(ItemsRead(0, []), 0.0)  # ask again later
    commands = scheduler.handle(ProcessDied(1, 1, SEGFAULT), 0.0)
    assert [type(command) for command in commands] == [RecordFailed, StartProcess, ReadItems]


def test_an_empty_answer_of_the_feed_means_ask_again():
    """It is still skipping what the store has; meanwhile the farm attends to other things."""
    scheduler = Scheduler(1)
    scheduler.begin(0.0)
    assert scheduler.handle(ProcessReady(0), 0.0) == [ReadItems(0, 1)]
    assert scheduler.handle(ItemsRead(0, []), 0.0) == []
    assert scheduler.next_wake() == float("-inf")
    assert scheduler.handle(Tick(), 0.0) == [ReadItems(0, 1)]
    assert scheduler.next_wake() is None


def test_an_item_that_cannot_be_sent_is_a_failure_of_no_process():
    """It was never held by any."""
    farm = History(processes=1)
    farm.ready(0)
    assert farm(ItemRejected(99, RAISED)) == [RecordFailed(99, RAISED)]


# -- chunks ------------------------------------------------------------------------------------------


def test_tiny_items_travel_in_growing_chunks():
    """So that what an item costs beside the task is shared by thousands."""
    farm = History(items=1_000_000, processes=1)
    farm.ready(0)
    sizes = [1]
    held = [0]
    while sizes[-1] < LARGEST:
        (held,) = sends(farm.done(0, *held, seconds=1e-6)).values()
        assert len(held) > sizes[-1]
        sizes.append(len(held))
    assert max(sizes) == LARGEST


def test_long_items_travel_alone():
    """Behind an item of a second, none waits that another process could take."""
    farm = History(processes=2)
    farm.ready(0)
    for index in range(5):
        assert sends(farm.done(0, index, seconds=1.0)) == {0: [index + 1]}


def test_a_process_with_short_items_never_waits_for_the_next():
    """It is sent more before it has ended what it has."""
    farm = History(items=10_000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    while len(block) < 10:
        (block,) = sends(farm.done(0, *block, seconds=0.001)).values()
    more = sends(farm.done(0, *block[: len(block) * 2 // 3], seconds=0.001))
    assert more[0]
    assert farm.scheduler.holder(0) == {*block[len(block) * 2 // 3 :], *more[0]}


def test_an_item_of_some_milliseconds_has_the_next_one_waiting_behind_it():
    """A round trip for each would be a part of its time."""
    farm = History(items=10, processes=1)
    farm.ready(0)
    assert sends(farm.done(0, 0, seconds=0.05)) == {0: [2]}
    assert farm.scheduler.holder(0) == {1, 2}
    assert sends(farm.done(0, 1, seconds=0.05)) == {0: [3]}


def test_a_feed_that_has_less_than_it_was_asked_for_is_not_asked_again_at_once():
    """It is slow, and what had ended would not be stored meanwhile."""
    scheduler = Scheduler(1)
    scheduler.begin(0.0)
    scheduler.handle(ProcessReady(0), 0.0)
    scheduler.handle(ItemsRead(0, [0]), 0.0)
    (asked,) = only(ReadItems, scheduler.handle(done(0, 0, seconds=0.001), 0.001))
    assert asked.count > 1
    assert scheduler.handle(ItemsRead(0, [1]), 0.001) == [SendItems(0, [1])]


def test_an_idle_process_takes_half_of_what_waits_in_another():
    """At the end, when there is nothing more to read."""
    farm = History(items=100, processes=2, told=False)
    farm.ready(0)
    held = [0]
    while farm.left:
        (held,) = sends(farm.done(0, *held, seconds=0.0001)).values()
    held = sorted(farm.scheduler.holder(0))
    assert len(held) > 3
    assert farm.ready(1) == [RecallItems(0, everything=False)]
    half = held[len(held) // 2 :]
    commands = farm(ItemsReturned(0, half))
    assert min(index for block in sends(commands).values() for index in block) == half[0]
    assert farm.scheduler.holder(1) <= set(half)
    assert farm.scheduler.holder(1)


def test_a_recall_that_brought_nothing_is_tried_again_when_its_process_goes_on():
    """It may have been decoding its block, or its results were still on the way."""
    farm = an_unequal_end()
    assert farm.ready(1) == [RecallItems(0, everything=False)]
    assert farm(ItemsReturned(0, [])) == []
    first = min(farm.scheduler.holder(0))
    assert RecallItems(0, everything=False) in farm.done(0, first, seconds=0.001)


def an_unequal_end() -> History:
    """Process 0 holds all that is left, process 1 is not ready yet, the feed has ended."""
    farm = History(items=100, processes=2, told=False)
    farm.ready(0)
    held = [0]
    while farm.left:
        (held,) = sends(farm.done(0, *held, seconds=0.0001)).values()
    assert len(farm.scheduler.holder(0)) > 3
    return farm


def test_all_processes_end_together():
    """8 processes and 4000 items of very different lengths, in virtual time."""
    source = random.Random(1)
    seconds = [source.lognormvariate(-6, 1.0) for _ in range(4000)]
    assert makespan(seconds, processes=8) < 1.1 * sum(seconds) / 8 + max(seconds)


def test_hundreds_of_processes_share_tens_of_thousands_of_items():
    """The same in large; a new process gets its first item without waiting for the others."""
    assert makespan([0.01] * 30_000, processes=300) < 1.2 * 30_000 * 0.01 / 300 + 0.1


@pytest.mark.parametrize("way", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("mean", [0.0005, 0.01, 0.1, 1.0])
def test_processes_that_are_far_away_hardly_ever_wait(mean, way):
    """Whatever the items are like: some round trips to begin and to end with, some unevenness in the end."""
    source = random.Random(1)
    count = 12_000 if mean < 0.05 else 1_600
    seconds = [mean * source.lognormvariate(-0.125, 0.5) for _ in range(count)]
    took = makespan(seconds, processes=8, trip=way, far=True)
    assert took < 1.02 * sum(seconds) / 8 + max(seconds) + 6 * 2 * way


def makespan(seconds: list[float], processes: int, trip: float = 0.0005, far: bool = False) -> float:
    """How long a farm takes, in a world where a message takes ``trip`` seconds and the rest no time."""
    scheduler = Scheduler(processes, len(seconds))
    now, order, next_index = 0.0, 0, 0
    inbox: list[tuple[float, int, Callable[[], object]]] = []  # what arrives when, at whom
    queues: dict[int, deque[int]] = {}
    free: dict[int, bool] = {}
    ended = 0.0

    def later(delay: float, what: Callable[[], object]) -> None:
        nonlocal order
        order += 1
        heapq.heappush(inbox, (now + delay, order, what))

    def tell(event: Event) -> None:
        perform(scheduler.handle(event, now))

    def begin_item(number: int) -> None:
        free[number] = not queues[number]
        if not free[number]:
            later(seconds[queues[number][0]], lambda: end_item(number))

    def end_item(number: int) -> None:
        nonlocal ended
        ended = now
        index = queues[number].popleft()
        later(trip, lambda: tell(done(number, index, seconds=seconds[index])))
        begin_item(number)

    def receive(number: int, indices: list[int]) -> None:
        queues[number].extend(indices)
        if free[number]:
            begin_item(number)

    def give_back(number: int) -> None:
        count = len(queues[number]) // 2
        returned = [queues[number].pop() for _ in range(count)]
        later(trip, lambda: tell(ItemsReturned(number, returned)))

    def perform(commands: list[Command]) -> None:
        nonlocal next_index
        for command in commands:
            match command:
                case StartProcess(number):
                    queues[number], free[number] = deque(), True
                    later(trip, lambda number=number: tell(ProcessReady(number)))
                case SendItems(number, indices):
                    later(trip, lambda number=number, indices=list(indices): receive(number, indices))
                case RecallItems(number):
                    later(trip, lambda number=number: give_back(number))
                case StopProcess(number):
                    later(trip, lambda number=number: tell(ProcessDied(number, None, "exit code 0")))
                case ReadItems(number, count):
                    count = min(count, len(seconds) - next_index)
                    next_index += count
                    if next_index == len(seconds):
                        tell(ItemsEnded())
                    tell(ItemsRead(number, range(next_index - count, next_index)))

    perform(scheduler.begin(now))
    if far:
        tell(RoundTrip(2 * trip))
    while inbox or scheduler.state != "ended":
        wake = scheduler.next_wake()
        if wake is not None and (not inbox or wake < inbox[0][0]):
            now = max(now, wake)
            tell(Tick())
            continue
        now, _, what = heapq.heappop(inbox)
        what()
    assert scheduler.state == "ended"
    assert scheduler.done == len(seconds)
    return ended


# -- far away ----------------------------------------------------------------------------------------


def test_far_away_a_chunk_is_larger_and_the_next_one_comes_earlier():
    """A process lives on what it holds while its question and the answer are on their way."""
    near, far = History(items=10_000, processes=1), History(items=10_000, processes=1)
    far(RoundTrip(0.1))
    held = []
    for farm in (near, far):
        farm.ready(0)
        farm.done(0, 0, seconds=0.01)
        held.append(len(farm.scheduler.holder(0)))
    assert held[0] * 0.01 < 0.1 < held[1] * 0.01


def test_what_the_first_items_say_is_not_believed_before_half_of_the_processes_have_ended_one():
    """Those that end first are the short ones; what is sent too much could not be taken back soon."""
    farm = History(items=10_000, processes=4)
    farm(RoundTrip(0.05))
    for number in range(4):
        farm.ready(number)
    assert sends(farm.done(0, 0, seconds=0.0001)) == {0: [4]}
    farm.done(1, 1, seconds=0.0001)
    assert len(farm.scheduler.holder(1)) > 100


def test_far_away_several_processes_are_asked_for_items_at_once():
    """One answer after the other would take a round trip for each process that has nothing to do."""
    farm = History(items=10, processes=6, told=False)
    farm(RoundTrip(0.05))
    for number in range(3):
        farm.ready(number)
    for number in (0, 1, 2, 0):
        farm.done(number, min(farm.scheduler.holder(number)), seconds=1.0)
    assert [len(farm.scheduler.holder(number)) for number in range(3)] == [2, 2, 2]
    assert [farm.ready(number) for number in (3, 4, 5)] == [[RecallItems(0)], [], []]
    wake = farm.scheduler.next_wake()
    assert 0 < wake < 0.05
    assert farm(Tick(), after=wake) == [RecallItems(1), RecallItems(2)]


def test_items_that_will_soon_have_ended_are_left_where_they_are():
    """Half of what takes 10 ms would be on its way for 150 ms."""
    farm = a_process_with_tiny_items()
    assert farm.ready(1) == []


def test_items_that_have_not_ended_although_they_should_are_taken_after_all():
    """Their process is on one that is longer than all others. The scheduler asks to be woken, to find out."""
    farm = a_process_with_tiny_items()
    farm.ready(1)
    wake = farm.scheduler.next_wake()
    assert wake is not None
    commands = []
    while not commands:
        farm.now = wake
        commands = farm(Tick())
        wake = farm.scheduler.next_wake()
        assert farm.now < 1.0
    assert commands == [RecallItems(0)]
    assert wake is None or wake > farm.now


def a_process_with_tiny_items() -> History:
    """Process 0 has 10 items of a millisecond left, process 1 is not ready yet, the feed has ended."""
    farm = History(items=100, processes=2, told=False)
    farm(RoundTrip(0.1))
    farm.ready(0)
    farm.done(0, 0, seconds=0.001)
    assert not farm.left
    farm.done(0, *sorted(farm.scheduler.holder(0))[:-10], seconds=0.001)
    assert len(farm.scheduler.holder(0)) == 10
    return farm


# -- failures ----------------------------------------------------------------------------------------


def test_an_item_that_fails_is_recorded_and_its_process_goes_on():
    """With the error as it came."""
    farm = History()
    farm.ready(0)
    assert farm(failed(0, 0)) == [RecordFailed(0, RAISED, 0, 0.0, 1.0, 1), SendItems(0, range(1, 2))]


def test_a_process_whose_item_failed_is_sent_more_although_it_still_holds_some():
    """Also while items wait for whoever is free: it is among these."""
    farm = History(items=1000, processes=1, retries=1)
    farm.ready(0)
    farm.done(0, 0, seconds=0.01)
    held = sorted(farm.scheduler.holder(0))
    assert len(held) > 3
    for index in held[:-1]:
        farm(ItemFailed(0, index, RAISED, started=0.0, seconds=0.01))
    assert len(farm.scheduler.holder(0)) > 1


def test_an_item_is_tried_again_as_often_as_was_asked():
    """Each failed attempt is recorded with its number; only the last one is the item's end."""
    farm = History(items=1, processes=1, retries=2)
    farm.ready(0)
    for attempt in (1, 2):
        again = RecordFailed(0, RAISED, 0, 0.0, 1.0, attempts=attempt, again=True)
        assert farm(failed(0, 0)) == [again, SendItems(0, [0])]
        assert farm.scheduler.failed == 0
    assert farm(failed(0, 0))[0] == RecordFailed(0, RAISED, 0, 0.0, 1.0, attempts=3)


def test_each_kind_of_failure_has_its_own_number_of_retries():
    """A process that died may have had bad luck; what raises will raise again."""
    farm = History(items=1, processes=1, retries={"died": 2, "timeout": 1})
    farm.ready(0)
    for attempt in (1, 2):
        (record,) = only(RecordFailed, farm(ProcessDied(0, 0, SEGFAULT)))
        assert (record.attempts, record.again) == (attempt, True)
        farm.ready(0)
    farm(ItemTimedOut(0, 0, 9.0))
    (record,) = only(RecordFailed, farm(ProcessDied(0, 0, "signal 9 (SIGKILL)")))
    assert (record.error.kind, record.attempts, record.again) == ("timeout", 3, True)
    farm.ready(0)
    (record,) = only(RecordFailed, farm(failed(0, 0)))
    assert (record.error.kind, record.attempts, record.again) == ("raised", 4, False)


def test_an_item_rests_before_it_is_tried_again_and_longer_each_time():
    """Whatever was in its way may need time to go; meanwhile its process does something else."""
    farm = History(items=2, processes=1, retries=3, backoff=0.5)
    farm.ready(0)
    assert sends(farm(failed(0, 0))) == {0: [1]}
    assert farm.scheduler.next_wake() == 0.5
    assert farm(Tick(), after=0.4) == []
    assert not sends(farm.done(0, 1))
    assert sends(farm(Tick(), after=0.1)) == {0: [0]}
    farm(failed(0, 0))
    assert farm.scheduler.next_wake() == 0.5 + 1.0
    assert farm(Finish())[-1] == StopProcess(0), "nobody waits for it any more"
    assert farm.scheduler.abandoned == 1


def test_no_item_rests_for_longer_than_a_minute():
    """However often it has failed."""
    farm = History(items=1, processes=1, retries=5000, backoff=1.0)
    farm.ready(0)
    for _ in range(1200):
        farm(failed(0, 0))
        assert farm.scheduler.next_wake() - farm.now <= 60
        assert sends(farm(Tick(), after=60)) == {0: [0]}


def test_a_success_after_failures_says_how_many_attempts_it_took():
    """Only for such items, so that the others cost nothing."""
    farm = History(items=2, processes=1, retries=2)
    farm.ready(0)
    farm(failed(0, 0))
    (sent,) = sends(farm.commands).values()
    other = ({0, 1} - set(sent)).pop()
    (record,) = only(RecordDone, farm.done(0, 0))
    assert record.attempts == {0: 2}
    (record,) = only(RecordDone, farm.done(0, other))
    assert record.attempts == {}


def test_a_process_that_dies_costs_one_item_and_is_replaced():
    """Only the item it was on has failed; a new process takes its number."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    assert len(block) > 2
    commands = farm(ProcessDied(0, block[1], SEGFAULT))
    assert commands == [
        RecordFailed(block[1], ItemError("died", "", f"process died: {SEGFAULT}"), 0),
        StartProcess(0),
    ]
    assert sends(farm.ready(0))[0][: len(block) - 1] == [block[0], *block[2:]], "the rest comes first"


def test_what_a_dead_process_held_goes_to_the_others():
    """At once, if one of them has nothing to do."""
    farm = History(items=2, processes=2)
    farm.ready(0)
    farm.ready(1)
    farm.done(1, 1)
    assert farm(ProcessDied(0, None, SEGFAULT)) == [SendItems(1, [0])]


def test_a_death_on_an_item_that_had_ended_fails_nothing():
    """The last thing it wrote down was that item, but its result had arrived."""
    farm = History(processes=1)
    farm.ready(0)
    farm.done(0, 0)
    commands = farm(ProcessDied(0, 0, SEGFAULT))
    assert commands == [StartProcess(0)]
    assert sends(farm.ready(0)) == {0: [1]}


def test_items_that_were_there_when_a_process_died_are_sent_alone_until_it_is_known_which_it_was():
    """A task may spoil its process and return; then nobody knows, but no item may go on killing for ever."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    farm.done(0, 0, seconds=0.01)
    held = sorted(farm.scheduler.holder(0))
    assert len(held) > 1
    assert not only(RecordFailed, farm(ProcessDied(0, None, "signal 9 (SIGKILL)")))
    assert sends(farm.ready(0)) == {0: held[:1]}
    assert sends(farm.done(0, held[0])) == {0: held[1:2]}
    (record,) = only(RecordFailed, farm(ProcessDied(0, None, "signal 9 (SIGKILL)")))
    assert (record.index, record.error.kind) == (held[1], "died")
    assert farm.scheduler.error is None


def test_an_item_that_was_there_once_is_no_culprit():
    """Its process may have been killed by somebody; it takes two deaths to be blamed without proof."""
    farm = History(items=1, processes=1)
    farm.ready(0)
    assert not only(RecordFailed, farm(ProcessDied(0, None, "signal 9 (SIGKILL)")))
    farm.ready(0)
    (record,) = only(RecordDone, farm.done(0, 0))
    assert record.attempts == {}


def test_processes_that_die_before_they_are_ready_end_the_run():
    """Else they would be started for ever; the error says how the last one ended."""
    farm = History(processes=1)
    assert farm(ProcessDied(0, None, SEGFAULT)) == [StartProcess(0)]
    assert farm(ProcessDied(0, None, SEGFAULT)) == [StartProcess(0)]
    assert farm(ProcessDied(0, None, SEGFAULT)) == [Finished()]
    assert isinstance(farm.scheduler.error, ProcessesKeepDying)
    assert SEGFAULT in str(farm.scheduler.error)


def test_a_process_that_is_killed_for_an_item_is_none_that_cannot_start():
    """Even when it had gone on to another item, so that nobody is blamed."""
    farm = History(items=10, processes=1)
    for _ in range(2):
        farm(ProcessDied(0, None, SEGFAULT))
    farm.ready(0)
    farm(ItemTimedOut(0, 0, 9.0))
    farm(ProcessDied(0, None, "signal 9 (SIGKILL)"))
    assert farm.scheduler.error is None


def test_any_item_that_ends_shows_that_processes_can_live():
    """Deaths are counted only when nothing comes in between; so are items that kill their process."""
    farm = History(processes=1)
    for index in range(10):
        farm(ProcessDied(0, None, SEGFAULT))
        farm(ProcessDied(0, None, SEGFAULT))
        farm.ready(0)
        assert sends(farm.commands) == {0: [index]}
        if index % 2:
            farm.done(0, index)
            farm(ProcessDied(0, None, SEGFAULT))
            farm.ready(0)
            index = min(farm.scheduler.holder(0))
            farm(ProcessDied(0, index, SEGFAULT))
            break
        farm(ProcessDied(0, index, SEGFAULT))
    assert farm.scheduler.error is None


def test_a_task_that_cannot_be_made_ends_the_run():
    """It is a mistake in the set-up, and would be one in every other process."""
    farm = History(processes=2)
    farm.ready(1)
    commands = farm(SetupFailed(0, ItemError("setup", "KeyError", "'PATH'", "Traceback ...")))
    assert commands == [StopProcess(0), StopProcess(1)]
    assert isinstance(farm.scheduler.error, SetupError)
    assert farm(ProcessDied(0, None, "exit code 0"), ProcessDied(1, 0, "exit code 0")) == [Finished()]
    assert farm.scheduler.abandoned == 1


# -- losses ------------------------------------------------------------------------------------------


def lost(number: int, index: int | None = None) -> ProcessDied:
    return ProcessDied(number, index, GONE, kind="lost")


def test_an_item_whose_process_was_lost_is_tried_again_by_itself():
    """Its computer is gone, which is no fault of its own: at once, before others, whatever `retries` says."""
    farm = History(items=10, processes=2, backoff=5.0)
    farm.ready(0)
    farm.ready(1)
    (record, start) = farm(lost(0, 0))
    assert (record.index, record.error.kind, record.again) == (0, "lost", True)
    assert record.error.message == f"process lost: {GONE}"
    assert start == StartProcess(0)
    assert sends(farm.ready(0)) == {0: [0]}
    (done,) = only(RecordDone, farm.done(0, 0))
    assert done.attempts == {0: 2}


def test_an_item_that_is_lost_again_and_again_fails():
    """Perhaps it is what ends them; the error says how often, and how it ended."""
    farm = History(items=1, processes=1, retries=0)
    for _ in range(LOSSES):
        farm.ready(0)
        assert only(RecordFailed, farm(lost(0, 0)))[0].again
    farm.ready(0)
    record, *_ = farm(lost(0, 0))
    assert (record.error.kind, record.attempts, record.again) == ("lost", 4, False)
    assert record.error.message.startswith("lost 4 times, each time with the computer or worker")
    assert GONE in record.error.message


@pytest.mark.parametrize(
    ("retries", "attempts"), [({"lost": 0}, 1), ({"lost": 5}, 6), ({"died": 1}, 4), (7, 4)]
)
def test_how_often_an_item_may_be_lost_can_be_said(retries, attempts):
    """By its kind alone: a number for all kinds is for what an item does."""
    farm = History(items=1, processes=1, retries=retries)
    for attempt in range(1, attempts + 1):
        farm.ready(0)
        record, *_ = farm(lost(0, 0))
        assert record.again == (attempt < attempts)
    assert farm.scheduler.failed == 1


def test_losses_are_not_counted_as_other_failures():
    """Neither way round: after three losses an item may still raise as often as was said."""
    farm = History(items=1, processes=1, retries=1, backoff=0.0)
    for _ in range(LOSSES):
        farm.ready(0)
        farm(lost(0, 0))
    farm.ready(0)
    assert only(RecordFailed, farm(failed(0, 0)))[0].again
    assert not only(RecordFailed, farm(failed(0, 0)))[0].again


def test_what_a_lost_process_held_comes_first_and_nobody_is_suspected():
    """Of tiny items nobody knows which one it was on; they go out together, as before."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    assert len(block) > 2
    assert farm(lost(0)) == [StartProcess(0)]
    assert not farm.scheduler.suspects
    assert sends(farm.ready(0))[0][: len(block)] == list(block)


def test_one_item_that_ends_worker_after_worker_is_found():
    """Among many tiny ones, none of which fails for it."""
    farm = History(items=200, processes=1)
    farm.ready(0)
    farm.done(0, 0, seconds=0.001)
    culprit, losses = 7, 0
    while farm.scheduler.state != "ended":
        held = sorted(farm.scheduler.holder(0))
        before = [index for index in held if index < culprit]
        if before:
            farm.done(0, *before, seconds=0.001)
        elif culprit in held:
            losses += 1
            farm(lost(0))
            farm.ready(0)
        elif held:
            farm.done(0, *held, seconds=0.001)
        else:
            farm(ProcessDied(0, None, "exit code 0"))
    assert (farm.scheduler.done, farm.scheduler.failed) == (199, 1)
    assert losses == 2 * LOSSES + 2, "three together with others, one that may be chance, then four alone"


def test_an_item_that_ends_its_worker_takes_no_other_with_it_for_good():
    """Four processes of one worker, which the same item ends again and again: nothing else fails.

    The others are lost with it, three times, but whoever may be lost only once more is alone with that.
    """
    farm = History(items=12, processes=4)
    culprit, losses = 2, 0
    while farm.scheduler.state != "ended":
        for number, state in farm.scheduler.processes.items():
            if state == "starting":
                farm.ready(number)
        running = {n: min(held) for n in farm.scheduler.processes if (held := farm.scheduler.holder(n))}
        if culprit in running.values():
            losses += 1
            farm(*(lost(number, running.get(number)) for number in farm.scheduler.processes))
        elif running:
            farm.done(max(running), running[max(running)])
        else:
            farm(*(ProcessDied(number, None, "exit code 0") for number in farm.scheduler.processes))
    assert (farm.scheduler.done, farm.scheduler.failed) == (11, 1)
    assert losses == LOSSES + 1


def test_items_that_may_be_lost_once_more_share_no_computer():
    """On each one runs; the others are run meanwhile."""
    farm = History(items=9, processes=4)
    for _ in range(LOSSES):
        for number in range(4):
            farm(ProcessStarted(number, 1, f"node{number % 2}"), ProcessReady(number))
        farm(*(lost(number, min(farm.scheduler.holder(number))) for number in range(4)))
    for number in range(4):
        farm(ProcessStarted(number, 1, f"node{number % 2}"), ProcessReady(number))
    held = [min(farm.scheduler.holder(number)) for number in range(4)]
    assert set(held[:2]) < {0, 1, 2, 3}
    assert set(held[2:]) == {4, 5}
    (sent,) = sends(farm.done(0, held[0])).values()
    assert set(sent) < {0, 1, 2, 3}


def test_a_computer_that_has_one_such_item_keeps_none_from_another():
    """It has nothing to do itself, which says nothing of the others."""
    farm = History(items=2, processes=5, told=False, retries={"lost": 1})
    for number, computer in enumerate(["node2", "node2", "node0", "node0", "node1"]):
        farm(ProcessStarted(number, 1, computer), ProcessReady(number))
    assert not sends(farm(lost(0, 0), lost(1, 1))), "others may be about to be lost as well"
    assert sends(farm(Tick())) == {2: [1], 4: [0]}


def test_items_that_are_run_after_losses_are_innocent():
    """What ends is forgotten; else a long run would end with everybody under suspicion."""
    farm = History(items=1000, processes=1)
    for _ in range(10):
        farm.ready(0)
        farm.done(0, *farm.scheduler.holder(0), seconds=0.001)
        farm(lost(0))
    assert not farm.scheduler.suspects
    assert farm.scheduler.error is None


def test_losses_are_no_deaths_in_a_row():
    """However many computers go, as long as work is done in between or others can do it."""
    farm = History(items=100, processes=2)
    farm.ready(1)
    for _ in range(100):
        assert farm(lost(0)) == [StartProcess(0)]
    assert farm.scheduler.error is None


def test_where_no_process_ever_gets_ready_the_run_ends():
    """Each worker is gone before it has begun anything: that would go on for ever."""
    farm = History(processes=2)
    for count in range(1, 20):
        assert farm(lost(count % 2)) == [StartProcess(count % 2)]
    farm(lost(0))
    assert isinstance(farm.scheduler.error, ProcessesKeepDying)
    assert "20 processes in a row were lost" in str(farm.scheduler.error)
    assert GONE in str(farm.scheduler.error)
    farm(lost(1))
    assert farm.scheduler.state == "ended"


def test_a_process_that_gets_ready_shows_that_others_can():
    """Nights in which all computers are taken away before anybody has begun add up to nothing."""
    farm = History(processes=1)
    for _ in range(50):
        for _ in range(9):
            farm(lost(0))
        farm.ready(0)
        farm(lost(0))
        farm(ProcessReady(0), done(0, *farm.scheduler.holder(0)), lost(0))
    assert farm.scheduler.error is None


def test_what_is_lost_while_the_run_ends_is_given_up():
    """As with any death: stopping, it is abandoned; finishing, it is a failure that `resume` repeats."""
    farm = History(items=10, processes=1)
    farm.ready(0)
    farm(Stop())
    assert farm(lost(0, 0)) == [Finished()]
    assert (farm.scheduler.failed, farm.scheduler.abandoned) == (0, 1)
    farm = History(items=10, processes=1)
    farm.ready(0)
    farm(Finish())
    record, *_ = farm(lost(0, 0))
    assert (record.error.kind, record.again) == ("lost", False)


def test_an_item_that_took_too_long_on_a_computer_that_was_lost_took_too_long():
    """It would again."""
    farm = History(items=1, processes=1)
    farm.ready(0)
    farm(ItemTimedOut(0, 0, 5.0))
    assert farm(lost(0, 0))[0].error.kind == "timeout"


def test_the_computer_is_named_where_a_process_was_on_another():
    """Of a thousand workers, perhaps one has too little memory."""
    farm = History(items=1, processes=1, retries=1, backoff=0.0)
    farm(ProcessStarted(0, 77, "node17"), ProcessReady(0))
    assert farm(ProcessDied(0, 0, SEGFAULT))[0].error.message == f"process died on node17: {SEGFAULT}"
    farm(ProcessStarted(0, 78, "node18"))
    farm(SetupFailed(0, ItemError("setup", "ImportError", "no cow")))
    assert "process 0 on node18 could not set up" in str(farm.scheduler.error)


def test_an_executor_that_cannot_go_on_ends_the_run():
    """Its error is the run's; what its processes have finished still comes."""
    farm = History(processes=2)
    farm.ready(0)
    farm.ready(1)
    error = UsageError("the cluster is gone")
    assert farm(ExecutorFailed(error)) == [StopProcess(0), StopProcess(1)]
    assert only(RecordDone, farm.done(0, 0))
    farm(lost(0), lost(1))
    assert farm.scheduler.state == "ended"
    assert farm.scheduler.error is error


# -- time-outs ---------------------------------------------------------------------------------------


def test_an_item_that_takes_too_long_costs_its_process():
    """It is killed, the item has failed with kind 'timeout', and a new process takes the number."""
    farm = History(processes=1)
    farm.ready(0)
    assert farm(ItemTimedOut(0, 0, 5.0)) == [KillProcess(0)]
    record, start = farm(ProcessDied(0, 0, "signal 9 (SIGKILL)"))
    assert (record.index, record.error.kind) == (0, "timeout")
    assert start == StartProcess(0)


def test_a_process_that_is_to_be_killed_gets_no_more_work():
    """Its item ended just in time, but the kill is on its way; the result counts."""
    farm = History(processes=1)
    farm.ready(0)
    farm(ItemTimedOut(0, 0, 5.0))
    (record,) = farm.done(0, 0)
    assert record.done.indices == (0,)
    assert farm(ProcessDied(0, None, "signal 9 (SIGKILL)")) == [StartProcess(0)]
    assert farm.scheduler.error is None


def test_the_item_after_the_one_that_was_too_slow_is_not_blamed():
    """The process had gone on to it when it was killed."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    farm(ItemTimedOut(0, block[0], 5.0))
    farm.done(0, block[0])
    assert only(RecordFailed, farm(ProcessDied(0, block[1], "signal 9 (SIGKILL)"))) == []
    assert sends(farm.ready(0))[0][0] == block[1]


def test_a_time_out_of_an_item_that_has_ended_is_too_late():
    """Nobody is killed for it."""
    farm = History(processes=1)
    farm.ready(0)
    farm.done(0, 0)
    assert farm(ItemTimedOut(0, 0, 5.0)) == []


# -- recycling ---------------------------------------------------------------------------------------


def test_what_takes_too_long_is_measured_by_the_median():
    """Once a few items have ended; it is told again when it has changed, and is never below a second."""
    farm = History(items=100, processes=1, timeout_factor=5.0)
    farm.ready(0)
    told = [only(LimitItems, farm.done(0, index, seconds=2.0)) for index in range(4)]
    assert told == [[], [], [], []]
    assert only(LimitItems, farm.done(0, 4, seconds=30.0)) == [LimitItems(10.0)]
    assert only(LimitItems, farm.done(0, 5, seconds=2.1)) == []
    for index in range(6, 40):
        farm.done(0, index, seconds=0.001)
    (last,) = {command.seconds for command in farm.commands if isinstance(command, LimitItems)} or {1.0}
    assert last == 1.0


def test_an_item_that_uses_too_much_memory_costs_its_process():
    """It fails with that reason, and a new process takes the number."""
    farm = History(processes=1)
    farm.ready(0)
    assert farm(ItemOverMemory(0, 0, 3 * 10**9)) == [KillProcess(0)]
    assert farm(ItemOverMemory(0, 0, 4 * 10**9)) == []
    record, start = farm(ProcessDied(0, 0, "signal 9 (SIGKILL)"))
    assert (record.error.kind, start) == ("memory", StartProcess(0))
    assert "3,000 MB" in record.error.message


def test_processes_that_need_too_much_memory_to_start_end_the_run():
    """Else they would be started and killed for ever."""
    farm = History(processes=1)
    for _ in range(3):
        farm(ItemOverMemory(0, None, 3 * 10**9))
        farm(ProcessDied(0, None, "signal 9 (SIGKILL)"))
    assert isinstance(farm.scheduler.error, ProcessesKeepDying)
    assert "memory" in str(farm.scheduler.error)


def test_with_little_memory_left_one_item_at_a_time_is_begun():
    """What runs goes on; what waits in processes is called back; and the run goes on, too."""
    farm = History(processes=3)
    for number in range(3):
        farm.ready(number)
    assert farm(MemoryLow(True)) == [RecallItems(number, True) for number in range(3)]
    for number in range(3):
        farm(ItemsReturned(number, ()))
    assert not sends(farm.done(0, 0))
    assert not sends(farm.done(1, 1))
    assert [len(indices) for indices in sends(farm.done(2, 2)).values()] == [1]
    assert len(sends(farm(MemoryLow(False)))) == 2


def test_so_many_failures_stop_the_run():
    """Whoever sees the first ones fail need not wait for the others; the reason is kept."""
    farm = History(processes=2, max_failures=2, retries={"died": 1})
    farm.ready(0)
    farm.ready(1)
    farm(ProcessDied(0, 0, SEGFAULT))
    farm(failed(1, 1))
    assert farm.scheduler.state == "running", "an attempt that is tried again is no failed item"
    farm(failed(1, 0))
    assert farm.scheduler.state == "stopping"
    assert farm.scheduler.stopped
    assert farm.scheduler.reason == "max_failures=2 is reached"
    assert farm.scheduler.error is None


def test_after_so_much_time_the_run_stops():
    """Also when nothing else ever happens: it asks to be woken."""
    farm = History(processes=1, max_time=60.0)
    farm.ready(0)
    assert farm.scheduler.next_wake() == 60.0
    assert farm(Tick(), after=59.0) == []
    assert farm(Tick(), after=1.0) == [StopProcess(0)]
    assert farm.scheduler.reason == "max_time=60 s is over"


def test_a_process_is_replaced_after_so_many_items():
    """For tasks that leak: never one item more, and no work is lost."""
    farm = History(items=5, processes=1, recycle=2)
    farm.ready(0)
    farm.done(0, 0)
    assert farm.done(0, 1)[1:] == [StopProcess(0)]
    assert farm(ProcessDied(0, None, "exit code 0")) == [StartProcess(0)]
    assert sends(farm.ready(0)) == {0: [2]}


def test_items_that_were_returned_do_not_count_for_recycling():
    """They were not run."""
    farm = History(processes=1, recycle=1)
    farm.ready(0)
    farm(Pause())
    assert farm(ItemsReturned(0, [0])) == []
    assert farm(Resume()) == [SendItems(0, [0])]


# -- what the user wants -----------------------------------------------------------------------------


def test_a_pause_begins_no_further_item():
    """Running items end and are recorded; what had not begun is taken back and goes first after it."""
    farm = History(processes=2)
    farm.ready(0)
    farm.ready(1)
    assert farm(Pause()) == [RecallItems(0, everything=True), RecallItems(1, everything=True)]
    assert farm(ItemsReturned(0, [0]), ItemsReturned(1, [])) == []
    result = done(1, 1)
    assert farm(result) == [RecordDone(result)]
    assert sends(farm(Resume()))[0] == [0]


def test_a_pause_takes_everything_back_although_half_was_asked_for_just_before():
    """The answer to the first recall leaves items that would begin during the pause."""
    farm = an_unequal_end()
    assert farm.ready(1) == [RecallItems(0, everything=False)]
    assert farm(Pause()) == [RecallItems(0, everything=True)]


def test_pausing_resuming_and_pausing_again_recalls_again():
    """The first recall says nothing about what was sent after it."""
    farm = an_unequal_end()
    assert farm(Pause()) == [RecallItems(0, everything=True)]
    farm(Resume())
    assert farm(Pause()) == [RecallItems(0, everything=True)]


def test_processes_that_die_in_a_pause_are_replaced_after_it():
    """Nothing is started while nothing is to begin."""
    farm = History(processes=1)
    farm.ready(0)
    farm(Pause())
    (record,) = farm(ProcessDied(0, 0, SEGFAULT))
    assert record.index == 0
    assert farm(Resume()) == [StartProcess(0)]


def test_finish_lets_running_items_end():
    """And only these; the run counts as stopped."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    assert farm(Finish()) == [RecallItems(0, everything=True)]
    assert farm(ItemsReturned(0, block[1:])) == []
    assert farm.done(0, block[0])[1:] == [StopProcess(0)]
    assert farm(ProcessDied(0, None, "exit code 0")) == [Finished()]
    assert (farm.scheduler.done, farm.scheduler.abandoned, farm.scheduler.stopped) == (
        2,
        len(block) - 1,
        True,
    )


def test_an_item_that_fails_while_the_farm_finishes_is_not_tried_again():
    """That would be to begin one."""
    farm = History(processes=1, retries=5)
    farm.ready(0)
    farm(Finish())
    assert farm(failed(0, 0)) == [RecordFailed(0, RAISED, 0, 0.0, 1.0, 1), StopProcess(0)]


def test_stop_abandons_what_runs_but_records_what_had_ended():
    """Results may still be on their way; the item that is interrupted has not failed."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    assert farm(Stop()) == [StopProcess(0)]
    late = done(0, block[0])
    assert farm(late) == [RecordDone(late)]
    assert farm(ProcessDied(0, block[1], "exit code 0")) == [Finished()]
    assert (farm.scheduler.done, farm.scheduler.failed, farm.scheduler.abandoned) == (2, 0, len(block) - 1)


def test_nothing_is_remembered_of_an_item_that_was_abandoned():
    """Not even that it had failed before; the scheduler's `check` says so."""
    farm = History(items=1, processes=1, retries=3)
    farm.ready(0)
    assert sends(farm(failed(0, 0))) == {0: [0]}
    farm(Stop())
    assert farm(ProcessDied(0, 0, "exit code 0")) == [Finished()]
    assert farm.scheduler.abandoned == 1


def test_more_processes_can_be_used():
    """From now on."""
    farm = History(processes=1)
    farm.ready(0)
    assert farm(Resize(3)) == [StartProcess(1), StartProcess(2)]


def test_fewer_processes_can_be_used():
    """Those with the highest numbers end what they run, give back the rest, and leave."""
    farm = History(processes=3)
    for number in range(3):
        farm.ready(number)
    assert farm(Resize(1)) == [RecallItems(1, everything=True), RecallItems(2, everything=True)]
    assert farm(ItemsReturned(1, []), ItemsReturned(2, [2])) == [StopProcess(2)]
    assert farm.done(1, 1)[1:] == [StopProcess(1)]
    assert farm(ProcessDied(2, None, "exit code 0"), ProcessDied(1, None, "exit code 0")) == []
    assert sends(farm.done(0, 0)) == {0: [2]}


def test_a_farm_without_processes_cannot_be():
    """To stop it there is Stop."""
    with pytest.raises(UsageError, match="at least one process"):
        History()(Resize(0))


# -- mistakes of an executor -------------------------------------------------------------------------


def test_what_is_told_twice_is_recorded_once():
    """In two events, or in one."""
    farm = History(items=1000, processes=1)
    farm.ready(0)
    (block,) = sends(farm.done(0, 0, seconds=0.001)).values()
    (record,) = only(RecordDone, farm.done(0, block[0], block[0], 0, block[1], block[0]))
    assert list(record.done.indices) == [block[0], block[1]]
    assert list(record.done.values) == [b"%d" % block[0], b"%d" % block[1]]
    assert farm.done(0, block[0]) == []
    farm(Pause())
    farm(ItemsReturned(0, [block[2], block[2], block[0]]))
    assert farm.scheduler.holder(0) == set(block[3:])


def test_what_a_process_says_that_is_not_there_is_ignored():
    """Nothing of it can be true."""
    farm = History(processes=1)
    before = farm.scheduler.processes
    assert farm(
        ProcessReady(7), done(7, 0), failed(7, 0), ItemsReturned(7, [0]), ItemTimedOut(7, 0, 1.0),
        ProcessDied(7, 0, SEGFAULT), ItemsUnreadable(7, [0]), Reported(7, 0, 0.5, None), ProcessStarted(7),
    ) == []  # fmt: skip
    assert farm.scheduler.processes == before


# -- what others may ask -----------------------------------------------------------------------------


def test_the_number_of_items_left_counts_those_that_run():
    """None when nobody knows; as soon as the feed has ended, everybody does."""
    farm = History(items=3, processes=1)
    assert farm.scheduler.items_left == 3
    farm.ready(0)
    assert farm.scheduler.items_left == 3
    farm.done(0, 0)
    assert farm.scheduler.items_left == 2
    unknown = History(items=1, processes=1, told=False)
    assert unknown.scheduler.items_left is None
    unknown.ready(0)
    unknown.done(0, 0)
    assert unknown.scheduler.items_left == 0


def test_the_story_of_an_item_can_be_told():
    """For whoever wonders what became of it: each event and each command that named it, with the time."""
    farm = History(items=3, processes=1, retries=1)
    farm.ready(0)
    farm(failed(0, 0), after=1.5)
    farm.done(0, *farm.scheduler.holder(0))
    while farm.scheduler.state != "ended" and (held := farm.scheduler.holder(0)):
        farm(*(done(0, index) for index in held), after=1.0)
    story = farm.scheduler.story(0)
    assert story[:3] == ["0: ItemsRead 0", "0: SendItems 0", "1.5: ItemFailed 0"]
    assert story[-1].endswith("RecordDone 0")
    assert not any("ItemFailed" in line for line in farm.scheduler.story(1))


def test_only_so_many_happenings_are_remembered():
    """And none unless it is asked for: the memory of a farm does not grow with its items."""
    scheduler = Scheduler(1, remember=4)
    scheduler.begin(0.0)
    scheduler.handle(ProcessReady(0), 0.0)
    for index in range(100):
        scheduler.handle(ItemsRead(0, [index]), float(index))
        scheduler.handle(done(0, index), float(index))
    assert scheduler.story(0) == []
    assert (
        scheduler.story(99)
        == ["99: ItemsRead 0", "99: SendItems 0", "99: ItemsDone 0", "99: RecordDone 0"][-3:]
    )
    assert Scheduler(1).story(0) == []


# -- any history at all --------------------------------------------------------------------------------


@dataclass
class Process:
    """A process as it really is, whatever the scheduler believes."""

    number: int
    state: str = "starting"  # then "ready"; "failed" when its task could not be made
    asked_to_leave: bool = False
    killed: bool = False
    condemned: int | None = None  # the item for which it is being killed, -1 for none in particular
    queue: list[int] = field(default_factory=list)  # the first is running
    last_ended: int | None = None
    recalls: list[tuple[bool, list[int]]] = field(default_factory=list)  # what was there to be returned
    run: int = 0


class World:
    """The world around a scheduler, honest but cruel; it performs commands and checks each.

    Only processes that are alive say something. One that is asked to leave or killed ends some
    time, but may still say what was on its way. Reading is answered at once, as farm.py does.
    """

    def __init__(
        self,
        processes: int,
        items: int,
        told: int | None = None,
        retries: int | dict[str, int] = 0,
        recycle: int | None = None,
        reads: str = "",
        **limits: float | None,
    ) -> None:
        self.scheduler = Scheduler(processes, told, retries=retries, recycle=recycle, remember=20, **limits)
        self.items = items
        self.retries = retries
        self.memory_is_low = False
        self.elsewhere = False  # that memory is short here does not matter any more
        self.told: Event | None = None  # the latest
        self.recycle = recycle
        self.reads = deque(reads)  # how the next readings are answered, then always in full
        self.now = 0.0
        self.processes: dict[int, Process] = {}
        self.next_index = 0
        self.ended: dict[int, str] = {}
        self.attempts: dict[int, int] = {}
        self.perhaps: int | None = None  # an item that may be blamed for the loss that is being told
        self.losses: dict[int, int] = {}  # those of the attempts at which nobody was to blame
        self.resting: set[int] = set()
        self.finished = False
        self.most_processes = processes
        self.perform(self.scheduler.begin(self.now))

    # -- events ------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        assert not self.finished, "something happened after the end"
        if isinstance(event, ProcessStarted) and event.computer:
            self.elsewhere, self.memory_is_low = True, False
        commands = self.scheduler.handle(event, self.now)
        self.scheduler.check()
        self.told = event
        self.perform(commands)

    def end(self, process: Process, index: int | None, reason: str = SEGFAULT, kind: str = "died") -> None:
        del self.processes[process.number]
        said = index
        held = self.scheduler.holder(process.number)
        if index not in held and len(held) == 1 and held <= self.scheduler.suspects:
            (index,) = held
            if kind == "lost":  # it is blamed, or not yet
                self.perhaps = index if process.condemned in (None, index) else None
                index = None
        if process.condemned not in (None, index):
            index = None  # it had gone on to another item when it was killed for this one
        if index in held and self.scheduler.state != "stopping":
            self.attempts[index] = self.attempts.get(index, 0) + 1
            if kind == "lost" and process.condemned is None:
                self.losses[index] = self.losses.get(index, 0) + 1
        self.tell(ProcessDied(process.number, said, reason, kind=kind))
        self.perhaps = None

    def work(self, process: Process, count: int, seconds: float = 0.001, again: bool = False) -> None:
        indices, process.queue = process.queue[:count], process.queue[count:]
        process.run += len(indices)
        process.last_ended = indices[-1]
        if again:
            indices = [*indices, indices[0], *indices]
        self.tell(done(process.number, *indices, seconds=seconds))

    def fail(self, process: Process) -> None:
        index = process.last_ended = process.queue.pop(0)
        process.run += 1
        self.attempts[index] = self.attempts.get(index, 0) + 1
        self.tell(failed(process.number, index))

    def low_memory(self, low: bool) -> None:
        self.memory_is_low = low and not self.elsewhere
        if not self.finished:
            self.tell(MemoryLow(low))

    def answer(self, process: Process, part: int) -> None:
        """Give back, of what was there when the recall came, what has not begun and ``part`` says."""
        _, there = process.recalls.pop(0)
        returned = [
            index for place, index in enumerate(process.queue[1:]) if index in there and part >> place & 1
        ]
        process.queue = [index for index in process.queue if index not in returned]
        self.tell(ItemsReturned(process.number, returned))

    # -- commands ----------------------------------------------------------------------------------

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            assert not self.finished, f"{command} after Finished"
            match command:
                case StartProcess(number):
                    assert number not in self.processes, "a process was started while it is alive"
                    assert 0 <= number < self.scheduler.target
                    self.processes[number] = Process(number)
                case SendItems(number, indices):
                    self._send(number, list(indices))
                case RecallItems(number, everything):
                    process = self._partner(number)
                    process.recalls.append((everything, list(process.queue)))
                case StopProcess(number):
                    assert not self.processes[number].asked_to_leave, "a process was asked to leave twice"
                    self.processes[number].asked_to_leave = True
                case KillProcess(number):
                    self.processes[number].killed = True
                    if isinstance(self.told, ItemTimedOut | ItemOverMemory):
                        on = self.told.index
                        self.processes[number].condemned = -1 if on is None else on
                case ReadItems(number, count):
                    self._read(number, count)
                case RecordDone(result, attempts):
                    assert result.indices, "an empty record"
                    for index, value in zip(result.indices, result.values, strict=True):
                        assert value == b"%d" % index
                        self._end_item(index, "done")
                        self.losses.pop(index, None)
                        assert attempts.get(index, 1) == self.attempts.pop(index, 0) + 1
                case RecordFailed(index, error) if error.kind == "unpicklable item":
                    self._end_item(index, "failed")
                case RecordFailed(index, error):
                    if index == self.perhaps:
                        self.attempts[index] = self.attempts.get(index, 0) + 1
                        self.losses[index] = self.losses.get(index, 0) + (error.kind == "lost")
                    assert command.attempts == self.attempts[index]
                    losses = self.losses.get(index, 0)
                    most_losses = (
                        LOSSES if isinstance(self.retries, int) else self.retries.get("lost", LOSSES)
                    )
                    assert losses <= most_losses + (error.kind == "lost" and not command.again)
                    if command.again:
                        self.resting.add(index)
                        continue
                    self._end_item(index, "failed")
                    del self.attempts[index]
                    blamed = command.attempts - losses
                    if error.kind == "lost":
                        assert losses == most_losses + 1 or self.scheduler.stopped
                    elif isinstance(self.retries, int):
                        assert blamed == self.retries + 1 or self.scheduler.stopped
                    else:
                        assert blamed <= 1 + sum(self.retries.values())
                case Finished():
                    assert not self.processes, "the end came before all processes were gone"
                    self.finished = True

    def _partner(self, number: int) -> Process:
        process = self.processes.get(number)
        assert process is not None, "told a dead process"
        assert process.state == "ready", "told a process that is not ready"
        assert not process.asked_to_leave, "told a process that was asked to leave"
        assert not process.killed, "told a process that is being killed"
        return process

    def _send(self, number: int, indices: list[int]) -> None:
        process = self._partner(number)
        assert self.scheduler.state == "running"
        assert indices, "nothing was sent"
        self.resting.difference_update(indices)
        if self.memory_is_low:
            assert not any(self.scheduler.holder(other) for other in self.processes if other != number)
            assert len(indices) == 1, "with little memory one item at a time is enough"
        held = {index for other in self.processes.values() for index in other.queue}
        for index in indices:
            assert index < self.next_index, "an item was sent that was not read"
            assert index not in self.ended, "an item was sent that had ended"
            assert index not in held, "an item was sent to two processes"
        process.queue += indices
        if self.recycle is not None:
            assert process.run + len(process.queue) <= self.recycle, "a process got more than its share"

    def _read(self, number: int, count: int) -> None:
        assert count >= 1
        if self.scheduler.reason:  # an item before this one was the one too many
            self.tell(ItemsRead(number, ()))
            return
        assert self.scheduler.state == "running", "items were read that will not be needed"
        how = self.reads.popleft() if self.reads else "full"
        if how == "e" and self.next_index < self.items:  # empty: it is still skipping
            self.tell(ItemsRead(number, ()))
            return
        if how == "r" and self.next_index < self.items:  # the first one cannot be sent
            self.next_index += 1
            self.tell(ItemRejected(self.next_index - 1, ItemError("unpicklable item", "", "")))
            count -= 1
        if how == "p":  # fewer than asked for
            count = -(-count // 2)
        first, self.next_index = self.next_index, min(self.next_index + count, self.items)
        if self.next_index - first < count or (how == "x" and self.next_index == self.items):
            self.tell(ItemsEnded())  # only then does the feed know it
        self.tell(ItemsRead(number, range(first, self.next_index)))

    def _end_item(self, index: int, how: str) -> None:
        assert index not in self.ended, f"item {index} ended twice: {self.ended[index]}, then {how}"
        assert index < self.next_index
        self.ended[index] = how

    # -- what holds at any time -------------------------------------------------------------------

    def look(self) -> None:
        scheduler = self.scheduler
        assert scheduler.read == self.next_index
        assert scheduler.done == list(self.ended.values()).count("done")
        assert scheduler.failed == list(self.ended.values()).count("failed")
        assert scheduler.processes.keys() == self.processes.keys()
        unended = scheduler.read - scheduler.done - scheduler.failed - scheduler.abandoned
        held = 0
        for number, process in self.processes.items():
            assert scheduler.holder(number) >= set(process.queue)
            held += len(scheduler.holder(number))
        waiting = unended - held - len(self.resting)
        if scheduler.next_wake() == float("-inf"):
            return  # whoever has nothing to do is about to be given something
        suspects = set(scheduler.suspects)
        if any(scheduler.holder(number) & suspects for number in self.processes):
            waiting = max(
                0, waiting - len(suspects)
            )  # some of them wait until others have shown what they do
        assert waiting >= 0 or scheduler.stopped
        for name, thing in vars(scheduler).items():
            if isinstance(thing, dict | set | list | deque):
                limit = 20 if name == "_story" else self.most_processes + unended + len(KINDS)
                assert len(thing) <= limit, f"{name} grows"
        if scheduler.state == "running":
            for number, process in self.processes.items():
                idle = process.state == "ready" and not process.queue
                if idle and not process.asked_to_leave and not process.killed:
                    assert number < scheduler.target, "a process that is not wanted is kept"
                    assert not waiting or held, "nobody has anything to do although items wait"
                    low = self.memory_is_low
                    assert not waiting or low, "a process has nothing to do although items wait"
            assert not waiting or self.processes, "items wait, and nobody is there"

    # -- a fair end ----------------------------------------------------------------------------------

    def play_to_the_end(self) -> None:
        """From now on everything goes well: a bounded number of steps must end the run."""
        self.low_memory(False)
        steps = 100 + 20 * (self.items + len(self.processes)) + 10 * len(self.reads)
        while not self.finished:
            steps -= 1
            assert steps > 0, f"it never ends: {self.scheduler.state}, {self.scheduler.processes}"
            self._one_fair_step()
            self.look()
        assert not self.scheduler.processes
        assert self.scheduler.state == "ended"
        ended = len(self.ended) + self.scheduler.abandoned
        assert ended == self.next_index, "every item that was read has an end"
        if not self.scheduler.stopped:
            assert self.next_index == self.items, "every item was read"
            assert self.scheduler.abandoned == 0

    def _one_fair_step(self) -> None:
        wake = self.scheduler.next_wake()
        if self.scheduler.state == "paused":
            self.tell(Resume())
            return
        for process in self.processes.values():
            stubborn = process.number % 2 and not process.killed
            if process.killed or (process.asked_to_leave and not stubborn) or process.state == "failed":
                self.end(process, None, "exit code 0")
                return
            if process.state == "starting" and not process.asked_to_leave:
                process.state = "ready"
                self.tell(ProcessReady(process.number))
                return
            if process.recalls:
                self.answer(process, -1)
                return
            if process.queue and not process.asked_to_leave:
                self.work(process, len(process.queue))
                return
        assert wake is not None, (
            f"nothing will ever happen: {self.scheduler.state}, {self.scheduler.processes}"
        )
        self.now = max(self.now, wake)
        self.tell(Tick())


PICK = st.integers(0, 7)


class AnyHistory(RuleBasedStateMachine):
    """Every order of everything that can happen, then a fair end, which must be reached."""

    world: World
    elsewhere: bool  # whether processes are on two other computers

    @initialize(
        processes=st.integers(1, 4),
        items=st.integers(0, 30),
        told=st.sampled_from(["right", "nothing", "too few", "none", "too many"]),
        retries=st.integers(0, 2)
        | st.fixed_dictionaries({"died": st.integers(0, 3)}, optional={"lost": st.integers(0, 2)}),
        recycle=st.none() | st.integers(1, 6),
        reads=st.text("fperx", max_size=12),
        backoff=st.sampled_from([0.0, 0.0, 0.7]),
        max_failures=st.sampled_from([None, None, None, 3]),
        max_time=st.sampled_from([None, None, None, 4.0]),
        elsewhere=st.sampled_from([False, True]),
    )
    def begin(self, processes, items, told, retries, recycle, reads, elsewhere, **limits):
        self.elsewhere = elsewhere
        number = {"right": items, "nothing": None, "too few": items // 2, "none": 0, "too many": items + 5}[
            told
        ]
        self.world = World(processes, items, number, retries, recycle, reads, **limits)

    def _alive(self, pick: int, condition: Callable[[Process], object]) -> Process | None:
        """One of the processes of which this is true."""
        able = [process for _, process in sorted(self.world.processes.items()) if condition(process)]
        return able[pick % len(able)] if able else None

    def _goes_on(self) -> bool:
        return hasattr(self, "world") and not self.world.finished

    # -- what processes do -----------------------------------------------------------------------------

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_process_is_ready(self, pick):
        if self._goes_on() and (process := self._alive(pick, lambda process: process.state == "starting")):
            process.state = "ready"
            self.world.tell(ProcessStarted(process.number, 1000 + pick, f"node{pick % 2}" * self.elsewhere))
            self.world.tell(ProcessReady(process.number))

    @precondition(_goes_on)
    @rule(
        pick=PICK,
        count=st.integers(1, 40),
        seconds=st.sampled_from([0.0, 1e-5, 0.005, 0.05, 3.0]),
        again=st.booleans(),
    )
    def items_are_done(self, pick, count, seconds, again):
        if process := self._alive(pick, lambda process: process.queue):
            self.world.work(process, count, seconds, again)

    @precondition(_goes_on)
    @rule(pick=PICK)
    def an_item_fails(self, pick):
        if process := self._alive(pick, lambda process: process.queue):
            self.world.fail(process)

    @precondition(_goes_on)
    @rule(pick=PICK, place=st.integers(0, 3))
    def a_process_dies_on_an_item(self, pick, place):
        """Results of those before it were never sent."""
        if process := self._alive(pick, lambda process: process.queue):
            self.world.end(process, process.queue[place % len(process.queue)])

    @precondition(_goes_on)
    @rule(pick=PICK, place=st.integers(0, 3))
    def a_process_is_lost_on_an_item(self, pick, place):
        if process := self._alive(pick, lambda process: process.queue):
            self.world.end(process, process.queue[place % len(process.queue)], GONE, "lost")

    @precondition(_goes_on)
    @rule(pick=PICK, times=st.integers(1, 4))
    def processes_are_lost_and_nobody_knows_on_which_item(self, pick, times):
        """Idle, at work, still starting, or asked to leave; perhaps several at once, with their computer."""
        for _ in range(times):
            if self._goes_on() and (process := self._alive(pick, lambda process: True)):
                self.world.end(process, None, GONE, "lost")

    @precondition(_goes_on)
    @rule(pick=PICK, times=st.integers(2, 5))
    def whoever_takes_the_work_is_lost(self, pick, times):
        """The same items are there again and again; one of them may be the reason."""
        for _ in range(times):
            if self._goes_on() and (process := self._alive(pick, lambda process: process.queue)):
                self.world.end(process, None, GONE, "lost")
            self.a_process_is_ready(pick)

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_process_dies_on_an_item_that_has_ended(self, pick):
        if process := self._alive(pick, lambda process: process.last_ended is not None):
            self.world.end(process, process.last_ended)

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_process_dies_on_no_item(self, pick):
        if process := self._alive(pick, lambda process: True):
            self.world.end(process, None)

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_process_does_as_it_was_told(self, pick):
        if process := self._alive(pick, lambda process: process.asked_to_leave or process.killed):
            on = process.queue[0] if process.queue else None
            self.world.end(process, on, "signal 9 (SIGKILL)" if process.killed else "exit code 0")

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_task_cannot_be_made(self, pick):
        if process := self._alive(pick, lambda process: process.state == "starting"):
            process.state = "failed"
            self.world.tell(SetupFailed(process.number, ItemError("setup", "KeyError", "'PATH'")))

    @precondition(_goes_on)
    @rule(pick=PICK, part=st.integers(0, 255) | st.just(-1))
    def a_recall_is_answered(self, pick, part):
        if process := self._alive(pick, lambda process: process.recalls and not process.killed):
            self.world.answer(process, part)

    @precondition(_goes_on)
    @rule(pick=PICK)
    def an_item_takes_too_long(self, pick):
        if process := self._alive(pick, lambda process: process.queue):
            self.world.tell(ItemTimedOut(process.number, process.queue[0], 1.0))

    @precondition(_goes_on)
    @rule(pick=PICK)
    def a_process_uses_too_much_memory(self, pick):
        if process := self._alive(pick, lambda process: True):
            on = process.queue[0] if process.queue else None
            self.world.tell(ItemOverMemory(process.number, on, 10**9))

    @precondition(_goes_on)
    @rule(pick=PICK, complete=st.none() | st.floats(0, 1))
    def something_is_reported(self, pick, complete):
        if process := self._alive(pick, lambda process: process.queue):
            self.world.tell(Reported(process.number, process.queue[0], complete, "milking"))
            self.world.tell(ItemsUnreadable(process.number, list(process.queue)))

    # -- what the user and the clock do ------------------------------------------------------------------

    @precondition(_goes_on)
    @rule(event=st.sampled_from([RoundTrip(0.02), RoomChanged(0), RoomChanged(9)]))
    def the_way_or_the_room_is_another(self, event):
        self.world.tell(event)

    @precondition(_goes_on)
    @rule(really=st.integers(0, 6))
    def the_executor_cannot_go_on(self, really):
        if not really:
            self.world.tell(ExecutorFailed(UsageError("no cluster any more")))

    @precondition(_goes_on)
    @rule(control=st.sampled_from([Pause(), Resume()]))
    def somebody_pauses_or_resumes(self, control):
        self.world.tell(control)

    @precondition(_goes_on)
    @rule(control=st.sampled_from([Finish(), Stop()]), really=st.integers(0, 4))
    def somebody_ends_it(self, control, really):
        if not really:  # else hardly any history would be long
            self.world.tell(control)

    @precondition(_goes_on)
    @rule(processes=st.integers(1, 6))
    def the_farm_is_resized(self, processes):
        self.world.most_processes = max(self.world.most_processes, processes)
        self.world.tell(Resize(processes))

    @precondition(_goes_on)
    @rule(low=st.booleans())
    def memory_is_short_or_not(self, low):
        self.world.low_memory(low)

    @precondition(_goes_on)
    @rule(seconds=st.sampled_from([0.0, 0.001, 0.1, 3.0]))
    def the_way_is_measured(self, seconds):
        """There and back; at any time, and whatever it was before."""
        self.world.tell(RoundTrip(seconds))

    @precondition(_goes_on)
    @rule(seconds=st.sampled_from([0.0, 0.4, 2.0]))
    def time_passes(self, seconds):
        self.world.now += seconds
        self.world.tell(Tick())

    @precondition(lambda self: not self._goes_on())
    @rule()
    def it_is_over(self):
        """Nothing happens any more."""

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def everything_is_where_it_should_be(self):
        if hasattr(self, "world"):
            self.world.look()

    def teardown(self):
        if hasattr(self, "world"):
            self.world.play_to_the_end()


AnyHistory.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyHistory = AnyHistory.TestCase
