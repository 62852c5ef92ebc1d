"""A whole run whose store fails: it stops, says why and what to do, and what was stored stays stored."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

import fault_tasks
import version_1
from farmhand import open_store, run_tasks
from farmhand.errors import StoreError
from farmhand.events import Usage
from farmhand.store import Counts, Turn
from farmhand.testing.stores import a_run, block, done, failed
from fault_tasks import QUIET, Long, are_gone, processes_of
from paper_disk.preload import build

ITEMS = range(300)  # whose results, of Long, are 1.5 MB
NOT_LOCAL = ("this file system cannot keep a SQLite database that several programs use", "local disk")
# A farm in a process of its own; it says how its run ended, and which processes it has left.
FARM = """
import os, psutil, resource, sys
import fault_tasks
from fault_tasks import QUIET, Long
from farmhand import open_store, run_tasks
from farmhand.errors import StoreError
location, folder = sys.argv[1:]
def run(task, items, *initargs, timeout=30.0):
    try:
        with open_store(location, timeout=timeout) as store:
            run_tasks(store, task, items, initargs=initargs or None, **QUIET)
        print("finished", end=" ")
    except StoreError as error:
        print(error, end=" ")
    print(psutil.Process().children(recursive=True))
"""


@pytest.fixture
def location(tmp_path):
    return tmp_path / "rates.db"


@pytest.fixture
def folder(tmp_path):
    """Where tasks leave their traces."""
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


@pytest.fixture
def another_farm(tmp_path, folder):
    """Start a process that farms; all are ended after the test."""
    started = []

    def start(location, code, **environment):
        script = tmp_path / f"farm{len(started)}.py"
        script.write_text(FARM + code)
        folders = map(str, Path(__file__).parents[:2])  # where these tests are, and what all share
        path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
        environment = os.environ | environment | {"PYTHONPATH": path}
        command = [sys.executable, script, location, folder]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def stops(location, folder, *words, harm=None, **options):
    """A whole run must stop with an error of these words, the store's name and advice; no process is left."""
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(StoreError) as caught, open_store(location, **options) as store:
        run_tasks(store, Long, ITEMS, initargs=(str(folder), harm, str(location)), resume=True, **QUIET)
    assert set(psutil.Process().children(recursive=True)) <= before
    assert are_gone(folder)
    where, problem, advice = caught.value.args
    assert where == str(location)
    assert problem
    assert advice
    for word in words:
        assert word in str(caught.value)


def is_sound(location):
    """How many results of Long are there; each must be right, and there once."""
    db = sqlite3.connect(location)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    with open_store(location) as store:
        assert Counter(store.values()) == Counter({(item, "x" * 5000) for item, _ in store.values()})
        assert len(list(store.records())) == len(store)
        return len(store)


def some_are_there_and_resume_completes(location, folder):
    """Not all results, but whole ones; the next run makes the others, and none twice."""
    assert 0 < is_sound(location) < len(ITEMS)
    with open_store(location) as store:
        assert [run.outcome for run in store.runs()] in ([""], ["broken"])
        run_tasks(store, Long, ITEMS, initargs=(str(folder),), resume=True, **QUIET)
    assert is_sound(location) == len(ITEMS)


# -- no room -----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 600 KB, and what makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place]
    if os.geteuid():
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
    subprocess.run(["umount", place], check=True)


def test_a_run_on_a_full_disk_stops_and_goes_on_once_there_is_room(small_disk, folder):
    """What was stored until then is intact, and nothing of it is computed again."""
    place, enlarge = small_disk
    stops(place / "rates.db", folder, "the disk is full", "intact", "Make room", "resume=True")
    enlarge()
    some_are_there_and_resume_completes(place / "rates.db", folder)


