"""The SQLite store passes the contract, keeps what it promises beside it, and explains every refusal."""

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from farmhand.errors import StoreError, UsageError
from farmhand.store import Turn
from farmhand.testing.stores import StoreConformance, a_run, block, done
from farmhand_sqlite import SqliteStore, open_sqlite

# What a second process does: each takes the path, speaks on stdout and waits for a line on stdin.
PRELUDE = """
import os, sys
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done
from farmhand_sqlite import SqliteStore
def say(what): print(what, flush=True)
def hear(): return sys.stdin.readline()
"""
WRITER = """
session = SqliteStore(sys.argv[1]).begin(a_run())
say("ready"), hear()
for index in range(50):
    session.record(Turn([block([index], [index])], [done([index], [index])]))
session.close("finished", 1.0)
say("done")
"""
READER = """
store = SqliteStore(sys.argv[1])
while hear():
    say(repr(store.pairs()))
"""


@pytest.fixture
def prelude():
    """What the code of another process begins with."""
    return PRELUDE


def tell(process, line="go"):
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.fixture
def write_some():
    """Record three results in a new run; the session is closed after the test at the latest."""
    sessions = []

    def write(store):
        sessions.append(store.begin(a_run()))
        sessions[-1].record(Turn([block(range(3), [0, 1, 2])], [done(range(3), [0, 1, 2])]))
        return sessions[-1]

    yield write
    for session in sessions:
        try:
            session.close("stopped", 1.0)
        except StoreError:
            pass


@pytest.fixture
def full(location):
    """A closed store with 300 results, in many pages of its file."""
    with SqliteStore(location) as store:
        session = store.begin(a_run())
        session.record(Turn([block(range(300), [0] * 300)], [done(range(300), ["x" * 500] * 300)]))
        session.close("finished", 1.0)
    return location


@pytest.fixture
def location(tmp_path):
    return tmp_path / "rates.db"


class TestSqlite(StoreConformance):
    @pytest.fixture
    def location(self, tmp_path):
        return tmp_path / "odd name ?#%ü.db"

    @pytest.fixture
    def open_store(self):
        return SqliteStore


def test_two_farms_can_write_at_once(location, another_process):
    """They take turns at the lock, and nothing of either is lost."""
    farms = [another_process(WRITER, location) for _ in range(2)]
    for farm in farms:
        assert farm.stdout.readline() == "ready\n"
    for farm in farms:
        tell(farm)
    for farm in farms:
        assert farm.stdout.readline() == "done\n"
    with SqliteStore(location) as store:
        assert store.values() == list(range(50)) * 2
        assert [run.outcome for run in store.runs()] == ["finished"] * 2


def test_many_processes_may_create_one_store_at_once(location, another_process):
    """A cluster starts them in the same instant; one creates the file, all use it."""
    farms = [another_process('say("ready"), hear()\n' + WRITER, location) for _ in range(4)]
    for farm in farms:
        farm.stdout.readline()
    for farm in farms:
        tell(farm)
    for farm in farms:
        assert farm.stdout.readline() == "ready\n"
    with SqliteStore(location) as store:
        assert len(store.runs()) == 4


def test_another_process_reads_while_a_farm_writes(location, another_process):
    """Each turn is visible elsewhere as soon as it is recorded."""
    with SqliteStore(location) as store:
        session = store.begin(a_run())
        reader = another_process(READER, location)
        for index in range(3):
            session.record(Turn([block([index], "x")], [done([index], [index])]))
            tell(reader)
            assert eval(reader.stdout.readline()) == [("x", i) for i in range(index + 1)]
        session.close("finished", 1.0)


def test_after_a_run_the_one_file_is_all(location, tmp_path, write_some):
    """Somebody who copies the file after a run, and leaves the -wal beside it, has every result."""
    with SqliteStore(location) as store:
        write_some(store).close("finished", 1.0)
        copy = shutil.copy(location, tmp_path / "copy.db")
        with SqliteStore(copy) as copied:
            assert copied.values() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "rates.db"]


