"""What every store must do, as tests that a plugin inherits.

::

    class TestMine(StoreConformance):
        @pytest.fixture
        def location(self, tmp_path):
            return tmp_path / "results.mine"

        @pytest.fixture
        def open_store(self):
            return MyStore  # called with the location, perhaps several times

A store that cannot be opened again says ``persistent = False``, one without sessions to write by hand
``shelves = False``.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand import codec
from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemError, ItemsDone, RecordDone, RecordFailed, Usage
from farmhand.memory import MemoryStore
from farmhand.merge import merge
from farmhand.quantities import unit_of
from farmhand.store import Block, Counts, DataManager, Record, RunInfo, Session, Turn, join_key
from farmhand.tables import Columns, rows, select
from farmhand.task import call
from farmhand.testing.files import LargeResultsConformance

__all__ = ["OpenStore", "StoreConformance", "a_run", "block", "done", "failed", "histories", "values"]

OpenStore: TypeAlias = Callable[[Path], DataManager]
Begin: TypeAlias = Callable[..., Session]
T = TypeVar("T")

_numbers = count(1)


def a_run(**changes: Any) -> RunInfo:
    """A run that nobody else has."""
    number = next(_numbers)
    run = RunInfo(f"run{number}-{os.getpid()}", "find_rate", "someone.somewhere", 1000.0 + number)
    return replace(run, **changes)


def done(indices: Sequence[int], results: Sequence[Any], process: int = 0, **attempts: int) -> RecordDone:
    """Results of one process, encoded; ``i7=2`` says that item 7 needed two attempts."""
    started, seconds = 100.5 + min(indices, default=0), [0.25 * (index + 1) for index in indices]
    encoded = [codec.encode(result) for result in results]
    named = {int(name[1:]): number for name, number in attempts.items()}
    return RecordDone(ItemsDone(process, indices, encoded, started, seconds), named)


def failed(
    index: int,
    message: str = "no",
    process: int | None = 0,
    attempts: int = 1,
    usage: Usage = Usage(),  # noqa: B008 - a frozen value
    again: bool = False,
) -> RecordFailed:
    """The failure of one item, or of an attempt at it that is followed by another."""
    error = ItemError("raised", "ValueError", message, f"Traceback ...\nValueError: {message}\n")
    return RecordFailed(index, error, process, 100.5 + index, 0.25, attempts, usage, again)


def block(indices: Sequence[int], items: Sequence[Any], keys: Sequence[str] | None = None) -> Block:
    """Small items, as they are sent."""
    return Block(indices, codec.encode_items(items), keys=keys)


class Quantity(float):
    """A number with a unit, as those of simulators are."""

    def __new__(cls, value: float, unit: str) -> Quantity:
        quantity = super().__new__(cls, value)
        quantity.dim = unit
        return quantity

    dim: str

    def __reduce__(self) -> tuple[Any, ...]:
        return Quantity, (float(self), self.dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and float(self) == float(other) and self.dim == other.dim

    def __hash__(self) -> int:
        return hash((float(self), self.dim))

    def get_best_unit(self) -> str:
        return self.dim

    def in_best_unit(self) -> str:
        return f"{float(self)} {self.dim}"


#: Results, of all plain types: what is read must be equal to what was written.
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Turn], dict[int, Any], dict[int, RecordFailed], list[Any]]:
    """A whole run: its turns in the order in which they happened, and what must be there after it.

    Some items are missing (skipped, or abandoned by a stop), the others end in any order, and a
    block comes with the first of its items that ends, or in an earlier turn.
    """
    items = draw(st.lists(values, min_size=1, max_size=12))
    known = sorted(draw(st.sets(st.sampled_from(range(len(items))), min_size=1)))
    cuts = sorted({0, len(known), *draw(st.lists(st.integers(0, len(known)), max_size=3))})
    chunks = [known[low:high] for low, high in pairwise(cuts)]
    waiting = {tuple(chunk): block(chunk, [items[i] for i in chunk]) for chunk in chunks}
    chunk_of = {index: tuple(chunk) for chunk in chunks for index in chunk}
    order = draw(st.permutations(known))[: draw(st.integers(0, len(known)))]
    results: dict[int, Any] = {}
    failures: dict[int, RecordFailed] = {}
    turns = []
    while order:
        size = draw(st.integers(1, len(order)))
        now, order = order[:size], order[size:]
        new = []
        for index in now:
            if chunk_of[index] in waiting:
                new.append(waiting.pop(chunk_of[index]))
            if draw(st.integers(0, 3)):
                results[index] = draw(values)
            else:
                number, attempts = draw(st.none() | st.integers(0, 99)), draw(st.integers(1, 9))
                failures[index] = failed(index, draw(st.text(st.characters())), number, attempts)
        by_process: dict[int, list[int]] = {}
        for index in now:
            if index in results:
                by_process.setdefault(draw(st.integers(0, 2)), []).append(index)
        records = [done(i, [results[k] for k in i], process) for process, i in by_process.items()]
        turns.append(Turn(new, records, [failures[index] for index in now if index in failures]))
    return turns, results, failures, items


class _Torn(list[T]):
    """A list that breaks in the middle, as a disk may."""

    def __iter__(self) -> Iterator[T]:
        yield self[0]
        yield self[1]

    def __getitem__(self, place: Any) -> Any:
        if place == 0:
            return super().__getitem__(0)
        raise InterruptedError("in the middle of a turn")


class _Poison:
    """A value that must not be decoded: doing so is an error."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


def _explode() -> None:
    raise AssertionError("a value was decoded")


def _plain(blocks: Iterator[Block]) -> list[tuple[Any, ...]]:
    """Blocks without the kinds of their sequences, which a store may choose."""
    return [
        (
            list(b.indices),
            b.payload,
            *(None if part is None else list(part) for part in (b.fingerprints, b.texts, b.keys)),
        )
        for b in blocks
    ]


# The fixtures are shared by all examples on purpose: each example is a run of its own in one store.
_any = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)


