"""What the system tells of memory and processes, from files as Linux writes them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farmhand import resources
from farmhand.resources import CpuWatch, MemoryWatch, descendants, free_memory, memory_of, oom_kills

GB = 10**9


@pytest.fixture
def system(tmp_path):
    """Write files, and ask how much memory is free according to them."""

    def ask(membership="", **files):
        (tmp_path / "meminfo").write_text(
            "MemTotal: 16000000 kB\nMemFree: 1000000 kB\nMemAvailable: 8000000 kB\n"
        )
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return free_memory(str(tmp_path / "meminfo"), str(tmp_path / "cgroup"), str(tmp_path / "membership"))

    return ask


def test_what_can_still_be_used_is_free_or_can_be_freed(system):
    """What files occupy is dropped when it is needed, so MemFree alone says little."""
    assert system() == (8_000_000 * 1024, 16_000_000 * 1024)


def test_the_limit_of_a_container_counts(system):
    """As in a batch job, or in a container of version 2; what files occupy does not count there either."""
    assert system(
        "0::/job/step\n",
        job__memory_DOT_max=f"{2 * GB}\n",
        job__memory_DOT_current=f"{GB}\n",
        job__memory_DOT_stat=f"anon 5\ninactive_file {GB // 2}\n",
        job__step__memory_DOT_max="max\n",
        job__step__memory_DOT_current=f"{GB}\n",
    ) == (GB + GB // 2, 2 * GB)


def test_so_does_one_of_version_1(system):
    assert system(
        "4:memory:/job\n",
        memory__job__memory_DOT_limit_in_bytes=f"{2 * GB}\n",
        memory__job__memory_DOT_usage_in_bytes=f"{GB}\n",
        memory__job__memory_DOT_stat=f"total_inactive_file {GB // 4}\n",
    ) == (GB + GB // 4, 2 * GB)


def test_a_group_without_a_limit_limits_nothing(system):
    """Version 1 writes a number beyond all memory."""
    files = {
        "memory__job__memory_DOT_limit_in_bytes": f"{2**63 - 4096}",
        "memory__job__memory_DOT_usage_in_bytes": "5",
    }
    assert system("4:memory:/job\n", **files) == (8_000_000 * 1024, 16_000_000 * 1024)


def test_where_nothing_is_told_nothing_is_known(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    assert free_memory(nowhere, nowhere, nowhere) is None
    assert oom_kills(nowhere) == 0


def test_the_system_counts_whom_it_has_killed(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 17\n")
    assert oom_kills(str(tmp_path / "vmstat")) == 17


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system has no /proc")
def test_what_a_process_started_and_what_these_started_is_found():
    """With the memory of all of them; of one that has ended nothing is said."""
    start = "subprocess.Popen(['sleep', '600'], start_new_session=True)"
    code = f"import subprocess; {start}; print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        found = list(descendants(child.pid))
        assert found[0] == child.pid
        assert len(found) == 2
        assert memory_of(child.pid) > memory_of(found[1]) > 0
        for pid in found:
            os.kill(pid, 9)
    assert memory_of(child.pid) == 0


def test_memory_that_is_short_has_recovered_when_there_is_clearly_more(monkeypatch):
    """Else it would be short and not short in turn."""
    free = [20 * GB, 2 * GB, 0.9 * GB, 1.1 * GB, 1.5 * GB]
    told = iter([(int(each), 100 * GB) for each in free])
    monkeypatch.setattr(resources, "free_memory", lambda: next(told))
    watch = MemoryWatch(0.0)
    assert [(watch.look(now), watch.low) for now in range(5)] == [
        (False, False),
        (False, False),
        (True, True),
        (False, True),
        (True, False),
    ]


def test_a_small_computer_need_not_have_a_gigabyte_free(monkeypatch):
    """A twentieth of what it has is enough."""
    monkeypatch.setattr(resources, "free_memory", lambda: (GB // 10, GB))
    watch = MemoryWatch(0.0)
    watch.look(0.0)
    assert not watch.low
    assert watch.look_at > 0.0


# -- how busy the CPUs are -------------------------------------------------------------------------

CPU = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


@pytest.fixture
def cpus(tmp_path, monkeypatch):
    """Write what the system tells of its CPUs, of which this process may use one, and ask at a time."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {CPU}, raising=False)
    (tmp_path / "membership").write_text("0::/job\n")
    watch = CpuWatch(str(tmp_path / "stat"), str(tmp_path / "cgroup"), str(tmp_path / "membership"))

    def ask(now, busy=0, idle=0, others=0, **group):
        lines = [
            f"cpu  {busy + others} 0 0 {idle} 0 0 0 0 0 0",
            f"cpu{CPU} {busy} 0 0 {idle} 0 0 0 0 0 0",
            f"cpu{CPU + 1} {others} 0 0 0 0 0 0 0 0 0",
            "intr 5 6 7",
        ]
        (tmp_path / "stat").write_text("\n".join(lines))
        for name, text in group.items():
            path = tmp_path / "cgroup" / "job" / name.replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return watch.busy(now)

    return ask


