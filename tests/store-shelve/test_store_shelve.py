"""The store of shelves passes the contract, and its folder has what Brian and Python expect there."""

import functools
import glob
import importlib
import os
import shelve
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand import codec, open_store, owner, run_tasks
from farmhand.errors import StoreError, UsageError
from farmhand.events import Usage
from farmhand.store import Turn
from farmhand.testing.stores import StoreConformance, a_run, block, done, failed
from farmhand_shelve import DataManager, ShelveStore

QUIET = {"gui": False, "progress": "none", "poolsize": 2}


def is_there(module):
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


KINDS = [kind for kind in ("dumb", "sqlite3", "gnu", "ndbm") if is_there(f"dbm.{kind}")]


@pytest.fixture(params=KINDS)
def kind(request):
    """Each dbm that this Python has."""
    return request.param


class TestContract(StoreConformance):
    """On each dbm that this Python has."""

    @pytest.fixture
    def location(self, tmp_path):
        return tmp_path / "rates.data"

    @pytest.fixture
    def open_store(self, kind):
        return functools.partial(ShelveStore, dbm=kind)


def brian_reads(folder):
    """All sessions as Brian 1 read them: what ``glob`` shows, opened by the module that Python has."""
    names = {path.name for path in map(Path, glob.glob(os.path.join(folder, "*")))}
    endings = (".dat", ".dir", ".bak", ".db", ".pag")
    bases = {name.removesuffix(next((e for e in endings if name.endswith(e)), "")) for name in names}
    found = {}
    for base in bases:
        with shelve.open(os.path.join(folder, base), "r") as shelf:
            found[base] = dict(shelf)
    return found


def write_some(store, uid="farm", close=True):
    """Five results, some packed, and two failures, one of them for good."""
    session = store.begin(a_run(uid=uid))
    usage = {1: Usage(10**9, "printed\n")}
    record = done([0, 1, 2], ["a", (1, 2.5), None], i1=2)
    record = replace(record, done=replace(record.done, usage=usage))
    session.record(Turn([block(range(6), "abcdef")], [record], [failed(1, "first", again=True)]))
    session.record(Turn([], [done([4, 5], [{"k": 1}, [0.5]])], [failed(3, "for good")], [b"shipped"]))
    if close:
        session.close("finished", 2000.0)
    return {f"{uid}-0": "a", f"{uid}-1": (1, 2.5), f"{uid}-2": None, f"{uid}-4": {"k": 1}, f"{uid}-5": [0.5]}


def log_of(location, uid="farm"):
    return Path(location, ".farmhand", "runs", f"{uid}.log")


def facts(store):
    """All that can be read from a store."""
    runs = [run.uid for run in store.runs()]
    return [
        store.runs(),
        list(store.records()),
        list(store.retried()),
        sorted(store.items(), key=repr),
        [store.pairs()],
        [[(list(b.indices), b.payload) for b in store.blocks(run)] for run in runs],
        [store.shipped(run) for run in runs],
        [store.output(record.key) for record in store.records()],
        [store.counts(run) for run in runs],
        store.itemcount(),
    ]


# -- the folder --------------------------------------------------------------------------------------


def test_a_path_and_a_name_open_the_same_folder(tmp_path, monkeypatch):
    """Scripts written for Brian give a name and perhaps a datapath; the ending is added."""
    monkeypatch.chdir(tmp_path)
    with DataManager("rates") as store:
        store.session("me")["k"] = 1
    with open_store("rates.data") as store:
        assert store["k"] == 1
        assert isinstance(store, ShelveStore)
    with DataManager("sweeps/first", tmp_path / "data") as store:
        assert store.basepath == str(tmp_path / "data" / "sweeps" / "first.data")


def test_what_brian_reads_are_the_values_and_nothing_else(location, kind):
    """Records, failures and items would be taken for values, if a ``glob`` saw them."""
    with ShelveStore(location, dbm=kind) as store:
        wanted = write_some(store)
        store.session("by.hand")["key"] = [1, 2]
    if kind == "dumb":
        assert brian_reads(location) == {"farm": wanted, "by.hand": {"key": [1, 2]}}
    with ShelveStore(location) as store:
        assert store.get("key") == {"by.hand": [1, 2]}
        assert dict(store.items()) == wanted | {"key": [1, 2]}


