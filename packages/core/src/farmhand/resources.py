"""Processes and memory: what a process started and uses, what is left, whom the system has killed for it.

All of it is read from files of Linux; elsewhere nothing is known, and nothing is limited.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from farmhand import cgroups, cpus

__all__ = ["CpuWatch", "MemoryWatch", "descendants", "free_memory", "memory_of", "oom_kills"]

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def free_memory(
    meminfo: str = "/proc/meminfo", root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup"
) -> tuple[int, int] | None:
    """The memory that can still be used, and all there is, in bytes; None when nobody knows.

    That of the computer, or of one of the control groups around this process (versions 2 and 1),
    whichever has least left.

    Parameters
    ----------
    meminfo : str
        The file about the computer's memory.
    root, membership : str
        As for :func:`farmhand.cgroups.folders`.
    """
    known = dict(_fields(meminfo))
    found = []
    if "MemAvailable" in known and "MemTotal" in known:
        found.append((known["MemAvailable"] * 1024, known["MemTotal"] * 1024))
    for folder in cgroups.folders("memory", root, membership):
        found += _of_group(folder)
    return min(found, default=None)


class MemoryWatch:
    """Looks at the free memory now and then, and says when it runs short and when it has recovered.

    Parameters
    ----------
    now : float
        The clock.

    Attributes
    ----------
    low : bool
        Whether there is less than 5 % left, and less than 1 GiB; a quarter more ends that.
    look_at : float
        When to look again.
    """

    INTERVAL = 0.5  # seconds
    SHARE, MOST = 0.05, 2**30  # of all memory; bytes
    ENOUGH = 1.25

    def __init__(self, now: float) -> None:
        self.low = False
        self.look_at = now

    def look(self, now: float) -> bool:
        """Look, and say whether ``low`` has changed."""
        known = free_memory()
        if known is None:
            self.look_at = float("inf")
            return False
        self.look_at = now + self.INTERVAL
        free, total = known
        floor = min(self.SHARE * total, self.MOST)
        before, self.low = self.low, free < floor * (self.ENOUGH if self.low else 1.0)
        return self.low != before


class CpuWatch:
    """Looks now and then at how busy the CPUs are that this process may use.

    Whoever uses them counts: a compiled simulation that a task has started is the task's work, too,
    and a neighbour's work is a reason why ours takes long. Where a control group allows fewer CPUs
    than there are, as in a container, it is the part of these that the group has used. None where
    the system does not tell.

    Parameters
    ----------
    stat : str
        The file about the computer's CPUs.
    root, membership : str
        As for :func:`farmhand.cgroups.folders`.
    """

    INTERVAL = 1.0  # seconds
    LONG = 4.0  # seconds beyond that

    def __init__(
        self,
        stat: str = "/proc/stat",
        root: str = "/sys/fs/cgroup",
        membership: str = "/proc/self/cgroup",
    ) -> None:
        self._stat, self._root, self._membership = stat, root, membership
        self._look_at = float("-inf")
        self._group: tuple[float, str] | None = None  # the CPUs that it allows, and its folder
        self._before: tuple[float, float] | None = None
        self._busy: float | None = None

    def busy(self, now: float) -> float | None:
        """The fraction of their time that they were busy in about the last second; None at first."""
        if now >= self._look_at:
            if self._before is None:
                self._group = self._smallest_group()
            elif now >= self._look_at + self.LONG:
                self._before = None  # nobody has looked for a while, which says nothing of now
            self._look_at = now + self.INTERVAL
            before, self._before = self._before, self._times(now)
            if before is None or self._before is None:
                self._busy = None
            elif self._before[1] > before[1]:
                used, whole = self._before[0] - before[0], self._before[1] - before[1]
                self._busy = min(1.0, max(0.0, used / whole))
        return self._busy

    def _smallest_group(self) -> tuple[float, str] | None:
        """The control group that allows the fewest CPUs, if these are fewer than there are."""
        group = min(cpus.quotas(self._root, self._membership), default=None)
        if group is None or group[0] >= len(_affinity()) or _used_by(group[1]) is None:
            return None
        return group

    def _times(self, now: float) -> tuple[float, float] | None:
        """How long these CPUs were busy, and how long they could have been, in some unit."""
        if self._group is not None:
            allowed, folder = self._group
            used = _used_by(folder)
            return None if used is None else (used, allowed * now)
        ours = {f"cpu{number}" for number in _affinity()}
        idle = whole = 0
        for line in cgroups.read(self._stat).splitlines():
            name, _, rest = line.partition(" ")
            if name not in ours:
                if not name.startswith("cpu"):
                    break  # interrupts, of which there may be thousands
                continue
            fields = rest.split()
            if len(fields) >= 5 and all(map(str.isdecimal, fields)):
                times = list(map(int, fields[:8]))  # those of guests are counted among the others
                idle += times[3] + times[4]
                whole += sum(times)
        return (whole - idle, whole) if whole else None


def _affinity() -> set[int]:
    """The numbers of the CPUs on which this process may run; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _used_by(group: str) -> float | None:
    """Seconds of CPU time that a control group has used, versions 2 and 1."""
    used = dict(_fields(os.path.join(group, "cpu.stat"))).get("usage_usec")
    if used is not None:
        return used / 1e6
    nanoseconds = cgroups.read(os.path.join(group, "cpuacct.usage")).strip()
    return int(nanoseconds) / 1e9 if nanoseconds.isdecimal() else None


def _of_group(folder: str) -> Iterator[tuple[int, int]]:
    for names in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        limit, used = (cgroups.read(os.path.join(folder, name)).strip() for name in names)
        if limit.isdecimal() and used.isdecimal():
            known = dict(_fields(os.path.join(folder, "memory.stat")))
            # files that were read and not used since: the system drops these first
            cache = known.get("total_inactive_file", known.get("inactive_file", 0))
            yield max(0, int(limit) - max(0, int(used) - cache)), int(limit)


def descendants(pid: int) -> Iterator[int]:
    """The process itself, what it has started, what these have started, and so on."""
    todo = [pid]
    while todo:
        each = todo.pop()
        yield each
        try:
            for thread in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{thread}/children", "rb") as file:
                    todo += map(int, file.read().split())
        except (OSError, ValueError):
            continue  # it has just ended, or the kernel does not tell of children


def memory_of(pid: int) -> int:
    """The memory that a process and its descendants have in use, in bytes; 0 when it is gone.

    Resident memory, so that what several of them share is counted several times.
    """
    total = 0
    for each in descendants(pid):
        try:
            with open(f"/proc/{each}/statm", "rb") as file:
                total += int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            continue
    return total


def oom_kills(vmstat: str = "/proc/vmstat") -> int:
    """How many processes the system has killed because memory ran out, since it was started."""
    _, _, rest = f"\n{cgroups.read(vmstat)}".partition("\noom_kill ")
    number = rest.partition("\n")[0].strip()
    return int(number) if number.isdecimal() else 0


def _fields(path: str) -> Iterator[tuple[str, int]]:
    """Name and number of each line: ``MemTotal:  16384 kB``, ``inactive_file 3``."""
    for line in cgroups.read(path).splitlines():
        name, _, rest = line.replace(":", " ").partition(" ")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            yield name, int(number[0])
