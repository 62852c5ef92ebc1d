"""A store of CSV files: one folder, and in it one file for each run.

*Durability.* A turn is appended to the run's file in one write, with a last row that counts the
others, and synced. Without a right last row the turn does not count, so that one which was
interrupted is as if it had never been.

*Processes.* Who appends to a file has it locked, and begins behind the last turn that counts. The names
of the files are numbered, and creating one is exclusive, so several farms may use one folder. Any number
may read.

*Cursors.* A cursor says how long the file of each run was: what is behind that is new.

*Large results.* Their files are in the folder ``large``; the processes write them there.

*Threads.* One at a time.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemError, Usage
from farmhand.store import (
    Block,
    DataManager,
    Record,
    Records,
    ResultFiles,
    RunInfo,
    Session,
    Turn,
    join_key,
)

HEADER = ["kind", "index", "process", "started", "seconds", "attempts", "memory", "output", "data"]


class CsvStore(DataManager):
    """Results in a folder of CSV files, which is created when it is not there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.basepath = os.path.abspath(path)
        self._folder = Path(self.basepath)
        if self._folder.exists() and not self._folder.is_dir():
            raise StoreError(self.basepath, "it is a file, not a folder", "Give another name")
        with _errors(self.basepath):
            self._folder.mkdir(exist_ok=True)
        self._files: dict[str, Path] = {}
        self.files = ResultFiles(os.path.join(self.basepath, "large"))
        self.sweep()

    def begin(self, run: RunInfo, join: bool = False) -> Session:
        if any(known.uid == run.uid for known in self.runs()):
            if join:
                self._run(run.uid)
                return _CsvSession(self._files[run.uid])
            raise StoreError(self.basepath, f"it already has a run {run.uid!r}", "Each run needs its own uid")
        for number in count(len(self._paths()) + 1):
            try:
                return _CsvSession(_create(self._folder / f"{number:06}.csv", run))
            except FileExistsError:  # another farm was faster
                pass
        raise AssertionError("numbers do not end")

    def runs(self) -> list[RunInfo]:
        return [run.info for path in self._paths() if (run := _read(path))]

    def records(self, run: str | None = None, since: str | None = None) -> Records:
        known = None if since is None else self._parse(since)
        every = [each for path in self._paths() if (each := _read(path))]
        name = self._folder.stat().st_ino
        cursor = f"{name} {json.dumps({each.info.uid: each.size for each in every})}"
        found = [
            record
            for each in (every if run is None else [self._run(run)])
            for index, record in sorted(each.records.items())
            if known is None or each.ended[index] > known.get(each.info.uid, 0)
        ]
        return Records(iter(found), cursor)

    def _parse(self, since: str) -> dict[str, int]:
        name, _, sizes = since.partition(" ") if isinstance(since, str) else ("", "", "")
        try:
            known: dict[str, int] = json.loads(sizes)
        except ValueError:
            known = {}
            name = ""
        if name != str(self._folder.stat().st_ino):
            raise UsageError(f"since={since!r} is no cursor of this store; it comes from store.records()")
        return known

    def retried(self, run: str | None = None) -> Iterator[Record]:
        for each in [self._run(run)] if run is not None else [_read(path) for path in self._paths()]:
            if each:
                yield from [record for _, record in sorted(each.retried.items())]

    def output_at(self, run: str, index: int, attempt: int | None = None) -> str:
        kept = self._run(run)
        if attempt is None:
            attempt = kept.records[index].attempts if index in kept.records else 0
        return kept.outputs.get((index, attempt), "")

    def encoded(self, run: str) -> Iterator[tuple[int, bytes]]:
        yield from [(index, b64decode(data)) for index, data in sorted(self._run(run).values.items())]

    def encoded_at(self, run: str, index: int) -> bytes:
        return b64decode(self._run(run).values[index])

    def blocks(self, run: str) -> Iterator[Block]:
        yield from [block for _, block in sorted(self._run(run).blocks.items())]

    def shipped(self, run: str) -> list[bytes]:
        return self._run(run).shipped

    def forget_at(self, run: str, indices: Collection[int]) -> None:
        self._run(run)
        row = ["forget", *[""] * 7, json.dumps(sorted(indices))]
        _append(self._files[run], lambda kept: [row])

    def itemcount(self) -> int:
        return sum(len(run.values) for path in self._paths() if (run := _read(path)))

    def close(self) -> None:
        pass

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.csv"))

    def _run(self, uid: str) -> _Run:
        for path in [self._files[uid]] if uid in self._files else self._paths():
            run = _read(path)
            if run and run.info.uid == uid:
                self._files[uid] = path
                return run
        raise KeyError(uid)


class _CsvSession(Session):
    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, turn: Turn) -> None:
        rows: list[list[Any]] = []
        for data in turn.shipped:
            rows.append(["shipped", *[""] * 7, b64encode(data).decode()])
        if turn.provenance:
            rows.append(["provenance", *[""] * 7, json.dumps(dict(turn.provenance))])
        for block in turn.blocks:
            rows.append(["block", block.indices[0], *[""] * 6, _block_to_json(block)])
        for record in turn.done:
            done = record.done
            for index, *when, value in zip(
                done.indices, done.starts(), done.seconds, done.values, strict=True
            ):
                data = b64encode(value).decode()
                used = _usage_to_text(done.usage.get(index, Usage()))
                rows.append(["done", index, done.number, *when, record.attempts.get(index, 1), *used, data])
        for failed in turn.failed:
            kind, number = "retried" if failed.again else "failed", _none_is_empty(failed.number)
            when = [failed.started, failed.seconds, failed.attempts]
            used, error = _usage_to_text(failed.usage), json.dumps(asdict(failed.error))
            rows.append([kind, failed.index, number, *when, *used, error])
        done_now = [row[1] for row in rows if row[0] == "done"]

        def checked(kept: _Run | None) -> list[list[Any]]:
            seen = set(kept.values) if kept else set()
            if len(seen.union(done_now)) < len(seen) + len(done_now):
                raise StoreError(str(self._path), "an item was recorded twice", "This is a fault in farmhand")
            return rows

        _append(self._path, checked)

    def close(self, outcome: str, ended: float | None) -> None:
        if outcome:
            _append(self._path, lambda kept: [["end", "", "", ended, *[""] * 4, outcome]])


