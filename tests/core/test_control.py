"""The door of a running farm: who gets in, who does not, and that nothing of it costs the run anything."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand import RunSummary, open_store, run_tasks
from farmhand.control import ControlServer, connect
from farmhand.events import Pause, Stop
from farmhand.messages import MessageError, encoded
from farmhand.monitor import Display
from farmhand.progress import Snapshot
from farmhand.testing.frontends import RecordingFrontend, a_run
from waiting import DEADLINE

RUN = "0123456789abcdef"
SHOWN = Snapshot(task="find_rate", run=RUN, store="rates.db", total=9, done=3)
REQUESTS = [b"\n", b"{}\n", b'{"request":', b'"stop"}\n', b'{"request":"pause","id":[]}\n', b"[" * 5000]
KINDS = pytest.mark.parametrize("loopback", [False, True], ids=["socket", "port"])


@pytest.fixture
def places(monkeypatch):
    """Where doors are made: two folders, with names that are short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="runtime") as runtime, tempfile.TemporaryDirectory() as other:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("TMPDIR", other)
        yield Path(runtime), Path(other)


@pytest.fixture
def folder(places):
    """Where the door is, if nothing speaks against it."""
    return places[0] / "farmhand"


@pytest.fixture
def door(places):
    """Opens the door of a run; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(run=RUN, location="rates.db", **options):
            server = ControlServer.open(run, location, **options)
            if server is not None:
                stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def knock():
    """Connects to an address; everything is closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(address):
            remote = connect(address)
            stack.callback(remote.close)
            return remote

        yield make


def serve(server, *remotes, looks=5, snapshot=SHOWN):
    """What a farm does, a few times; returns what it was asked for."""
    asked = []
    for _ in range(looks):
        if server.is_watched():
            server.show(snapshot)
            asked += server.controls()
        for remote in remotes:
            remote.snapshots()
    return asked


def path_of(address):
    return Path(address.split(":", 2 if address.startswith("tcp") else 1)[-1])


# -- coming in ---------------------------------------------------------------------------------------


@KINDS
def test_whoever_has_the_address_watches_and_steers(door, knock, loopback):
    """Several at once, each with answers of its own."""
    server = door(loopback=loopback)
    first, second = knock(server.address), knock(server.address)
    first.watch()
    number = second.ask(Pause())
    assert serve(server, first, second) == [Pause()]
    server.show(SHOWN)
    assert first.snapshots()[-1] == SHOWN
    assert second.answers[number]["done"] == 3
    assert number not in first.answers


@KINDS
def test_a_run_that_nobody_looks_at_is_not_drawn(door, knock, loopback):
    """A snapshot costs more than to ask whether somebody is there."""
    server = door(loopback=loopback)
    assert not server.is_watched()
    remote = knock(server.address)
    assert server.is_watched()
    remote.close()
    serve(server)
    assert not server.is_watched()


def test_what_is_in_memory_has_no_door(door, folder):
    """No other process could find it."""
    assert door(location=":memory:") is None
    assert not folder.exists()


@KINDS
def test_the_folder_is_for_its_user_alone(door, folder, loopback):
    """And so is what is in it, whatever the mask of the user says."""
    before = os.umask(0)
    try:
        path = path_of(door(loopback=loopback).address)
    finally:
        os.umask(before)
    assert path.parent == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_mask_that_takes_everything_away_does_not_shut_the_door(door, knock):
    """The rights of the folder and of the socket are set, not left to the mask."""
    before = os.umask(0o777)
    try:
        server = door()
    finally:
        os.umask(before)
    assert server.is_watched() is False
    knock(server.address)
    assert server.is_watched()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("is_open", [False, True], ids=["as it is", "opened by mistake"])
