"""Runs of farmhand that show their progress, for the workloads that find out what it costs."""

import atexit
import contextlib
import fcntl
import importlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

RATIOS = {"time, %": "s", "CPU, %": "CPU, s"}


def run(task: Callable[..., Any], items: Iterable[Any], path: str, **options: Any) -> int:
    """How many results are stored then."""
    from farmhand import open_store, run_tasks

    with open_store(path) as store:
        run_tasks(store, task, items, **options)
        return len(store)


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """What is written to stderr goes to a terminal of the usual kind and size, whose other end is read."""
    other, ours = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.environ["TERM"] = "xterm-256color"
    os.environ.pop("CI", None)

    def read() -> None:
        with contextlib.suppress(OSError):  # closed
            while os.read(other, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    before = sys.stderr
    with open(ours, "w") as sys.stderr:
        yield
    sys.stderr = before


def need(package: str) -> None:
    """Say at once when a frontend is not installed."""
    importlib.import_module(package)


def display() -> None:
    """Give this process an X server without a screen, which ends with it.

    Nobody waits for the server, so that the CPU time that it takes, which is not the farm's, is not counted.
    """
    if shutil.which("Xvfb") is None:
        raise ModuleNotFoundError("Xvfb")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", "-screen", "0", "1280x1024x24"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    os.close(writing)
    atexit.register(os.kill, server.pid, signal.SIGKILL)
    with open(reading) as said:
        os.environ["DISPLAY"] = f":{said.readline().strip()}"
    os.environ.pop("WAYLAND_DISPLAY", None)


def figures(run: Any) -> dict[str, float]:
    return {"s": run.seconds, "CPU, s": run.cpu}
