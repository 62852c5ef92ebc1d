"""What is stored survives a power cut: tried at every moment of a store's life, on a disk made of paper.

A process stores a few turns while a preloaded library writes down all that it does to the disk.
``disk_model`` then says what a disk could hold if the power had failed at any point of that.
Each such state is opened as a user would open it the next morning.

Run as a program, this file is the process that stores.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import version_1
from disk_model import Disk, Files, Operation, read_trace
from farmhand import MemoryStore, codec, open_store
from farmhand.errors import StoreError
from farmhand.events import RecordDone, Usage
from farmhand.store import Counts, DataManager, RunInfo, Session, Turn
from farmhand.testing.stores import block, done, failed
from preload import build

NAME = "rates.db"
NOTES = "notes"  # a file in the same folder that gets a byte as soon as a step is said to be stored
RUNS = [RunInfo(name, "find_rate", "someone.somewhere", 1000.0) for name in ("first", "second", "third")]


# -- the story: what is stored, step by step ---------------------------------------------------------


def a_turn(number: int) -> Turn:
    """Four results, a failure and an attempt, of items that no other turn has; some are long."""
    first = 6 * number
    results = [f"{first + place} " * (10 + 900 * (place == number % 4)) for place in range(4)]
    results_done = done(range(first, first + 4), results, number % 2, **{f"i{first + 1}": 2}).done
    usage = {first + 2: Usage(10**9 + number, f"printed {number}\n" * 50)}
    failures = [failed(first + 1, "first try", again=True), failed(first + 4, "for good")]
    record = RecordDone(replace(results_done, usage=usage), {first + 1: 2})
    items = [f"item {first + place}" for place in range(6)]
    items_block = replace(block(range(first, first + 6), items), items=items)
    return Turn([items_block], [record], failures, [b"class %d" % number], {f"fact {number}": number})


def story(
    reopen: Callable[[], DataManager], record: Callable[[Session, Turn], None] = Session.record
) -> Iterator[DataManager]:
    """Two runs, one after the other; the store after each step. The second run has not ended."""
    for run, turns in zip(RUNS[:2], (11, 4), strict=True):
        store = reopen()
        session = store.begin(run)
        yield store
        for number in range(turns):
            record(session, a_turn(number))
            yield store
            if number == 3:
                store.forget_at(run.uid, [6, 8, 10])
                yield store
                store.shelf_set("by hand", "name", run.uid.encode() * 100)
                yield store
        if run is RUNS[0]:
            session.close("finished", 2000.0)
            yield store
            store.close()


def facts(store: DataManager) -> list[Any]:
    """Everything that can be read from a store."""
    runs = store.runs()
    return [
        runs,
        list(store.records()),
        list(store.retried()),
        [list(store.encoded(run.uid)) for run in runs],
        [[(list(b.indices), b.payload) for b in store.blocks(run.uid)] for run in runs],
        [store.output(record.key) for record in store.records()],
        [store.shipped(run.uid) for run in runs],
        [
            (name, key, store.shelf_get(name, key))
            for name in store.shelf_names()
            for key in store.shelf_keys(name)
        ],
        [store.counts(run.uid) for run in runs],
        store.itemcount(),
    ]


def chapters() -> list[Any]:
    """The facts before the story and after each of its steps: nothing else may ever be found."""
    store = MemoryStore()
    return [facts(store), *map(facts, story(lambda: store, lambda session, turn: session.record(turn)))]


def tell(folder: str, how: str) -> None:
    """Store the story in one of several ways, and end as if killed."""

    def record(session: Session, turn: Turn) -> None:
        session._db.execute("PRAGMA wal_autocheckpoint = 20")  # as often as a long run, in a short one
        if how == "unsynced":
            session._db.execute("PRAGMA synchronous = OFF")
        if how == "in halves":
            session.record(replace(turn, failed=()))
            turn = Turn(failed=turn.failed)
        session.record(turn)

    def reopen() -> DataManager:
        return open_store(os.path.join(folder, NAME), durability="process" if how == "process" else "power")

    notes = os.open(os.path.join(folder, NOTES), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for store in story(reopen, record):
        os.write(notes, b".")
        len(store)  # somebody reads meanwhile
    os._exit(0)


def migrate(folder: str) -> None:
    """Open a store of format 1."""
    open_store(os.path.join(folder, NAME))
    os._exit(0)


# -- the cuts, and what is found after them ----------------------------------------------------------


@dataclass
class Trace:
    """What a process did to its folder, what was there before, and what was there in the end."""

    folder: Path
    operations: list[Operation]
    before: Files
    after: Files


@dataclass(frozen=True)
class State:
    """What a disk may hold after a power cut."""

    files: Files
    stored: int  # how many steps were said to be stored by then
    about: str


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Run this file as a program, once for each way, and write down what it does to its disk."""
    library = tmp_path_factory.mktemp("library")
    environment = build("power_trace.c", library)
    made: dict[str, Trace] = {}

    def read(folder: Path) -> Files:
        return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}

    def trace(how: str) -> Trace:
        if how not in made:
            folder = tmp_path_factory.mktemp("disk")
            if how == "migrate":
                version_1.make(folder / NAME)
            if how == "empty":
                # so that SQLite creates the store where it is, as on systems that know no other way
                (folder / NAME).touch()
            before = read(folder)
            written = library / f"{how}.trace"
            places = {"POWER_FOLDER": str(folder), "POWER_TRACE": str(written)}
            subprocess.run([sys.executable, __file__, folder, how], env=environment | places, check=True)
            made[how] = Trace(folder, read_trace(written), before, read(folder))
        return made[how]

    return trace


