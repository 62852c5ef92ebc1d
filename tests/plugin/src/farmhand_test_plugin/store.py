"""A store of CSV files: one folder, and in it one file for each run.

*Durability.* A turn is appended to the run's file in one write, with a last row that counts the
others, and synced. Without a right last row the turn does not count, so that one which was
interrupted is as if it had never been.

*Processes.* A file has one writer, the session of its run, and any number of readers. The names
of the files are numbered, and creating one is exclusive, so several farms may use one folder.

*Threads.* One at a time.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from farmhand.errors import StoreError
from farmhand.events import ItemError, Usage
from farmhand.store import Block, DataManager, Record, RunInfo, Session, Turn, join_key

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

    def begin(self, run: RunInfo) -> Session:
        if any(known.uid == run.uid for known in self.runs()):
            raise StoreError(self.basepath, f"it already has a run {run.uid!r}", "Each run needs its own uid")
        for number in count(len(self._paths()) + 1):
            try:
                return _CsvSession(self._folder / f"{number:06}.csv", run)
            except FileExistsError:  # another farm was faster
                pass
        raise AssertionError("numbers do not end")

    def runs(self) -> list[RunInfo]:
        return [run.info for path in self._paths() if (run := _read(path))]

    def records(self, run: str | None = None) -> Iterator[Record]:
        runs = [self._run(run)] if run is not None else [_read(path) for path in self._paths()]
        for each in runs:
            if each:
                yield from [record for _, record in sorted(each.records.items())]

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
    def __init__(self, path: Path, run: RunInfo) -> None:
        self._path = path
        self._seen: set[int] = set()
        self._size = 0
        open(path, "xb").close()
        self._append([HEADER, ["run", *[""] * 7, json.dumps(asdict(run))]])
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of the file must survive as well
        finally:
            os.close(folder)

    def record(self, turn: Turn) -> None:
        rows: list[list[Any]] = []
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
        if len(self._seen.union(done_now)) < len(self._seen) + len(done_now):
            raise StoreError(str(self._path), "an item was recorded twice", "This is a fault in farmhand")
        self._append(rows)
        self._seen.update(done_now)

    def close(self, outcome: str, ended: float) -> None:
        self._append([["end", "", "", ended, *[""] * 4, outcome]])

    def _append(self, rows: list[list[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([*rows, ["turn", len(rows), *[""] * 7]])
        data = text.getvalue().encode("ascii")
        with _errors(str(self._path)), open(self._path, "r+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) != self._size:
                raise StoreError(str(self._path), "somebody changed it while it was in use", "Run again")
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except BaseException:  # Ctrl-C as well
                file.truncate(self._size)
                raise
        self._size += len(data)


@dataclass
class _Run:
    info: RunInfo
    values: dict[int, str] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    retried: dict[tuple[int, int], Record] = field(default_factory=dict)  # by item and attempt
    outputs: dict[tuple[int, int], str] = field(default_factory=dict)  # the same
    blocks: dict[int, Block] = field(default_factory=dict)


def _read(path: Path) -> _Run | None:
    """All whole turns of a file; None for one whose first turn is not complete."""
    csv.field_size_limit(2**31 - 1)
    run: _Run | None = None
    turn: list[list[str]] = []
    with _errors(str(path)), open(path, newline="", encoding="ascii") as file:
        try:
            for row in csv.reader(file):
                if row[:2] != ["turn", str(len(turn))]:
                    turn.append(row)
                    continue
                for kind, *rest in turn:
                    if kind == "run":
                        run = _Run(RunInfo(**json.loads(rest[-1])))
                    elif run and kind != "kind":
                        _add(run, kind, *rest)
                turn = []
        except (csv.Error, UnicodeDecodeError) as error:
            raise StoreError(str(path), f"it is no run of farmhand ({error})", "Move it elsewhere") from error
    return run


def _add(
    run: _Run,
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
    else:
        error = None if kind == "done" else ItemError(**json.loads(data))
        if not error:
            run.values[int(index)] = data
        process = int(number) if number else None
        times = float(started), float(seconds), int(attempts)
        about = kind, process, *times, error, int(memory) if memory else None
        record = Record(join_key(run.info.uid, int(index)), run.info.uid, int(index), *about)
        if kind == "retried":
            run.retried[record.index, record.attempts] = record
        else:
            run.records[record.index] = record
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
