"""How many CPUs this process may really use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

__all__ = ["cpu_count"]


def cpu_count(root: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs that this process may use, at least one.

    Its affinity and, on Linux, the quota of its container are counted (cgroup versions 2 and 1).

    Parameters
    ----------
    root : Path
        Where the control groups are mounted.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    quota = _quota(root)
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """CPUs that the control group allows, None for all."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    with contextlib.suppress(OSError, ValueError):
        limit_v1 = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_v1 = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        return limit_v1 / period_v1 if limit_v1 > 0 else None
    return None
