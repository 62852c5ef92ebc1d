"""What is stored survives a power cut: tried at every moment of a store's life, on a disk made of paper.

A process stores a few turns while a preloaded library writes down all that it does to the disk.
``paper_disk`` then says what a disk could hold if the power had failed at any point of that.
Each such state is opened as a user would open it the next morning.

Run as a program, this file is the process that stores.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import version_1
from farmhand import codec, open_store
from farmhand.errors import StoreError
from farmhand.store import Counts, DataManager, Session, Turn
from paper_disk.cuts import NOTES, State, Trace, all_judged, cuts, each_judged, kills, moments, traced
from paper_disk.model import Files
from paper_disk.preload import build
from paper_disk.story import RUNS, a_turn, chapters, facts, story

NAME = "rates.db"


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


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Run this file as a program, once for each way, and write down what it does to its disk."""
    library = tmp_path_factory.mktemp("library")
    environment = build("power_trace.c", library)
    made: dict[str, Trace] = {}

    def trace(how: str) -> Trace:
        if how not in made:
            folder = tmp_path_factory.mktemp("disk")
            if how == "migrate":
                version_1.make(folder / NAME)
            if how == "empty":
                # so that SQLite creates the store where it is, as on systems that know no other way
                (folder / NAME).touch()
            made[how] = traced([__file__, folder, how], folder, library / f"{how}.trace", environment)
        return made[how]

    return trace


def of_the_store(files: Files) -> Files:
    """Without the -shm file, which is only memory that processes share, and without our notes."""
    return {name: data for name, data in files.items() if name.startswith(NAME) and not name.endswith("-shm")}


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
    return partial(each_judged, judge)


@pytest.fixture
def verdicts():
    """Judge many states; how many there are of each verdict, and an example of each."""
    return partial(all_judged, judge)


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
    counts, examples = verdicts(cuts(trace(how), 6, among=of_the_store), chapters())
    assert set(counts) <= {"sound", "not ours"}, examples
    assert counts["sound"] > 1000


@pytest.mark.slow
def test_without_a_sync_for_each_turn_a_power_cut_costs_the_last_turns_alone(trace, verdicts):
    """``durability='process'``: the file stays sound, and what is left is the first turns, each whole."""
    counts, examples = verdicts(cuts(trace("process"), 6, among=of_the_store), chapters())
    assert set(counts) <= {"sound", "lost", "not ours"}, examples
    assert counts["sound"] > 500
    assert counts["lost"] > 100  # or 'power' would cost something for nothing


@pytest.mark.parametrize("how", ["power", "empty", "process"])
def test_what_was_stored_survives_the_end_of_the_process_at_any_moment(trace, how, verdicts):
    """Between any two operations of a turn, of the creation, of a checkpoint, and of the end of a run."""
    counts, examples = verdicts(kills(trace(how), of_the_store), chapters())
    assert set(counts) == {"sound"}, examples


def test_a_store_of_format_1_survives_a_power_cut_while_it_is_brought_up_to_date(trace, verdicts):
    """It is then of format 1 or 2, and everything is in it."""
    values = [(index, codec.encode(value)) for index, (_, value) in enumerate(version_1.PAIRS)]
    blocks = [(list(version_1.BLOCK.indices), version_1.BLOCK.payload)]
    more = ([""] * 3, [[]], [], [Counts(2, 1, 0)])
    expected = [[version_1.RUN], version_1.RECORDS, [], [values], [blocks], *more, 2]
    counts, examples = verdicts(cuts(trace("migrate"), 20, among=of_the_store), [expected])
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
    assert any(word == verdict for word, _ in judged(cuts(trace(how), 1, deaf_to, of_the_store), chapters()))


if __name__ == "__main__":
    if sys.argv[2] == "migrate":
        migrate(sys.argv[1])
    else:
        tell(*sys.argv[1:])
