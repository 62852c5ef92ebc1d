"""What the frames of a log say: turns to frames, and frames to an index of what is stored where.

The description of a turn is a JSON object. Its lists say, in this order, what the data of the frame
consists of; each part goes by its length and its checksum (CRC-32):

``packs``
    ``[first item, how many, process, started, seconds, *payload, checksum]`` of consecutive results. If there
    are several, how long each took, as little-endian doubles, is in front of their payload; the last checksum
    is that of these.
``failed``
    ``[item, attempt, 1 if another attempt followed, *part]``: a JSON list.
``blocks``
    ``[first item, *part, *payload]``: a JSON object, and the items.
``shipped``
    The parts.
``usage``, ``output``
    JSON objects: attempts and memory of done items, and what they printed.

Only descriptions are read to know what there is; data is read when it is asked for.
"""

from __future__ import annotations

import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from operator import add
from zlib import crc32

from farmhand.codec import Packed
from farmhand.errors import StoreError
from farmhand.events import ItemError, RecordFailed, Usage, starts
from farmhand.store import (
    Block,
    Counts,
    Pack,
    Record,
    RunInfo,
    Turn,
    join_key,
    packs_of,
    record_of,
    sample_of,
)
from farmhand.values import dataclass, replace
from farmhand_shelve import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Part: TypeAlias = tuple[int, int, int]  # place in the file, length, checksum

__all__ = ["Contents", "Reading", "Stored", "encode_run", "encode_turn", "spans_of"]


@dataclass(frozen=True, slots=True)
class Stored:
    """Results that lie together in a log.

    Parameters
    ----------
    indices : range
        Those that count; others of the same payload may have been forgotten.
    first, count : int
        What the payload has.
    process, started, seconds
        As in a pack; ``seconds`` is that of all together.
    payload, each, usage, output : tuple of int
        Where they are, and how long each took, attempts and memory, and what was printed, as far as there
        is something: place, length and checksum.
    number : int
        That of the frame.
    """

    indices: range
    first: int
    count: int
    process: int
    started: float
    seconds: float
    payload: Part
    each: Part | None
    usage: Part | None
    output: Part | None
    number: int

    def without(self, indices: Collection[int]) -> list[Stored]:
        """What is left when these items are taken away."""
        cuts = [index for index in self.indices if index in indices]
        if not cuts:
            return [self]
        bounds = pairwise([self.indices[0] - 1, *cuts, self.indices[-1] + 1])
        return [replace(self, indices=range(a + 1, b)) for a, b in bounds if a + 1 < b]


def _first(stored: Stored) -> int:
    return stored.indices[0]


# -- to frames -------------------------------------------------------------------------------------


def encode_run(run: RunInfo, begun: int) -> dict[str, Any]:
    """The description of a frame that begins a run; ``begun`` is what runs are sorted by."""
    about = {name: getattr(run, name) for name in RunInfo.__slots__}
    return {**about, "provenance": dict(run.provenance), "begun": begun}


def _decode_run(about: Mapping[str, Any]) -> tuple[RunInfo, int]:
    known = {name: about[name] for name in RunInfo.__slots__ if name in about}
    return RunInfo(**{**known, "parameters": tuple(known.get("parameters", ()))}), about["begun"]


def encode_turn(turn: Turn) -> tuple[dict[str, Any], list[bytes], tuple[int, int, int], list[Pack]]:
    """Description, data and counts of a frame, and the results by first item.

    Everything is read from ``turn`` here, before anything is written.
    """
    packs = [pack for record in turn.done for pack in packs_of(record.done)]
    packs.sort(key=lambda pack: pack.indices[0])
    attempts = {index: number for record in turn.done for index, number in record.attempts.items()}
    usage = {index: used for record in turn.done for index, used in record.done.usage.items()}
    about, data, counts = _encode(
        packs, turn.failed, turn.blocks, turn.shipped, attempts, usage, turn.provenance
    )
    return about, data, counts, packs