class StoreConformance(LargeResultsConformance):
    """The contract of :mod:`farmhand.store`. Subclasses supply ``open_store`` and perhaps ``location``."""

    #: Whether what one opening wrote is there for the next.
    persistent: bool = True
    #: Whether it has sessions that are written by hand.
    shelves: bool = True

    @pytest.fixture
    def location(self, tmp_path: Path) -> Path:
        """Where a new store may be."""
        return tmp_path / "store"

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """What opens (and creates) a store at a location."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, location: Path, open_store: OpenStore) -> Iterator[DataManager]:
        """An empty store."""
        with open_store(location) as store:
            yield store

    @pytest.fixture
    def reread(
        self, location: Path, open_store: OpenStore, store: DataManager
    ) -> Iterator[Callable[[], DataManager]]:
        """What gives the store as the next program would see it."""
        opened: list[DataManager] = []

        def reopen() -> DataManager:
            if not self.persistent:
                return store
            opened.append(open_store(location))
            return opened[-1]

        yield reopen
        for each in opened:
            each.close()

    @pytest.fixture
    def begin(self, store: DataManager) -> Iterator[Begin]:
        """What begins a run, by default in ``store``; the sessions are closed after the test."""
        sessions: list[Session] = []

        def begin(run: RunInfo, store: DataManager = store, join: bool = False) -> Session:
            sessions.append(store.begin(run, join))
            return sessions[-1]

        yield begin
        for session in sessions:
            try:
                session.close("stopped", 1.0)
            except Exception:
                pass  # many tests have closed it, or broken it, already

    # -- what was recorded is what is read ---------------------------------------------------------

    def test_a_new_store_is_empty_and_true(self, store: DataManager) -> None:
        """``if store:`` asks whether there is a store, not whether it has results."""
        assert bool(store)
        assert len(store) == store.itemcount() == 0
        readings: list[Callable[[], Iterable[Any]]]
        readings = [store.runs, store.keys, store.values, store.items, store.records, store.results]
        for read in readings:
            assert list(read()) == []
        assert list(store) == []
        assert store.failures() == []

    @_any
    @given(history=histories())
    def test_any_history_of_turns_is_read_as_it_was_written(
        self, history: Any, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Whatever the order in which items end, and however turns cut it, reading goes by index."""
        turns, results, failures, items = history
        before = store.itemcount()
        run = a_run()
        session = begin(run)
        for turn in turns:
            session.record(turn)
        session.close("finished", 2000.0)
        wanted = sorted(results)
        for reader in (store, reread()):
            assert [(i, codec.decode(data)) for i, data in reader.encoded(run.uid)] == [
                (i, results[i]) for i in wanted
            ]
            assert list(reader.done_indices(run.uid)) == wanted
            assert [(r.index, r.status) for r in reader.records(run.uid)] == sorted(
                [(i, "done") for i in results] + [(i, "failed") for i in failures]
            )
            errors = {r.index: (r.error, r.process, r.attempts) for r in reader.records(run.uid) if r.error}
            assert errors == {i: (f.error, f.number, f.attempts) for i, f in failures.items()}
            assert [
                (r.index, r.item, r.value) for r in reader.results() if r.key.startswith(f"{run.uid}-")
            ] == [(i, items[i], results[i]) for i in wanted]
            assert _plain(reader.blocks(run.uid)) == sorted(_plain(b for turn in turns for b in turn.blocks))
            assert reader.itemcount() == before + len(results)
            counts = Counts(len(results), len(failures), 0)
            assert (reader.counts(run.uid), list(reader.check())) == (counts, [])
            if reader is not store:
                reader.close()

    def test_a_record_says_everything_that_is_known_of_an_item(
        self, store: DataManager, begin: Begin
    ) -> None:
        """Times are exact, attempts are one unless said otherwise, an item may never have had a process."""
        run = a_run()
        session = begin(run)
        lost = RecordFailed(2, ItemError("unpicklable item", "TypeError", "cannot pickle"))
        failure = failed(1, "two\nlines, \u2028, NUL \0 and half a pair \udcff", process=4, attempts=2)
        turn = Turn([block(range(3), "abc")], [done([0], ["a"], process=3, i0=5)], [failure, lost])
        session.record(turn)
        uid, key = run.uid, f"{run.uid}-"
        expected = [
            Record(key + "0", uid, 0, "done", 3, 100.5, 0.25, 5),
            Record(key + "1", uid, 1, "failed", 4, 101.5, 0.25, 2, failure.error),
            Record(key + "2", uid, 2, "failed", None, 0.0, 0.0, 1, lost.error),
        ]
        assert list(store.records()) == list(store.records(uid)) == expected
        assert store.failures() == store.failures(uid) == expected[1:]

    def test_every_record_of_a_run_with_a_seed_has_that_of_its_item(
        self, store: DataManager, begin: Begin
    ) -> None:
        """However it is found, and whatever other runs had; a seed may have any number of bits."""
        runs = [a_run(seed=7), a_run(), a_run(seed=2**127 + 1)]
        for run in runs:
            again = failed(1, again=True)
            lost = failed(2, attempts=2)
            begin(run).record(Turn([block(range(3), "abc")], [done([0, 1], "ab")], [again, lost]))
        found = [
            *store.records(),
            *(record for run in runs for record in store.records(run.uid)),
            *store.failures(),
            *store.retried(),
            *(store.record(join_key(run.uid, index)) for run in runs for index in range(3)),
        ]
        assert len(found) == 3 * (3 + 3 + 1 + 1 + 3)
        seeds = {run.uid: run.seed for run in runs}
        for record in found:
            assert record.run_seed == seeds[record.run]
            assert (record.seed is None) == (record.run_seed is None)
        assert len({record.seed for record in store.records()}) == 3 + 1 + 3

    def test_a_run_of_no_valid_name_is_not_there(self, store: DataManager) -> None:
        """A key may come from anywhere; that it cannot be written down is no reason to break."""
        uid = "half a pair \udcff"
        assert f"{uid}-1" not in store
        assert store.get(f"{uid}-1") == {}
        for ask in (store.record, store.output, store.item, store.forget):
            with pytest.raises(KeyError):
                ask(f"{uid}-1")
        for ask_run in (store.counts, store.failures, store.shipped, store.last_ended):
            with pytest.raises(KeyError):
                ask_run(uid)

    def test_what_a_forgotten_item_printed_is_gone_also_when_it_ends_again(
        self, store: DataManager, begin: Begin
    ) -> None:
        """A merge may bring it back, from a copy of the store."""
        session = begin(a_run(uid="farm"))
        first = done(range(3), "abc")
        usage = {index: Usage(None, f"printed {index}") for index in range(3)}
        session.record(
            Turn([block(range(3), "abc")], [replace(first, done=replace(first.done, usage=usage))])
        )
        store.forget("farm-1")
        assert list(store.outputs("farm")) == [(0, "printed 0"), (2, "printed 2")]
        session.record(Turn([], [done([1], "B")]))
        assert list(store.outputs("farm")) == [(0, "printed 0"), (2, "printed 2")]
        assert store.output("farm-1") == ""

    def test_failures_are_told_by_run_and_index_as_records_tell_them(
        self, store: DataManager, begin: Begin
    ) -> None:
        """With their memory and attempts; those of one run alone; none of items that were forgotten."""
        for uid in ("first", "second"):
            session = begin(a_run(uid=uid))
            session.record(Turn([block(range(9), "abcdefghi")], [done([3, 4], "de")], [failed(7)]))
            session.record(Turn([], [], [failed(2, attempts=2, usage=Usage(1 << 40, "text")), failed(8)]))
        store.forget(["first-8", "first-3"])
        for uid, indices in (("first", [2, 7]), ("second", [2, 7, 8])):
            assert [record.index for record in store.failures(uid)] == indices
            assert store.failures(uid) == [each for each in store.records(uid) if each.status == "failed"]
        assert store.failures() == store.failures("first") + store.failures("second")
        with pytest.raises(KeyError):
            store.failures("third")

    def test_attempts_that_were_followed_by_another_are_kept_apart(
        self, store: DataManager, begin: Begin
    ) -> None:
        """They are data, but not how the item ended: that is in the records."""
        session = begin(a_run(uid="farm"))
        session.record(Turn([block(range(3), "abc")], [], [failed(2, "first", attempts=1, again=True)]))
        session.record(Turn([], [done([0], ["a"])], [failed(2, "second", 1, attempts=2, again=True)]))
        assert [record.index for record in store.records()] == [0]
        assert store.failures() == []
        session.record(Turn([], [done([2], ["c"], i2=3)], [failed(1, again=True)]))
        session.record(Turn([], [], [failed(1, "for good", attempts=2)]))
        retried = list(store.retried())
        assert [(record.index, record.attempts, record.process) for record in retried] == [
            (1, 1, 0),
            (2, 1, 0),
            (2, 2, 1),
        ]
        assert retried[2] == Record(
            "farm-2", "farm", 2, "retried", 1, 102.5, 0.25, 2, failed(2, "second").error
        )
        ends = [(record.index, record.status, record.attempts) for record in store.records()]
        assert ends == [(0, "done", 1), (1, "failed", 2), (2, "done", 3)]
        other = begin(a_run(uid="other"))
        other.record(Turn([block([2], "z")], [], [failed(2, "elsewhere", again=True)]))
        assert [record.run for record in store.retried()] == ["farm", "farm", "farm", "other"]
        assert [record.run for record in store.retried("other")] == ["other"]

    def test_what_an_item_used_and_printed_is_kept_with_it(self, store: DataManager, begin: Begin) -> None:
        """Of each attempt; of most items there is nothing to say."""
        session = begin(a_run(uid="farm"))
        texts = ["", "one line\n", "\ud800 \0 µ\r\x1b[31m", "long " * 20_000]
        usage = {index: Usage(10**10 + index, text) for index, text in enumerate(texts)}
        good = replace(done([0, 1, 2, 3, 4], "abcde").done, usage=usage)
        bad = failed(5, attempts=2, usage=Usage(4096, "second try"))
        retry = failed(5, usage=Usage(None, "first try"), again=True)
        session.record(Turn([block(range(7), "abcdefg")], [RecordDone(good)], [retry]))
        session.record(Turn([], [], [bad, failed(6)]))
        memory = [record.memory for record in store.records()]
        assert memory == [10**10, 10**10 + 1, 10**10 + 2, 10**10 + 3, None, 4096, None]
        outputs = [store.output(f"farm-{index}") for index in range(8)]
        assert outputs == [*texts, "", "second try", "", ""]
        assert [store.output("farm-5", attempt) for attempt in (1, 2, 3)] == ["first try", "second try", ""]
        assert [store.output("farm-1", attempt) for attempt in (1, 2)] == ["one line\n", ""]
        assert [record.memory for record in store.retried()] == [None]
        told = [*enumerate(texts), (5, "second try")]
        assert list(store.outputs("farm")) == [(index, text) for index, text in told if text]
        assert store.last_ended("farm") == 106.75  # of item 6: when it began, and how long it took

    def test_a_run_is_written_down_when_it_begins_and_when_it_ends(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """A run without an outcome is running, or was killed: both must be seen from outside."""
        run = a_run(task="Sim.find <ü \udcff>", numitems=10**9, seed=2**127 + 1)
        other = a_run(computer="ü.ü", started=run.started)
        session, second = begin(run), begin(other)
        assert reread().runs() == store.runs() == [run, other]
        session.close("stopped", 3000.25)
        second.close("broken", 3000.5)
        ended = [
            replace(run, outcome="stopped", ended=3000.25),
            replace(other, outcome="broken", ended=3000.5),
        ]
        assert reread().runs() == store.runs() == ended
        assert store.session_names() == [run.uid, other.uid]

    def test_a_session_may_be_left_without_an_end_and_be_joined(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """As merging does with a run that still goes on elsewhere; an end that is there stays."""
        run = a_run()
        session = begin(run)
        session.record(Turn([block(range(3), "abc")], [done([1], "B")]))
        session.close("", None)
        assert reread().runs() == store.runs() == [run]
        session = store.begin(run, join=True)
        session.record(Turn([], [done([0], "A")], [failed(2)]))
        session.close("finished", 9.0)
        store.begin(run, join=True).close("", None)
        assert reread().runs() == store.runs() == [replace(run, outcome="finished", ended=9.0)]
        assert store.values() == ["A", "B"]

    @_any
    @given(history=histories())
    def test_any_history_can_be_merged_into_it_and_out_of_it(
        self, history: Any, store: DataManager, begin: Begin
    ) -> None:
        """From one kind of store into another nothing is lost, and merging twice is merging once."""
        turns, *_ = history
        run = a_run(parameters=("k",), provenance={"user": "someone"})
        before, after = MemoryStore(), MemoryStore()
        session = begin(run, before)
        for turn in [Turn(shipped=[b"task"]), *turns, Turn(provenance={"git_dirty": True})]:
            session.record(turn)
        session.close("finished", 2000.0)
        for source, target in [(before, store), (store, after), (before, store)]:
            merge(source, target)

        def told(store: DataManager) -> list[Any]:
            uid = run.uid
            [about] = [replace(known, owner="") for known in store.runs() if known.uid == uid]
            records, encoded = list(store.records(uid)), list(store.encoded(uid))
            return [about, records, encoded, _plain(store.blocks(uid)), store.shipped(uid), store.counts(uid)]

        assert told(before) == told(store) == told(after)

    def test_blocks_come_back_by_index_with_their_gaps_and_keys(
        self, store: DataManager, begin: Begin
    ) -> None:
        """Resume compares what they hold with the items that it is given."""
        run = a_run()
        session = begin(run)
        late = block([10, 11, 17, 40, 10_000_000_000], ["k", "l", "r", "o", "z"])
        early = block(range(3), [0, 1, 2], keys=["a", "ü", "\udcff"])
        session.record(Turn([late]))
        session.record(Turn([early]))
        assert _plain(store.blocks(run.uid)) == _plain(iter([early, late]))
        assert store.itemcount() == 0

    def test_of_large_items_fingerprints_and_texts_are_kept(self, store: DataManager, begin: Begin) -> None:
        """They are enough to resume, and to say what an item was; ``pairs`` shows the text."""
        run = a_run()
        session = begin(run)
        prints, texts = [codec.fingerprint(i) for i in "ab"], ["array(...) é", "\udcff"]
        large = Block([3, 5], None, prints, texts, ["first", "second"])
        session.record(Turn([large, block(range(6, 8), ["c", None])], [done([5, 3, 6, 7], [50, 30, 60, 70])]))
        assert _plain(store.blocks(run.uid))[0] == _plain(iter([large]))[0]
        assert [(r.index, r.item, r.text, r.value) for r in store.results()] == [
            (3, None, texts[0], 30),
            (5, None, texts[1], 50),
            (6, "c", "", 60),
            (7, None, "", 70),
        ]
        assert store.pairs() == [(texts[0], 30), (texts[1], 50), ("c", 60), (None, 70)]

    def test_an_item_without_a_block_is_none(self, store: DataManager, begin: Begin) -> None:
        """Old stores have results without items; they must not get the item of a neighbour."""
        session = begin(a_run())
        session.record(Turn([block([2], ["two"])], [done([1, 2, 3], ["b", "c", "d"])]))
        assert store.pairs() == [(None, "b"), ("two", "c"), (None, "d")]

    def test_many_results_in_one_turn_are_all_there(self, store: DataManager, begin: Begin) -> None:
        """Stores write rows in portions; every remainder of a portion must arrive."""
        run = a_run()
        session = begin(run)
        first = 0
        for size in (1, 99, 100, 101, 1, 250, 999):
            indices = range(first, first + size)
            halves = [indices[: size // 2], indices[size // 2 :]]
            session.record(Turn([block(indices, list(indices))], [done(part, part) for part in halves]))
            first += size
        assert list(store.encoded(run.uid)) == [(i, codec.encode(i)) for i in range(first)]
        assert store.pairs() == [(i, i) for i in range(first)]

    def test_a_large_value_is_kept_whole(self, store: DataManager, begin: Begin) -> None:
        """A result may have many megabytes, of any bytes."""
        session = begin(a_run())
        value = bytes(range(256)) * 20_000
        session.record(Turn([block(range(1), [0])], [done([0], [value])]))
        assert store.values() == [value]

    # -- Brian's reading API -----------------------------------------------------------------------

    def test_the_reading_api_of_brian(self, store: DataManager, begin: Begin) -> None:
        """The names and meanings of ``brian.tools.datamanager.DataManager``."""
        for results in ([[1, 2], (3,)], [[4], []]):
            session = begin(a_run())
            session.record(Turn([block(range(2), "ab")], [done([1, 0], results[::-1])]))
            session.close("finished", 1.0)
        uids, keys = [run.uid for run in store.runs()], store.keys()
        assert len(set(keys)) == len(keys) == len(store) == store.itemcount() == 4
        assert store.values() == list(store.itervalues()) == [[1, 2], (3,), [4], []]
        assert store.items() == list(store.iteritems()) == list(zip(keys, store.values(), strict=True))
        assert list(store) == keys
        assert {key: store[key] for key in keys} == dict(store.items())
        assert all(key in store for key in keys)
        assert store.get(keys[0]) == {uids[0]: [1, 2]}
        assert store.get_merged(keys[0]) == [1, 2]
        assert store.get_matching_keys(uids[1]) == keys[2:]
        assert store.get_matching(uids[1]) == {keys[2]: {uids[1]: [4]}, keys[3]: {uids[1]: []}}
        assert store.get_merged_matching(uids[0]) == [1, 2, 3]
        assert store.get_merged_matching(lambda key: key in keys[1:3]) == [3, 4]
        assert store.get_flat_matching(lambda key: key != keys[1]) == [[1, 2], [4], []]
        assert store.make_unique_key() != store.make_unique_key()
        assert "." in store.computer_name
        assert store.computer_session_filename == store.session_filename(store.computer_name)
        assert all(path.startswith(store.basepath) for path in store.session_filenames())
        assert bool(store.session_filenames()) == self.persistent

    def test_a_key_that_is_not_there(self, store: DataManager, begin: Begin) -> None:
        """It is a KeyError, or empty, as with a dict; nearly right keys are no other names of an item."""
        run = a_run()
        session = begin(run)
        begin(a_run()).record(Turn([], [done([0], ["of the next run"])]))
        session.record(Turn([block(range(8), "abcdefgh")], [done([7], [1])], [failed(3)]))
        wrong = [f"{run.uid}-{i}" for i in (0, 3, 8, "07", "-7", "٧", "", "x", 1 << 40, 10**18, "9" * 5000)]
        for key in [*wrong, "", "-", "nobody-7", run.uid, 7, None]:
            assert key not in store
            with pytest.raises(KeyError):
                store[key]  # type: ignore[index]
        assert store.get("nobody-7") == store.get_matching("nobody") == {}
        assert store.get_merged("nobody-7") == []

    def test_a_run_that_is_not_there_is_a_key_error(self, store: DataManager) -> None:
        """An empty answer would look like a run without results."""
        for method in (
            *(store.encoded, store.decoded, store.packs, store.done_indices, store.blocks),
            *(store.records, store.retried, store.shipped, lambda run: store.timings(run).indices),
        ):
            with pytest.raises(KeyError):
                list(method("nobody"))
        for look in (
            lambda: store.encoded_at("nobody", 0),
            lambda: store.decoded_at("nobody", 0),
            lambda: store.output_at("nobody", 0),
            lambda: store.counts("nobody"),
            lambda: store.durations("nobody", 10),
            lambda: store.record("nobody-0"),
            lambda: store.item("nobody-0"),
            lambda: store.forget_at("nobody", [0]),
            lambda: store.forget("nobody-0"),
        ):
            with pytest.raises(KeyError):
                look()

    def test_only_reading_values_decodes_anything(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Looking at a store that you do not trust, and keeping order in it, is safe."""
        run = a_run()
        session = begin(run)
        poison = pickle.dumps(_Poison())
        bad = RecordDone(ItemsDone(0, range(3), [poison] * 3, 1.0, [1.0] * 3), {1: 2})
        items = [_Poison(), (_Poison(),), {"a": _Poison()}, 3]
        again = failed(1, again=True)
        session.record(Turn([Block(range(4), poison, items=items)], [bad], [again, failed(3)], [poison]))
        if self.shelves:
            store.shelf_set("by hand", "name", poison)
        for reader in (store, reread()):
            keys, by_hand = reader.keys(), ["name"] * self.shelves
            assert keys == [join_key(run.uid, index) for index in range(3)] + by_hand
            assert all(key in reader for key in keys)
            assert [record.index for record in reader.records()] == [0, 1, 2, 3]
            assert list(reader.records(since=reader.records().cursor)) == []
            assert [record.index for record in reader.retried()] == [1]
            assert list(reader.durations(run.uid, 10)[0]) == [0, 1, 2]
            assert reader.record(keys[1]).attempts == 2
            assert reader.output(keys[0]) == ""
            assert len(reader.failures()) == 1
            assert len(reader) == 3 + len(by_hand)
            assert str(len(reader)) in repr(reader)
            assert reader.counts(run.uid) == Counts(3, 1, 1)
            assert list(reader.done_indices(run.uid)) == list(reader.timings(run.uid).indices) == [0, 1, 2]
            assert [data for _, data in reader.encoded(run.uid)] == [poison] * 3
            assert [data for pack in reader.packs(run.uid) for data in pack.values] == [poison] * 3
            assert reader.encoded_at(run.uid, 0) == poison
            assert [b.payload for b in reader.blocks(run.uid)] == reader.shipped(run.uid) == [poison]
            assert list(reader.check()) == []
            reads: list[Callable[[], object]] = [reader.values, reader.items, reader.pairs]
            reads += [lambda: reader[keys[0]], lambda: reader.get(keys[0]), lambda: reader.item(keys[0])]  # noqa: B023
            for read in reads:
                with pytest.raises(AssertionError, match="decoded"):
                    read()
        assert store.forget(join_key(run.uid, 1)) == 1
        session.close("finished", 1.0)
        store.vacuum()
        assert [record.index for record in store.records()] == [0, 2, 3]

    # -- what a run was ----------------------------------------------------------------------------

    def test_a_run_keeps_how_it_came_about(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Plain values, which come back as they were; what becomes known later joins them."""
        said = {
            "command": ["python", "run me.py", "\udcff ü"],
            "cpus": 8,
            "packages": {"numpy": "2.3", "ü": None},
            "git_dirty": False,
            "load": 0.5,
        }
        run = a_run(parameters=("k", "größe"), owner="here/1/2/3", provenance=said)
        session, other = begin(run), begin(a_run())
        assert store.runs()[0] == run
        session.record(Turn(provenance={"git_commit": "abc", "git_dirty": True}))
        session.record(Turn([block([0], "a")], [done([0], "A")], provenance={"cpus": 4}))
        session.close("finished", 3000.0)
        other.close("finished", 3000.0)
        expected = {**said, "git_commit": "abc", "git_dirty": True, "cpus": 4}
        for reader in (store, reread()):
            first, second = reader.runs()
            assert first == replace(run, provenance=expected, ended=3000.0, outcome="finished")
            assert (second.parameters, second.owner, second.provenance) == ((), "", {})

    def test_of_one_item_all_can_be_asked(self, store: DataManager, begin: Begin) -> None:
        """What it was, what it returned and printed, and everything that its record says."""
        session = begin(a_run(uid="farm"))
        good = replace(done([0], ["A"]).done, usage={0: Usage(None, "printed")})
        session.record(Turn([block(range(2), [(1, "x"), 2])], [RecordDone(good)], [failed(1, "no")]))
        one, two = store.record("farm-0"), store.record("farm-1")
        assert (one.item, one.value, one.output, one.status, one.key) == (
            *((1, "x"), "A", "printed", "done", "farm-0"),
        )
        assert (two.item, two.status, two.error.message) == (2, "failed", "no")
        with pytest.raises(KeyError):
            two.value  # noqa: B018
        with pytest.raises(AttributeError):
            two.nothing  # noqa: B018

    def test_what_was_shipped_is_kept_in_order(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """The task, and then the script's classes as they were met: so an item can be run again."""
        run, other = a_run(), a_run()
        session, second = begin(run), begin(other)
        session.record(Turn(shipped=[b"task", b"\x00\xff"]))
        second.record(Turn(shipped=[b"another"]))
        session.record(Turn([block([0], "a")], [done([0], "A")], shipped=[b"class"]))
        for reader in (store, reread()):
            assert reader.shipped(run.uid) == [b"task", b"\x00\xff", b"class"]
            assert reader.shipped(other.uid) == [b"another"]

    def test_a_run_that_is_joined_goes_on(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """As merging does; its results, and what is known of it, are those of both sessions."""
        run = a_run(provenance={"first": 1}, parameters=("k",))
        session = begin(run, join=True)
        session.record(Turn([block(range(2), "ab")], [done([0], "A")], [failed(1)], [b"task"]))
        session.close("stopped", 2000.0)
        other = reread()
        second = begin(replace(run, task="not the task of this run", provenance={}), other, join=True)
        second.record(Turn([block([2], "c")], [done([2], "C")], shipped=[b"class"], provenance={"second": 2}))
        with pytest.raises(StoreError, match="twice"):
            second.record(Turn([], [done([0], "Z")]))
        second.close("finished", 3000.0)
        for reader in (store, other):
            [found] = reader.runs()
            assert (found.task, found.outcome, found.ended) == (run.task, "finished", 3000.0)
            assert (found.provenance, found.parameters) == ({"first": 1, "second": 2}, ("k",))
            assert reader.pairs() == [("a", "A"), ("c", "C")]
            assert reader.counts(run.uid) == Counts(2, 1, 0)
            assert reader.shipped(run.uid) == [b"task", b"class"]

    def test_one_record_and_one_item_are_found_by_their_key(self, store: DataManager, begin: Begin) -> None:
        """The same as in the list of all; of a large item there is only a text."""
        run = a_run()
        session = begin(run)
        begin(a_run()).record(Turn([block(range(9), "ABCDEFGHI")], [done([8], ["of the next run"])]))
        packed = codec.Packed(codec.pack(list(range(100))), 100)
        many = ItemsDone(1, range(10, 110), packed, 1000.0, [0.5] * 100, usage={60: Usage(4096, "")})
        large = Block([3, 5], None, [codec.fingerprint(i) for i in "xy"], ["x", "y"])
        session.record(
            Turn(
                [block([0, 2], ["zero", ("two", 2)]), large, block(range(10, 110), list(range(100)))],
                [done([2, 3], ["b", "c"], i3=2), RecordDone(many, {60: 3})],
                [failed(0), failed(5, again=True)],
            )
        )
        for record in list(store.records(run.uid)):
            kept = store.record(record.key)
            assert kept == kept.record == record
            assert (kept.status, kept.seconds) == (record.status, record.seconds)
        assert store.item(f"{run.uid}-0") == "zero"
        assert store.item(f"{run.uid}-2") == ("two", 2)
        assert store.item(f"{run.uid}-60") == 50
        for index in (1, 4, 5, 110, 1 << 40, 10**17):
            with pytest.raises(KeyError):
                store.record(f"{run.uid}-{index}")
        for index in (1, 3, 5, 110, 1 << 40, 10**17):
            with pytest.raises(KeyError):
                store.item(f"{run.uid}-{index}")

    def test_timings_are_what_records_say(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """In columns, which a plot of a million items needs; those that failed are not among them."""
        run = a_run()
        session = begin(run)
        session.record(
            Turn([block(range(60), list(range(60)))], [done([i for i in range(60) if i % 7], [0] * 51)])
        )
        packed = codec.Packed(codec.pack(list(range(100))), 100)
        times = [0.25, 0.0, 0.5, 1.0] * 25
        session.record(Turn([], [RecordDone(ItemsDone(2, range(100, 200), packed, 1000.0, times))]))
        session.record(Turn([], [], [failed(0), failed(7, again=True)]))
        store.forget([join_key(run.uid, index) for index in (5, 150)])
        for reader in (store, reread()):
            timings = reader.timings(run.uid)
            columns = (timings.indices, timings.processes, timings.started, timings.seconds)
            assert list(zip(*columns, strict=True)) == [
                (r.index, r.process, r.started, r.seconds)
                for r in reader.records(run.uid)
                if r.status == "done"
            ]
            assert len(timings) == 51 + 100 - 2

    def test_packs_are_all_that_another_store_needs(self, store: DataManager, begin: Begin) -> None:
        """Results with their times, as bytes: merging copies them without looking into them."""
        run, copied = a_run(), a_run()
        session = begin(run)
        given = [1, None, 2.5, "text", (3,), b"bytes"] * 10
        session.record(Turn([block(range(60), given)], [done([i for i in range(60) if i % 7], given[:51])]))
        packed = codec.Packed(codec.pack(list(range(100))), 100)
        session.record(Turn([], [RecordDone(ItemsDone(2, range(100, 200), packed, 1000.0, [0.25] * 100))]))
        packs = list(store.packs(run.uid))
        second = begin(copied)
        for pack in packs:
            second.record(
                Turn(
                    done=[
                        RecordDone(
                            ItemsDone(pack.number, pack.indices, pack.values, pack.started, pack.seconds)
                        )
                    ]
                )
            )
        assert [pack.indices[0] for pack in packs] == sorted(pack.indices[0] for pack in packs)
        assert list(store.encoded(copied.uid)) == list(store.encoded(run.uid))
        assert [(r.index, r.process, r.started, r.seconds) for r in store.records(copied.uid)] == [
            (r.index, r.process, r.started, r.seconds) for r in store.records(run.uid)
        ]

    # -- how long items took -------------------------------------------------------------------------

    @_any
    @given(history=histories())
    def test_the_durations_of_a_few_items_are_those_of_all_that_are_done(
        self, store: DataManager, begin: Begin, history: Any
    ) -> None:
        """By index. Those that failed are left out: what they died of may have been mended since."""
        turns, results, _, _ = history
        run = a_run()
        session = begin(run)
        for turn in turns:
            session.record(turn)
        indices, seconds = store.durations(run.uid, 100)
        records = [record for record in store.records(run.uid) if record.status == "done"]
        assert list(indices) == [record.index for record in records] == sorted(results)
        assert list(seconds) == [record.seconds for record in records]

    @pytest.mark.parametrize("size", [1, 7, 400])
    def test_of_the_durations_of_many_items_a_sample_is_spread_over_their_indices(
        self, store: DataManager, begin: Begin, size: int
    ) -> None:
        """However many came together: the first ones alone would say nothing of a trend."""
        run = a_run()
        turns = [[done(range(first, first + size), range(size))] for first in range(2000, 4000, size)]
        session = begin(run)
        session.record(Turn(done=[record for records in turns for record in records]))
        indices, seconds = store.durations(run.uid, 50)
        assert 25 <= len(indices) <= 50
        assert list(seconds) == [0.25 * (index + 1) for index in indices]
        places = [2000, *indices, 4000]
        assert max(after - before for before, after in pairwise(places)) <= 100

    def test_durations_are_found_where_items_are_missing_between_them(
        self, store: DataManager, begin: Begin
    ) -> None:
        """A run that was resumed has what the ones before it have left."""
        run = a_run()
        indices = [index for index in range(10_000) if index % 1000 >= 700]
        begin(run).record(Turn(done=[done(indices, indices)]))
        found, seconds = store.durations(run.uid, 100)
        assert set(found) <= set(indices)
        assert {index // 1000 for index in found} == set(range(10))
        assert list(seconds) == [0.25 * (index + 1) for index in found]
        empty = a_run()
        begin(empty)
        assert [list(part) for part in store.durations(empty.uid, 100)] == [[], []]

    # -- what is new -------------------------------------------------------------------------------

    @_any
    @given(data=st.data())
    def test_increments_are_what_was_stored_between_readings(
        self, data: st.DataObject, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """However turns of two runs, forgetting and readings are mixed: nothing twice, nothing left out."""
        runs, items = [a_run(), a_run()], range(10)
        sessions = [begin(run) for run in runs]
        for session in sessions:
            session.record(Turn([block(items, list(items))]))
        reader = reread()
        cursor = reader.records().cursor
        there: dict[tuple[int, int], int] = {}  # when each item of each run was stored
        new: set[tuple[int, int]] = set()
        for stamp in range(data.draw(st.integers(1, 12))):
            action = data.draw(st.sampled_from(["store", "store", "forget", "read", "read one run"]))
            number = data.draw(st.integers(0, 1))
            chosen = data.draw(st.sets(st.sampled_from(items)))
            if action == "store":
                ends = [index for index in sorted(chosen) if (number, index) not in there]
                broken = [index for index in ends if data.draw(st.integers(0, 3)) == 0]
                whole = [index for index in ends if index not in broken]
                record = done(whole, whole, stamp)
                sessions[number].record(Turn([], [record], [failed(i, process=stamp) for i in broken]))
                there.update({(number, index): stamp for index in ends})
                new.update((number, index) for index in ends)
            elif action == "forget":
                store.forget_at(runs[number].uid, chosen)
                for index in chosen:
                    there.pop((number, index), None)
                    new.discard((number, index))
            elif action == "read one run":
                some = [(r.index, r.process) for r in reader.records(runs[number].uid, since=cursor)]
                assert some == [(index, there[run, index]) for run, index in sorted(new) if run == number]
            else:
                reading = reader.records(since=cursor)
                found = [(r.run, r.index, r.process) for r in reading]
                assert found == [(runs[run].uid, index, there[run, index]) for run, index in sorted(new)]
                cursor, new = reading.cursor, set()
        everything = [
            (r.run, r.index, r.process) for r in reader.records() if r.run in (runs[0].uid, runs[1].uid)
        ]
        assert everything == [(runs[run].uid, index, stamp) for (run, index), stamp in sorted(there.items())]
        if reader is not store:
            reader.close()

    def test_a_reading_is_of_the_moment_at_which_it_was_asked_for(
        self, store: DataManager, begin: Begin
    ) -> None:
        """Not of its first step: what is stored between the two would be in two increments, or in none."""
        session = begin(a_run())
        session.record(Turn([block(range(4), "abcd")], [done([0], "A")]))
        first = store.records()
        session.record(Turn([], [done([1], "B")]))
        second = store.records(since=first.cursor)
        session.record(Turn([], [done([2], "C")], [failed(3)]))
        assert [record.index for record in first] == [0]
        assert [record.index for record in second] == [1]
        third = store.records(since=second.cursor)
        assert [record.index for record in third] == [2, 3]
        assert list(store.records(since=third.cursor)) == []
        assert [record.index for record in store.records(since=first.cursor)] == [1, 2, 3]

    def test_a_cursor_outlives_the_store_that_gave_it(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """A program that looks now and then keeps it in a file of its own."""
        session = begin(a_run())
        session.record(Turn([block(range(2), "ab")], [done([0], "A")]))
        cursor = reread().records().cursor
        session.record(Turn([], [done([1], "B")]))
        assert [record.index for record in reread().records(since=cursor)] == [1]

    def test_what_is_no_cursor_of_this_store_is_refused(
        self, store: DataManager, begin: Begin, location: Path, open_store: OpenStore
    ) -> None:
        """Guessing what was meant would leave records out, or show them twice."""
        begin(a_run()).record(Turn([block([0], "a")], [done([0], "A")]))
        with open_store(location.with_name("another " + location.name)) as other:
            endless = store.records().cursor + "9" * 5000
            cursors: list[Any] = [
                "",
                "yesterday",
                "7",
                7,
                endless,
                other.records().cursor,
                store.records().cursor + "999999",
            ]
        for cursor in cursors:
            with pytest.raises(UsageError, match="no cursor of this store"):
                store.records(since=cursor)

    # -- forgetting --------------------------------------------------------------------------------

    def test_of_a_forgotten_item_only_the_item_is_left(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """So that a run with resume=True runs it again, as if it had never ended; its neighbours stay."""
        run = a_run()
        session = begin(run)
        usage = {index: Usage(1000 + index, f"printed {index}") for index in range(6)}
        results = RecordDone(replace(done(range(6), "abcdef").done, usage=usage), {2: 2})
        failures = [failed(2, again=True), failed(6, usage=Usage(7, "in vain")), failed(7)]
        session.record(Turn([block(range(9), "ABCDEFGHI")], [results], failures))
        kept = {record.index: record for record in store.records()}
        gone = [join_key(run.uid, index) for index in (2, 3, 6, 8)]
        assert store.forget(gone) == 3
        assert store.forget(gone) == 0
        for reader in (store, reread()):
            assert list(reader.records()) == [kept[index] for index in (0, 1, 4, 5, 7)]
            assert reader.pairs() == [("A", "a"), ("B", "b"), ("E", "e"), ("F", "f")]
            assert [reader.output(key) for key in gone] == [""] * 4
            assert reader.output(join_key(run.uid, 5)) == "printed 5"
            assert list(reader.retried()) == []
            assert (len(reader), reader.counts(run.uid)) == (4, Counts(4, 1, 0))
            assert reader.item(gone[0]) == "C"
            assert list(reader.check()) == []
        session.record(Turn([], [done([2, 6], ["c again", "g"])]))
        assert store.pairs()[2:] == [("C", "c again"), ("E", "e"), ("F", "f"), ("G", "g")]
        assert store.record(gone[0]).attempts == 1

    @_any
    @given(data=st.data())
    def test_any_items_may_be_forgotten(self, data: st.DataObject, store: DataManager, begin: Begin) -> None:
        """Wherever they lie among results that came together, plain ones and others."""
        results = data.draw(st.lists(st.integers() | values, min_size=1, max_size=12))
        gone = data.draw(st.sets(st.sampled_from(range(len(results)))))
        run = a_run()
        session = begin(run)
        plain = all(type(result) in codec.PLAIN for result in results)
        encoded = results if plain else [codec.encode(result) for result in results]
        packed = codec.Packed(codec.pack(encoded), len(results))
        seconds = [1.0 + index / 64 for index in range(len(results))]
        session.record(Turn([], [RecordDone(ItemsDone(0, range(len(results)), packed, 1000.0, seconds))]))
        before = list(store.records(run.uid))
        store.forget(join_key(run.uid, index) for index in gone)
        assert list(store.records(run.uid)) == [r for r in before if r.index not in gone]
        assert list(store.decoded(run.uid)) == [p for p in enumerate(results) if p[0] not in gone]
        assert list(store.check()) == []

    # -- sessions by hand --------------------------------------------------------------------------

    def test_a_session_by_hand_is_a_dict_that_lasts(
        self, store: DataManager, reread: Callable[[], DataManager]
    ) -> None:
        """What is set is there for the next program at once; Brian's names find it."""
        if not self.shelves:
            with pytest.raises(StoreError, match="no sessions"):
                store.session()["a"] = 1
            return
        with store.session("mine") as shelf:
            shelf["a"], shelf["ü \udcff"] = {"plain": [1, 2]}, (3,)
            shelf["a"] = [1, 2]
            shelf["gone"] = "soon"
            del shelf["gone"]
            for missing in ("gone", "b", ""):
                assert missing not in shelf
                with pytest.raises(KeyError):
                    shelf[missing]
                with pytest.raises(KeyError):
                    del shelf[missing]
            with pytest.raises(UsageError, match="texts"):
                shelf[7] = "seven"  # type: ignore[index]
        other = reread().computer_session()
        other["a"] = (3, 4)
        for reader in (store, reread()):
            assert dict(reader.session("mine")) == {"a": [1, 2], "ü \udcff": (3,)}
            assert sorted(reader.session_names()) == sorted(["mine", reader.computer_name])
            assert reader.get("a") == {"mine": [1, 2], reader.computer_name: (3, 4)}
            assert sorted(reader.get_merged("a")) == [1, 2, 3, 4]
            assert sorted(reader.keys()) == ["a", "ü \udcff"]
            assert reader["ü \udcff"] == (3,)
            assert "a" in reader
            assert len(reader) == reader.itemcount() == len(reader.values()) == 3
            assert list(reader.session("never written")) == []

    def test_sessions_by_hand_stand_beside_runs(self, store: DataManager, begin: Begin) -> None:
        """They are neither runs nor records; reading everything shows both."""
        if not self.shelves:
            pytest.skip("this store has no sessions by hand")
        run = a_run()
        begin(run).record(Turn([block([0], "a")], [done([0], "A")]))
        store.session("mine")["name"] = "B"
        assert store.values() == ["A", "B"]
        assert store.items() == [(f"{run.uid}-0", "A"), ("name", "B")]
        assert store.session_names() == [run.uid, "mine"]
        assert store.runs() == [run]
        assert store.pairs() == [("a", "A")]
        assert list(store.check()) == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_processes_can_count_in_a_locking_session(self, location: Path, open_store: OpenStore) -> None:
        """Between reading and writing, nobody else gets in; without the lock, steps would be lost."""
        if not (self.persistent and self.shelves):
            pytest.skip("no other process sees this store's sessions")
        children = []
        for _ in range(3):
            children.append(os.fork())
            if not children[-1]:
                status = 1
                try:
                    with open_store(location) as store:
                        shelf = store.locking_session("counter")
                        for _ in range(10):
                            with shelf.lock():
                                shelf["n"] = shelf.get("n", 0) + 1
                    status = 0
                finally:
                    os._exit(status)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        with open_store(location) as store:
            assert dict(store.session("counter")) == {"n": 30}

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_the_lock_of_a_killed_process_is_free(self, location: Path, open_store: OpenStore) -> None:
        """Nobody has to tidy up after it; and what it had set is there."""
        if not (self.persistent and self.shelves):
            pytest.skip("no other process sees this store's sessions")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                shelf = open_store(location).locking_session("mine")
                shelf.acquire()
                shelf["a"] = 1
                os.write(writing, b".")
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb", buffering=0) as told:
            assert told.read(1) == b"."
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open_store(location) as store, store.locking_session("mine") as shelf:
            with shelf.lock():
                shelf["a"] += 1
                with pytest.raises(UsageError, match="acquired already"):
                    shelf.acquire()
            assert shelf["a"] == 2

    # -- keeping order -----------------------------------------------------------------------------

    def test_a_sound_store_has_no_problems_and_vacuum_changes_nothing_in_it(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Whatever is in it: gaps, failures, earlier attempts, forgotten items, a run that has not ended."""
        session = begin(a_run())
        session.record(Turn([block([0, 1, 5], "abf")], [done([0, 5], "AF", i0=2)], [failed(0, again=True)]))
        session.record(Turn([block(range(6, 9), "ghi")], [done([6, 7], "GH")], [failed(8)]))
        session.close("finished", 1.0)
        begin(a_run()).record(Turn([block([0], "a")], [done([0], "A")]))
        store.forget(store.keys()[1])
        records, pairs = list(store.records()), store.pairs()
        assert list(store.check()) == []
        store.vacuum()
        for reader in (store, reread()):
            assert (list(reader.records()), reader.pairs()) == (records, pairs)
            assert list(reader.check()) == []

    # -- turns -------------------------------------------------------------------------------------

    def test_a_turn_that_breaks_in_the_middle_leaves_nothing(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """An item without its neighbours of the same turn would be counted, but never stored."""
        run = a_run()
        session = begin(run)
        session.record(Turn([block(range(2), "ab")], [done([0], ["kept"])]))
        good, torn = done([1, 2], ["b", "c"]), done([3, 4], ["d", "e"])
        torn = replace(torn, done=replace(torn.done, values=_Torn(torn.done.values)))
        with pytest.raises((StoreError, InterruptedError)):
            session.record(Turn([block(range(2, 6), "cdef")], [good, torn], [failed(5)]))
        for reader in (store, reread()):
            assert reader.pairs() == [("a", "kept")]
            assert len(list(reader.records())) == len(list(reader.blocks(run.uid))) == reader.itemcount() == 1

    @pytest.mark.parametrize(
        "again",
        [[[1, 2]], [[4, 5]], [[3]], [[0, 1, 2, 3, 4, 5]], [[7], [7]], [[0, 6, 7], [7, 8]], [[9, 9]]],
        ids=["below", "above", "within", "around", "in one turn", "overlapping in one turn", "in one record"],
    )
    def test_an_item_is_recorded_once(self, store: DataManager, begin: Begin, again: list[list[int]]) -> None:
        """A second result for an item shows a fault; the first one, and the rest, stay as they are."""
        run = a_run()
        session = begin(run)
        session.record(Turn([block(range(10), "abcdefghij")], [done([2, 3, 4], ["x", "y", "z"])]))
        with pytest.raises(StoreError, match="twice"):
            session.record(Turn([], [done(indices, indices) for indices in again]))
        assert store.pairs() == [("c", "x"), ("d", "y"), ("e", "z")]
        assert store.itemcount() == 3

    def test_results_that_came_together_are_found_one_by_one(self, store: DataManager, begin: Begin) -> None:
        """Plain ones and others, with gaps between them; what was never done has no key."""
        run = a_run()
        session = begin(run)
        given = {index: [None, index / 3, "text", (index,), b"bytes"][index % 5] for index in range(40)}
        wanted = {index: value for index, value in given.items() if index % 7}
        session.record(Turn([block(range(40), range(40))], [done(list(wanted), list(wanted.values()))]))
        plain = [index * 10 for index in range(100)]
        packed = codec.Packed(codec.pack(plain), 100)
        seconds = [0.5 + index / 64 for index in range(100)]
        more = ItemsDone(0, range(100, 200), packed, 1000.0, seconds)
        session.record(Turn([block(range(100, 200), plain)], [RecordDone(more)]))
        wanted.update(zip(range(100, 200), plain, strict=True))
        assert store.items() == [(f"{run.uid}-{index}", value) for index, value in wanted.items()]
        for index in range(201):
            key = f"{run.uid}-{index}"
            assert (key in store) == (index in wanted)
            if index in wanted:
                assert (store[key], store.encoded_at(run.uid, index)) == (
                    wanted[index],
                    codec.encode(wanted[index]),
                )
            else:
                with pytest.raises(KeyError):
                    store[key]
        assert [(r.started, r.seconds) for r in store.records(run.uid) if r.index >= 100] == list(
            zip(more.starts(), seconds, strict=True)
        )

    def test_an_empty_turn_stores_nothing(self, store: DataManager, begin: Begin) -> None:
        """The farm may have nothing to say."""
        session = begin(a_run())
        session.record(Turn())
        session.record(Turn([], [RecordDone(ItemsDone(0, [], [], 0.0, []))], []))
        session.close("finished", 1.0)
        assert store.itemcount() == 0

    def test_a_turn_may_come_as_lists_that_are_used_again(self, store: DataManager, begin: Begin) -> None:
        """The farm clears its lists after each turn; a store must not keep them."""
        session = begin(a_run())
        indices, encoded, times = [0, 1], [codec.encode("a"), codec.encode("b")], [1.0, 2.0]
        blocks, records = [block([0, 1], "xy")], [RecordDone(ItemsDone(0, indices, encoded, 1.0, times))]
        session.record(Turn(blocks, records))
        for used in (indices, encoded, times, blocks, records):
            used.clear()
        assert store.pairs() == [("x", "a"), ("y", "b")]

    # -- at the same time --------------------------------------------------------------------------

    def test_sessions_may_take_turns_in_one_store(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Two farms in one store: both work, and neither sees the items of the other as its own."""
        runs = [a_run(), a_run()]
        other = reread()
        sessions = [begin(runs[0]), begin(runs[1], other)]
        for index in range(4):
            for number, session in enumerate(sessions):
                session.record(Turn([block([index], [index])], [done([index], [(number, index)])]))
        sessions[0].close("finished", 1.0)
        sessions[1].record(Turn([block([4], [4])], [done([4], [(1, 4)])]))
        sessions[1].close("finished", 2.0)
        expected = [(0, i) for i in range(4)] + [(1, i) for i in range(5)]
        assert store.values() == other.values() == expected
        assert len(set(store.keys())) == 9

    def test_a_run_has_a_uid_of_its_own(self, store: DataManager, begin: Begin) -> None:
        """Two runs of one name would mix their results."""
        run = a_run()
        begin(run)
        with pytest.raises(StoreError):
            begin(run)

    def test_what_is_recorded_can_be_read_at_once(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Nobody waits for the end of a run to look at its results."""
        session, readers = begin(a_run()), [store, reread()]
        for index in range(3):
            session.record(Turn([block([index], [index])], [done([index], [index * index])]))
            for reader in readers:
                assert reader.pairs() == [(i, i * i) for i in range(index + 1)]

    def test_an_iterator_shows_the_store_as_it_was_when_it_began(
        self, store: DataManager, begin: Begin
    ) -> None:
        """A farm may write while you read; results, items and records must still fit together."""
        run = a_run()
        session = begin(run)
        session.record(Turn([block([10, 11], "kl")], [done([10, 11], "KL")]))
        begun: list[Iterator[Any]] = [
            store.itervalues(),
            store.results(),
            store.records(),
            store.blocks(run.uid),
        ]
        for iterator in begun:
            next(iterator)
        session.record(Turn([block([0, 1], "ab"), block([20], "u")], [done([20, 0, 1], "UAB")], [failed(21)]))
        assert [len(list(iterator)) for iterator in begun] == [1, 1, 1, 0]
        assert store.pairs() == [("a", "A"), ("b", "B"), ("k", "K"), ("l", "L"), ("u", "U")]

    def test_another_thread_may_use_the_store(self, store: DataManager, begin: Begin) -> None:
        """``run_tasks`` may be called in a thread, on a store that was opened elsewhere."""
        found: list[Any] = []
        session = begin(a_run())
        values = store.itervalues()

        def work() -> None:
            session.record(Turn([block([0], "a")], [done([0], "A")]))
            found.extend(values)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == store.values() == ["A"]

    # -- opened again ------------------------------------------------------------------------------

    def test_closing_twice_is_closing_once(self, location: Path, open_store: OpenStore) -> None:
        """``with`` and an explicit close may both happen."""
        with open_store(location) as store:
            store.close()

    def test_a_store_may_be_opened_again_and_again(self, location: Path, open_store: OpenStore) -> None:
        """Each call of ``run_tasks`` adds a run and leaves the others as they are."""
        if not self.persistent:
            pytest.skip("this store is gone when it is closed")
        for number in range(3):
            with open_store(location) as store:
                assert store.values() == list(range(number))
                session = store.begin(a_run())
                session.record(Turn([block([0], [0])], [done([0], [number])]))
                session.close("finished", 1.0)
        with open_store(location) as store:
            assert [run.outcome for run in store.runs()] == ["finished"] * 3

    # -- results one can work with -----------------------------------------------------------------

    def test_rows_have_the_parameters_and_results_of_their_items(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """Whatever a store does to speed its reading up, a row is of one item."""
        session = begin(a_run(parameters=("k", "tau")))
        items = [1, (2, 5), call(3, tau=7), call(k=4)]
        session.record(Turn([block(range(4), items)], [done([0, 3], [{"x": 10}, {"x": 40}])], [failed(2)]))
        session.record(Turn([], [done([1], [20])]))
        for reader in (store, reread()):
            found = [
                (row.index, dict(row.parameters), dict(row.results), dict(row.record))
                for row in rows(reader, select(reader, records=["status", "attempts"], failures=True))
            ]
            assert found == [
                (0, {"k": 1}, {"x": 10}, {"status": "done", "attempts": 1}),
                (1, {"k": 2, "tau": 5}, {"result": 20}, {"status": "done", "attempts": 1}),
                (2, {"k": 3, "tau": 7}, {}, {"status": "failed", "attempts": 1}),
                (3, {"k": 4}, {"x": 40}, {"status": "done", "attempts": 1}),
            ]
            assert [row.index for row in rows(reader, select(reader))] == [0, 1, 3]

    def test_quantities_come_back_with_their_unit(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager]
    ) -> None:
        """As items and as results; a table has numbers, in base units, and its column the unit."""
        session = begin(a_run(parameters=("v", "w")))
        items = [Quantity(0.003, "V"), (Quantity(0.5, "V"), 2), call(Quantity(1.0, "V"), w=3)]
        results = [Quantity(2.0, "A"), {"result": Quantity(4.0, "A")}, {"result": Quantity(0.0, "A")}]
        session.record(Turn([block(range(3), items)], [done(range(3), results)]))
        for reader in (store, reread()):
            found = [(reader.item(record.key), reader[record.key]) for record in reader.records()]
            assert found == list(zip(items, results, strict=True))
            assert [unit_of(found[0][0]), unit_of(found[1][0][0]), unit_of(found[0][1])] == ["V", "V", "A"]
            chosen = select(reader)
            columns = Columns(chosen)
            cells = [dict(columns.cells(row)) for row in rows(reader, chosen)]
            assert [(column.name, column.unit) for column in columns.found()] == [
                ("v", "V"),
                ("w", ""),
                ("result", "A"),
            ]
            [slot] = [column.slot for column in columns.found() if column.name == "result"]
            assert [each[slot] for each in cells] == [2.0, 4.0, 0.0]

    @pytest.mark.parametrize("count", [4, 400])
    def test_results_are_found_by_the_parameters_of_their_items(
        self, store: DataManager, begin: Begin, reread: Callable[[], DataManager], count: int
    ) -> None:
        """And none is decoded that was not asked for, few or many, together or one by one."""
        session = begin(a_run(parameters=("k", "wanted")))
        items = [(k, k % 2 == 0) for k in range(count)]
        for span in (range(count // 4), range(count // 4, count)):
            values = [k if k % 2 == 0 else _Poison() for k in span]
            session.record(Turn([block(span, items[span[0] : span[-1] + 1])], [done(span, values)]))
        for reader in (store, reread()):
            found = reader.where(wanted=True)
            assert [(result.index, result.item, result.value) for result in found] == [
                (k, (k, True), k) for k in range(0, count, 2)
            ]
            assert [result.value for result in reader.where(k=lambda k: 0 < k < 3, wanted=True)] == [2]
            assert reader.where(k=count) == []
            reader.forget(found[0].key)
            assert len(reader.where(wanted=True)) == count // 2 - 1
            session.record(Turn([], [done([0], [0])]))

    def test_a_notebook_shows_a_store_and_decodes_nothing(self, store: DataManager, begin: Begin) -> None:
        """Looking at what somebody sent runs none of its code."""
        session = begin(a_run(task="<task>"))
        payload = block(range(2), [_Poison(), _Poison()])
        session.record(Turn([payload], [done([0], [_Poison()])], [failed(1, "<b>")]))
        page = store._repr_html_()
        assert page is not None
        assert "1 result, 1 failure in 1 run" in page
        assert "&lt;task&gt;" in page
        assert "&lt;b&gt;" in page

    def test_a_relative_path_means_where_it_was_opened(
        self, location: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A task, or the caller, may change the folder while the farm runs."""
        if not self.persistent:
            pytest.skip("this store has no path")
        monkeypatch.chdir(location.parent)
        with open_store(Path(location.name)) as store:
            elsewhere = location.parent / "elsewhere"
            elsewhere.mkdir()
            monkeypatch.chdir(elsewhere)
            session = store.begin(a_run())
            session.record(Turn([block([0], "a")], [done([0], "A")]))
            session.close("finished", 1.0)
            assert store.values() == ["A"]
            assert os.path.isabs(store.basepath)
        assert list(elsewhere.iterdir()) == []
        with open_store(location) as store:
            assert store.values() == ["A"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("acknowledged", [1, 4, 9])
    def test_a_writer_that_is_killed_leaves_whole_turns(
        self, location: Path, open_store: OpenStore, acknowledged: int
    ) -> None:
        """Everything that ``record`` has returned for is there; of what it was writing, all or nothing."""
        if not self.persistent:
            pytest.skip("this store is gone with its process")
        size = 300
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                session = open_store(location).begin(a_run(uid="killed"))
                for turn in count():
                    indices = range(turn * size, turn * size + size)
                    results = [(turn, "x" * 200)] * size
                    session.record(Turn([block(indices, list(indices))], [done(indices, results)]))
                    os.write(writing, b".")
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb", buffering=0) as acks:
            seen = b"".join(acks.read(1) for _ in range(acknowledged))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            seen += acks.read()
        with open_store(location) as store:
            there = list(store.done_indices("killed"))
            assert len(seen) * size <= len(there)
            assert len(there) % size == 0
            assert there == list(range(len(there)))
            assert [(i, (i // size, "x" * 200)) for i in there] == store.pairs()
            [run] = store.runs()
            assert (run.ended, run.outcome) == (None, "")
