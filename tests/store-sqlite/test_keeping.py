"""A store over the years: damage is found, room is given back, locks end, and many use it at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from farmhand import codec, open_store, run_tasks
from farmhand.errors import StoreError, UsageError
from farmhand.events import ItemsDone, RecordDone
from farmhand.store import Turn, join_key
from farmhand.testing.stores import a_run, block, done, failed
from farmhand_sqlite import SqliteStore

QUIET = {"gui": False, "progress": "none", "poolsize": 1}


@pytest.fixture
def location(tmp_path):
    return tmp_path / "rates.db"


@pytest.fixture
def run(location):
    return fill(location)


def fill(location):
    """Store a run of which there is something in every table."""
    run = a_run()
    packed = codec.Packed(codec.pack(list(range(100))), 100)
    many = RecordDone(ItemsDone(0, range(10, 110), packed, 1000.0, [0.5] * 100))
    with SqliteStore(location) as store:
        session = store.begin(run)
        first = [block(range(10), list("abcdefghij")), block(range(10, 110), list(range(100)))]
        session.record(Turn(first, [done([0, 1], "AB", i1=2), many], [failed(1, again=True)], [b"task"]))
        session.record(Turn([], [done([2], ["C"])], [failed(3)]))
        session.close("finished", 2000.0)
        store.session("mine")["name"] = "value"
    return run


def zeros(count):
    return bytes(count)


def change(location, *statements):
    with closing(sqlite3.connect(location)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


# -- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM packs WHERE count = 1 AND id % 2 = 0", ["102 results", "it has 103"]),
        ("DELETE FROM failures", ["0 failures", "it has 1"]),
        ("DELETE FROM retried", ["0 earlier attempts", "it has 1"]),
        ("DELETE FROM runs", ["table packs", "number 1", "not there"]),
        ("UPDATE failures SET id = id + (9 << 40)", ["table failures", "number 10", "not there"]),
        ("UPDATE blocks SET id = 7 WHERE count = 10", ["table blocks", "number 0", "not there"]),
        ("UPDATE shipped SET run = 7", ["table shipped", "number 7", "not there"]),
        ("UPDATE failures SET id = id - 1", ["item 2 is done and has failed"]),
        ("UPDATE packs SET id = id + 12 WHERE id & 255 = 2", ["from item 14 on are there twice"]),
        ("UPDATE packs SET each = x'00' WHERE count > 1", ["from item 10 on have not the times"]),
        ("UPDATE packs SET each = substr(each, 9) WHERE count > 1", ["have not the times of all items"]),
        ("UPDATE packs SET payload = x'80' WHERE count > 1", ["from item 10 on cannot be taken apart"]),
        ("UPDATE packs SET payload = NULL WHERE count > 1", ["from item 10 on are missing"]),
        ("UPDATE packs SET count = 0 WHERE count > 1", ["from item 10 on are missing"]),
        ("UPDATE blocks SET id = id + 5 WHERE count = 10", ["item 10 is in two blocks"]),
    ],
)
def test_check_finds_what_does_not_fit_together(location, run, statement, words):
    """What SQLite does not mind, but no farmhand writes: each is said in words, with its place."""
    change(location, statement)
    with SqliteStore(location) as store:
        problems = list(store.check())
    assert any(all(word in problem for word in words) for problem in problems), problems


def test_check_finds_bytes_that_the_disk_has_changed(location, run):
    """SQLite's own words, and nothing that would only follow from it; also where no reading meets them."""
    with closing(sqlite3.connect(location)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_runs_1'")
    with open(location, "r+b") as file:
        file.seek((page - 1) * 4096 + 4000)
        file.write(b"\xee" * 96)
    with SqliteStore(location) as store:
        assert [each.uid for each in store.runs()] == [run.uid]
        problems = list(store.check())
    assert problems
    assert all(problem.startswith("the file is damaged: ") for problem in problems)


def test_check_goes_on_where_not_even_the_runs_can_be_read(location, run):
    """It says so, instead of raising: that is what it was asked for."""
    with closing(sqlite3.connect(location)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'")
    with open(location, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xee" * 4096)
    with SqliteStore(location) as store:
        problems = list(store.check())
    assert problems
    assert all("damaged" in problem for problem in problems)


def test_check_finds_a_file_of_a_large_result_that_was_changed(location):
    """It reads them all; the item and its key are named."""
    with open_store(location, large=1000) as store:
        run_tasks(store, zeros, [5000, 6000], **QUIET)
        assert list(store.check()) == []
        [folder] = location.with_name("rates.db.files").iterdir()
        [first, _] = sorted(folder.glob("*-*"))
        with open(first, "r+b") as file:
            file.seek(2000)
            file.write(b"x")
        [problem] = store.check()
        assert "item 0" in problem
        assert store.keys()[0] in problem
        assert "checksum" in problem


# -- room --------------------------------------------------------------------------------------------


def test_vacuum_gives_the_room_of_forgotten_results_back(location):
    """All is then in the one file, which is smaller; the rest is as it was."""
    with SqliteStore(location) as store:
        session = store.begin(a_run())
        session.record(Turn([block(range(200), [0] * 200)], [done(range(200), ["x" * 5000] * 200)]))
        session.close("finished", 1.0)
        store.forget(store.keys()[1:])
        before = location.stat().st_size
        store.vacuum()
        assert location.stat().st_size < before / 10
        assert location.with_name("rates.db-wal").stat().st_size == 0
        assert store.values() == ["x" * 5000]
        assert list(store.check()) == []


def test_vacuum_while_a_farm_writes_waits_for_its_turn_and_harms_nothing(location):
    """It needs the file for itself for a moment; the session goes on afterwards."""
    with SqliteStore(location) as store, SqliteStore(location) as other:
        session = store.begin(a_run())
        session.record(Turn([block(range(3), "abc")], [done([0], "A")]))
        values = other.itervalues()
        assert next(values) == "A"
        other.vacuum()
        session.record(Turn([], [done([1], "B")]))
        other.vacuum()
        session.record(Turn([], [done([2], "C")]))
        assert list(values) == []
        assert store.values() == other.values() == ["A", "B", "C"]
        session.close("finished", 1.0)


def test_vacuum_of_a_read_only_store_says_so(nobody):
    """And so do all other ways to change it."""
    run = fill(nobody / "rates.db")
    nobody.chmod(0o500)
    with SqliteStore(nobody / "rates.db") as store:
        for change_it in (
            store.vacuum,
            lambda: store.forget(join_key(run.uid, 0)),
            lambda: store.session("mine").update(name="other"),
            store.session("mine").acquire,
        ):
            with pytest.raises(StoreError, match="is read-only"):
                change_it()
        assert store.session("mine")["name"] == "value"
        assert list(store.check()) == []


# -- large results -----------------------------------------------------------------------------------


def test_large_says_which_results_go_to_files(location):
    """Bytes, or None for none; what is in files already is read all the same."""
    for large, files in ((None, 0), (10_000, 1), (1000, 3)):
        with open_store(location, large=large) as store:
            run_tasks(store, zeros, [2000, 20_000], **QUIET)
            there = list(location.parent.glob("rates.db.files/*/*-*"))
            assert len(there) == files
    with open_store(location, large=None) as store:
        assert [len(value) for value in store.values()] == [2000, 20_000] * 3


@pytest.mark.parametrize("large", [-1, True, "1 MB", 1.5])
def test_a_limit_that_is_no_number_of_bytes_is_refused(location, large):
    """And no file appears."""
    with pytest.raises(UsageError, match="no number of bytes"):
        SqliteStore(location, large=large)
    assert list(location.parent.iterdir()) == []


def test_a_link_to_a_store_has_the_same_files(location, tmp_path):
    """They are beside the file, not beside the link."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    with open_store(location, large=1000) as store:
        run_tasks(store, zeros, [5000], **QUIET)
    link.symlink_to(location)
    with open_store(link, large=1000) as store:
        run_tasks(store, zeros, [6000], **QUIET)
    with open_store(location) as store:
        assert [len(value) for value in store.values()] == [5000, 6000]


# -- locks -------------------------------------------------------------------------------------------


def test_a_lock_is_there_only_while_somebody_has_it(location):
    """No file is left beside the store."""
    with SqliteStore(location) as store:
        shelf = store.locking_session("any name / at all \udcff")
        with shelf.lock():
            assert len(list(location.parent.glob("*.lock"))) == 1
        shelf["a"] = 1
        assert not list(location.parent.glob("*.lock"))


def test_the_wait_for_a_lock_ends_and_the_error_says_who_has_it(location):
    """A program that hangs with a session does not make all others hang."""
    with SqliteStore(location) as store, SqliteStore(location, timeout=0.1) as other:
        expected = pytest.raises(
            StoreError, match=f"process {os.getpid()} has kept the session 'mine' locked"
        )
        with store.locking_session("mine").lock(), expected:
            other.locking_session("mine").acquire()
        other.locking_session("mine")["a"] = 1
        assert other.session("mine")["a"] == 1


def test_a_lock_is_of_one_session_and_stops_no_farm(location):
    """Others, also in this process, wait for the same name alone."""
    with SqliteStore(location) as store, SqliteStore(location) as other:
        mine, theirs = store.locking_session("mine"), other.locking_session("mine")
        waited = threading.Event()
        mine.acquire()

        def wait():
            theirs.acquire()
            waited.set()
            theirs.release()

        thread = threading.Thread(target=wait)
        thread.start()
        with other.locking_session("another").lock():
            session = store.begin(a_run())
            session.record(Turn([block([0], "a")], [done([0], "A")]))
            session.close("finished", 1.0)
        assert not waited.is_set()
        mine.release()
        thread.join()
        assert waited.is_set()


# -- at the same time --------------------------------------------------------------------------------

FARM = """
import sys
from farmhand import open_store, run_tasks
with open_store(sys.argv[1]) as store:
    run_tasks(store, lambda k: (int(sys.argv[2]), k), range(400), gui=False, progress="none", poolsize=1)
"""
READER = """
import sys
from farmhand import open_store
with open_store(sys.argv[1]) as store:
    seen, cursor = {}, store.records().cursor
    print("ready", flush=True)
    last = False
    while True:
        reading = store.records(since=cursor)
        for record in reading:
            assert record.key not in seen, record
            seen[record.key] = record
        cursor = reading.cursor
        values = store.values()
        assert len(values) == len(set(values))
        if last:
            break
        runs = store.runs()
        last = len(runs) == 3 and all(run.outcome for run in runs)  # after one more reading
    assert seen == {record.key: record for record in store.records()}
    print(len(seen), flush=True)
"""


def test_several_farms_write_and_several_programs_follow_each_of_their_records(location, tmp_path):
    """Every reader gets each record once, whoever wrote it and however the farms' turns were mixed."""

    def start(code, *args):
        command = [sys.executable, "-c", code, str(location), *args]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)

    SqliteStore(location).close()
    readers = [start(READER) for _ in range(2)]
    processes = list(readers)
    try:
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        farms = [start(FARM, str(number)) for number in range(3)]
        processes += farms
        for farm in farms:
            farm.communicate(timeout=60)
            assert farm.returncode == 0
        for reader in readers:
            assert reader.communicate(timeout=60)[0] == "1200\n"
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with SqliteStore(location) as store:
        assert sorted(store.values()) == [(number, k) for number in range(3) for k in range(400)]
        assert list(store.check()) == []


def test_a_run_that_was_killed_is_swept_when_the_store_is_opened_and_goes_on(location, run):
    """What a dead farm's processes have left beside the store goes; results that are recorded stay."""
    with open_store(location, large=1000) as store:
        run_tasks(store, zeros, [5000], **QUIET)
    [folder] = location.with_name("rates.db.files").iterdir()
    left = folder / "7-leftover"
    left.write_bytes(b"half of a result")
    (folder / "writing").touch()
    with open_store(location) as store:
        assert not left.exists()
        assert len(store.values()[-2]) == 5000
