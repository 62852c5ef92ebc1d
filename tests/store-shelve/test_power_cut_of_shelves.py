"""What is stored in shelves survives a power cut, too: logs of runs, and sessions by hand, in their folders.

As in the test of SQLite's store, a process stores a few turns, and is traced; each state in which
``paper_disk`` finds its folders after a power cut is opened as a user would open it the next morning.

Run as a program, this file is the process that stores.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from farmhand import MemoryStore
from farmhand.errors import StoreError
from farmhand.store import DataManager, RunInfo, Session, Turn
from farmhand_shelve import ShelveStore
from paper_disk.cuts import NOTES, State, all_judged, cuts, each_judged, kills, moments, put_back, traced
from paper_disk.model import Files
from paper_disk.preload import build
from paper_disk.story import RUNS, a_turn, facts, story

NAME = "rates.data"


def longer_story(reopen: Any, record: Any = Session.record) -> Iterator[DataManager]:
    """After that, what only shelves do: old runs are written anew, and go on; values are set and deleted."""
    for store in story(reopen, record):
        yield store
    store = reopen()
    store.forget_at(RUNS[0].uid, [12, 13])
    yield store
    store.vacuum()
    yield store
    store.forget_at(RUNS[0].uid, [14])
    yield store
    for key, value in [("name", b"another" * 300), ("more", b"value"), ("name", None), ("last", b"end")]:
        store.shelf_set("by hand", key, value)
        yield store
    store.close()


def chapters() -> list[Any]:
    """The facts before the story and after each of its steps: nothing else may ever be found."""
    store = MemoryStore()
    steps = longer_story(lambda: store, lambda session, turn: session.record(turn))
    return [comparable(store), *map(comparable, steps)]


def comparable(store: DataManager) -> list[Any]:
    """Facts, without the order in which sessions and keys are told."""
    runs, *found = facts(store)
    return [runs, *(sorted(each) if place == 6 else each for place, each in enumerate(found))]


def tell(folder: str, how: str) -> None:
    """Store the story in one of several ways, and end as if killed."""

    def record(session: Session, turn: Turn) -> None:
        if how == "in halves":
            session.record(replace(turn, failed=()))
            turn = Turn(failed=turn.failed)
        session.record(turn)

    def reopen() -> ShelveStore:
        return ShelveStore(os.path.join(folder, NAME), durability="process" if how == "process" else "power")

    notes = os.open(os.path.join(folder, NOTES), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for store in longer_story(reopen, record):
        os.write(notes, b".")
        len(store)  # somebody reads meanwhile
    os._exit(0)


def of_the_store(files: Files) -> Files:
    """Without our notes."""
    return {name: data for name, data in files.items() if name != NOTES}


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Run this file as a program, once for each way, and write down what it does to its disk."""
    library = tmp_path_factory.mktemp("library")
    environment = build("power_trace.c", library)
    made = {}

    def trace(how: str):
        if how not in made:
            folder = tmp_path_factory.mktemp("disk")
            made[how] = traced([__file__, folder, how], folder, library / f"{how}.trace", environment)
        return made[how]

    return trace


def judge(state: State, folder: Path, expected: list[Any]) -> str:
    """What somebody finds who opens the store the next morning: a word, and perhaps more behind a colon."""
    try:
        put_back(state.files, folder)
        with ShelveStore(folder / NAME) as store:
            found = comparable(store)
            problems = [each for each in store.check() if "never stored" not in each]
            session = store.begin(RUNS[2])  # and the next run can be stored there
            session.record(a_turn(0))
            session.close("finished", 2000.0)
            store.shelf_set("by hand", "the next morning", b"value")
            went_on = len(store) == found[-1] + 5
        shelves = _shelves_are_whole(folder / NAME, found[0])
    except StoreError as error:
        return f"refused: {error}"
    except Exception as error:  # what can be read makes no sense
        return f"damaged: {error!r}"
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path)
    if problems or not went_on or not shelves:
        return f"damaged: {problems}"
    if found not in expected:
        return "half"
    return "sound" if len(expected) - expected[::-1].index(found) > state.stored else "lost"


def _shelves_are_whole(folder: Path, runs: list[RunInfo]) -> bool:
    """Whether the next one who opens the store has all results of the runs that ended in their shelves."""
    import dbm.dumb

    with ShelveStore(folder) as store:
        for run in runs:
            if run.ended is not None:
                with dbm.dumb.open(str(folder / run.uid), "r") as shelf:
                    if {f"{run.uid}-{index}".encode() for index in store.done_indices(run.uid)} - set(shelf):
                        return False
    return True


@pytest.fixture
def judged():
    """Judge states, one at a time."""
    return partial(each_judged, judge)


@pytest.fixture
def verdicts():
    """Judge many states; how many there are of each verdict, and an example of each."""
    return partial(all_judged, judge)


@pytest.mark.parametrize("how", ["power", "process"])
def test_the_trace_has_everything_that_was_written(trace, how):
    """All operations together make the very files that the process left; so none was overlooked."""
    made = trace(how)
    *_, (_, disk, stored) = moments(made)
    assert of_the_store(disk.seen()) == of_the_store(made.after)
    assert stored == len(chapters()) - 1


@pytest.mark.slow
def test_what_was_stored_survives_a_power_cut(trace, verdicts):
    """Whenever ``record`` or ``shelf_set`` has returned, it is there; and no turn is there in part."""
    counts, examples = verdicts(cuts(trace("power"), 2, among=of_the_store), chapters())
    assert set(counts) == {"sound"}, examples
    assert counts["sound"] > 500


def test_what_was_stored_survives_the_end_of_the_process_at_any_moment(trace, verdicts):
    """Also where nothing is synced: between two operations of a turn, or of a log that is written anew."""
    counts, examples = verdicts(kills(trace("process"), of_the_store), chapters())
    assert set(counts) == {"sound"}, examples


@pytest.mark.parametrize(
    ("how", "deaf_to", "verdict"),
    [
        ("power", ["files"], "lost"),
        ("power", ["folder"], "lost"),
        ("process", [], "lost"),
        ("in halves", [], "half"),
    ],
    ids=[
        "a disk that lies about files",
        "a disk that lies about folders",
        "no syncs",
        "a turn in two frames",
    ],
)
def test_a_fault_would_be_found(trace, how, deaf_to, verdict, judged):
    """The same search finds what a disk that lies, and a store that is careless, do to the results."""
    assert any(word == verdict for word, _ in judged(cuts(trace(how), 1, deaf_to, of_the_store), chapters()))


if __name__ == "__main__":
    tell(*sys.argv[1:])
