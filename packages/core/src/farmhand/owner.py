"""Which process wrote a run, and whether it still does."""

from __future__ import annotations

import os

__all__ = ["here", "is_alive"]


def here() -> str:
    """Name this process by a word that no other process has, at no other time.

    It says which start of which computer, which namespace of process numbers, which number, and when
    the process with that number was started.
    """
    pid = os.getpid()
    return "/".join([*_computer(), str(pid), _started(pid)])


def is_alive(owner: str) -> bool | None:
    """Whether the process that :func:`here` named ``owner`` is there.

    None when that cannot be known from here: it was on another computer, or in another container.
    """
    *computer, number, started = ["", "", *owner.split("/")][-5:]
    if len(computer) != 3 or not number.isdecimal():
        return None
    name, boot, namespace = _computer()
    if computer != [name, boot, namespace]:
        # what ran before the computer was started again has ended
        rebooted = boot and computer[1] and computer[0] == name and computer[1] != boot
        return False if rebooted and computer[2] == namespace else None
    pid = int(number)
    now = _started(pid)
    if now and started:
        return now == started
    if os.name != "posix":  # elsewhere this would be no question
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # a process of another user, of which the system may tell us nothing
        return None if started else True
    # a zombie; or, where nobody says when processes are started, one of that number is taken for it
    return not started


def _computer() -> tuple[str, str, str]:
    """Name of the computer, its present start, and the namespace of this process's number, where known."""
    if hasattr(os, "uname"):
        name = os.uname().nodename
    else:
        import platform

        name = platform.node()
    boot = namespace = ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        pass
    return name.replace("/", "_"), boot, namespace


def _started(pid: int) -> str:
    """When a process was started, in ticks since the computer was; ``''`` where it is not, or nobody says."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may have any signs
    except OSError:
        return ""
    # a zombie has ended, and only waits for somebody to ask how
    return fields[19].decode() if len(fields) > 19 and fields[0] not in (b"Z", b"X") else ""