def test_durability_says_how_much_sqlite_syncs(location, write_some):
    """'power' is the default and syncs each turn; 'process' leaves that to the system."""
    for options, level in ({}, 2), ({"durability": "power"}, 2), ({"durability": "process"}, 1):
        with open_sqlite(location, **options) as store:
            session = write_some(store)
            assert session._db.execute("PRAGMA synchronous").fetchone() == (level,)
            assert session._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            session.close("finished", 1.0)
    with pytest.raises(UsageError, match="use 'power' or 'process'"):
        SqliteStore(location, durability="hope")


# -- what is no store is refused, in words of its own, and is not touched ----------------------------


def refusal(location, *words, **options):
    """The text of the error from opening ``location``: it names the file, the problem and a way out."""
    with pytest.raises(StoreError) as caught:
        SqliteStore(location, **options)
    text = str(caught.value)
    where, problem, advice = caught.value.args
    assert where == str(location)
    assert problem
    assert advice
    for word in words:
        assert word in text
    return text


def test_a_missing_folder_is_named(tmp_path):
    """SQLite alone would say "unable to open database file"."""
    refusal(tmp_path / "nowhere" / "rates.db", f"{tmp_path / 'nowhere'} does not exist", "Create the folder")


def test_a_folder_is_no_file(tmp_path):
    """Some other kinds of store are folders; this one is not."""
    refusal(tmp_path, "is a folder")


def test_a_pipe_is_no_file(tmp_path):
    """Reading it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.db")
    refusal(tmp_path / "pipe.db", "not a regular file")


def test_a_file_that_is_no_database_is_left_as_it_is(location):
    """A name that was mistyped must not cost anyone a file."""
    for content in (b"k,rate\n1,2\n" * 100, b"x", b"SQLite format 2" + bytes(200)):
        location.write_bytes(content)
        refusal(location, "not a SQLite database", "choose another name")
        assert location.read_bytes() == content


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("tables", ["", "CREATE TABLE runs (x)"])
def test_a_database_of_another_program_is_not_touched(location, mode, tables):
    """Not a byte, not its journal mode, and no file appears beside it."""
    with sqlite3.connect(location) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("PRAGMA user_version = 1")
        db.execute(tables)
    db.close()
    before = location.read_bytes()
    refusal(location, "another program", "choose another name")
    assert location.read_bytes() == before
    assert list(location.parent.iterdir()) == [location]


def test_an_empty_file_becomes_a_store(location, write_some):
    """There is nothing in it to lose; tempfile, and a crash in the first instant, leave such files."""
    location.touch()
    with SqliteStore(location) as store:
        write_some(store)
        assert store.values() == [0, 1, 2]


def test_what_was_killed_while_it_created_the_store_does_no_harm(location, write_some):
    """The next farm finds a half-made file, knows it for its own and makes it whole."""
    SqliteStore(location).close()
    with sqlite3.connect(location) as db:  # as it is before the last step
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    with SqliteStore(location) as store:
        session = write_some(store)
        assert session._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_store_of_a_newer_farmhand_is_refused(full):
    """Its tables may mean something else."""
    with sqlite3.connect(full) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = full.read_bytes()
    refusal(full, "newer farmhand", "format 99", "Upgrade")
    assert full.read_bytes() == before


@pytest.mark.parametrize("size", [20, 99, 5000, -1])
def test_a_file_that_was_cut_off_is_refused(full, size):
    """An interrupted copy is noticed at once, not at the first result that is missing."""
    os.truncate(full, size if size > 0 else full.stat().st_size + size)
    refusal(full, "cut off", "backup")


def test_damage_inside_is_an_error_where_it_is_read(full):
    """Whatever can still be read can be read; SQLite's own words come with ours."""
    with open(full, "r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xee" * 4096 * 10)
    with SqliteStore(full) as store:
        assert len(store.runs()) == 1
        with pytest.raises(StoreError, match=r"damaged.*malformed.*backup"):
            store.values()


