"""Things that tasks do to their process, deliberately or not; see test_hostile_tasks.py."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiting import wait_for


class Strange(BaseException):
    """Not an Exception, as KeyboardInterrupt is not."""


def close_standard_descriptors() -> None:
    os.closerange(0, 3)


def close_all_descriptors() -> None:
    os.closerange(3, 4096)


def close_all_and_open_a_file(path: str, seconds: float) -> None:
    """As a daemon does; now its file and its connection have the numbers that were the farm's."""
    os.closerange(0, 4096)
    for _ in range(30):
        os.open(path, os.O_RDWR | os.O_CREAT)
    time.sleep(seconds)


def close_all_and_connect() -> None:
    """The farm's number is a socket again: what is sent there goes to somebody else."""
    os.closerange(3, 4096)
    global kept
    kept = [socket.socketpair() for _ in range(15)]


def write_into_the_farms_descriptors() -> None:
    """All that are sockets or nameless files; a forked process has others, which are the tests'."""
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(("socket:", "/memfd:farmhand")):
                os.write(fd, b"hello world, this is no frame at all")
        except OSError:
            continue


def become_another_program() -> None:
    os.execv("/bin/sleep", ["sleep", "600"])


def change_directory() -> None:
    os.chdir("/")


def fork_and_return() -> None:
    """Both processes come back from the task; only one of them is the farm's."""
    os.fork()


def fork_and_raise() -> None:
    if os.fork() == 0:
        raise RuntimeError("in the child")


def leave_a_thread() -> None:
    threading.Thread(target=threading.Event().wait).start()


def leave_a_child() -> None:
    subprocess.Popen(["sleep", "600"])


def end_the_process() -> None:
    os._exit(0)


def raise_system_exit() -> None:
    sys.exit(0)


def raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def raise_strange() -> None:
    raise Strange("neither this nor that")


def recurse() -> None:
    recurse()


def recurse_in_c() -> None:
    """Until the stack of the process is full."""
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)


def crash() -> None:
    ctypes.string_at(0)


def flood() -> None:
    line = b"x" * 99 + b"\n"
    for _ in range(2000):
        os.write(1, line * 50)


def handle_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, lambda *_: None)


def patch_pickle() -> None:
    def refuse(*args: Any, **kwds: Any) -> Any:
        raise AssertionError("pickle is patched")

    for name in ("dumps", "loads", "Pickler", "Unpickler"):
        setattr(pickle, name, refuse)


def patch_time() -> None:
    time.monotonic = time.time = lambda: 0.0


def patch_os() -> None:
    os.getpid = lambda: 1


def set_an_alarm() -> None:
    """For a moment when this item has long ended."""
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def replace_standard_streams() -> None:
    sys.stdout = sys.stderr = sys.stdin = None  # type: ignore[assignment]


def close_standard_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_its_group() -> None:
    os.killpg(0, signal.SIGTERM)


def forbid_new_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def lower_the_recursion_limit() -> None:
    depth, frame = 0, sys._getframe()
    while frame := frame.f_back:
        depth += 1
    # by so little above where we are, which is deep in pytest for a process that was forked from it
    sys.setrecursionlimit(depth + 50)


def end_other_threads() -> None:
    """The threads of farmhand are daemons; nobody can end them, but their locks can be asked for."""
    for thread in threading.enumerate():
        thread.join(0) if thread is not threading.current_thread() else None


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.startswith("farmhand")]:
        del sys.modules[name]


#: What happens to the item: 'done', or the kind of its failure.
DEEDS: dict[str, tuple[Callable[[], object], str]] = {
    deed.__name__: (deed, end)
    for deed, end in (
        (close_standard_descriptors, "done"),
        (close_all_descriptors, "died"),
        (close_all_and_connect, "died"),
        (write_into_the_farms_descriptors, "died"),
        (become_another_program, "died"),
        (change_directory, "done"),
        (fork_and_return, "done"),
        (fork_and_raise, "done"),
        (leave_a_thread, "done"),
        (leave_a_child, "done"),
        (end_the_process, "died"),
        (raise_system_exit, "raised"),
        (raise_keyboard_interrupt, "raised"),
        (raise_strange, "raised"),
        (recurse, "raised"),
        (recurse_in_c, "died or raised"),
        (crash, "died"),
        (flood, "done"),
        (handle_signals, "done"),
        (patch_pickle, "done"),
        (patch_time, "done"),
        (patch_os, "done"),
        (set_an_alarm, "done"),
        (replace_standard_streams, "done"),
        (close_standard_streams, "done"),
        (kill_itself, "died"),
        (kill_its_group, "done"),
        (forbid_new_files, "done"),
        (lower_the_recursion_limit, "done"),
        (end_other_threads, "done"),
        (forget_modules, "done"),
    )
}


def act(item: int, name: str, gate: str) -> tuple[int, int]:
    """Item 0 does it; the others wait until it is about to, so that they come after it or beside it."""
    if item == 0:
        Path(gate).touch()
        DEEDS[name][0]()
    else:
        wait_for(gate)
    return item, item * item