def test_the_values_of_a_run_are_there_for_brian_while_it_runs(location):
    """Nobody has to wait for the end of a run to look at it, with whatever program."""
    with ShelveStore(location) as store:
        wanted = write_some(store, close=False)
        assert brian_reads(location) == {"farm": wanted}


def test_sessions_have_the_names_that_brian_gave_them(location):
    """``user.host`` for a computer's own; a new one for each ``session()``."""
    with ShelveStore(location) as store:
        mine = store.computer_session()
        assert mine.name == store.computer_name
        assert store.computer_session_filename == os.path.join(store.basepath, store.computer_name)
        with mine, store.session() as one, store.session() as two:
            mine["a"], one["a"], two["a"] = [1], [2], [3]
            assert len({mine.name, one.name, two.name}) == 3
            assert store.get("a") == {mine.name: [1], one.name: [2], two.name: [3]}
            assert Counter(store.get_merged("a")) == Counter([1, 2, 3])
            names = {os.path.basename(path) for path in store.session_filenames()}
            assert names == {mine.name, one.name, two.name} == set(store.session_names())
        assert store.session_filename("x") == os.path.join(store.basepath, "x")


@pytest.mark.parametrize("name", ["", " ", ".hidden", "a/b", "../elsewhere", "nul\0"])
def test_a_session_has_the_name_of_a_file_in_the_folder(location, name):
    """Others would be lost when the folder is copied, or would not be seen by Brian."""
    with ShelveStore(location) as store, pytest.raises(UsageError, match="name of a session"):
        store.session(name or " ")["k"] = 1


def test_a_session_by_hand_is_a_dict_on_disk(location, kind):
    """Set, changed, deleted; seen at once by others, and by the next program."""
    with ShelveStore(location, dbm=kind) as store, ShelveStore(location) as other:
        shelf = store.session("notes")
        shelf["é"], shelf["b"], shelf["c"] = 1, {"x": [1, 2]}, None
        shelf["b"] = "x" * 3000
        del shelf["c"]
        for reader in (shelf, other.session("notes")):
            assert dict(reader) == {"é": 1, "b": "x" * 3000}
            assert len(reader) == 2
            assert "c" not in reader
            with pytest.raises(KeyError):
                reader["c"]
            with pytest.raises(KeyError):
                del reader["c"]
        assert list(store.check()) == []
    with shelve.open(str(location / "notes"), "r") as plain:
        assert dict(plain) == {"é": 1, "b": "x" * 3000}


def test_a_plain_shelf_may_go_on_with_a_session_and_the_store_after_it(location, kind):
    """The files are Python's own: neither program spoils what the other has written."""
    with ShelveStore(location, dbm=kind) as store:
        shelf = store.session("notes")
        for number in range(20):
            shelf[f"k{number}"] = number
        with shelve.open(str(location / "notes")) as plain:
            plain["k3"], plain["new"] = "x" * 2000, 1
            plain["k4"] = "four"
            del plain["k5"]
        shelf["after"] = 2
        wanted = {f"k{number}": number for number in range(20) if number != 5}
        wanted |= {"k3": "x" * 2000, "k4": "four", "new": 1, "after": 2}
        assert dict(shelf) == wanted
    with shelve.open(str(location / "notes"), "r") as plain:
        assert dict(plain) == wanted