def moments(trace: Trace, deaf_to: Collection[str] = ()) -> Iterator[tuple[int, Disk, int]]:
    """The disk before, between and after all operations, and how many steps are said to be stored."""
    disk = Disk(trace.folder, trace.before, deaf_to)
    for number in range(len(trace.operations) + 1):
        if number:
            disk.perform(trace.operations[number - 1])
        yield number, disk, len(disk.seen().get(NOTES, b""))


def of_the_store(files: Files) -> Files:
    """Without the -shm file, which is only memory that processes share, and without our notes."""
    return {name: data for name, data in files.items() if name.startswith(NAME) and not name.endswith("-shm")}


def cuts(trace: Trace, throws: int, deaf_to: Collection[str] = ()) -> Iterator[State]:
    """All different states that a power cut at any moment may leave."""
    dice, known = random.Random(1), set()
    for number, disk, stored in moments(trace, deaf_to):
        for about, files in disk.after_a_cut(dice, throws):
            state = State(of_the_store(files), stored, f"cut after {number} operations, {about}")
            content = stored, tuple(sorted(state.files.items()))
            if content not in known:
                known.add(content)
                yield state


def kills(trace: Trace) -> Iterator[State]:
    """What the system keeps when the process alone ends, at any moment."""
    for number, disk, stored in moments(trace):
        yield State(of_the_store(disk.seen()), stored, f"killed after {number} operations")


def judge(state: State, folder: Path, expected: list[Any]) -> str:
    """What somebody finds who opens the store the next morning: a word, and perhaps more behind a colon."""
    location = folder / NAME
    for name, data in state.files.items():
        (folder / name).write_bytes(data)
    try:
        with open_store(location) as store:
            found = facts(store)
            session = store.begin(RUNS[2])  # and the next run can be stored there
            try:
                session.record(a_turn(0))
            finally:
                session.close("finished", 2000.0)
            went_on = len(store) == found[-1] + 4
        with closing(sqlite3.connect(location)) as db:
            check = db.execute("PRAGMA integrity_check").fetchall()
    except StoreError as error:
        head = state.files[NAME][:16]
        if not state.stored and head[0] and not head.startswith(b"SQLite format 3"):
            assert location.read_bytes() == state.files[NAME]
            return f"not ours: {error}"
        return f"refused: {error}"
    except Exception as error:  # what can be read makes no sense
        return f"damaged: {error!r}"
    finally:
        for path in folder.iterdir():
            path.unlink()
    if check != [("ok",)] or not went_on:
        return f"damaged: {check}"
    if found not in expected:
        return "half"
    return "sound" if expected.index(found) >= state.stored else "lost"


