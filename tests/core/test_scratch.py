"""Directories for what tasks need on disk: made when asked for, private, gone with the run."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import waiting
from farm_tasks import FAST
from farmhand import open_store, run_tasks
from farmhand.scratch import keep_scratch, scratch_directory, shared_directory, sweep
from waiting import DEADLINE, wait_for, wait_until

both = pytest.mark.parametrize("start_method", ["spawn", "fork"])


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary files of a run, alone in a folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def written_in(item):
    """Where the item has written a file, what mode that folder has, and what was there before."""
    place = scratch_directory()
    before = sorted(path.name for path in place.iterdir())
    (place / f"item {item}").touch()
    return str(place), stat.S_IMODE(os.stat(place).st_mode), before


def nothing(item):
    return os.listdir(os.environ["TMPDIR"])


def kill_self_at_one(item):
    place = written_in(item)
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return place


def meet(item, processes, folder):
    """Wait for the others, so that each process has one item; tell where its directories are."""
    (shared_directory() / str(item)).touch()
    Path(folder, str(item)).touch()
    for other in range(processes):
        wait_for(Path(folder, str(other)))
    return str(scratch_directory()), sorted(path.name for path in shared_directory().iterdir())


def fail_and_keep(item):
    (scratch_directory() / "core").write_text("to be looked at")
    if item == 0:
        keep_scratch()
    raise RuntimeError(str(scratch_directory()))


def hand_over(item):
    """A program that the task starts sees the same directory."""
    code = "from farmhand import scratch_directory; print(scratch_directory())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return printed.stdout.strip() == str(scratch_directory())


@both
def test_it_is_empty_private_and_the_same_for_all_items_of_a_process(temporary, start_method):
    """A mode of 700, in TMPDIR, with a name that says whose it is; nothing is left of it."""
    store = open_store(":memory:")
    run_tasks(store, written_in, range(3), poolsize=1, start_method=start_method, **FAST)
    places, modes, before = zip(*store.values(), strict=True)
    assert len(set(places)) == 1
    assert places[0].startswith(f"{temporary}/farmhand-scratch")
    assert places[0].endswith("/process-0")
    assert set(modes) == {0o700}
    assert before == ([], ["item 0"], ["item 0", "item 1"])
    assert os.listdir(temporary) == []


def test_nothing_is_made_before_a_task_asks(temporary):
    """Most tasks never do, and must not pay for it."""
    store = open_store(":memory:")
    run_tasks(store, nothing, [1], **FAST)
    assert store.values() == [[]]


def test_each_process_has_its_own_and_all_share_one(temporary, tmp_path):
    """What one has written, the others find where all of them look."""
    store = open_store(":memory:")
    run_tasks(store, meet, [(item, 3, str(tmp_path)) for item in range(3)], poolsize=3, **FAST)
    places, shared = zip(*store.values(), strict=True)
    assert len(set(places)) == 3
    assert shared == (["0", "1", "2"],) * 3
    assert os.listdir(temporary) == []


@both
def test_a_process_that_replaces_another_begins_with_an_empty_one(temporary, start_method):
    """The dead one may have left half of something there."""
    store = open_store(":memory:")
    kinds = {"start_method": start_method, "errors": "collect", "poolsize": 1}
    run_tasks(store, kill_self_at_one, range(3), **kinds, **FAST)
    (first, _, _), (second, _, before) = store.values()
    assert first != second
    assert before == []
    assert os.listdir(temporary) == []


def test_a_kept_one_stays_and_nothing_else(temporary):
    """It says in itself nothing to farmhand: also the next run leaves it alone."""
    store = open_store(":memory:")
    run_tasks(store, fail_and_keep, range(2), poolsize=1, recycle=1, errors="collect", **FAST)
    kept, gone = (Path(record.error.message) for record in store.failures())
    assert (kept / "core").read_text() == "to be looked at"
    assert not gone.exists()
    run_tasks(open_store(":memory:"), written_in, [1], **FAST)
    assert (kept / "core").exists()


def test_a_program_that_a_task_starts_finds_it(temporary):
    """Through the environment, in which it is told."""
    store = open_store(":memory:")
    run_tasks(store, hand_over, [1], **FAST)
    assert store.values() == [True]


def test_outside_of_a_farm_it_lasts_until_python_exits(temporary):
    """So that a task can be tried by hand."""
    code = """