def test_looking_at_a_folder_decodes_nothing(location):
    """Names, keys, numbers and the check of a folder that you do not trust are safe; its values are not."""
    (location.parent / "evil").mkdir()
    poison = b"\x80\x02cos\nrmdir\nX" + len(str(location.parent / "evil")).to_bytes(4, "little")
    poison += str(location.parent / "evil").encode() + b"\x85R."
    location.mkdir()
    with shelve.open(str(location / "notes")) as plain:
        plain.dict[b"key"] = poison
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="farm"))
        session.record(
            Turn([], [replace(done([0], "A"), done=replace(done([0], "A").done, values=[poison]))])
        )
        session.close("finished", 1.0)
        assert store.keys() == ["farm-0", "key"]
        assert store.session_names() == ["farm", "notes"]
        assert "key" in store
        assert (store.itemcount(), repr(store).count("2 results")) == (2, 1)
        assert list(store.check()) == []
        store.vacuum()
        assert (location.parent / "evil").exists()
        assert store["key"] is None
    assert not (location.parent / "evil").exists()


def test_merging_two_machines_is_copying_one_folder_into_the_other(tmp_path):
    """With ``cp -r``: results, failures, what was printed and sessions by hand; also when done twice."""
    here, there = tmp_path / "here.data", tmp_path / "there.data"
    with ShelveStore(here) as one, ShelveStore(there) as two:
        write_some(one, "mine")
        one.session("me.here")["k"] = [1]
        write_some(two, "theirs")
        two.session("me.there")["k"] = [2]
        records = [*one.records(), *two.records()]
    for _ in range(2):
        shutil.copytree(there, here, dirs_exist_ok=True)
        with ShelveStore(here) as store:
            assert list(store.records()) == records
            assert Counter(store.get_merged("k")) == Counter([1, 2])
            assert store.output("theirs-1") == "printed\n"
            assert len(store) == 12
            assert list(store.check()) == []
    assert set(brian_reads(here)) == {"mine", "theirs", "me.here", "me.there"}


def test_copying_only_what_a_glob_shows_merges_the_values(tmp_path):
    """``cp there.data/* here.data`` leaves hidden files behind: no records, but every value."""
    here, there = tmp_path / "here.data", tmp_path / "there.data"
    with ShelveStore(there) as store:
        wanted = write_some(store)
    ShelveStore(here).close()
    for path in there.glob("[!.]*"):
        shutil.copy(path, here)
    with ShelveStore(here) as store:
        assert dict(store.items()) == wanted
        assert store.runs() == []


def large_and_small(k):
    import numpy

    return numpy.full(200_000, k) if k % 2 else k


def test_a_large_result_is_there_for_a_plain_shelf_too(location):
    """It is in a file of its own; in the session is what reads that file."""
    pytest.importorskip("numpy")
    with ShelveStore(location) as store:
        run_tasks(store, large_and_small, range(4), **QUIET)
        [run] = store.runs()
        assert len(list((location / ".farmhand" / "files" / run.uid).iterdir())) >= 2
        assert [value if i % 2 == 0 else value.sum() for i, value in enumerate(store.values())] == [
            0,
            200_000,
            2,
            600_000,
        ]
    with shelve.open(str(location / run.uid), "r") as plain:
        assert plain[f"{run.uid}-2"] == 2
        assert plain[f"{run.uid}-3"].sum() == 600_000
    location.rename(location.with_name("moved.data"))
    with (
        shelve.open(str(location.with_name("moved.data") / run.uid), "r") as plain,
        pytest.raises(StoreError, match="open_store where it is now"),
    ):
        plain[f"{run.uid}-3"]
    assert not location.exists()
    with ShelveStore(location.with_name("moved.data")) as store:
        store.vacuum()
    with shelve.open(str(location.with_name("moved.data") / run.uid), "r") as plain:
        assert plain[f"{run.uid}-3"].sum() == 600_000


# -- what a crash leaves -----------------------------------------------------------------------------


