"""Waiting for what happens, never for the clock: the one place where tests do so.

The deadline only keeps a broken farm from hanging the tests.
"""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE = 60.0  # seconds after which something hangs for certain
_APPEARED = 0x100 | 0x80  # IN_CREATE | IN_MOVED_TO, of Linux's inotify
_WRITTEN = 0x100 | 0x2  # IN_CREATE | IN_MODIFY
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(path: str | Path) -> None:
    """Return as soon as the file is there; where the system tells of it, nobody looks again and again."""
    watch = _watched(os.path.dirname(os.path.abspath(path)), _APPEARED)
    if watch < 0:
        wait_until(lambda: os.path.exists(path), str(path))
        return
    try:
        deadline = time.monotonic() + DEADLINE
        while not os.path.exists(path):  # asked after the watch has begun, so that nothing is missed
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {path}"
            if select.select([watch], [], [], left)[0]:
                os.read(watch, 1 << 16)
    finally:
        os.close(watch)


def wait_until_quiet(folder: str | Path, seconds: float) -> None:
    """Return once nothing new has appeared in a folder for so long."""
    watch = _watched(str(folder), _APPEARED)
    assert watch >= 0, "this system does not tell what appears in a folder"
    try:
        deadline = time.monotonic() + DEADLINE
        while select.select([watch], [], [], seconds)[0]:
            assert time.monotonic() < deadline, f"there is always something new in {folder}"
            os.read(watch, 1 << 16)
    finally:
        os.close(watch)


def grows(path: str | Path, before: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a file is larger than ``before``; False when the process that writes it ends, or hangs."""

    def size() -> int:
        return os.stat(path).st_size if os.path.exists(path) else 0

    watch = _watched(os.path.dirname(os.path.abspath(path)), _WRITTEN)
    ends = os.pidfd_open(process.pid) if process.poll() is None else -1
    try:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            if size() > before:
                return True
            if select.select([watch, ends], [], [], max(0.0, deadline - time.monotonic()))[0] == [watch]:
                os.read(watch, 1 << 16)
        return False
    finally:
        for descriptor in (watch, ends):
            if descriptor >= 0:
                os.close(descriptor)


def wait_until(condition: Callable[[], object], what: str = "", seconds: float = DEADLINE) -> None:
    """Return as soon as ``condition()`` is true, where no file and no pipe says so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what or condition}"
        time.sleep(0.005)


def _watched(folder: str, what: int) -> int:
    """A descriptor that can be read as soon as that happens in a folder; -1 where that cannot be had."""
    try:
        watch: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if watch >= 0 and _libc.inotify_add_watch(watch, os.fsencode(folder), what) < 0:
            os.close(watch)
            return -1
    except AttributeError:  # not on this system
        return -1
    return watch
