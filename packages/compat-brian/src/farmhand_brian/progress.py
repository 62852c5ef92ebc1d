"""How the progress of a compiled simulation comes to Python: as lines in a file.

The C++ half is ``progress.h``. The file belongs to one run of the program. Lines are read while the program
runs, and the last ones when it has ended, before anybody goes on: so what is said last is said in time.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["HEADER", "VARIABLE", "Forward", "follow", "watched"]

VARIABLE = "FARMHAND_REPORT"  # says where to write, in the program's environment
HEADER = Path(__file__).with_name("progress.h")

_LOOK = 0.05  # seconds between looks at the file

Forward = Callable[[int, float, float, float, float], None]


def watched(run: int, network: str, duration: float, call: str) -> list[str]:
    """The C++ lines that run a network and say how far it is.

    Parameters
    ----------
    run : int
        Which of the runs of this program it is.
    network : str
        The C++ name of the network.
    duration : float
        How long it is simulated, in seconds.
    call : str
        The line that does it.
    """
    return [
        "{",
        f"farmhand::Watch _farmhand_watch({run}, &{network}.t, {duration!r});",
        call,
        "_farmhand_watch.end(Network::_last_run_completed_fraction);",
        "}",
    ]


@contextmanager
def follow(forward: Forward, folder: Path | None = None) -> Iterator[None]:
    """Pass on what the program says that is started inside.

    Parameters
    ----------
    forward : callable
        Given the number of the run, elapsed seconds, fraction, start and duration, in a thread of its own.
        What it raises is raised here in the end.
    folder : Path, optional
        Where the file is made; by default among the temporary files.
    """
    descriptor, path = tempfile.mkstemp(prefix="farmhand-report-", dir=folder)
    reader = _Reader(descriptor, forward)
    os.environ[VARIABLE] = path
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        reader.finish()
        os.close(descriptor)
        os.unlink(path)
    if reader.error is not None:
        raise reader.error


class _Reader:
    def __init__(self, descriptor: int, forward: Forward) -> None:
        self._descriptor = descriptor
        self._forward = forward
        self._rest = b""
        self._over = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="farmhand simulation progress", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_LOOK)
            while data := os.read(self._descriptor, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        try:
            run, *numbers = line.split()
            elapsed, complete, start, duration = map(float, numbers)
            number = int(run)
        except ValueError:
            return  # a line that a full disk has cut
        try:
            if self.error is None:
                self._forward(number, elapsed, complete, start, duration)
        except Exception as error:
            self.error = error


def forwarding(reports: dict[int, Any], default: Any) -> Forward:
    """What calls Brian's way, with units, the report of each run, or else the default one."""
    from brian2.units import second

    def forward(run: int, elapsed: float, complete: float, start: float, duration: float) -> None:
        report = reports.get(run, default)
        if report is not None:
            report(elapsed * second, complete, start * second, duration * second)

    return forward