from farmhand import scratch_directory
from farmhand.scratch import shared_directory
(scratch_directory() / "file").touch()
assert scratch_directory() == scratch_directory() != shared_directory()
print(scratch_directory(), (scratch_directory() / "file").exists())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    place, exists = done.stdout.split()
    assert exists == "True"
    assert Path(place).is_relative_to(temporary)
    assert os.listdir(temporary) == []


def test_it_is_elsewhere_when_there_is_no_such_folder(tmp_path, monkeypatch):
    """A batch system may name one that it made on another computer; compilers look elsewhere then, too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "of another computer"))
    store = open_store(":memory:")
    run_tasks(store, written_in, [1], **FAST)
    (place, _, _) = store.values()[0]
    assert not Path(place).is_relative_to(tmp_path)
    assert not os.path.exists(place)


def test_a_folder_of_somebody_else_is_not_used(temporary):
    """In a folder in which all may write, others can make one under our name, and wait."""
    open_one = temporary / f"farmhand-scratch-{os.geteuid()}"
    open_one.mkdir()
    open_one.chmod(0o777)
    store = open_store(":memory:")
    run_tasks(store, written_in, [1], **FAST)
    assert not store.values()[0][0].startswith(f"{open_one}/")
    assert os.listdir(temporary) == [open_one.name]
    assert os.listdir(open_one) == []


FARM = f"""
import os, sys
from pathlib import Path
from farmhand import open_store, run_tasks, scratch_directory
sys.path.insert(0, {os.path.dirname(waiting.__file__)!r})
import waiting

folder = Path(sys.argv[1])

def task(item):
    (scratch_directory() / "file").touch()
    (folder / "place,").write_text(str(scratch_directory()))
    (folder / "place,").rename(folder / "place")
    waiting.wait_for(folder / "never")

run_tasks(open_store(":memory:"), task, [1], gui=False, progress="none")
"""


@pytest.fixture
def farm(temporary, tmp_path):
    """A farm in another process, whose task has made its directory and goes on."""
    script = tmp_path / "farm.py"
    script.write_text(FARM)
    process = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "place")
    process.place = Path((tmp_path / "place").read_text())
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_farm_that_is_stopped_removes_it(farm, temporary, end):
    """Ctrl-C, or a batch system that wants its machine back."""
    assert farm.place.exists()
    farm.send_signal(end)
    farm.wait(DEADLINE)
    assert os.listdir(temporary) == []


def test_what_a_killed_farm_has_left_is_removed_by_the_next_one(farm, temporary):
    """And that of a farm that runs is not touched."""
    run_tasks(open_store(":memory:"), nothing, [1], **FAST)
    assert (farm.place / "file").exists()
    farm.kill()
    farm.wait()
    wait_until(lambda: not workers_in(farm.place))
    run_tasks(open_store(":memory:"), nothing, [1], **FAST)
    assert os.listdir(temporary) == []


def test_farms_that_begin_at_once_may_find_the_same_leftovers(temporary):
    """As the jobs of a batch do: none of them fails for what another has just removed."""
    said = subprocess.check_output(
        [sys.executable, "-c", "from farmhand import owner; print(owner.here(), end='')"], text=True
    )
    base = temporary / f"farmhand-scratch-{os.geteuid()}"
    base.mkdir(mode=0o700)
    for number in range(200):
        (base / str(number)).mkdir()
        (base / str(number) / "owner").write_text(said)
    with ThreadPoolExecutor(8) as threads:
        for swept in [threads.submit(sweep) for _ in range(8)]:
            swept.result()
    assert os.listdir(temporary) == []


def workers_in(place):
    """The processes that were told to use that directory."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FARMHAND_SCRATCH") == str(place):
                found.append(process)
        except psutil.Error:
            pass
    return found