def _create(path: Path, run: RunInfo) -> Path:
    open(path, "xb").close()
    _append(path, lambda kept: [HEADER, ["run", *[""] * 7, json.dumps(asdict(run))]])
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name of the file must survive as well
    finally:
        os.close(folder)
    return path


def _append(path: Path, rows_for: Callable[[_Run | None], list[list[Any]]]) -> None:
    """Add a turn: what ``rows_for`` makes of what the file has, which nobody else changes meanwhile."""
    with _errors(str(path)), open(path, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = _read(path)
        rows = rows_for(kept)
        text = io.StringIO(newline="")
        csv.writer(text).writerows([*rows, ["turn", len(rows), *[""] * 7]])
        data = text.getvalue().encode("ascii")
        size = file.seek(kept.size if kept else 0)
        try:
            file.truncate(size)  # of what a turn that was interrupted has left
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except BaseException:  # Ctrl-C as well
            file.truncate(size)
            raise


@dataclass
class _Run:
    info: RunInfo
    values: dict[int, str] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    retried: dict[tuple[int, int], Record] = field(default_factory=dict)  # by item and attempt
    outputs: dict[tuple[int, int], str] = field(default_factory=dict)  # the same
    blocks: dict[int, Block] = field(default_factory=dict)
    shipped: list[bytes] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)  # how long the file was with the turn of each item
    size: int = 0  # of the file, with the last turn that counts


def _read(path: Path) -> _Run | None:
    """All whole turns of a file; None for one whose first turn is not complete."""
    csv.field_size_limit(2**31 - 1)
    run: _Run | None = None
    turn: list[list[str]] = []
    size = 0
    with _errors(str(path)), open(path, "rb") as file:
        try:
            for line in file:  # no text in it has a line break
                size += len(line)
                row = next(csv.reader([line.decode("ascii")]), [])
                if row[:2] != ["turn", str(len(turn))] or not line.endswith(b"\n"):
                    turn.append(row)
                    continue
                for kind, *rest in turn:
                    if kind == "run":
                        about = json.loads(rest[-1])
                        run = _Run(RunInfo(**about | {"parameters": tuple(about["parameters"])}))
                    elif run and kind != "kind":
                        _add(run, size, kind, *rest)
                turn = []
                if run:
                    run.size = size
        except (csv.Error, UnicodeDecodeError) as error:
            raise StoreError(str(path), f"it is no run of farmhand ({error})", "Move it elsewhere") from error
    return run


def _add(
    run: _Run,
    size: int,
    kind: str,
    index: str,
    number: str,
    started: str,
    seconds: str,
    attempts: str,
    memory: str,
    output: str,
    data: str,
) -> None:
    if kind == "block":
        run.blocks[int(index)] = _block_from_json(data)
    elif kind == "end":
        run.info = replace(run.info, ended=float(started), outcome=data)
    elif kind == "shipped":
        run.shipped.append(b64decode(data))
    elif kind == "provenance":
        run.info = replace(run.info, provenance={**run.info.provenance, **json.loads(data)})
    elif kind == "forget":
        for gone in json.loads(data):
            for kept in (run.values, run.records, run.ended):
                kept.pop(gone, None)
            for attempts in (run.retried, run.outputs):
                for key in [key for key in attempts if key[0] == gone]:
                    del attempts[key]
    else:
        error = None if kind == "done" else ItemError(**json.loads(data))
        if not error:
            run.values[int(index)] = data
        process = int(number) if number else None
        times = float(started), float(seconds), int(attempts)
        about = kind, process, *times, error, int(memory) if memory else None, run.info.seed
        record = Record(join_key(run.info.uid, int(index)), run.info.uid, int(index), *about)
        if kind == "retried":
            run.retried[record.index, record.attempts] = record
        else:
            run.records[record.index] = record
            run.ended[record.index] = size
        run.outputs[record.index, record.attempts] = json.loads(output)


def _usage_to_text(usage: Usage) -> list[str]:
    return [str(_none_is_empty(usage.memory)), json.dumps(usage.output)]


def _none_is_empty(number: int | None) -> int | str:
    return "" if number is None else number


def _block_to_json(block: Block) -> str:
    return json.dumps(
        {
            "indices": list(block.indices),
            "payload": None if block.payload is None else b64encode(block.payload).decode(),
            "fingerprints": None
            if block.fingerprints is None
            else [print.hex() for print in block.fingerprints],
            "texts": block.texts and list(block.texts),
            "keys": block.keys and list(block.keys),
        }
    )


def _block_from_json(text: str) -> Block:
    parts = json.loads(text)
    payload, prints = parts["payload"], parts["fingerprints"]
    parts["payload"] = None if payload is None else b64decode(payload)
    parts["fingerprints"] = None if prints is None else [bytes.fromhex(print) for print in prints]
    return Block(**parts)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(path, str(error.strerror), "Check the folder, the rights and the disk") from error
