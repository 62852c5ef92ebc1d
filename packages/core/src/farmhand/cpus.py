"""How many CPUs this process may really use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from farmhand import cgroups

__all__ = ["SHARE", "cpu_count", "quotas", "usable_cpus"]

SHARE = "FARMHAND_CPUS"


def cpu_count(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """The CPUs that this process may use, at least one.

    They are :func:`usable_cpus`. But in a process of a farm it is
    that process's share, so that a farm inside a task does not take what its neighbours use; the
    environment variable ``FARMHAND_CPUS`` says it.

    Parameters
    ----------
    root : str
        Where the control groups are mounted.
    membership : str
        The file that says which one is this process's.
    """
    count, share = usable_cpus(root, membership), os.environ.get(SHARE, "")
    return max(1, min(count, int(share))) if share.isdecimal() else count


def usable_cpus(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """The CPUs that this process and its neighbours in a farm may use together, at least one.

    Its affinity counts and, on Linux, the quotas of its control group and of all those around it
    (versions 2 and 1), as containers and batch systems set them.

    Parameters
    ----------
    root, membership
        As for :func:`cpu_count`.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    quota = min((cpus for cpus, _ in quotas(root, membership)), default=math.inf)
    return max(1, count if quota == math.inf else min(count, math.ceil(quota)))


def quotas(
    root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup"
) -> Iterator[tuple[float, str]]:
    """The CPUs that control groups around this process allow, and the folder of each that says so."""
    for folder in cgroups.folders("cpu", root, membership):
        for quota in _quota(folder):
            yield quota, folder


def _quota(folder: str) -> Iterator[float]:
    """The CPUs that a control group allows, where it says."""
    limit, _, period = cgroups.read(os.path.join(folder, "cpu.max")).partition(" ")
    if not period:
        limit = cgroups.read(os.path.join(folder, "cpu.cfs_quota_us"))
        period = cgroups.read(os.path.join(folder, "cpu.cfs_period_us"))
    try:
        if int(limit) > 0:
            yield int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return  # "max", or no such file