def snapshots(location):
    """A store after each step of a run, and the size of its log then."""
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="farm", owner=f"{owner.here()}0"))  # who has ended
        steps = []
        for number in range(4):
            first = 3 * number
            turn = Turn(
                [block(range(first, first + 3), [number] * 3)],
                [done([first, first + 1], [f"value {number}" * 20, number])],
                [failed(first + 2, str(number))],
            )
            steps.append((log_of(location).stat().st_size, facts(store)))
            session.record(turn)
        steps.append((log_of(location).stat().st_size, facts(store)))
    return steps


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    location = tmp_path_factory.mktemp("story") / "rates.data"
    return location, snapshots(location)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_power_cut_leaves_of_the_last_turn_the_ones_before_it_are_whole(
    data, story, tmp_path_factory
):
    """Of a turn that was not acknowledged, the disk may have any sectors, zeros, or what was there before."""
    source, steps = story
    number = data.draw(st.integers(1, len(steps) - 1))
    (start, before), (stop, after) = steps[number - 1], steps[number]
    whole = log_of(source).read_bytes()[:stop]
    length = data.draw(st.integers(start, stop))
    tail = bytearray(whole[start:length])
    if data.draw(st.booleans()):
        tail += bytes(stop - length)
    if tail and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(tail) - 1))
        tail[place:] = data.draw(st.binary(min_size=len(tail) - place, max_size=len(tail) - place))
    location = tmp_path_factory.mktemp("cut") / "rates.data"
    shutil.copytree(source, location)
    log_of(location).write_bytes(whole[:start] + tail)
    found = before if whole[:start] + tail != whole else after
    with ShelveStore(location) as store:
        assert facts(store) == found
        assert brian_reads(location).get("farm", {}) == dict(store.items())
        session = store.begin(replace(a_run(), uid="farm"), join=True)
        session.record(Turn([], [done([100], ["later"])]))
        session.close("finished", 1.0)
        assert dict(store.items())["farm-100"] == "later"
        assert list(store.check()) == []


def test_a_session_that_a_killed_farm_has_left_behind_is_made_again(location, another_process):
    """The log has all that was acknowledged; the shelf may lack any of it, or end in half a line."""
    farm = another_process(
        """
session = ShelveStore(location).begin(a_run(uid="farm", owner=owner.here()))
session.record(Turn([block(range(50), range(50))], [done(range(50), range(50))]))
say("stored")
hear()
""",
        location,
    )
    assert farm.stdout.readline() == "stored\n"
    farm.kill()
    farm.wait()
    index = location / "farm.dir"
    index.write_bytes(index.read_bytes()[:500])
    with ShelveStore(location) as store:
        assert brian_reads(location) == {"farm": dict(store.items())}
        assert len(store) == 50


@pytest.mark.parametrize("lost", ["farm.dat", "farm.dir"])
def test_a_session_whose_file_was_lost_is_made_again(location, lost):
    """It is a copy."""
    with ShelveStore(location) as store:
        wanted = write_some(store)
    (location / lost).unlink()
    if lost == "farm.dat":
        (location / "farm.dir").unlink()
    with ShelveStore(location):
        assert brian_reads(location) == {"farm": wanted}


def test_what_a_killed_process_was_making_is_swept_away(location):
    """It is no part of the store; another process may be at it just now, though, unless it is old."""
    with ShelveStore(location) as store:
        wanted = write_some(store)
        mine = set((location / ".farmhand").iterdir())
    days, minutes, fresh = [
        location / ".farmhand" / name for name in ("farm.0123.dat", "farm.45.dir", "index.67")
    ]
    for part in (days, minutes, fresh):
        part.write_text("half")
    os.utime(days, (1e9, 1e9))
    os.utime(minutes, (time.time() - 600, time.time() - 600))
    with ShelveStore(location) as store:
        assert set((location / ".farmhand").iterdir()) == mine | {minutes, fresh}
        store.vacuum()
        assert set((location / ".farmhand").iterdir()) == mine | {fresh}
        assert dict(store.items()) == wanted


def test_a_session_by_hand_survives_a_crash_in_the_middle_of_setting(location):
    """A line of the index that is not whole is passed over, and does not spoil the next one."""
    with ShelveStore(location) as store:
        shelf = store.session("notes")
        shelf["a"] = 1
        with open(location / "notes.dir", "ab") as index:
            index.write(b"'b', (51")
        assert dict(shelf) == {"a": 1}
        shelf["c"] = 3
        assert dict(shelf) == {"a": 1, "c": 3}
    with shelve.open(str(location / "notes"), "r") as plain:
        assert dict(plain) == {"a": 1, "c": 3}