@pytest.fixture
def judged():
    """Judge states, one at a time."""
    # in memory, where there is such a folder: nothing here depends on the real disk
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:

        def judged(states: Iterator[State], expected: list[Any]) -> Iterator[tuple[str, str]]:
            for state in states:
                verdict = judge(state, Path(folder), expected)
                yield verdict.partition(":")[0], f"{state.about}, {state.stored} steps stored: {verdict}"

        yield judged


@pytest.fixture
def verdicts(judged):
    """Judge many states; how many there are of each verdict, and an example of each."""

    def verdicts(states: Iterator[State], expected: list[Any]) -> tuple[Counter[str], dict[str, str]]:
        both = list(judged(states, expected))
        return Counter(word for word, _ in both), dict(both)

    return verdicts


@pytest.mark.parametrize("how", ["power", "empty", "process", "migrate"])
def test_the_trace_has_everything_that_was_written(trace, how):
    """All operations together make the very files that the process left; so none was overlooked."""
    traced = trace(how)
    *_, (_, disk, stored) = moments(traced)
    assert of_the_store(disk.seen()) == of_the_store(traced.after)
    assert stored == (0 if how == "migrate" else len(chapters()) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["power", "empty"])
def test_what_was_stored_survives_a_power_cut(trace, how, verdicts):
    """Whenever ``record`` has returned, the turn is there; and no turn is there in part.

    The one refusal that may happen is of a file that was being created, so that nothing is lost, and
    that begins with bytes which SQLite never wrote: no store may be sure that they are nobody's.
    """
    counts, examples = verdicts(cuts(trace(how), throws=6), chapters())
    assert set(counts) <= {"sound", "not ours"}, examples
    assert counts["sound"] > 1000


@pytest.mark.slow
def test_without_a_sync_for_each_turn_a_power_cut_costs_the_last_turns_alone(trace, verdicts):
    """``durability='process'``: the file stays sound, and what is left is the first turns, each whole."""
    counts, examples = verdicts(cuts(trace("process"), throws=6), chapters())
    assert set(counts) <= {"sound", "lost", "not ours"}, examples
    assert counts["sound"] > 500
    assert counts["lost"] > 100  # or 'power' would cost something for nothing


@pytest.mark.parametrize("how", ["power", "empty", "process"])
def test_what_was_stored_survives_the_end_of_the_process_at_any_moment(trace, how, verdicts):
    """Between any two operations of a turn, of the creation, of a checkpoint, and of the end of a run."""
    counts, examples = verdicts(kills(trace(how)), chapters())
    assert set(counts) == {"sound"}, examples


def test_a_store_of_format_1_survives_a_power_cut_while_it_is_brought_up_to_date(trace, verdicts):
    """It is then of format 1 or 2, and everything is in it."""
    values = [(index, codec.encode(value)) for index, (_, value) in enumerate(version_1.PAIRS)]
    blocks = [(list(version_1.BLOCK.indices), version_1.BLOCK.payload)]
    more = ([""] * 3, [[]], [], [Counts(2, 1, 0)])
    expected = [[version_1.RUN], version_1.RECORDS, [], [values], [blocks], *more, 2]
    counts, examples = verdicts(cuts(trace("migrate"), throws=20), [expected])
    assert set(counts) == {"sound"}, examples
    assert counts["sound"] > 50


# -- these tests can fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "deaf_to", "verdict"),
    [
        ("power", ["files", "folder"], "lost"),
        ("power", ["files"], "lost"),
        ("power", ["folder"], "lost"),
        ("unsynced", [], "lost"),
        ("unsynced", [], "damaged"),
        ("in halves", [], "half"),
    ],
    ids=[
        "a disk that lies",
        "a disk that lies about files",
        "a disk that lies about folders",
        "a store that does not sync: losses",
        "a store that does not sync: damage",
        "a turn in two transactions",
    ],
)
def test_a_fault_would_be_found(trace, how, deaf_to, verdict, judged):
    """The same search finds what a disk that lies, and a store that is careless, do to the results."""
    assert any(word == verdict for word, _ in judged(cuts(trace(how), 1, deaf_to), chapters()))


if __name__ == "__main__":
    if sys.argv[2] == "migrate":
        migrate(sys.argv[1])
    else:
        tell(*sys.argv[1:])
