"""Whatever has become of a folder, a run in it stops with a reason, and nothing that was stored is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from farmhand import owner, run_tasks
from farmhand.errors import StoreError
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done, failed
from farmhand_shelve import DataManager, ShelveStore

QUIET = {"gui": False, "progress": "none", "poolsize": 2}


def write_some(location, uid="farm"):
    """Six results in three turns, whose log and session are closed."""
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid=uid))
        for first in (0, 3, 6):
            results = done([first, first + 1], [f"value {first} " * 30, first])
            session.record(Turn([block(range(first, first + 3), "abc")], [results], [failed(first + 2)]))
        session.close("finished", 1.0)


def log_of(location, uid="farm"):
    return Path(location, ".farmhand", "runs", f"{uid}.log")


def state(folder):
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    return [(str(path), path.is_file() and path.read_bytes()) for path in paths]


def refused(location, *words, call=None):
    """The error that everybody gets who opens the folder and uses it: it names a place and a way out."""
    with pytest.raises(StoreError) as caught, ShelveStore(location) as store:
        (call or (lambda store: store.values()))(store)
    where, problem, advice = caught.value.args
    assert where.startswith(str(location))
    assert problem
    assert advice
    for word in words:
        assert word in str(caught.value)
    return caught.value


# -- what is no store of ours ------------------------------------------------------------------------


def a_file(location):
    location.write_text("k,rate\n1,2\n")


def a_link_to_nothing(location):
    location.symlink_to(location.with_name("nowhere"))


def foreign_folder(location):
    (location / "sub").mkdir(parents=True)
    (location / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def newer_folder(location):
    write_some(location)
    path = location / ".farmhand" / "format"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def broken_format(location):
    write_some(location)
    (location / ".farmhand" / "format").write_text("{")


def newer_run(location):
    write_some(location)
    path = log_of(location)
    path.write_bytes(path.read_bytes().replace(b"farmhand run 1", b"farmhand run 7", 1))


def foreign_run(location):
    write_some(location)
    log_of(location).write_text("2026-01-01 all is well\n" * 10)


def flipped(place):
    def flip(location):
        write_some(location)
        path = log_of(location)
        data = bytearray(path.read_bytes())
        data[int(len(data) * place)] ^= 0x40
        path.write_bytes(data)

    return flip


def flipped_header(location):
    write_some(location)
    path = log_of(location)
    data = bytearray(path.read_bytes())
    data[data.index(b"\xf0FRM", data.index(b"value 0"))] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (a_file, ["it is a file, not a folder", "left as it is"]),
        (a_link_to_nothing, ["a link that leads nowhere"]),
        (foreign_folder, ["photo.png", "no session", "Move it out of the folder"]),
        (newer_folder, ["a newer farmhand made it (format 2", "Upgrade farmhand-shelve"]),
        (broken_format, ["format", "damaged", "Delete it"]),
        (newer_run, ["farm.log", "a newer farmhand wrote it (format 7", "Upgrade farmhand-shelve"]),
        (foreign_run, ["farm.log", "its beginning is not that of a run", "backup"]),
        (flipped_header, ["farm.log", "damaged from byte", "backup"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_sound_store_is_refused_and_left_as_it_is(location, harm, words):
    """Also by a run, before a process starts: nobody's files are overwritten."""
    harm(location)
    before = state(location)
    refused(location, *words)
    with pytest.raises(StoreError):
        run_tasks(location, abs, [-1], **QUIET)
    assert state(location) == before


def test_a_folder_that_is_nowhere_is_not_made_somewhere(tmp_path):
    """A misspelled path is an error; Brian's own class makes its folders, as it always did."""
    location = tmp_path / "misspelled" / "rates.data"
    assert "Create the folder first" in str(refused(location, "does not exist"))
    assert list(tmp_path.iterdir()) == []
    with DataManager("misspelled/rates", tmp_path) as store:
        assert store.basepath == str(location)