# -- several at once ---------------------------------------------------------------------------------

WRITER = """
session = ShelveStore(location).begin(a_run())
say("ready"), hear()
for index in range(50):
    session.record(Turn([block([index], [index])], [done([index], [index])]))
session.close("finished", 1.0)
say("done")
"""


def test_two_farms_write_into_one_folder_while_somebody_reads(location, another_process):
    """None overwrites the other, and a reader sees whole turns in their order."""
    ShelveStore(location).close()
    farms = [another_process(WRITER, location) for _ in range(2)]
    for farm in farms:
        assert farm.stdout.readline() == "ready\n"
    with ShelveStore(location) as store:
        for farm in farms:
            farm.stdin.write("go\n")
            farm.stdin.flush()
        seen = 0
        while seen < 100:
            values = store.values()
            for run in store.runs():
                there = [value for _, value in store.decoded(run.uid)]
                assert there == list(range(len(there)))
            assert len(values) >= seen
            seen = len(values)
        for farm in farms:
            assert farm.stdout.readline() == "done\n"
        assert sorted(store.values()) == sorted([*range(50)] * 2)
        assert list(store.check()) == []


def test_processes_that_make_a_folder_at_once_share_it(tmp_path):
    """Each sees files that another is just making: none takes them for foreign, or for damaged."""
    for number in range(15):
        location, children = tmp_path / f"{number}.data", []
        for _ in range(4):
            children.append(os.fork())
            if not children[-1]:
                status = 1
                try:
                    with ShelveStore(location, durability="process") as store:
                        shelf = store.locking_session("counter")
                        for _ in range(3):
                            with shelf.lock():
                                shelf["n"] = shelf.get("n", 0) + 1
                            store.keys()
                    status = 0
                finally:
                    os._exit(status)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        with ShelveStore(location) as store:
            assert dict(store.items()) == {"n": 12}


COUNTER = """
from farmhand_shelve import ShelveStore
shelf = ShelveStore(location).locking_computer_session()
say("ready"), hear()
for _ in range(30):
    with shelf.lock():
        shelf["count"] = shelf["count"] + 1
say("done")
"""


def test_processes_count_in_a_locking_session(location, another_process, kind):
    """Brian's lock was known to one farm alone; this one works between any processes."""
    with ShelveStore(location, dbm=kind) as store:
        store.computer_session()["count"] = 0
        others = [another_process(COUNTER, location) for _ in range(3)]
        for other in others:
            assert other.stdout.readline() == "ready\n"
        for other in others:
            other.stdin.write("go\n")
            other.stdin.flush()
        for other in others:
            assert other.stdout.readline() == "done\n"
        assert store.locking_computer_session()["count"] == 90


HOLDER = """
shelf = ShelveStore(location).locking_session("notes")
shelf.acquire()
say(os.getpid()), hear()
"""


def test_a_lock_is_released_by_the_death_of_its_process(location, another_process):
    """A killed process must not stop all others for ever; nobody cleans up behind it."""
    holder = another_process(HOLDER, location)
    assert int(holder.stdout.readline()) == holder.pid
    with ShelveStore(location, timeout=60) as store:
        holder.kill()
        store.locking_session("notes")["k"] = 1
        assert store["k"] == 1


def test_who_waits_in_vain_for_a_lock_is_told_who_has_it(location, another_process):
    """Also without ``locking``: what is written by hand never overtakes who has the session."""
    holder = another_process(HOLDER, location)
    holder.stdout.readline()
    with ShelveStore(location, timeout=0.01) as store:
        for shelf in (store.session("notes"), store.locking_session("notes")):
            with pytest.raises(StoreError, match=f"process {holder.pid} has kept .*notes.* locked") as caught:
                shelf["k"] = 1
            assert "longer timeout" in str(caught.value)
        store.session("other")["k"] = 1


