"""A large result that was handed over survives a power cut, as the record that will name it does.

A process writes some into a folder while a preloaded library writes down all that it does to the disk;
``paper_disk`` says what a disk could hold if the power had failed at any point of that.

Run as a program, this file is the process that writes.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from farmhand.files import ResultFiles
from farmhand.spool import Reference, Spool
from paper_disk.model import Disk, Files, read_trace
from paper_disk.preload import build

NOTES = "notes"  # gets a line as soon as a result may be stored: what stands for it
COUNT = 6


def value(number: int) -> list[bytes]:
    return [bytes([number]) * 1000 * (number + 1), b"end"]


def tell(folder: str, sync: bool) -> None:
    spool = Spool(folder, threshold=500, sync=sync)
    for number in range(COUNT):
        data = spool.encode(number, value(number))
        notes = os.open(os.path.join(folder, NOTES), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(notes, data + b"\n")
        os.close(notes)
    os._exit(0)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Run this file as a program, and write down what it does to its disk."""
    library = tmp_path_factory.mktemp("library")
    environment = build("power_trace.c", library)

    @cache
    def trace(sync: bool):
        folder = tmp_path_factory.mktemp("files") / "run"
        written = library / f"{sync}.trace"
        places = {"POWER_FOLDER": str(folder), "POWER_TRACE": str(written)}
        folder.mkdir()
        command = [sys.executable, __file__, folder, "sync" if sync else ""]
        subprocess.run(command, env=environment | places, check=True)
        return folder, read_trace(written)

    return trace


def verdicts(traced, place: Path, deaf_to: tuple[str, ...] = ()) -> set[str]:
    """What is found of the results that had been handed over, after all cuts."""
    folder, operations = traced
    disk, dice, found = Disk(folder, {}, deaf_to), random.Random(1), set()
    for operation in operations:
        disk.perform(operation)
        handed_over = disk.seen().get(NOTES, b"").splitlines()
        for _, files in disk.after_a_cut(dice, 4):
            found |= {verdict(data, files, place) for data in handed_over[-2:]}
    assert len(handed_over) == COUNT
    return found


def verdict(data: bytes, files: Files, place: Path) -> str:
    reference = Reference.parse(data)
    assert reference is not None
    if reference.name not in files:
        return "lost"
    (place / "run").mkdir(exist_ok=True)
    (place / "run" / reference.name).write_bytes(files[reference.name])
    result_files = ResultFiles(str(place))
    if result_files.check("run", data):
        return "damaged"
    return "sound" if result_files.load("run", data, str) == value(reference.index) else "wrong"


def test_a_large_result_that_was_handed_over_survives_a_power_cut(trace, tmp_path):
    """Its content and its name are on the disk before anybody hears of it."""
    assert verdicts(trace(True), tmp_path) == {"sound"}


@pytest.mark.parametrize(
    ("sync", "deaf_to", "expected"),
    [(True, ["files"], "damaged"), (True, ["folder"], "lost"), (False, [], "lost"), (False, [], "damaged")],
)
def test_a_fault_would_be_found(trace, tmp_path, sync, deaf_to, expected):
    """The same search finds what a disk that lies, and a process that does not sync, do to the results."""
    assert expected in verdicts(trace(sync), tmp_path, deaf_to)


if __name__ == "__main__":
    tell(sys.argv[1], bool(sys.argv[2]))
