"""How many CPUs this process may really use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

__all__ = ["cpu_count"]


def cpu_count(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """The CPUs that this process may use, at least one.

    Its affinity counts and, on Linux, the quotas of its control group and of all those around it
    (versions 2 and 1), as containers and batch systems set them.

    Parameters
    ----------
    root : str
        Where the control groups are mounted.
    membership : str
        The file that says which one is this process's.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    quota = min(_quotas(root, membership), default=math.inf)
    return max(1, count if quota == math.inf else min(count, math.ceil(quota)))


def _quotas(root: str, membership: str) -> Iterator[float]:
    """The CPUs that each control group on the way from ours to the root allows, where it says."""
    for hierarchy, group in _groups(membership):
        folder = os.path.normpath(os.path.join(root, hierarchy, group.lstrip("/")))
        while True:
            yield from _quota(folder)
            if len(folder) <= len(os.path.normpath(root)):
                break
            folder = os.path.dirname(folder)


def _groups(membership: str) -> Iterator[tuple[str, str]]:
    """The folder of a hierarchy below the root, and our group in it."""
    for line in _read(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield "", group  # version 2
        elif "cpu" in controllers.split(","):
            yield "cpu", group
    yield "", "/"  # in a container the names of the groups may be those outside of it
    yield "cpu", "/"


def _quota(folder: str) -> Iterator[float]:
    limit, _, period = _read(os.path.join(folder, "cpu.max")).partition(" ")
    if not period:
        limit = _read(os.path.join(folder, "cpu.cfs_quota_us"))
        period = _read(os.path.join(folder, "cpu.cfs_period_us"))
    try:
        if int(limit) > 0:
            yield int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return  # "max", or no such file


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