def _encode(
    packs: Sequence[Pack],
    failed: Sequence[RecordFailed],
    blocks: Sequence[Block],
    shipped: Sequence[bytes],
    attempts: Mapping[int, int],
    usage: Mapping[int, Usage],
    provenance: Mapping[str, Any],
) -> tuple[dict[str, Any], list[bytes], tuple[int, int, int]]:
    about: dict[str, Any] = {}
    data: list[bytes] = []
    if packs:
        about["packs"] = [_encode_pack(pack, data) for pack in packs]
    if failed:
        about["failed"] = [_encode_failure(failure, data) for failure in failed]
    if blocks:
        about["blocks"] = [_encode_block(block, data) for block in blocks]
    if shipped:
        about["shipped"] = [_put(bytes(each), data) for each in shipped]
    memory = {index: used.memory for index, used in usage.items() if used.memory is not None}
    printed = {index: used.output for index, used in usage.items() if used.output}
    if attempts or memory:
        about["usage"] = _put_json({"attempts": attempts, "memory": memory}, data)
    if printed:
        about["output"] = _put_json(printed, data)
    if provenance:
        about["provenance"] = dict(provenance)
    retried = sum(1 for failure in failed if failure.again)
    done = sum(len(pack.indices) for pack in packs)
    return about, data, (done, len(failed) - retried, retried)


def _encode_pack(pack: Pack, data: list[bytes]) -> list[Any]:
    count, seconds = len(pack.indices), pack.seconds
    each, whole = 0, seconds[0]
    if count > 1:
        _, each = _put(_little_endian(seconds).tobytes(), data)
        whole = sum(seconds)
    payload = _put(bytes(pack.values.payload), data)
    return [pack.indices[0], count, pack.number, pack.started, whole, *payload, each]


def _little_endian(seconds: array[float]) -> array[float]:
    """``seconds`` as a file has them, or has been read from a file, whatever this computer's own order."""
    if sys.byteorder == "big":
        seconds = array("d", seconds)
        seconds.byteswap()
    return seconds


def _encode_failure(failed: RecordFailed, data: list[bytes]) -> list[Any]:
    error, usage = failed.error, failed.usage
    texts = (error.kind, error.type, error.message, error.traceback)
    about = (failed.number, failed.started, failed.seconds, usage.memory, usage.output)
    return [failed.index, failed.attempts, int(failed.again), *_put_json([*texts, *about], data)]


def _encode_block(block: Block, data: list[bytes]) -> list[Any]:
    indices = list(block.indices)
    about: dict[str, Any] = {"indices": spans_of(indices)}
    if block.payload is None:
        about["large"] = True
    if block.fingerprints is not None:
        about["fingerprints"] = [each.hex() for each in block.fingerprints]
    if block.texts is not None:
        about["texts"] = list(block.texts)
    if block.keys is not None:
        about["keys"] = list(block.keys)
    return [indices[0], *_put_json(about, data), *_put(bytes(block.payload or b""), data)]


def _put_json(value: Any, data: list[bytes]) -> list[int]:
    import json

    return _put(json.dumps(value, separators=(",", ":")).encode("ascii"), data)


def _put(part: bytes, data: list[bytes]) -> list[int]:
    """Add to the data; returns length and checksum."""
    data.append(part)
    return [len(part), crc32(part)]


def spans_of(indices: Sequence[int]) -> list[list[int]]:
    """Ascending indices as pairs: first, and how many follow each other."""
    cuts = [place for place in range(1, len(indices)) if indices[place] != indices[place - 1] + 1]
    return [[indices[a], b - a] for a, b in pairwise([0, *cuts, len(indices)]) if a < b]


def indices_of(spans: Sequence[Sequence[int]]) -> Sequence[int]:
    """Undo :func:`spans_of`."""
    if len(spans) == 1:
        return range(spans[0][0], spans[0][0] + spans[0][1])
    return list(chain.from_iterable(range(first, first + count) for first, count in spans))


# -- from frames -----------------------------------------------------------------------------------


