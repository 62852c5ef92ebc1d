"""What every store must do with large results, as tests: a part of ``StoreConformance``.

They concern stores that have a place for files (``store.files``) and are skipped for others.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farmhand import codec, owner
from farmhand.errors import StoreError
from farmhand.events import ItemsDone, RecordDone
from farmhand.kept import Block, RunInfo, Turn
from farmhand.spool import Reference, Spool
from farmhand.store import DataManager, Session

__all__ = ["LargeResultsConformance"]

Begin = Callable[..., Session]
Reread = Callable[[], DataManager]


class Parted:
    """A value whose bytes are written apart from its pickle, as those of a numpy array are."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Parted, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parted) and bytes(self.data) == bytes(other.data)

    __hash__ = None  # type: ignore[assignment]


class _Poison:
    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


def _explode() -> None:
    raise AssertionError("a value was decoded")


class LargeResultsConformance:
    """Tests that use the fixtures of ``StoreConformance``."""

    persistent: bool

    @pytest.fixture
    def size(self, store: DataManager) -> int:
        """Bytes of a result that goes to a file."""
        if store.files is None or store.files.threshold is None:
            pytest.skip("this store has no place for files")
        return store.files.threshold + 1000

    @pytest.fixture
    def spool(self, store: DataManager) -> Callable[[str], Spool]:
        """Where the processes of a run put large results."""

        def make(run: str) -> Spool:
            assert store.files is not None
            spool = store.files.spool(run)
            assert spool is not None
            return spool

        return make

    def test_large_results_are_read_from_their_files(
        self, store: DataManager, begin: Begin, reread: Reread, size: int, spool: Callable[[str], Spool]
    ) -> None:
        """The store keeps what stands for them, beside small results of the same turn; both count."""
        run = _a_run("farm")
        session = begin(run)
        given = [Parted(bytes(size)), "small", [b"x" * size], {"a": Parted(b"y" * size), "b": 2}, None]
        data = [spool("farm").encode(index, value) for index, value in enumerate(given)]
        assert max(map(len, data)) < 200
        session.record(
            Turn([_block(range(5), "abcde")], [_done(range(3), data[:3]), _done([3, 4], data[3:])])
        )
        session.close("finished", 2000.0)
        for reader in (store, reread()):
            assert reader.values() == given
            assert [value for _, value in reader.pairs()] == given
            assert [reader[key] for key in reader] == given
            assert reader.itemcount() == 5
            assert list(reader.check()) == []
            assert [reader.encoded_at("farm", index) for index in range(5)] == data

    def test_a_missing_or_damaged_file_is_an_error_that_names_it(
        self, store: DataManager, begin: Begin, size: int, spool: Callable[[str], Spool]
    ) -> None:
        """With key and item; the check finds it; and the other results can be read."""
        session = begin(_a_run("farm"))
        data = [spool("farm").encode(index, Parted(bytes(size))) for index in range(3)]
        session.record(Turn([_block(range(3), ["first", "second", "third"])], [_done(range(3), data)]))
        paths = [_path(store, "farm", each) for each in data]
        os.unlink(paths[0])
        os.truncate(paths[1], size // 2)
        for key, path, item in zip(store.keys(), paths, ["first", "second"], strict=False):
            with pytest.raises(StoreError) as caught:
                store[key]
            assert all(word in str(caught.value) for word in (key, path, item))
        assert store["farm-2"] == Parted(bytes(size))
        problems = list(store.check())
        assert [path in problem for path, problem in zip(paths, problems, strict=False)] == [True, True]

    def test_listings_and_checks_decode_no_file(
        self, store: DataManager, begin: Begin, size: int, spool: Callable[[str], Spool]
    ) -> None:
        """Looking at a store that you do not trust is safe."""
        session = begin(_a_run("farm"))
        poison = pickle.dumps([_Poison(), b"x" * size])
        reference = spool("farm").put(0, poison)
        session.record(Turn([_block([0], "a")], [_done([0], [reference.encode()])]))
        session.close("finished", 1.0)
        assert (len(list(store.records())), store.keys(), list(store.check())) == (1, ["farm-0"], [])
        store.vacuum()
        assert os.path.exists(_path(store, "farm", reference.encode()))
        with pytest.raises(AssertionError, match="decoded"):
            store.values()

    def test_what_is_forgotten_takes_its_file_along(
        self, store: DataManager, begin: Begin, size: int, spool: Callable[[str], Spool]
    ) -> None:
        """Others stay."""
        session = begin(_a_run("farm"))
        data = [spool("farm").encode(index, Parted(bytes(size))) for index in range(2)]
        session.record(Turn([_block(range(2), "ab")], [_done(range(2), data)]))
        session.close("finished", 1.0)
        store.forget("farm-0")
        assert [os.path.exists(_path(store, "farm", each)) for each in data] == [False, True]
        assert store.values() == [Parted(bytes(size))]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_crash_between_file_and_record_leaves_no_orphan_once_the_store_is_opened_again(
        self, location: Path, open_store: Callable[[Path], DataManager], size: int
    ) -> None:
        """Those that a record names stay; of a farm that still runs nothing is taken away."""
        if not self.persistent:
            pytest.skip("this store is gone with its process")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                store = open_store(location)
                assert store.files is not None
                session = store.begin(_a_run("killed", owner=owner.here()))
                spool = store.files.spool("killed")
                assert spool is not None
                data = [spool.encode(index, Parted(bytes(size))) for index in range(3)]
                session.record(Turn([_block(range(3), "abc")], [_done([1], data[1:2])]))
                os.close(os.open(os.path.join(spool.folder, "2-ab.half"), os.O_CREAT | os.O_WRONLY))
                os.write(writing, b".")
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        assert os.read(reading, 1) == b"."
        os.close(reading)
        with open_store(location) as store:
            assert store.files is not None
            folder = os.path.join(store.files.folder, "killed")
            assert len(os.listdir(folder)) == 5, "three results, half of one, and the mark"
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with open_store(location) as store:
            [(_, stored)] = store.encoded("killed")
            reference = Reference.parse(stored)
            assert reference is not None
            assert os.listdir(folder) == [reference.name]
            assert store.values() == [Parted(bytes(size))]


def _a_run(uid: str, **about: Any) -> RunInfo:
    return RunInfo(uid, "find_rate", "someone.somewhere", 1000.0, **about)


def _block(indices: Any, items: Any) -> Block:
    return Block(indices, codec.encode_items(items))


def _done(indices: Any, data: list[bytes]) -> RecordDone:
    return RecordDone(ItemsDone(0, indices, data, 100.5, [0.25] * len(data)))


def _path(store: DataManager, run: str, data: bytes) -> str:
    reference = Reference.parse(data)
    assert store.files is not None
    assert reference is not None
    return store.files.path(run, reference)
