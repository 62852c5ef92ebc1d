"""Merging: the target has all that the source has, once, whatever was there, and whatever interrupts it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import FAST, draw, square_unless_odd
from farmhand import MemoryStore, StoreError, Usage, UsageError, codec, owner, run_tasks
from farmhand.events import RecordDone
from farmhand.files import ResultFiles
from farmhand.merge import Merged, merge
from farmhand.store import DataManager, Session, Turn, join_key
from farmhand.testing.stores import a_run, block, done, failed, histories, values

OUTCOME = ("finished", 2000.0)


def all_of(store):
    """Everything that a store says, without the words of what only it has chosen."""
    told = []
    for run in store.runs():
        uid = run.uid
        records, retried = list(store.records(uid)), list(store.retried(uid))
        told.append(
            (
                replace(run, owner=""),
                records,
                retried,
                [store.output(record.key) for record in records],
                [store.output(record.key, record.attempts) for record in retried],
                list(store.encoded(uid)),
                [(list(each.indices), each.payload, each.texts, each.keys) for each in store.blocks(uid)],
                store.shipped(uid),
                store.counts(uid),
            )
        )
    shelves = {
        name: {key: store.shelf_get(name, key) for key in store.shelf_keys(name)}
        for name in store.shelf_names()
    }
    return told, shelves


def merged(*sources):
    target = MemoryStore()
    for source in sources:
        merge(source, target)
    return target


def write(store, run, turns, outcome=OUTCOME):
    session = store.begin(run)
    for turn in turns:
        session.record(turn)
    if outcome:
        session.close(*outcome)
    return store


class Poison:
    """A value that says so when somebody makes it again."""

    def __reduce__(self):
        return pytest.fail, ("a value was unpickled",)


class BreaksOff(MemoryStore):
    """A store that fails at one of its writes, and is kept."""

    def __init__(self, writes):
        super().__init__()
        self.writes = writes
        self.sizes = []

    def begin(self, run, join=False):
        return BreakingSession(super().begin(run, join), self)


class BreakingSession(Session):
    def __init__(self, session, store):
        self.session = session
        self.store = store

    def record(self, turn):
        self.store.writes -= 1
        if self.store.writes < 0:
            raise StoreError(self.store.basepath, "the disk is full")
        values = sum(len(value) for record in turn.done for value in record.done.values)
        printed = sum(len(each.usage.output) for each in turn.failed)
        self.store.sizes.append(values + printed + sum(len(each.payload) for each in turn.blocks))
        self.session.record(turn)

    def close(self, outcome, ended):
        self.session.close(outcome, ended)


# -- what goes over ------------------------------------------------------------------------------------


def test_a_real_run_goes_over_whole():
    """Results, failures, earlier attempts, what was printed, the task, the origin, and how it ended."""
    source = MemoryStore()
    run_tasks(source, square_unless_odd, range(20), errors="collect", retries=1, **FAST)
    run_tasks(source, draw, range(5), seed=3, **FAST)
    target = MemoryStore()
    assert merge(source, target) == Merged(runs=2, done=15, failed=10)
    assert all_of(target) == all_of(source)
    assert target.pairs() == source.pairs()


@settings(deadline=None, max_examples=60)
@given(history=histories(), data=st.data())
def test_the_parts_of_a_run_make_the_whole_in_any_order(history, data):
    """Copies of a store that saw different turns of one run, merged in any order, are the run."""
    turns, *_ = history
    run = a_run()
    whole = write(MemoryStore(), run, turns)
    blocks = [each for turn in turns for each in turn.blocks]
    parts = []
    places = data.draw(st.lists(st.integers(0, 2), min_size=len(turns), max_size=len(turns)))
    for part in range(3):
        own = [replace(turn, blocks=()) for turn, place in zip(turns, places, strict=True) if place == part]
        ended = {index for turn in own for record in turn.done for index in record.done.indices}
        ended |= {each.index for turn in own for each in turn.failed}
        needed = [each for each in blocks if ended & set(each.indices) or part == 0]
        parts.append(write(MemoryStore(), run, [Turn(needed), *own]))
    target = merged(*data.draw(st.permutations(parts)))
    assert all_of(target) == all_of(whole)
    before = all_of(target)
    for part in parts:
        assert merge(part, target) == Merged()
    assert all_of(target) == before


@settings(deadline=None)
@given(printed=st.lists(st.text(max_size=9), min_size=6, max_size=6), attempts=st.integers(1, 9))
def test_what_is_known_beside_a_result_goes_over_with_it(printed, attempts):
    """Of items in the middle of those that came together, too, and when the target has some of these."""
    record = done(range(6), "abcdef", i3=attempts)
    usage = {index: Usage(index or None, text) for index, text in enumerate(printed)}
    record = RecordDone(replace(record.done, usage=usage), record.attempts)
    source = write(MemoryStore(), run := a_run(), [Turn([block(range(6), "uvwxyz")], [record])])
    assert all_of(merged(source)) == all_of(source)
    target = merged(source)
    target.forget([f"{run.uid}-2", f"{run.uid}-3"])
    assert merge(source, target) == Merged(done=2)
    told, again = all_of(source)[0][0], all_of(target)[0][0]
    for one, other in zip(told[1], again[1], strict=True):
        assert one.started == pytest.approx(other.started)
        assert replace(one, started=0.0) == replace(other, started=0.0)
    assert told[2:6] == again[2:6]


def test_nothing_is_unpickled():
    """A merge needs no values: neither classes that are not there, nor trust."""
    session = (source := MemoryStore()).begin(run := a_run())
    results = [Poison(), [Poison()], "plain"]
    items = codec.encode_each([codec.encode(Poison()), codec.encode(1), codec.encode(Poison())])
    turn = Turn([replace(block(range(3), "xyz"), payload=items)], [done(range(3), results)])
    session.record(replace(turn, shipped=[codec.encode(Poison())]))
    source.shelf_set("by hand", "key", codec.encode(Poison()))
    target = merged(source)
    target.forget_at(run.uid, [1])
    merge(source, target)
    assert all_of(target)[0][0][1:] == all_of(source)[0][0][1:]
    assert all_of(target)[1] == all_of(source)[1]


def test_what_the_target_has_of_other_runs_stays():
    """The results of two computers are the results of both."""
    one = write(MemoryStore(), a_run(), [Turn([block([0], "a")], [done([0], "A")])])
    other = write(MemoryStore(), a_run(), [Turn([block([0], "b")], [], [failed(0)])])
    merge(one, other)
    assert len(other.runs()) == 2
    assert other.values() == ["A"]
    assert len(other.failures()) == 1


# -- a run that goes on, and a merge that does not ---------------------------------------------------------


def test_a_run_that_goes_on_is_merged_as_far_as_it_is():
    """It has not ended in the target either; a later merge brings the rest, and its end."""
    source, target = MemoryStore(), MemoryStore()
    session = source.begin(a_run(owner=owner.here(), provenance={"user": "me"}))
    session.record(Turn([block(range(4), "abcd")], [done([1], "B")], shipped=[b"task"]))
    assert merge(source, target).done == 1
    assert target.runs() == source.runs()
    session.record(
        Turn([block([7], "h")], [done([0, 2], "AC")], [failed(7)], [b"class"], {"git_commit": "0"})
    )
    session.close(*OUTCOME)
    assert merge(source, target) == Merged(done=2, failed=1)
    assert all_of(target) == all_of(source)


def test_results_that_come_while_it_reads_are_left_for_the_next_merge():
    """A store that knows no faster way reads records and results one after the other; in between, a farm
    has stored more, and somebody has made it forget what the records still had.
    """

    class Busy(MemoryStore):
        packs = DataManager.packs

        def encoded(self, run):
            if len(self) == 2:
                session.record(Turn([], [done([0, 3], "AD")]))
                self.forget(join_key(run, 1))
            return super().encoded(run)

    source, target = Busy(), MemoryStore()
    session = source.begin(a_run(owner=owner.here()))
    session.record(Turn([block(range(4), "abcd")], [done([1, 2], "BC")]))
    assert merge(source, target).done == 1
    assert target.values() == ["C"]
    assert merge(source, target).done == 2
    assert target.values() == source.values() == ["A", "C", "D"]


def test_an_older_run_that_is_merged_does_not_make_done_items_fail_again():
    """``resume='done'`` goes by when runs began: what failed first and was done later is done."""
    older, newer = MemoryStore(), MemoryStore()
    run_tasks(older, square_unless_odd, range(4), errors="collect", **FAST)
    items = [codec.encode_items([item]) for item in range(4)]
    blocks = [replace(block([index], [index]), payload=payload) for index, payload in enumerate(items)]
    run = replace(older.runs()[0], uid="newer", started=older.runs()[0].started + 1)
    write(newer, run, [Turn(blocks, [done(range(4), range(4))])])
    merge(older, newer)
    assert next(each.uid for each in newer.runs()) == "newer"
    again = run_tasks(newer, square_unless_odd, [1, 1], resume="done", errors="collect", **FAST)
    assert (again.skipped, again.failed) == (1, 1)  # item 1 was done once, and not failed beside that


def test_an_older_copy_takes_nothing_back():
    """Merging a backup into the store that it was made of changes nothing."""
    run = a_run()
    turns = [Turn([block(range(2), "ab")], [done([0], "A")]), Turn([], [done([1], "B")])]
    old, new = write(MemoryStore(), run, turns[:1], None), write(MemoryStore(), run, turns)
    before = all_of(new)
    assert merge(old, new) == Merged()
    assert all_of(new) == before


@pytest.mark.parametrize("writes", range(7))
def test_a_merge_that_breaks_off_is_completed_by_the_next(writes):
    """Whatever was stored before stays, the run does not seem to have ended, and nothing comes twice."""
    source = MemoryStore()
    run_tasks(source, square_unless_odd, range(6), errors="collect", retries=1, **FAST)
    run_tasks(source, draw, range(3), seed=1, **FAST)
    target = BreaksOff(writes)
    try:
        merge(source, target)
        assert writes > 5, "it has to break off"
    except StoreError:
        assert target.runs()[-1].ended is None
    target.writes = 100
    merge(source, target)
    assert all_of(target) == all_of(source)


def test_a_large_store_goes_over_in_small_turns():
    """What is held in memory at once does not grow with the store."""
    source = MemoryStore()
    session = source.begin(a_run())
    for first in range(0, 4000, 100):
        span = range(first, first + 100)
        wrong = [failed(4000 + first + place, usage=Usage(None, "x" * 10_000)) for place in range(100)]
        items = [block(span, [bytes(10_000)] * 100), block([4000 + index for index in span], [0] * 100)]
        session.record(Turn(items, [done(span, [bytes(10_000)] * 100)], wrong))
    session.close(*OUTCOME)
    target = BreaksOff(1000)
    merge(source, target)
    assert all_of(target) == all_of(source)
    assert len(target.sizes) > 15
    assert max(target.sizes) < 6_000_000


# -- files, and sessions by hand ------------------------------------------------------------------------


def with_files(folder):
    store = MemoryStore()
    store.files = ResultFiles(str(folder), threshold=1000, sync=False)
    return store


def large_results(store):
    """A run whose every other result is in a file of its own."""
    run_tasks(store, os.urandom, [10, 100_000, 20, 200_000], **FAST)
    return store


def test_large_results_bring_their_files(tmp_path):
    """The target needs nothing of the source any more, and no byte of it was decoded."""
    source = large_results(with_files(tmp_path / "source"))
    target = with_files(tmp_path / "target")
    assert merge(source, target) == Merged(runs=1, done=4, files=2)
    (tmp_path / "source").rename(tmp_path / "gone")
    assert list(map(len, target.values())) == [10, 100_000, 20, 200_000]
    assert list(target.check()) == []
    assert target.sweep(everything=True) == 0


def test_a_target_without_files_says_so(tmp_path):
    """The bytes in a file are no pickle that could be kept in its place."""
    source = large_results(with_files(tmp_path / "source"))
    with pytest.raises(StoreError, match=r":memory:: .* no results in files|cannot have results in files"):
        merge(source, MemoryStore())


def test_files_come_along_into_a_store_that_makes_none_itself(tmp_path):
    """Its limit says where new results go, and not what it can read."""
    target = MemoryStore()
    target.files = ResultFiles(str(tmp_path / "target"), threshold=None)
    source = large_results(with_files(tmp_path / "source"))
    assert merge(source, target).files == 2
    assert target.values() == source.values()


def test_where_a_file_cannot_be_written_the_merge_says_so_and_stores_nothing_of_it(tmp_path):
    """A record never names a file that is not there."""
    (tmp_path / "target").touch()
    target = with_files(tmp_path / "target")
    with pytest.raises(StoreError, match="cannot be copied"):
        merge(large_results(with_files(tmp_path / "source")), target)
    assert len(target) == 0


def test_a_damaged_file_is_not_merged(tmp_path):
    """A copy of it would look as good as others; the error names the file."""
    source = large_results(with_files(tmp_path / "source"))
    file = max((tmp_path / "source").glob("*/*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=file.name):
        merge(source, with_files(tmp_path / "target"))


@settings(deadline=None)
@given(
    one=st.dictionaries(st.tuples(st.sampled_from("st"), st.sampled_from("abc")), values),
    other=st.dictionaries(st.tuples(st.sampled_from("st"), st.sampled_from("abc")), values),
)
def test_pairs_that_were_written_by_hand_go_over_once(one, other):
    """Where both have the key with different values, the target keeps its own, and is told."""
    stores = MemoryStore(), MemoryStore()
    for store, pairs in zip(stores, (one, other), strict=True):
        for (name, key), value in pairs.items():
            store.session(name)[key] = value
    source, target = stores
    disagree = {
        place for place in one.keys() & other.keys() if codec.encode(one[place]) != codec.encode(other[place])
    }
    summary = merge(source, target)
    assert set(summary.conflicts) == disagree
    assert summary.pairs == len(one.keys() - other.keys())
    assert {(s, k): target.session(s)[k] for s in target.shelf_names() for k in target.shelf_keys(s)} == {
        **one,
        **other,
    }
    assert merge(source, target) == Merged(conflicts=summary.conflicts)


def test_a_store_is_not_merged_into_itself():
    """That can only be a mistake."""
    store = MemoryStore()
    with pytest.raises(UsageError, match=r":memory: cannot be merged into itself"):
        merge(store, store)