def test_cpus_are_as_busy_as_since_the_last_look(cpus):
    """A quarter of the time since then, whatever was before, and whatever other CPUs do."""
    assert cpus(100.0, busy=9000, idle=1000, others=7) is None
    assert cpus(101.0, busy=9025, idle=1075, others=5000) == 0.25
    assert cpus(102.0, busy=9125, idle=1075, others=5000) == 1.0


def test_cpus_are_looked_at_once_a_second(cpus):
    """Ten times a second the numbers of ticks would be so small that the fraction jumps."""
    cpus(100.0, busy=10, idle=10)
    assert cpus(101.0, busy=20, idle=20) == 0.5
    assert cpus(101.9, busy=120, idle=20) == 0.5
    assert cpus(102.0, busy=120, idle=20) == 1.0


def test_how_busy_cpus_were_while_nobody_looked_is_not_told(cpus):
    """Who begins to look in the morning does not want to know the mean of the night."""
    cpus(100.0, busy=10, idle=10)
    assert cpus(101.0, busy=20, idle=20) == 0.5
    assert cpus(30000.0, busy=20, idle=9020) is None
    assert cpus(30001.0, busy=30, idle=9020) == 1.0


def test_a_fraction_stays_one_when_counters_go_back(cpus):
    """Linux says that the time of waiting for disks may."""
    cpus(100.0, busy=10, idle=20)
    assert cpus(101.0, busy=20, idle=15) == 1.0
    assert cpus(102.0, busy=15, idle=35) == 0.0


def test_in_a_container_it_is_what_the_container_may_use(cpus):
    """Half a CPU of those of the computer: who uses all of that has no more to win."""
    cpus(100.0, cpu_DOT_max="50000 100000\n", cpu_DOT_stat="usage_usec 7000000\nuser_usec 1\n")
    assert cpus(101.0, busy=1, idle=99, cpu_DOT_stat="usage_usec 7500000\n") == 1.0
    assert cpus(102.0, busy=1, idle=199, cpu_DOT_stat="usage_usec 7625000\n") == 0.25


def test_a_container_that_may_use_all_cpus_is_none(cpus):
    """It limits nothing, and others may be busy there, too."""
    cpus(100.0, busy=10, idle=10, cpu_DOT_max="200000 100000\n", cpu_DOT_stat="usage_usec 1\n")
    assert cpus(101.0, busy=10, idle=20, cpu_DOT_stat="usage_usec 900000\n") == 0.0


def test_where_the_system_does_not_tell_nobody_knows_how_busy_the_cpus_are(tmp_path):
    watch = CpuWatch(str(tmp_path / "stat"), str(tmp_path), str(tmp_path / "membership"))
    assert [watch.busy(now) for now in (0.0, 1.0, 2.0)] == [None, None, None]
    (tmp_path / "stat").write_text("cpu0 nonsense\n")
    assert [watch.busy(now) for now in (3.0, 4.0)] == [None, None]