WAITER = """
def interrupted(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupted)
shelf = ShelveStore(location, timeout=60).locking_session("notes")
try:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    shelf["k"] = 1
except KeyboardInterrupt:
    say("interrupted")
"""


def test_a_signal_ends_the_wait_for_a_lock(location, another_process):
    """Ctrl-C, above all: a wait that cannot be ended is a hang."""
    holder = another_process(HOLDER, location)
    holder.stdout.readline()
    waiter = another_process(WAITER, location)
    assert waiter.stdout.readline() == "interrupted\n"


def test_a_forked_process_does_not_keep_the_lock_of_its_parent(location, another_process):
    """Its copy of the descriptor would, until it ends, too."""
    holder = another_process(
        """
shelf = ShelveStore(location).locking_session("notes")
shelf.acquire()
if not os.fork():
    signal.pause()
say("held"), hear()
os.kill(os.getpid(), signal.SIGKILL)
""",
        location,
        start_new_session=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        holder.stdin.write("die\n")
        holder.stdin.flush()
        with ShelveStore(location, timeout=60) as store:
            store.locking_session("notes")["k"] = 1
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_the_session_of_a_run_is_written_by_the_run_alone(location):
    """What somebody else sets there would be lost when it is made again."""
    with ShelveStore(location) as store:
        write_some(store)
        with pytest.raises(StoreError, match="session of a run") as caught:
            store.session("farm")["k"] = 1
        assert "store.session()" in str(caught.value)
        assert store.session("farm")["farm-0"] == "a"


def test_a_run_does_not_take_the_name_of_a_session_by_hand(location):
    """Nor its files."""
    with ShelveStore(location) as store:
        store.session("farm")["k"] = 1
        with pytest.raises(StoreError, match="already has a session 'farm'"):
            store.begin(a_run(uid="farm"))
        assert store.get("k") == {"farm": 1}


# -- forgetting, merging, and room -------------------------------------------------------------------


def test_what_was_forgotten_is_gone_for_brian_too_and_vacuum_gives_its_room_back(location):
    """And the rest stays as it was, records and outputs included."""
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="farm"))
        session.record(Turn([block(range(10), range(10))], [done(range(10), ["x" * 10_000] * 10)]))
        usage = {11: Usage(5, "kept\n")}
        more = done([10, 11], ["y" * 10_000, "z"], i11=2)
        more = replace(more, done=replace(more.done, usage=usage))
        session.record(Turn([block([10, 11, 12], "klm")], [more], [failed(11, again=True), failed(12)]))
        session.close("finished", 1.0)
        assert store.forget(["farm-3", "farm-12", *(f"farm-{i}" for i in range(5, 11))]) == 8
        left = facts(store)
        assert [record.index for record in store.records()] == [0, 1, 2, 4, 11]
        assert brian_reads(location) == {"farm": dict(store.items())}
        cursor = store.records().cursor
        size = log_of(location).stat().st_size
        store.vacuum()
        assert facts(store) == left
        assert brian_reads(location) == {"farm": dict(store.items())}
        assert log_of(location).stat().st_size < size - 60_000
        assert list(store.records(since=cursor)) == []
        assert list(store.check()) == []
    with ShelveStore(location) as store:
        assert facts(store) == left
        assert store.output("farm-11") == "kept\n"


def test_who_has_read_before_many_vacuums_reads_what_is_there(location):
    """Each of them replaces the file, and the next one may get the number that an earlier one had."""
    with ShelveStore(location) as store:
        session = store.begin(a_run(uid="run"))
        session.record(Turn([block(range(40), range(40))], [done(range(20), range(20))]))
        session.close("finished", 2000.0)
        readers = []
        for number in range(12):
            readers.append(ShelveStore(location))
            assert len(readers[-1].values()) == 20
            store.forget(f"run-{number}")
            store.vacuum()
            session = store.begin(store.runs()[0], join=True)
            session.record(Turn([], [done([20 + number], ["longer than before" * 500])]))
            session.close("", None)
        for reader in readers:
            assert reader.values() == store.values()
            assert len(list(reader.records())) == 20
            reader.close()