@pytest.mark.parametrize("place", [number / 40 for number in range(1, 40)])
def test_a_flipped_bit_is_never_taken_for_data(location, place):
    """Anywhere in a log: what is read is right, or an error names the file; and ``check`` finds it."""
    write_some(location)
    with ShelveStore(location) as store:
        right = dict(store.items()), list(store.records())
        assert list(store.check()) == []
    shutil.rmtree(location)
    flipped(place)(location)
    with ShelveStore(location) as store:
        assert any("farm.log" in problem for problem in store.check())
        try:
            found = dict(store.items()), list(store.records())
        except StoreError as error:
            said = str(error)
        else:  # of the last turn, nobody can tell damage from what a crash has left
            said = "farm.log is right as far as it goes"
            assert found[0].items() <= right[0].items()
            assert [record for record in found[1] if record not in right[1]] == []
            assert {f"farm-{index}" for index in (0, 1, 3, 4)} <= found[0].keys()
        assert "farm.log" in said


def test_a_damaged_value_names_its_item_and_leaves_the_others(location):
    """A lost result is run again; it is no reason to lose the rest."""
    write_some(location)
    data = log_of(location).read_bytes()
    log_of(location).write_bytes(data.replace(b"value 3", b"value X"))
    with ShelveStore(location) as store:
        assert store["farm-0"] == "value 0 " * 30
        assert len(list(store.records())) == 9
        with pytest.raises(StoreError, match=r"items 3 to 4 \(farm-3\)"):
            store["farm-3"]
        assert store.forget(["farm-3", "farm-4"]) == 2
        assert [store[key] for key in store][2:] == ["value 6 " * 30, 6]


def test_a_damaged_run_does_not_hide_the_others(location):
    """The error says that moving its log away is enough."""
    write_some(location)
    write_some(location, "other")
    foreign_run_path = log_of(location)
    foreign_run_path.write_text("nonsense\n" * 50)
    assert "move it away" in str(refused(location, "farm.log"))
    foreign_run_path.unlink()
    with ShelveStore(location) as store:
        assert [run.uid for run in store.runs()] == ["other"]
        assert len(store.session_names()) == 2  # its session still has the values


def a_stray_file(location):
    write_some(location)
    (location / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def a_short_session(location):
    write_some(location)
    index = location / "farm.dir"
    index.write_text(index.read_text().partition("\n")[0] + "\n")


@pytest.mark.parametrize(
    "harm", [flipped_header, foreign_run, a_stray_file, a_short_session], ids=lambda value: value.__name__
)
def test_check_says_what_is_wrong_instead_of_raising(location, harm):
    """It is the tool for such a folder."""
    harm(location)
    with ShelveStore(location) as store:
        problems = list(store.check())
    assert problems
    assert all(str(location) in problem for problem in problems)


# -- what happens while it is used -------------------------------------------------------------------


def delete_folder(location):
    shutil.rmtree(location)


def move_folder(location):
    location.rename(location.with_name("moved.data"))


def delete_log(location):
    log_of(location).unlink()


def replace_log(location):
    copy = log_of(location).with_name("copy")
    shutil.copy(log_of(location), copy)
    copy.rename(log_of(location))


@pytest.mark.parametrize(
    "harm", [delete_folder, move_folder, delete_log, replace_log], ids=lambda value: value.__name__
)
def test_a_run_whose_files_vanish_stops(location, harm):
    """What would go to a deleted file is not called stored."""
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="farm"))
        session.record(Turn([block([0], "a")], [done([0], "A")]))
        harm(location)
        for _ in range(2):
            with pytest.raises(StoreError, match="deleted, moved") as caught:
                session.record(Turn([block([1], "b")], [done([1], "B")]))
        assert caught.value.args[2]
        with pytest.raises(StoreError):
            session.close("broken", 1.0)
        if not location.exists():
            with pytest.raises(StoreError, match="deleted or moved"):
                store.values()


def test_a_closed_store_says_so(location):
    """And a session that goes on is none of its business."""
    store = ShelveStore(location)
    session = store.begin(a_run())
    store.close()
    session.record(Turn([block([0], "a")], [done([0], "A")]))
    session.close("finished", 1.0)
    for use in (store.values, store.runs, len, store.computer_session().keys, store.vacuum, repr):
        if use is repr:
            assert "closed" in repr(store)
        else:
            with pytest.raises(StoreError, match="closed"):
                list(use(store) if use is len else use() or ())