def test_a_locked_store_says_so_after_a_while(location, write_some):
    """Another program in a transaction is waited for, but not for ever."""
    with SqliteStore(location, timeout=0.3) as store:
        session = write_some(store)
        other = sqlite3.connect(location, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked for 0\.3 seconds.*Close that program"):
            session.record(Turn([block([3], "x")], [done([3], [3])]))
        with pytest.raises(StoreError, match="locked"):
            store.begin(a_run())
        assert store.values() == [0, 1, 2]
        other.execute("ROLLBACK")
        other.close()
        session.record(Turn([block([3], "x")], [done([3], [3])]))
        assert store.values() == [0, 1, 2, 3]


def test_an_exclusively_locked_file_cannot_be_opened(full):
    """Some database browsers lock a file as a whole."""
    other = sqlite3.connect(full, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    refusal(full, "locked for 0 seconds", timeout=0)
    other.close()


def test_a_full_disk_stops_the_run_and_leaves_what_was_stored(location, write_some):
    """The turn that did not fit is not there at all; the session may go on once there is room."""
    with SqliteStore(location) as store:
        session = write_some(store)
        pages = session._db.execute("PRAGMA page_count").fetchone()[0]
        session._db.execute(f"PRAGMA max_page_count = {pages + 20}")
        large = Turn([block(range(3, 103), [0] * 100)], [done(range(3, 103), ["x" * 5000] * 100)])
        with pytest.raises(StoreError, match=r"disk is full.*Make room.*resume=True"):
            session.record(large)
        assert store.values() == [0, 1, 2]
        assert len(store) == len(list(store.records())) == 3
        session._db.execute("PRAGMA max_page_count = 100000")
        session.record(large)
        assert len(store) == 103


@pytest.mark.parametrize(
    "lose",
    [
        lambda file: file.unlink(),
        lambda file: file.with_name(file.name + "-wal").unlink(),
        lambda file: file.rename(file.with_name("moved.db")),
        lambda file: os.replace(shutil.copy(file, file.with_name("copy")), file),
        lambda file: shutil.rmtree(file.parent),
    ],
    ids=["deleted", "wal deleted", "moved", "replaced", "folder deleted"],
)
def test_nothing_is_stored_into_a_file_that_is_gone(tmp_path, lose, write_some):
    """The system would take the data, and throw it away when the program ends."""
    location = tmp_path / "sub" / "rates.db"
    location.parent.mkdir()
    with SqliteStore(location) as store:
        session = write_some(store)
        lose(location)
        with pytest.raises(StoreError, match=r"deleted, moved or replaced"):
            session.record(Turn([block([3], "x")], [done([3], [3])]))
        with pytest.raises(StoreError):
            session.close("broken", 1.0)


def test_a_run_does_not_begin_in_a_file_that_was_replaced(full, tmp_path):
    """The store that was opened is not the one at that path now."""
    with SqliteStore(full) as store:
        os.replace(shutil.copy(full, tmp_path / "copy"), full)
        with pytest.raises(StoreError, match="replaced"):
            store.begin(a_run())


# -- without the right to write ----------------------------------------------------------------------


def test_a_read_only_file_can_be_read_but_not_written(nobody, write_some):
    """An archived result is looked at, and a farm that wants to add to it is told why it cannot."""
    location = nobody / "rates.db"
    with SqliteStore(location) as store:
        write_some(store).close("finished", 1.0)
    location.chmod(0o400)
    with SqliteStore(location) as store:
        assert store.values() == store.values() == [0, 1, 2]
        assert len(store.keys()) == len(list(store.records())) == len(store) == 3
        with pytest.raises(StoreError, match=r"rates\.db: it is read-only.*Get the right to write"):
            store.begin(a_run())


def test_a_store_in_a_read_only_folder_can_be_read(nobody, write_some):
    """SQLite wants to put files beside it, which is of no use when nobody writes."""
    location = nobody / "rates.db"
    with SqliteStore(location) as store:
        write_some(store).close("finished", 1.0)
    nobody.chmod(0o500)
    with SqliteStore(location) as store:
        assert store.values() == [0, 1, 2]
        with pytest.raises(StoreError, match=f"{nobody} is read-only"):
            store.begin(a_run())
    refusal(nobody / "new.db", f"{nobody} is read-only", "Get the right to write")


def test_a_read_only_folder_with_unmerged_results_is_refused(nobody, write_some):
    """Reading the file without its -wal would silently leave out the newest results."""
    location = nobody / "rates.db"
    copies = nobody / "copies"
    copies.mkdir()
    with SqliteStore(location) as store:
        write_some(store)
        for path in (location, nobody / "rates.db-wal"):
            shutil.copy(path, copies)
    copies.chmod(0o500)
    refusal(copies / "rates.db", "-wal", "Copy both")
    copies.chmod(0o700)
    with SqliteStore(copies / "rates.db") as store:
        assert store.values() == [0, 1, 2]


def test_a_file_that_may_not_be_read_is_named(nobody):
    """The system's reason comes with it."""
    location = nobody / "rates.db"
    SqliteStore(location).close()
    location.chmod(0)
    refusal(location, "cannot be read", "Permission denied")


# -- processes and descriptors -----------------------------------------------------------------------


def test_a_forked_child_cannot_use_the_store_of_its_parent(location, write_some):
    """SQLite's locks do not survive a fork, so using the copy could damage the file."""
    with SqliteStore(location) as store:
        session = write_some(store)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                for use in (
                    store.values,
                    store.runs,
                    lambda: len(store),
                    lambda: store.begin(a_run()),
                    lambda: session.record(Turn()),
                    lambda: session.close("finished", 1.0),
                ):
                    try:
                        use()
                    except StoreError as error:
                        os.write(writing, str(error).encode() + b"\n")
                store.close()
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as answers:
            texts = answers.read().splitlines()
        os.waitpid(child, 0)
        assert len(texts) == 6
        assert all("Open the store in the process that uses it" in text for text in texts)
        session.record(Turn([block([3], "x")], [done([3], [3])]))  # and the parent goes on
        assert store.values() == [0, 1, 2, 3]


def test_the_file_takes_no_standard_descriptor(location, another_process):
    """With 1 or 2 closed, the next print would otherwise go into the database."""
    process = another_process(
        """
for descriptor in (0, 1, 2):
    os.close(descriptor)
store = SqliteStore(sys.argv[1])
session = store.begin(a_run())
for descriptor in (0, 1, 2):
    try:
        os.write(descriptor, b"a stray print" * 1000)
    except OSError:
        pass
session.record(Turn([block([0], "x")], [done([0], [0])]))
os._exit(7 if store.values() == [0] else 8)
""",
        location,
    )
    assert process.wait() == 7
    assert b"stray" not in location.read_bytes()
    with SqliteStore(location) as store:
        assert store.values() == [0]


def test_a_closed_store_says_so(location):
    """Also in the middle of an iteration that had not begun."""
    store = SqliteStore(location)
    values = store.itervalues()
    store.close()
    for use in (lambda: next(values), store.keys, lambda: store.begin(a_run())):
        with pytest.raises(StoreError, match="was closed"):
            use()


def test_a_link_leads_to_the_store(full, tmp_path, write_some):
    """The -wal belongs beside the file, not beside the link."""
    link = tmp_path / "link.db"
    link.symlink_to(full)
    with SqliteStore(link) as store:
        write_some(store).close("finished", 1.0)
        assert store.basepath == str(link)
        assert len(store) == 303


def test_opening_by_name_imports_sqlite_only_when_it_is_needed():
    """The entry module is loaded whenever any store is opened, and for each run."""
    code = """
import sys, farmhand_sqlite
assert {".db", ".sqlite", ".sqlite3"} == set(farmhand_sqlite.farmhand_stores())
assert "sqlite3" not in sys.modules and "farmhand_sqlite.store" not in sys.modules
assert farmhand_sqlite.SqliteStore is farmhand_sqlite.store.SqliteStore
"""
    subprocess.run([sys.executable, "-c", code], check=True)