def test_what_comes_after_a_vacuum_is_new_for_a_cursor_from_before(location):
    """Room that was given back must not make new records look old."""
    with ShelveStore(location) as store:
        write_some(store)
        store.forget("farm-0")
        cursor = store.records().cursor
        store.vacuum()
        session = store.begin(a_run(uid="farm"), join=True)
        session.record(Turn([], [done([0], "A")]))
        session.close("finished", 1.0)
        assert [record.key for record in store.records(since=cursor)] == ["farm-0"]
        assert store["farm-0"] == "A"


def test_somebody_may_forget_while_the_run_goes_on(location):
    """Both write to one log, one after the other; the session of the run is right in the end."""
    with ShelveStore(location) as store, ShelveStore(location) as other:
        session = store.begin(a_run(uid="farm"))
        session.record(Turn([block(range(4), "abcd")], [done([0, 1], "AB")]))
        assert other.forget("farm-1") == 1
        session.record(Turn([], [done([2], "C")]))
        session.record(Turn([], [done([1], "b")]))
        session.close("finished", 1.0)
        assert store.values() == ["A", "b", "C"]
    assert brian_reads(location) == {"farm": {"farm-0": "A", "farm-1": "b", "farm-2": "C"}}


def test_a_cursor_reads_only_what_came_after_it(location):
    """Also in runs that are new, and not those of another store."""
    with ShelveStore(location) as store:
        empty = store.records().cursor
        session = store.begin(a_run(uid="farm"))
        session.record(Turn([block(range(9), range(9))], [done([7], [7])]))
        reading = store.records()
        session.record(Turn([], [done([1], [1])], [failed(3)]))
        assert [record.index for record in reading] == [7]
        write_some(store, "next")
        assert [r.key for r in store.records(since=reading.cursor)][:3] == ["farm-1", "farm-3", "next-0"]
        assert len(list(store.records(since=empty))) == 9
        assert list(store.records(since=store.records().cursor)) == []
        session.close("finished", 1.0)
        with ShelveStore(location.with_name("other.data")) as other:
            write_some(other, "farm")
            for cursor in (reading.cursor, "", "nonsense", "1.2"):
                with pytest.raises(UsageError, match="no cursor of this store"):
                    other.records(since=cursor)


def test_names_of_runs_that_cannot_be_names_of_files(location):
    """A run of another store, merged into this one, may be called anything."""
    uids = ["../up", ".hidden", "ü.x", "a b", "%2e", "it's\n", "\ud800"]
    with ShelveStore(location) as store:
        for uid in uids:
            write_some(store, uid)
        assert [run.uid for run in store.runs()] == uids
        assert all(store[f"{uid}-0"] == "a" for uid in uids)
        assert list(store.check()) == []
    assert sorted(os.listdir(location.parent)) == ["rates.data"]
    found = brian_reads(location)
    assert len(found) == len(uids)
    values = {key: value for session in found.values() for key, value in session.items()}
    assert values["it's\n-0"] == values["ü.x-0"] == "a"


def test_a_thousand_values_by_hand_are_not_read_again_for_each(location):
    """The index of a session grows by lines: its files stay as short as its values."""
    with ShelveStore(location, durability="process") as store:
        shelf = store.session("notes")
        for number in range(1000):
            shelf[str(number)] = number
        assert len(store) == 1000
        assert (location / "notes.dat").stat().st_size < 1000 * 512
        assert (location / "notes.dir").read_text().count("\n") == 1000


def test_a_whole_run_resumes_in_a_folder(location):
    """As a user has it: a path, a task, and a second call that has little to do."""
    run_tasks(location, abs, range(-20, 0), **QUIET)
    summary = run_tasks(location, abs, range(-25, 0), resume=True, **QUIET)
    assert (summary.skipped, summary.done) == (20, 5)
    with open_store(location) as store:
        assert Counter(store.values()) == Counter(range(1, 26))
        assert all(run.outcome == "finished" for run in store.runs())
        assert codec.decode_items(next(store.blocks(store.runs()[0].uid)).payload)