def test_another_user_does_not_get_in(door, folder, is_open):
    """By the rights of the folder; and where these were opened, by who the system says has connected."""
    server = door()
    if is_open:
        for path in (folder.parent, folder, path_of(server.address)):
            path.chmod(0o777)
    code = f"""
import os, socket
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as sock:
    try:
        sock.connect({str(path_of(server.address))!r})
        sock.sendall({encoded({"request": "stop"})!r})
    except OSError as error:
        print(error.errno)
    else:
        print("connected")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout.split() == (["connected"] if is_open else [str(errno.EACCES)]), done
    assert serve(server) == []


def test_the_port_is_not_for_who_does_not_know_the_key(door, knock):
    """Any user of the computer can connect to it."""
    server = door(loopback=True)
    port = int(server.address.split(":")[1])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(DEADLINE)
        sock.sendall(encoded({"request": "watch"}) + encoded({"request": "stop"}))
        assert serve(server) == []
        said = b""
        while data := sock.recv(1 << 16):
            said += data
    assert b"hello" not in said
    assert b"key" in said
    key = path_of(server.address)
    key.write_bytes(b"0" * 64)
    remote = knock(server.address)
    remote.ask(Stop())
    with pytest.raises(MessageError, match="key"):
        serve(server, remote)


# -- where the door can be -----------------------------------------------------------------------------


def spoil_by_rights(folder):
    folder.mkdir()
    folder.chmod(0o755)


def spoil_by_link(folder):
    target = folder.with_name("elsewhere")
    target.mkdir(mode=0o700)
    folder.symlink_to(target)


def spoil_by_file(folder):
    folder.touch()


@KINDS
@pytest.mark.parametrize("spoil", [spoil_by_rights, spoil_by_link, spoil_by_file])
def test_a_folder_that_is_not_private_is_not_used(door, places, spoil, loopback):
    """Somebody may have prepared it; the next place is taken, and it is left as it is."""
    runtime, other = places
    spoil(runtime / "farmhand")
    server = door(loopback=loopback)
    assert path_of(server.address).parent == other / f"farmhand-{os.geteuid()}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(door, places):
    """Whoever owns it could replace what is in it."""
    runtime, other = places
    (runtime / "farmhand").mkdir(mode=0o700)
    os.chown(runtime / "farmhand", 65534, 65534)
    assert path_of(door().address).parent == other / f"farmhand-{os.geteuid()}"


@pytest.mark.parametrize("name", ["", "relative", "/does/not/exist", "/dev/null", "x" * 200])
def test_a_place_where_there_can_be_no_door_is_passed_over(door, places, monkeypatch, tmp_path, name):
    """Not there, no folder, or with a name that is too long for a socket; the next one is taken."""
    runtime, other = places
    if len(name) > 100:
        (runtime / name).mkdir()
        name = str(runtime / name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", name)
    monkeypatch.chdir(tmp_path)
    assert path_of(door().address).parent == other / f"farmhand-{os.geteuid()}"
    assert list(tmp_path.iterdir()) == []
    assert [each.name for each in runtime.iterdir()] in ([], ["x" * 200])


def nowhere(monkeypatch, tmp_path):
    """No folder in which a door can be made."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")
    mkdir = os.mkdir

    def refuse(path, *args, **options):
        if "farmhand-" in os.path.basename(path):
            raise OSError(errno.ENOSPC, "no space left on device", path)
        mkdir(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_where_there_is_no_place_for_a_door_the_run_goes_on_without(monkeypatch, tmp_path):
    """A full or read-only disk must not cost a run that does not need it."""
    pytest.importorskip("farmhand_sqlite")
    nowhere(monkeypatch, tmp_path)
    with open_store(tmp_path / "results.db") as store:
        summary = run_tasks(store, abs, range(4), gui=False, progress="none")
        assert isinstance(summary, RunSummary)
        assert summary.done == 4
        assert "control" not in store.runs()[0].provenance


# -- what is left ----------------------------------------------------------------------------------------


@KINDS
def test_after_the_run_nothing_is_left(door, knock, folder, loopback):
    """No socket, no folder; whoever watched sees the end, and nobody gets in any more."""
    server = door(loopback=loopback)
    remote = knock(server.address)
    serve(server, remote)
    server.close()
    remote.snapshots()
    assert remote.closed
    assert not folder.exists()
    with pytest.raises(OSError, match=r"refused|No such file"):
        connect(server.address)


def test_the_folder_stays_as_long_as_another_farm_needs_it(door, knock, folder):
    """Several runs at once are common."""
    first, second = door("a" * 16), door("b" * 16)
    first.close()
    knock(second.address)
    assert second.is_watched()
    second.close()
    assert not folder.exists()


@KINDS
def test_what_a_dead_farm_has_left_is_swept_by_the_next(door, folder, loopback):
    """Killed farms would fill the folder; one that lives is left alone."""
    alive = door("a" * 16, loopback=loopback)
    code = f"""
import os
from farmhand.control import ControlServer
server = ControlServer.open("{"b" * 16}", "rates.db", loopback={loopback})
print(server.address, flush=True)
os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    left = path_of(died.stdout.strip())
    assert left.exists()
    door("c" * 16, loopback=loopback)
    assert not left.exists()
    assert path_of(alive.address).exists()
    assert len(list(folder.iterdir())) == 2


def test_what_is_no_socket_is_not_swept(door, folder):
    """Another program may be called farmhand."""
    folder.mkdir(mode=0o700)
    (folder / "notes").write_text("important")
    (folder / "a.b.key").write_text("important")
    (folder / ".key").mkdir()
    door()
    assert {each.name for each in folder.iterdir()} == {RUN, "notes", "a.b.key", ".key"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_runtime_folder_of_another_user_is_not_used(door, places):
    """`sudo` may leave the variable as it was."""
    runtime, other = places
    os.chown(runtime, 65534, 65534)
    assert path_of(door().address).parent == other / f"farmhand-{os.geteuid()}"


def test_a_farm_that_was_stopped_is_not_swept(door, folder, knock):
    """It does not answer, but its socket is open."""
    code = """
import os, signal, sys
from farmhand.control import ControlServer
server = ControlServer.open("b" * 16, "rates.db")
print(server.address, flush=True)
sys.stdin.read()
server.close()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        address = other.stdout.readline().strip()
        other.send_signal(signal.SIGSTOP)
        door("c" * 16)
        assert path_of(address).exists()
        knock(address)
        other.send_signal(signal.SIGCONT)
        other.stdin.close()


@pytest.mark.parametrize("closes", [False, True], ids=["left to end", "closed by the copy"])
def test_a_copy_of_the_farm_does_not_keep_the_door_open(door, knock, closes):
    """What a script forks, such as a pool of its own, has the sockets as well, perhaps long after the run."""
    server = door()
    remote = knock(server.address)
    serve(server, remote)
    hold, release = os.pipe()
    begun, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        if closes:
            server.close()  # as at the end of a `with` that it leaves
        os.write(begin, b"1")
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    try:
        os.read(begun, 1)
        later = knock(server.address)
        serve(server, remote, later)
        assert later.hello is not None
        assert not remote.closed
        server.close()
        remote.snapshots()
        assert remote.closed
        with pytest.raises(OSError, match=r"refused|No such file"):
            connect(server.address)
    finally:
        for descriptor in (release, begun, begin):
            os.close(descriptor)
        os.waitpid(pid, 0)


@KINDS
def test_a_door_that_was_cleaned_away_comes_back(door, knock, folder, loopback):
    """A session's folder goes when its user logs out; a run over night has to be found after the next."""
    server = door(loopback=loopback, patience=0.0)
    path = path_of(server.address)
    path.unlink()
    folder.rmdir()
    assert not server.is_watched()
    knock(server.address)
    assert server.is_watched()


# -- who is in the way -----------------------------------------------------------------------------------


def strangers(server, count):
    """That many who connect and say nothing."""
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    for place, each in enumerate(sockets):
        each.settimeout(DEADLINE)
        each.connect(str(path_of(server.address)))
        if place % 32 == 31:
            serve(server, looks=1)
    return sockets


def test_a_flood_of_strangers_keeps_nobody_out(door, knock):
    """Of those that say nothing, the first have to go when others come."""
    server = door()
    watcher = knock(server.address)
    watcher.watch()
    serve(server, watcher)
    crowd = strangers(server, 200)
    try:
        late = knock(server.address)
        number = late.ask(Pause())
        assert serve(server, late, watcher) == [Pause()]
        assert number in late.answers
        assert not watcher.closed
    finally:
        for each in crowd:
            each.close()


def test_who_says_nothing_is_shown_out_in_time(door, knock):
    """It would take a place for ever; who watches says nothing either, but has asked to."""
    server = door(patience=0.0)
    watcher = knock(server.address)
    watcher.watch()
    silent = knock(server.address)
    serve(server, watcher)
    silent.snapshots()
    assert silent.closed
    assert not watcher.closed


def test_when_all_places_are_taken_the_next_is_told_at_once(door, knock):
    """Those who watch stay; nobody is left waiting in front of the door."""
    server = door()
    watchers = []
    for _ in range(64):
        watchers.append(knock(server.address))
        watchers[-1].watch()
        serve(server, looks=1)
    late = knock(server.address)
    serve(server, late)
    assert late.closed
    assert not any(watcher.closed for watcher in watchers)


def test_a_watcher_that_reads_nothing_holds_up_neither_the_farm_nor_the_others(door, knock):
    """Its snapshots are left out, and those of the others are not."""
    server = door()
    stuck, other = knock(server.address), knock(server.address)
    stuck.watch()
    other.watch()
    serve(server, other)
    seen = []
    for snapshot in a_run(items=500, processes=64, steps=150):
        server.show(snapshot)
        server.controls()
        seen += other.snapshots()
    assert len(seen) == 151
    assert seen[-1].state == "finished"
    assert len(stuck.snapshots()) < 151


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.lists(st.binary(max_size=80) | st.sampled_from(REQUESTS), max_size=6), loopback=st.booleans())
def test_whatever_is_sent_to_the_door_disturbs_nobody(door, knock, data, loopback):
    """Any program of this user can connect; others go on watching, and only orders are followed."""
    server = door(os.urandom(8).hex(), loopback=loopback)
    watcher = knock(server.address)
    watcher.watch()
    place = server.address.split(":")
    family, target = (
        (socket.AF_UNIX, place[1]) if not loopback else (socket.AF_INET, ("127.0.0.1", int(place[1])))
    )
    with socket.socket(family) as stranger:
        stranger.connect(target)
        stranger.sendall(b"".join(data))
        asked = serve(server, watcher)
    asked += serve(server, watcher, looks=2)
    assert set(asked) <= (set() if loopback else {Stop(), Pause()})
    server.show(SHOWN)
    assert watcher.snapshots()[-1] == SHOWN
    server.close()


class Broken(ControlServer):
    """A mistake of ours."""

    def is_watched(self):
        return True

    def show(self, snapshot):
        raise RuntimeError("a mistake")


def test_a_door_that_fails_is_reported_once_and_the_run_goes_on(places, caplog):
    """Progress must never cost a run."""
    server = Broken.open(RUN, "rates.db")
    recorder = RecordingFrontend()
    display = Display({"recorder": lambda: recorder}, server)
    assert display.show(SHOWN) == []
    assert display.show(SHOWN) == []
    display.close()
    assert len(recorder.snapshots) == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a mistake" in caplog.text
    with pytest.raises(OSError, match=r"refused|No such file"):
        connect(server.address)


@pytest.mark.parametrize(
    "address",
    ["", "unix", "unix:", "unix:/does/not/exist", "tcp:x:y", "tcp:99999:/dev/null", "tcp:1", "ftp:x"],
)
def test_an_address_that_leads_nowhere_is_an_error(address):
    """It is read from a store, which may come from anywhere."""
    with pytest.raises(OSError):  # noqa: PT011 - of many kinds
        connect(address)