class Contents:
    """What is in the log of a run, as far as it has been read; lists are replaced, never changed.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._reset()

    def _reset(self) -> None:
        self.info: RunInfo | None = None  # None until it is known which run that is
        self.begun = 0
        self.counts = Counts()
        self.number = 0
        self.complete = False  # whether it has ended, and its shelf was complete then
        self.identity: log.Identity | None = None
        self._stop = 0
        self._looked_at = (-1, 0)  # the size of the file at that time, and when it was changed
        self._waiting: list[log.Frame] = []  # whose descriptions were not needed yet
        self._packs: list[Stored] = []
        self._new: list[Stored] = []  # not in their places yet
        self._failed: dict[int, tuple[Part, int, int]] = {}  # and attempt, and number of the frame
        self._retried: dict[tuple[int, int], tuple[Part, int]] = {}  # and number of the frame
        self._blocks: dict[int, tuple[Part, Part]] = {}
        self._shipped: list[Part] = []
        self._shared = False  # with a reading, which must not see what comes later
        self.has_gaps = False  # something in the file counts no more

    def refresh(self) -> bool:
        """Read what was added; False when the file is not there, or does not have a run yet."""
        try:
            status = os.stat(self.path)
        except OSError:
            self._reset()
            return False
        same = self.identity is not None and self.identity[:2] == (status.st_dev, status.st_ino)
        seen = status.st_size, status.st_mtime_ns
        if same and seen == self._looked_at and self._stop == status.st_size:
            return self.info is not None
        descriptor = log.open_log(self.path)
        if descriptor is None:
            self._reset()
            return False
        try:
            opened, last = os.fstat(descriptor), -1
            known = self.identity
            if known is None or log.identify(descriptor, known[2]) != known or opened.st_size < self._stop:
                self._reset()
            for frame in log.scan(descriptor, self.path, self._stop):
                last = self._stop or len(log.MAGIC)
                self._take(frame)
            if last >= 0:
                self.identity = log.identify(descriptor, last)
            self._looked_at = opened.st_size, opened.st_mtime_ns
        finally:
            os.close(descriptor)
        return self.info is not None

    def _take(self, frame: log.Frame) -> None:
        """Add what a frame says."""
        self._stop, self.number = frame.stop, frame.number
        if any(frame.counts):
            before = self.counts
            self.counts = Counts(*map(add, (before.done, before.failed, before.retried), frame.counts))
        if frame.kind == log.BEGIN:
            self.info, self.begun = _decode_run(frame.about)
            return
        if self.info is None:
            raise StoreError(self.path, "it is damaged: it does not say which run this is", log.DAMAGED)
        if frame.kind == log.END:
            about = frame.about
            self.complete = about["shelf"]
            if about["outcome"] is not None:
                self.info = replace(self.info, outcome=about["outcome"], ended=about["ended"])
        elif frame.kind == log.FORGET:
            self.complete, self.has_gaps = False, True
            self._waiting.append(frame)
        elif frame.kind == log.TURN:
            self.complete = self.complete and not frame.counts[0]
            self._waiting.append(frame)
            if b'"provenance"' in frame.text:
                news = frame.about.get("provenance", {})
                self.info = replace(self.info, provenance={**self.info.provenance, **news})
        else:
            raise StoreError(
                self.path, f"a newer farmhand wrote {frame.kind!r} into it", "Upgrade farmhand-shelve"
            )

    def _take_turn(self, frame: log.Frame) -> None:
        place, about, number = frame.data, frame.about, frame.number

        def part(length: int, checksum: int) -> Part:
            nonlocal place
            place += length
            return place - length, length, checksum

        new = []
        for first, count, process, started, seconds, length, checksum, each in about.get("packs", ()):
            times = part(8 * count, each) if count > 1 else None
            payload = part(length, checksum)
            indices = range(first, first + count)
            new.append((indices, first, count, process, started, seconds, payload, times))
        for index, attempt, again, *where in about.get("failed", ()):
            if again:
                self._retried[index, attempt] = part(*where), number
            else:
                self._failed[index] = part(*where), attempt, number
        for first, length, checksum, *payload in about.get("blocks", ()):
            self._blocks[first] = part(length, checksum), part(*payload)
        self._shipped += [part(*where) for where in about.get("shipped", ())]
        usage = part(*about["usage"]) if "usage" in about else None
        output = part(*about["output"]) if "output" in about else None
        self._new += [Stored(*fields, usage, output, number) for fields in new]

    def _forget(self, indices: Collection[int]) -> None:
        self._packs, self._new = [part for pack in self._sorted() for part in pack.without(indices)], []
        self._failed = {index: where for index, where in self._failed.items() if index not in indices}
        self._retried = {key: where for key, where in self._retried.items() if key[0] not in indices}

    def packs(self) -> list[Stored]:
        """The results by first item."""
        self._digest()
        return self._sorted()

    @property
    def unread(self) -> int:
        """Bytes of the descriptions that wait."""
        return sum(len(frame.text) for frame in self._waiting)

    def _digest(self) -> None:
        """Read the descriptions that wait; runs and counts do without."""
        if self._waiting and self._shared:
            self._failed, self._retried = dict(self._failed), dict(self._retried)
            self._blocks, self._shipped = dict(self._blocks), list(self._shipped)
            self._shared = False
        for frame in self._waiting:
            if frame.kind == log.FORGET:
                self._forget(set(indices_of(frame.about["indices"])))
            else:
                self._take_turn(frame)
        self._waiting = []

    def _sorted(self) -> list[Stored]:
        if self._new:
            new = sorted(self._new, key=_first)
            if not self._packs or _first(new[0]) > _first(self._packs[-1]):
                self._packs = self._packs + new
            else:
                self._packs = sorted(self._packs + new, key=_first)
            self._new = []
        return self._packs

    def reading(self, since: int = 0) -> Reading:
        """What has been read, to look at it, perhaps only what frames behind number ``since`` added."""
        assert self.info is not None
        assert self.identity is not None
        packs, failed = self.packs(), self._failed
        self._shared = True
        if since:
            packs = [pack for pack in packs if pack.number > since]
            failed = {index: where for index, where in failed.items() if where[2] > since}
        rest = (self._retried, self._blocks, self._shipped)
        return Reading(self.path, self.identity, self.info.uid, self.info.seed, packs, failed, *rest)

    def ended(self, indices: Collection[int]) -> Counts:
        """How many of these items have ended how."""
        done = sum(1 for pack in self.packs() for index in pack.indices if index in indices)
        failed = sum(1 for index in self._failed if index in indices)
        return Counts(done, failed, sum(1 for index, _ in self._retried if index in indices))


class Reading:
    """A log as it was at one time; to be closed.

    Parameters
    ----------
    path : str
        The file, which is opened when something of it is read first.
    identity : tuple
        What tells the file that was looked at from others, as :func:`farmhand_shelve.log.identify` finds it.
    uid : str
        The run.
    seed : int or None
        The run's, too.
    packs, failed, retried, blocks, shipped
        Where everything is.
    """

    def __init__(
        self,
        path: str,
        identity: log.Identity,
        uid: str,
        seed: int | None,
        packs: list[Stored],
        failed: dict[int, tuple[Part, int, int]],
        retried: dict[tuple[int, int], tuple[Part, int]],
        blocks: dict[int, tuple[Part, Part]],
        shipped: list[Part],
    ) -> None:
        self._descriptor = -1
        self._path = path
        self._identity = identity
        self.uid = uid
        self._seed = seed
        self.stored = packs
        self._failed = failed
        self._retried = retried
        self._blocks = blocks
        self._shipped = shipped
        self._json = lru_cache(maxsize=64)(self._read_json)  # packs of one turn share theirs

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read(self, part: Part, of: range | None = None) -> bytes:
        """The bytes of a part, which must be those that were written; ``of`` says for which items."""
        place, length, checksum = part
        if self._descriptor < 0:
            descriptor = log.open_log(self._path)
            if descriptor is None:
                raise StoreError(self._path, "it was deleted or moved", "Put it back, or open the store anew")
            self._descriptor = descriptor
            if log.identify(descriptor, self._identity[2]) != self._identity:
                raise StoreError(self._path, "it was replaced while it was being read", "Read it again")
        data = log.read_exactly(self._descriptor, self._path, place, length)
        if crc32(data) != checksum:
            what = f"{length} bytes from byte {place} on"
            if of is not None:
                items = f"item {of[0]}" if len(of) == 1 else f"items {of[0]} to {of[-1]}"
                what = f"the results of {items} ({join_key(self.uid, of[0])})"
            raise StoreError(self._path, f"it is damaged: the checksum of {what} is wrong", log.DAMAGED)
        return data

    def _read_json(self, part: Part) -> Any:
        import json

        return json.loads(self._read(part))

    # -- results -----------------------------------------------------------------------------------

    def find(self, index: int) -> Stored | None:
        """Where the result of an item lies."""
        place = bisect_right(self.stored, index, key=_first) - 1
        return self.stored[place] if place >= 0 and index in self.stored[place].indices else None

    def payload(self, stored: Stored) -> Packed:
        """The results that lie there, all of the payload."""
        return Packed(self._read(stored.payload, stored.indices), stored.count)

    def values(self, stored: Stored) -> Packed:
        """The results that lie there and count."""
        payload = self.payload(stored)
        if len(stored.indices) == stored.count:
            return payload
        return payload.cut(stored.indices[0] - stored.first, stored.indices[-1] + 1 - stored.first)

    def seconds(self, stored: Stored) -> tuple[float, array[float]]:
        """When the first one that counts started, and how long each of them took."""
        if stored.each is None:
            return stored.started, array("d", [stored.seconds])
        each = _little_endian(array("d", self._read(stored.each)))
        low = stored.indices[0] - stored.first
        return starts(stored.started, each)[low], each[low : low + len(stored.indices)]

    def packs(self) -> Iterator[Pack]:
        """The results with their times, by first item."""
        for stored in self.stored:
            started, seconds = self.seconds(stored)
            yield Pack(stored.indices, stored.process, started, seconds, self.values(stored))

    def durations(self, most: int) -> tuple[list[int], list[float]]:
        """How long items took, as a sample of at most ``most`` that is spread over their indices."""
        packs = self.stored
        if not packs:
            return [], []
        first, last = packs[0].indices[0], packs[-1].indices[-1]

        def find(index: int) -> tuple[range, Sequence[float]] | None:
            place = max(0, bisect_right(packs, index, key=_first) - 1)
            if packs[place].indices[-1] < index:
                place += 1
            return None if place == len(packs) else (packs[place].indices, self.seconds(packs[place])[1])

        few = sum(len(pack.indices) for pack in packs) <= most
        return sample_of(first, last, 1 if few else -(-(last + 1 - first) // most), find)

    # -- records -----------------------------------------------------------------------------------

    def records(self) -> Iterator[Record]:
        """How every item ended, by item."""
        failures = sorted(self._failed)
        place = 0
        for stored in self.stored:
            first = stored.indices[0]
            while place < len(failures) and failures[place] < first:
                yield self._failure_record(failures[place])
                place += 1
            yield from self._done_records(stored)
        for index in failures[place:]:
            yield self._failure_record(index)

    def _done_records(self, stored: Stored) -> Iterator[Record]:
        attempts, memory = self._usage(stored)
        started, seconds = self.seconds(stored)
        when = zip(starts(started, seconds), seconds, strict=True)
        for index, (began, lasted) in zip(stored.indices, when, strict=True):
            about = (stored.process, began, lasted, attempts.get(str(index), 1), None, memory.get(str(index)))
            yield Record(join_key(self.uid, index), self.uid, index, "done", *about, self._seed)

    def _usage(self, stored: Stored) -> tuple[dict[str, int], dict[str, int]]:
        if stored.usage is None:
            return {}, {}
        found = self._json(stored.usage)
        return found["attempts"], found["memory"]

    def _failure_record(self, index: int) -> Record:
        return record_of(self.uid, self.failure(index), self._seed)

    def failures(self) -> Iterator[Record]:
        """How those items ended that failed, by item."""
        return map(self._failure_record, sorted(self._failed))

    def failure(self, index: int, attempt: int | None = None) -> RecordFailed:
        """How an item failed, or how an earlier attempt at it did."""
        if attempt is None:
            part, attempts, _ = self._failed[index]
        else:
            (part, _), attempts = self._retried[index, attempt], attempt
        found = self._read_json(part)
        error = ItemError(*found[:4])
        process, started, seconds, memory, output = found[4:]
        usage = Usage(memory, output)
        return RecordFailed(index, error, process, started, seconds, attempts, usage, attempt is not None)

    def retried(self) -> Iterator[Record]:
        """Attempts that were followed by others, by item and attempt."""
        for index, attempt in sorted(self._retried):
            yield record_of(self.uid, self.failure(index, attempt), self._seed)

    def output(self, index: int, attempt: int | None) -> str:
        """What an item printed, in its last attempt or in one that failed."""
        if attempt is not None and (index, attempt) in self._retried:
            return self.failure(index, attempt).usage.output
        if index in self._failed:
            failed = self.failure(index)
            return failed.usage.output if attempt in (None, failed.attempts) else ""
        stored = self.find(index)
        if stored is None or stored.output is None:
            return ""
        if attempt not in (None, self._usage(stored)[0].get(str(index), 1)):
            return ""
        output: str = self._json(stored.output).get(str(index), "")
        return output

    def outputs(self) -> Iterator[tuple[int, str]]:
        """What each item that has ended printed in its last attempt, by item; if it printed."""
        texts = {index: self.failure(index).usage.output for index in self._failed}
        for stored in self.stored:
            if stored.output is not None:  # which may have been printed by forgotten items, too
                printed = self._json(stored.output)
                texts.update((index, printed.get(str(index), "")) for index in stored.indices)
        yield from ((index, text) for index, text in sorted(texts.items()) if text)

    def last_ended(self) -> float | None:
        """When the latest result or failure came."""
        failures = map(self.failure, self._failed)
        found = [failed.started + failed.seconds for failed in failures]
        latest = max((stored.started + stored.seconds for stored in self.stored), default=0.0)
        for stored in self.stored:
            if stored.started + stored.seconds >= latest - 1.0:  # sums of many numbers are not exact
                started, seconds = self.seconds(stored)
                found.append(starts(started, seconds)[-1] + seconds[-1])
        return max(found, default=None)

    # -- items -------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Block]:
        """The blocks of items, by first item."""
        for _, where in sorted(self._blocks.items()):
            yield self._block(*where)

    def _block(self, part: Part, payload: Part) -> Block:
        about = self._read_json(part)
        prints = about.get("fingerprints")
        return Block(
            indices_of(about["indices"]),
            None if about.get("large") else self._read(payload),
            None if prints is None else [bytes.fromhex(each) for each in prints],
            about.get("texts"),
            about.get("keys"),
        )

    def shipped(self) -> list[bytes]:
        """What processes were sent to make the task."""
        return [self._read(part) for part in self._shipped]

    # -- written anew ------------------------------------------------------------------------------

    def compacted(self, frames: Iterable[log.Frame], write: Callable[..., None]) -> None:
        """Give ``write`` the frames without what no longer counts.

        Its arguments are kind, number, description, data and counts.
        """
        by_number: dict[int, list[Stored]] = {}
        for stored in self.stored:
            by_number.setdefault(stored.number, []).append(stored)
        failed: dict[int, list[RecordFailed]] = {}
        for (index, attempt), where in sorted(self._retried.items()):
            failed.setdefault(where[1], []).append(self.failure(index, attempt))
        for index, details in sorted(self._failed.items()):
            failed.setdefault(details[2], []).append(self.failure(index))
        for frame in frames:
            if frame.kind == log.TURN:
                packs = by_number.get(frame.number, [])
                self._write_turn(frame, packs, failed.get(frame.number, []), write)
            elif frame.kind == log.FORGET:  # in its place, so that no number is given twice
                about = {"outcome": None, "ended": None, "shelf": False}
                write(log.END, frame.number, about, [], (0, 0, 0))
            else:
                write(frame.kind, frame.number, frame.about, [], (0, 0, 0))

    def _write_turn(
        self,
        frame: log.Frame,
        stored: Sequence[Stored],
        failed: Sequence[RecordFailed],
        write: Callable[..., None],
    ) -> None:
        attempts: dict[int, int] = {}
        usage: dict[int, Usage] = {}
        packs = []
        for each in stored:
            known, memory = self._usage(each)
            output = self._json(each.output) if each.output is not None else {}
            for index in each.indices:
                name = str(index)
                if name in known:
                    attempts[index] = known[name]
                if name in memory or name in output:
                    usage[index] = Usage(memory.get(name), output.get(name, ""))
            started, seconds = self.seconds(each)
            packs.append(Pack(each.indices, each.process, started, seconds, self.values(each)))
        inside = range(frame.data, frame.stop + 1)
        blocks = [self._block(*parts) for _, parts in sorted(self._blocks.items()) if parts[0][0] in inside]
        shipped = [self._read(part) for part in self._shipped if part[0] in inside]
        about = frame.about.get("provenance", {})
        encoded = _encode(packs, failed, blocks, shipped, attempts, usage, about)
        write(log.TURN, frame.number, *encoded)