def test_a_forked_process_cannot_go_on_with_a_run(location):
    """Parent and child would write over each other."""
    with ShelveStore(location) as store:
        session = store.begin(a_run())
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                session.record(Turn([block([0], "a")], [done([0], "A")]))
            except StoreError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading, encoding="utf-8") as said:
            assert "Open the store in the process that uses it" in said.read()
        session.record(Turn([block([0], "a")], [done([0], "A")]))
        session.close("finished", 1.0)
        assert store.values() == ["A"]


def test_a_read_only_place_is_refused_before_a_process_starts(nobody):
    """Not after the first hour of work; reading works."""
    location = nobody / "rates.data"
    write_some(location)
    for place in (location, location / ".farmhand" / "runs"):
        place.chmod(0o500)
        with pytest.raises(StoreError, match="read-only") as caught:
            run_tasks(location, abs, [-1], **QUIET)
        assert "Get the right to write there" in str(caught.value)
        assert [child for child in psutil.Process().children() if "python" in child.name()] == []
        with ShelveStore(location) as store:
            assert len(store) == 6
            assert list(store.check()) == []
            for write in (
                lambda: store.forget("farm-0"),
                store.vacuum,
                lambda: store.session("s").update(k=1),
            ):
                with pytest.raises(StoreError, match="read-only"):
                    write()
        place.chmod(0o700)
    log_of(location).chmod(0)
    refused(location, "farm.log", "it cannot be read", "Get the right to read it")


# -- no room -----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 600 KB, and what makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid():
        pytest.skip("only root may mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
    subprocess.run(["umount", place], check=True)


def fill(session):
    """Turns until one cannot be stored; how many could."""
    for number in range(1000):
        turn = Turn([block([number], [number])], [done([number], [(number, "x" * 5000)])])
        try:
            session.record(turn)
        except StoreError as error:
            return number, error
    raise AssertionError("the disk is never full")


def test_a_full_disk_stops_the_run_and_what_was_stored_is_intact(small_disk):
    """Nothing of the turn that had no room is left, and the next run goes on once there is some."""
    place, enlarge = small_disk
    location = place / "rates.data"
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="farm", owner=f"{owner.here()}0"))
        stored, error = fill(session)
        for words in ("the disk is full", "intact", "Make room", "resume=True", str(location)):
            assert words in str(error)
        assert store.values() == [(number, "x" * 5000) for number in range(stored)]
        with contextlib.suppress(StoreError):  # there is no room to say so, either
            session.close("broken", 1.0)
    enlarge()
    with ShelveStore(location) as store:
        assert store.values() == [(number, "x" * 5000) for number in range(stored)]
        assert list(store.check()) == []
        again = store.begin(a_run(uid="farm"), join=True)
        again.record(Turn([], [done([2000], ["more"])]))
        again.close("finished", 1.0)
        assert store.itemcount() == stored + 1


def test_a_limit_for_files_stops_the_run_in_the_same_way(location, another_process):
    """It stands for a quota: the system refuses to write although there is room."""
    farm = another_process(
        """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = ShelveStore(location)
session = store.begin(a_run(uid="farm"))
for number in range(1000):
    try:
        session.record(Turn([block([number], [number])], [done([number], [(number, "x" * 5000)])]))
    except StoreError as error:
        say(f"{number} {error}")
        break
""",
        location,
    )
    number, _, said = farm.stdout.readline().partition(" ")
    assert "refuses to write" in said
    assert "Check its quota" in said
    with ShelveStore(location) as store:
        assert store.values() == [(index, "x" * 5000) for index in range(int(number))]
        assert 0 < int(number) < 1000


def test_a_process_that_stands_still_over_a_log_is_named(location, another_process):
    """Not waited for without end."""
    write_some(location)
    holder = another_process(
        f"""
import fcntl
file = open({str(log_of(location))!r}, "rb")
fcntl.flock(file, fcntl.LOCK_EX)
say("held"), hear()
""",
        location,
    )
    assert holder.stdout.readline() == "held\n"
    with ShelveStore(location, timeout=0.01) as store:
        assert len(store) == 6
        with pytest.raises(StoreError, match=r"farm\.log.*locked for 0\.01 seconds"):
            store.forget("farm-0")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert store.forget("farm-0") == 1