def test_a_disk_without_any_room_is_named_when_the_store_is_opened(small_disk, folder):
    """No process starts; and what was left of the attempt becomes a store once there is room."""
    place, enlarge = small_disk
    with open(place / "filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(place).free)
    stops(place / "rates.db", folder, "the disk is full", "Make room")
    assert processes_of(folder) == []
    enlarge()
    with open_store(place / "rates.db") as store:
        assert store.values() == []


def test_a_run_beyond_a_limit_or_quota_stops_and_goes_on_without_it(location, folder, another_farm):
    """The system's limit for files stands for a quota: both refuse to write, with room on the disk."""
    farm = another_farm(
        location,
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
run(Long, range(300), folder, None, location)
""",
    )
    said = farm.communicate()[0]
    assert f"{location}: the disk refuses to write; all that was stored before is intact" in said
    assert "Check its quota" in said
    assert said.endswith(" []\n")  # no process is left
    assert are_gone(folder)
    some_are_there_and_resume_completes(location, folder)


# -- no right to write, no store, no lock ------------------------------------------------------------


def test_a_run_in_a_read_only_place_is_refused_before_a_process_starts(nobody):
    """Not after the first hour of work."""
    location, folder = nobody / "sub" / "rates.db", nobody / "traces"
    location.parent.mkdir()
    folder.mkdir()
    open_store(location).close()
    location.chmod(0o400)
    stops(location, folder, f"{location}: it is read-only", "Get the right to write there")
    location.chmod(0o600)
    location.parent.chmod(0o500)
    stops(location, folder, f"{location.parent} is read-only", "Get the right to write there")
    stops(location.with_name("new.db"), folder, f"{location.parent} is read-only")
    assert processes_of(folder) == []
    location.parent.chmod(0o700)


def foreign_text(path):
    path.write_text("k,rate\n1,2\n" * 100)


def foreign_database(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE results (id INTEGER PRIMARY KEY, value)")
    db.close()


def newer_format(path):
    open_store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def some_results(path):
    """As if a run of Long had ended."""
    with open_store(path) as store:
        session = store.begin(a_run(task="Long"))
        results = [(item, "x" * 5000) for item in ITEMS]
        session.record(Turn([block(ITEMS, list(ITEMS))], [done(ITEMS, results)]))
        session.close("finished", 2000.0)


def cut_off(path):
    some_results(path)
    os.truncate(path, path.stat().st_size - 1000)


def damaged(path):
    some_results(path)
    with open(path, "r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xee" * 4096 * 200)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign_text, ["not a SQLite database", "choose another name"]),
        (foreign_database, ["database of another program", "choose another name"]),
        (newer_format, ["a newer farmhand made it", "Upgrade"]),
        (cut_off, ["it was cut off", "backup"]),
        (damaged, ["it is damaged", "backup"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_into_what_is_no_sound_store_changes_nothing(location, folder, make, words):
    """No process starts, no byte of the file changes, and no file appears beside it."""
    make(location)
    before = location.read_bytes()
    stops(location, folder, *words)
    assert processes_of(folder) == []
    assert location.read_bytes() == before
    assert sorted(location.parent.iterdir()) == sorted([location, folder])


def test_an_item_of_no_run_is_damage(location):
    """SQLite does not mind; a KeyError would say that the caller is wrong."""
    some_results(location)
    with sqlite3.connect(location) as db:
        db.execute("UPDATE packs SET id = 7 WHERE id = (SELECT max(id) FROM packs)")
    db.close()
    with open_store(location) as store, pytest.raises(StoreError, match=r"damaged: .*of a run.*backup"):
        list(store.records())


def test_a_run_while_another_program_keeps_the_store_locked_is_refused(location, folder):
    """It waits as long as it was told, then says what to do; no process starts."""
    open_store(location).close()
    other = sqlite3.connect(location, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    words = ["another program has kept it locked for 0.2 seconds", "Close that program", "timeout="]
    stops(location, folder, *words, timeout=0.2)
    assert processes_of(folder) == []
    other.close()


def test_a_run_whose_store_another_program_locks_for_good_stops(location, folder, another_farm):
    """The items at work then are not waited for: the next run makes them."""
    other = another_farm(location, "fault_tasks.lock_when_asked(location, folder)")
    stops(location, folder, "locked for 0.2 seconds", "Close", harm=fault_tasks.lock, timeout=0.2)
    other.kill()
    other.wait()
    some_are_there_and_resume_completes(location, folder)


# -- a file that changes under a farm ----------------------------------------------------------------


@pytest.mark.parametrize("harm", [fault_tasks.delete, fault_tasks.replace, fault_tasks.delete_wal])
def test_a_run_whose_store_is_deleted_or_replaced_stops(location, folder, harm):
    """The system would take the results and throw them away; what has taken the place gets none of them."""
    stops(location, folder, "deleted, moved or replaced", "run again", harm=harm)
    if harm is fault_tasks.replace:
        assert location.read_bytes() == location.with_name("rates.db.copy").read_bytes()
        assert is_sound(location) < len(ITEMS)


def test_opening_a_store_again_takes_no_lock_from_a_farm(location):
    """To close a file gives up the locks of the whole process; another program would then end the -wal."""
    with open_store(location) as store:
        session = store.begin(a_run())
        session.record(Turn([block([0], "a")], [done([0], ["a"])]))
        open_store(location).close()
        code = "import sys, farmhand; farmhand.open_store(sys.argv[1]).close()"
        subprocess.run([sys.executable, "-c", code, location], check=True)
        session.record(Turn([block([1], "b")], [done([1], ["b"])]))
        session.close("finished", 2000.0)
        assert store.values() == ["a", "b"]


def test_two_farms_at_once_in_one_store_lose_and_overwrite_nothing(location, folder, another_farm):
    """Each is at work when the other is: their first items wait for each other."""
    farms = []
    for mine, other in ("one", "two"), ("two", "one"):
        paths = str(folder / mine), str(folder / other)
        farms.append(another_farm(location, f"run(fault_tasks.meet, [(*{paths}, n) for n in range(500)])\n"))
    for farm in farms:
        assert farm.communicate()[0] == "finished []\n"
    with open_store(location) as store:
        assert [run.outcome for run in store.runs()] == ["finished"] * 2
        for run in store.runs():
            assert [record.index for record in store.records(run.uid)] == list(range(500))
        assert Counter(store.values()) == Counter(dict.fromkeys(range(500), 2))
        assert all(item[2] == value for item, value in store.pairs())


# -- file systems that cannot lock -------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """The environment of a process on such a file system: from the beginning, or from the file 'now' on."""

    def broken(what, number, after=None):
        environment = build("broken_locks.c", tmp_path) | {what: str(number)}
        return environment if after is None else environment | {"BROKEN_AFTER": str(after)}

    return broken


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("BROKEN_LOCKS", errno.ENOLCK),
        ("BROKEN_LOCKS", errno.EACCES),
        ("BROKEN_LOCKS", errno.EPERM),
        ("BROKEN_LOCKS", errno.EIO),
        ("BROKEN_LOCKS", errno.EOPNOTSUPP),
        ("BROKEN_MAPS", errno.EINVAL),
        ("BROKEN_MAPS", errno.ENODEV),
    ],
)
def test_a_file_system_that_cannot_lock_or_share_is_named(
    location, folder, another_farm, broken, what, number
):
    """As some over a network: nothing is stored there, and no process starts."""
    farm = another_farm(location, "run(Long, range(300), folder, timeout=0.2)", **broken(what, number))
    said = farm.communicate()[0]
    assert all(word in said for word in (str(location), *NOT_LOCAL))
    assert said.endswith(" []\n")
    assert processes_of(folder) == []
    with open_store(location) as store:  # on a disk where locks work
        assert store.values() == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_a_run_on_a_file_system_that_no_longer_locks_stops_without_damage(
    location, folder, another_farm, broken, number
):
    """The server of the locks is gone, the files are still there."""
    code = "run(Long, range(300), folder, fault_tasks.break_locks, location, timeout=0.2)"
    farm = another_farm(location, code, **broken("BROKEN_LOCKS", number, folder / "now"))
    said = farm.communicate()[0]
    assert all(word in said for word in (str(location), *NOT_LOCAL))
    assert said.endswith(" []\n")
    assert are_gone(folder)
    some_are_there_and_resume_completes(location, folder)


# -- stores of other formats, and half-made ones -----------------------------------------------------


def format_of(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def has_all_of_version_1(store):
    assert store.runs() == [version_1.RUN]
    assert list(store.records()) == version_1.RECORDS
    assert store.pairs() == version_1.PAIRS
    assert list(store.retried()) == []
    assert store.counts("old-run") == Counts(2, 1, 0)
    assert store.record("old-run-1") == version_1.RECORDS[1]
    assert (store.item("old-run-2"), store.shipped("old-run"), store.session_names()) == (
        "c",
        [],
        ["old-run"],
    )
    assert list(store.records(since=store.records().cursor)) == []
    assert list(store.check()) == []
    assert store.output("old-run-0") == store.output("old-run-2", attempt=1) == ""


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_store_of_an_old_format_is_brought_up_to_date_and_keeps_everything(location, version):
    """It then takes what the old format had no place for."""
    version_1.make(location, version)
    with open_store(location) as store:
        assert format_of(location) == 4
        has_all_of_version_1(store)
        cursor = store.records().cursor
        session = store.begin(a_run(uid="new"))
        retry = failed(0, usage=Usage(2048, "first"), again=True)
        session.record(Turn([block([0], "z")], [done([0], ["z"], i0=2)], [retry]))
        session.close("finished", 2000.0)
        assert store.values() == ["result a", "result b", "z"]
        assert store.output("new-0", attempt=1) == "first"
        assert [record.key for record in store.records(since=cursor)] == ["new-0"]
        store.forget("old-run-1")
        assert store.values() == ["result a", "z"]
        assert list(store.check()) == []
    with open_store(location) as store:
        assert [record.memory for record in store.retried()] == [2048]


def test_several_processes_may_bring_a_store_up_to_date_at_once(location, folder, another_farm):
    """One does it, the others find it done; each stores its run."""
    version_1.make(location)
    farms = []
    for mine, other in ("one", "two"), ("two", "one"):
        code = f"""
open(os.path.join(folder, {mine!r}), "w").close()
fault_tasks.wait_for(os.path.join(folder, {other!r}))
run(fault_tasks.find_rate, "ab")
"""
        farms.append(another_farm(location, code))
    for farm in farms:
        assert farm.communicate()[0] == "finished []\n"
    with open_store(location) as store:
        assert len(store.runs()) == 3
        assert store.values() == ["result a", "result b", *["new result a", "new result b"] * 2]
        assert list(store.records("old-run")) == version_1.RECORDS


def test_a_run_goes_on_from_a_store_of_format_1(location):
    """What the old farmhand computed is not computed again."""
    version_1.make(location)
    summary = run_tasks(location, fault_tasks.find_rate, "abcd", resume=True, **QUIET)
    assert (summary.skipped, summary.done) == (2, 2)
    with open_store(location) as store:
        assert store.values() == ["result a", "result b", "new result c", "new result d"]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_read_only_store_of_an_old_format_can_be_read(nobody, read_only, version):
    """It stays of that format, and reads like a new one."""
    location = nobody / "rates.db"
    version_1.make(location, version)
    (location if read_only == "file" else nobody).chmod(0o500)
    before = location.read_bytes()
    with open_store(location) as store:
        has_all_of_version_1(store)
        has_all_of_version_1(store)
        with pytest.raises(StoreError, match="read-only"):
            store.begin(a_run())
    assert location.read_bytes() == before


# A journal that says that the file beside it was empty: with it SQLite empties the file again.
JOURNAL = bytes.fromhex("d9d505f920a163d7 00000000 00000000 00000000 00000200 00001000").ljust(512, b"\0")


def test_a_file_that_a_power_cut_has_left_without_content_becomes_a_store(location):
    """It had its length already, and not yet its bytes."""
    location.write_bytes(bytes(8192))
    location.with_name("rates.db-journal").write_bytes(JOURNAL)
    with open_store(location) as store:
        assert store.values() == []


def test_a_wal_that_a_power_cut_has_left_beside_a_half_made_store_does_no_harm(location):
    """SQLite takes the file for one that has it already, and then loses it; so it is told twice."""
    with open_store(location) as store:
        session = store.begin(a_run())
        head = location.with_name("rates.db-wal").read_bytes()[:32]
        session.close("stopped", 2000.0)
    with sqlite3.connect(location) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    location.with_name("rates.db-wal").write_bytes(head)
    with open_store(location) as store:
        session = store.begin(a_run())
        session.record(Turn([block([0], "a")], [done([0], ["a"])]))
        session.close("finished", 2000.0)
        assert store.values() == ["a"]


@pytest.mark.parametrize(("content", "journal"), [(b"k,rate\n" * 999, JOURNAL), (bytes(8192), b"")])
def test_bytes_of_somebody_else_are_not_emptied_by_a_journal(location, content, journal):
    """A journal of long ago says nothing about the file that has its name today; nor does none."""
    location.write_bytes(content)
    if journal:
        location.with_name("rates.db-journal").write_bytes(journal)
    with pytest.raises(StoreError, match="not a SQLite database"):
        open_store(location)
    assert location.read_bytes() == content
