"""The CPUs that a process may use: fewer than the machine has, in a container or a batch job."""

from __future__ import annotations

import os

import pytest

from farmhand.cpus import cpu_count

HERE = len(os.sched_getaffinity(0))


def count(tmp_path, files, membership=""):
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return cpu_count(str(tmp_path / "cgroup"), str(tmp_path / "membership"))


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({"cpu.max": "100000 100000\n"}, "0::/\n"),
        ({"cpu.max": "50000 100000\n"}, "0::/\n"),
        ({"cpu.max": "max 100000\n", "batch/job7/cpu.max": "100000 100000\n"}, "0::/batch/job7\n"),
        ({"batch/cpu.max": "100000 100000\n", "batch/job7/cpu.max": "max 100000\n"}, "0::/batch/job7\n"),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n"),
        ({"cpu.max": "100000 100000\n"}, "0::/a/name/from/outside/the/container\n"),
    ],
    ids=["one CPU", "half a CPU", "own group", "group around it", "version 1", "container"],
)
def test_a_quota_of_one_cpu_means_one_process(tmp_path, files, membership):
    """More processes than the quota allows would only be stopped in turn by the kernel."""
    assert count(tmp_path, files, membership) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": "9900000 100000\n"},
        {"cpu.max": "nonsense"},
        {"cpu.max": "100000 0\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    ],
    ids=["no groups", "no quota", "a large quota", "nonsense", "no period", "version 1 without"],
)
def test_without_a_smaller_quota_it_is_the_affinity(tmp_path, files):
    """What cannot be read is no limit."""
    assert count(tmp_path, files, "0::/\n") == HERE


def test_the_affinity_counts(tmp_path):
    """A batch system often hands out CPUs in this way."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count(tmp_path, {}) == 1
    finally:
        os.sched_setaffinity(0, before)
