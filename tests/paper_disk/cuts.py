"""Power cuts and kills at every moment of a process's life, of which a trace says what it did to its disk."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_disk.model import FOLDER, Disk, Files, Operation, read_trace

NOTES = "notes"  # a file in the folder that gets a byte as soon as a step is said to be stored
Choice = Callable[[Files], Files]


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


def files_in(folder: Path) -> Files:
    """What is in a folder now, but for memory that processes share."""
    return {
        str(path.relative_to(folder)) + FOLDER * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }


def traced(command: Sequence[str | Path], folder: Path, trace: Path, environment: dict[str, str]) -> Trace:
    """Run a Python program, with ``power_trace.c`` loaded, and write down what it does to a folder."""
    before = files_in(folder)
    places = {"POWER_FOLDER": str(folder), "POWER_TRACE": str(trace)}
    subprocess.run([sys.executable, *command], env=environment | places, check=True)
    return Trace(folder, read_trace(trace), before, files_in(folder))


def put_back(files: Files, folder: Path) -> None:
    """Have these files in a folder."""
    for name, data in sorted(files.items()):  # a folder before what is in it
        if name.endswith(FOLDER):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)


def moments(trace: Trace, deaf_to: Collection[str] = ()) -> Iterator[tuple[int, Disk, int]]:
    """The disk before, between and after all operations, and how many steps are said to be stored."""
    disk = Disk(trace.folder, trace.before, deaf_to)
    for number in range(len(trace.operations) + 1):
        if number:
            disk.perform(trace.operations[number - 1])
        yield number, disk, len(disk.seen().get(NOTES, b""))


def cuts(trace: Trace, throws: int, deaf_to: Collection[str] = (), among: Choice = dict) -> Iterator[State]:
    """All different states that a power cut at any moment may leave; of the files, ``among`` chooses."""
    dice, known = random.Random(1), set()
    for number, disk, stored in moments(trace, deaf_to):
        for about, files in disk.after_a_cut(dice, throws):
            state = State(among(files), stored, f"cut after {number} operations, {about}")
            content = stored, tuple(sorted(state.files.items()))
            if content not in known:
                known.add(content)
                yield state


def kills(trace: Trace, among: Choice = dict) -> Iterator[State]:
    """What the system keeps when the process alone ends, at any moment."""
    for number, disk, stored in moments(trace):
        yield State(among(disk.seen()), stored, f"killed after {number} operations")


Judge = Callable[[State, Path, Any], str]


def each_judged(judge: Judge, states: Iterator[State], expected: Any) -> Iterator[tuple[str, str]]:
    """What ``judge`` says of each state, which it may put into an empty folder: a word, and a sentence."""
    # in memory, where there is such a folder: nothing here depends on the real disk
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        for state in states:
            verdict = judge(state, Path(folder), expected)
            yield verdict.partition(":")[0], f"{state.about}, {state.stored} steps stored: {verdict}"


def all_judged(judge: Judge, states: Iterator[State], expected: Any) -> tuple[Counter[str], dict[str, str]]:
    """How many states there are of each word, and an example of each."""
    both = list(each_judged(judge, states, expected))
    return Counter(word for word, _ in both), dict(both)
