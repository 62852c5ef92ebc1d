"""A connection between a farm and whoever looks at it: neither end waits for the other, or trusts it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand.events import Control, Pause, Resize, Stop
from farmhand.messages import PROTOCOL, MessageError, encoded
from farmhand.progress import Output, Snapshot
from farmhand.remote import RemoteFrontend, RemoteRun, Stream
from farmhand.testing.frontends import FrontendConformance, a_failure, a_run, play
from waiting import DEADLINE, wait_until

RUNNING = Snapshot(task="find_rate", run="ab12", store="rates.db", pid=7, total=9, done=3, wanted=2)
QUICKLY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def ends():
    """Makes a farm's end and the socket at the other end of it; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            ours, theirs = socket.socketpair()
            for each in (ours, theirs):
                stack.callback(each.close)
                each.settimeout(DEADLINE)
            return RemoteFrontend(ours, **options), theirs

        yield make


@pytest.fixture
def connection(ends):
    """A farm's end, and that of somebody who looks."""
    frontend, sock = ends()
    return frontend, RemoteRun(sock)


@pytest.fixture
def stranger(ends):
    """A farm's end, and what it is sent by a function that calls itself a watcher."""
    frontend, sock = ends()

    def send(data):
        sock.sendall(data)

    return frontend, send


def a_look(frontend, snapshot=RUNNING):
    """What a farm does with a frontend ten times a second."""
    frontend.show(snapshot)
    return list(frontend.controls())


def newest(remote):
    """The last of the snapshots that have come."""
    return remote.snapshots()[-1]


class TestConformance(FrontendConformance):
    """Whatever a farm can show does no harm to the connection; here nobody ever reads it."""

    @pytest.fixture
    def make_frontend(self, ends):
        return lambda options: ends(watching=True, outputs=options.verbose)[0]


# -- what is shown, and what is asked ------------------------------------------------------------------


def test_a_run_is_seen_on_the_other_side_as_it_is_here(connection):
    """From the first snapshot to the last; after it the connection ends."""
    frontend, remote = connection
    remote.watch(outputs=True)
    assert a_look(frontend) == []
    seen = []
    for number, snapshot in enumerate(a_run()):
        shown = replace(snapshot, failures=(a_failure(1),), outputs=(Output(number, "text"),))
        frontend.show(shown)
        seen += remote.snapshots()
        assert seen[-1] == shown
    frontend.close()
    assert remote.snapshots() == []
    assert remote.closed


def test_the_farm_says_first_who_it_is(connection):
    """Also to somebody who does not want to see anything."""
    frontend, remote = connection
    a_look(frontend)
    assert remote.snapshots() == []
    assert remote.hello["protocol"] == PROTOCOL
    told = [remote.hello[name] for name in ("task", "run", "store", "pid", "state", "done", "total")]
    assert told == ["find_rate", "ab12", "rates.db", 7, "running", 3, 9]


def test_an_order_is_answered_once_it_was_followed(connection):
    """With the state of the run after it, so that who has asked can say that it took effect."""
    frontend, remote = connection
    number, other = remote.ask(Pause()), remote.ask(Resize(4))
    assert a_look(frontend) == [Pause(), Resize(4)]
    remote.snapshots()
    assert remote.answers == {}
    frontend.show(replace(RUNNING, state="paused", wanted=4))
    remote.snapshots()
    assert remote.answers[number]["state"] == "paused"
    assert remote.answers[other]["wanted"] == 4


def test_what_cannot_be_done_is_answered_with_the_reason(ends):
    """The farm goes on, and so does the connection."""
    frontend, sock = ends()
    for request in (b'{"request":"dance","id":1}', b'{"request":"workers","processes":0,"id":2}', b"what?"):
        sock.sendall(request + b"\n")
    assert a_look(frontend) == []
    told = [json.loads(line) for line in sock.recv(1 << 16).splitlines()]
    errors = {answer["answer"]: answer["error"] for answer in told if "answer" in answer}
    assert errors.keys() == {1, 2, None}
    assert "from 1 to" in errors[2]
    assert not frontend.closed


def test_an_order_for_a_run_that_is_over_is_not_done_to_the_next_one(connection):
    """A window that shows one run of a script after the other may be clicked in between."""
    frontend, remote = connection
    a_look(frontend)
    remote.snapshots()
    number = remote.ask(Stop())
    frontend.begin()
    assert a_look(frontend, replace(RUNNING, run="cd34")) == []
    remote.snapshots()
    assert "over" in remote.answers[number]["error"]


def test_what_was_asked_by_somebody_who_has_left_is_done(ends):
    """A command that does not wait for the answer has given its order all the same."""
    frontend, sock = ends()
    sock.sendall(encoded({"request": "pause"}))
    sock.close()
    assert a_look(frontend) == [Pause()]
    assert frontend.closed


def test_who_says_nothing_more_has_left(ends):
    """One end that is shut means that the other can go, too: `echo ... | nc` leaves nothing behind."""
    frontend, sock = ends()
    sock.sendall(encoded({"request": "stop"}))
    sock.shutdown(socket.SHUT_WR)
    assert a_look(frontend) == [Stop()]
    assert frontend.closed


def test_who_reads_nothing_more_has_left(ends):
    """It would take a place for ever."""
    frontend, sock = ends(watching=True)
    sock.shutdown(socket.SHUT_RD)
    a_look(frontend)
    a_look(frontend)
    assert frontend.closed


def test_showing_a_run_to_somebody_who_was_killed_does_no_harm(ends):
    """It is noticed, and that is all."""
    frontend, sock = ends(watching=True)
    sock.close()
    assert play(frontend, a_run()) == []
    assert frontend.closed


def test_a_script_that_lets_broken_pipes_end_it_survives_its_watchers():
    """Many tools set SIGPIPE back to what ends a process; a watcher that leaves must not send it."""
    code = """
import signal, socket
from farmhand.remote import RemoteFrontend
from farmhand.testing.frontends import a_run, play
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ours, theirs = socket.socketpair()
theirs.close()
play(RemoteFrontend(ours, watching=True), a_run())
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout == "alive\n", done


# -- who is slow --------------------------------------------------------------------------------------


def test_who_is_slow_is_shown_the_newest_and_all_that_was_missed(connection):
    """Snapshots are left out; failures, and what items printed, are not. Nobody waits."""
    frontend, remote = connection
    remote.watch(outputs=True)
    a_look(frontend)
    failures = ()
    for number in range(1, 2001):
        failures = (*failures, a_failure(number))[-100:]
        printed = (Output(number, "x" * 1000),)
        frontend.show(replace(RUNNING, done=number, failures=failures, outputs=printed))
    seen = remote.snapshots()
    assert len(seen) < 2000
    while seen[-1].done < 2000:
        frontend.show(replace(RUNNING, done=2000, failures=failures))
        seen += remote.snapshots()
    assert seen[-1].failures == failures
    printed = [output.index for snapshot in seen for output in snapshot.outputs]
    assert printed == sorted(set(printed))
    assert set(range(1500, 2001)) <= set(printed), "of those that waited, the last thousand are kept"


def test_the_last_snapshot_is_never_left_out(connection):
    """How a run went is what somebody who was slow wants to see at least."""
    frontend, remote = connection
    remote.watch()
    a_look(frontend)
    wide = replace(RUNNING, processes=a_run(processes=1000)[5].processes)
    while not frontend.stream.is_full:
        frontend.show(wide)
    frontend.show(replace(wide, state="finished"))
    seen = remote.snapshots()
    while frontend.stream.is_full:
        frontend.stream.flush()
        seen += remote.snapshots()
    assert seen[-1].state == "finished"


def test_who_asks_and_never_listens_is_hung_up_on(ends):
    """Its answers would fill the farm's memory."""
    frontend, sock = ends(watching=True)
    sock.setblocking(False)
    wide = replace(RUNNING, processes=a_run(processes=1000)[5].processes)
    request = encoded({"request": "pause", "id": 1})
    asked = 0
    for _ in range(1000):
        with contextlib.suppress(BlockingIOError):
            sock.send(request * 100)
        asked += len(a_look(frontend, wide))
        if frontend.closed:
            break
    assert frontend.closed
    assert asked < 10_000


def test_requests_without_end_do_not_hold_up_the_farm(stranger):
    """Each look takes some of them, and the others wait for the next."""
    frontend, send = stranger
    send(encoded({"request": "pause"}) * 950)
    looks = []
    while sum(looks) < 950:
        looks.append(len(a_look(frontend)))
    assert max(looks) <= 100


# -- who talks nonsense ----------------------------------------------------------------------------------


@QUICKLY
@given(data=st.lists(st.binary(max_size=100) | st.sampled_from([b"\n", b"{}\n", b"[]\n", b'{"request":'])))
def test_the_farm_survives_any_bytes(ends, data):
    """Whoever reaches the socket may send anything; at most it is hung up on."""
    frontend, sock = ends()
    sock.sendall(b"".join(data))
    for _ in range(3):
        assert all(isinstance(control, Control) for control in a_look(frontend))


@QUICKLY
@given(
    data=st.lists(
        st.binary(max_size=100) | st.sampled_from([b"\n", b'{"snapshot":{}}\n', b'{"answer":[]}\n'])
    )
)
def test_a_watcher_survives_any_bytes(ends, data):
    """What listens at an old address may be anything; the watcher says that it is no farm."""
    frontend, sock = ends()
    remote = RemoteRun(sock)
    for part in data:
        frontend.stream.send(part)
    frontend.close()
    try:
        assert all(isinstance(snapshot, Snapshot) for snapshot in remote.snapshots())
    except MessageError:
        pass
    assert remote.closed


@pytest.mark.parametrize("data", [b"x" * 5000, b"x" * 5000 + b"\n", b"[" * 4000 + b"\n" + b"y" * 5000])
def test_a_request_that_is_too_long_ends_the_connection(stranger, data):
    """No request has thousands of characters; they would be kept until the line ends."""
    frontend, send = stranger
    send(data)
    a_look(frontend)
    a_look(frontend)
    assert frontend.closed


@QUICKLY
@given(data=st.data())
def test_lines_arrive_whole_however_they_are_cut_on_the_way(data):
    """A socket knows no lines."""
    lines = data.draw(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8))
    joined = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(joined)), max_size=8)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours)
        found = []
        for start, end in zip([0, *cuts], [*cuts, len(joined)], strict=True):
            theirs.sendall(joined[start:end])
            found += stream.receive(data.draw(st.integers(1, 5)))
        theirs.close()
        while not stream.closed:
            found += stream.receive(3)
    assert found == lines


def test_a_watcher_of_another_protocol_is_told_so(ends):
    """And not shown half of what there is."""
    frontend, sock = ends()
    remote = RemoteRun(sock)
    frontend.stream.send(encoded({"hello": {"protocol": 99, "farmhand": "9.9"}}))
    with pytest.raises(MessageError, match=r"farmhand 9\.9"):
        remote.snapshots()
    assert remote.closed


# -- the key ------------------------------------------------------------------------------------------------


def talk(frontend, remote, looks=4):
    """Let both ends say what they have to say; returns what the farm was asked for."""
    asked = []
    for _ in range(looks):
        asked += a_look(frontend)
        remote.snapshots()
    return asked


def test_with_the_key_a_run_is_watched_and_steered(ends):
    """What was asked before both have proved themselves is done after it."""
    frontend, sock = ends(key=b"secret")
    remote = RemoteRun(sock, b"secret")
    remote.watch()
    number = remote.ask(Pause())
    assert talk(frontend, remote) == [Pause()]
    assert remote.answers[number]["state"] == "running"
    frontend.show(RUNNING)
    assert newest(remote) == RUNNING


@pytest.mark.parametrize("key", [None, b"", b"Secret"])
def test_without_the_key_nothing_is_shown_and_nothing_done(ends, key):
    """Any user of a computer can connect to its ports."""
    frontend, sock = ends(key=b"secret")
    remote = RemoteRun(sock, key)
    remote.ask(Stop())
    seen = []
    with contextlib.suppress(MessageError):
        for _ in range(4):
            assert a_look(frontend) == []
            seen += remote.snapshots()
    assert seen == []
    assert remote.hello is None
    assert not frontend.has_asked


def test_orders_ahead_of_the_proof_are_no_orders(ends):
    """They are taken for a proof that fails."""
    frontend, sock = ends(key=b"secret")
    sock.sendall(encoded({"request": "stop", "proof": None}) + encoded({"request": "stop"}))
    assert a_look(frontend) == []
    assert frontend.closed
    assert b"hello" not in sock.recv(1 << 16)


def test_a_proof_that_was_overheard_is_worth_nothing(ends):
    """Each connection has a challenge of its own."""
    frontend, sock = ends(key=b"secret")
    remote = RemoteRun(sock, b"secret")
    remote.snapshots()
    overheard = frontend.stream.receive()
    other, theirs = ends(key=b"secret")
    theirs.sendall(b"".join(line + b"\n" for line in overheard) + encoded({"request": "stop"}))
    assert overheard
    assert a_look(other) == []
    assert other.closed


def test_a_port_that_somebody_else_has_taken_over_learns_nothing(ends):
    """The farm is gone; whoever listens there now cannot prove to be it, and is asked for nothing."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(DEADLINE)
        remote = RemoteRun(ours, b"secret")
        remote.ask(Stop())
        theirs.sendall(encoded({"challenge": "00"}))
        remote.snapshots()
        theirs.sendall(encoded({"proof": "00"}))
        with pytest.raises(MessageError, match="not that run"):
            remote.snapshots()
        assert b"stop" not in theirs.recv(1 << 16)


def test_who_reads_again_after_a_long_time_is_shown_the_newest(ends):
    """As a watcher that was suspended with Ctrl-Z."""
    frontend, sock = ends(watching=True)
    remote = RemoteRun(sock)
    for snapshot in a_run(items=50, processes=64, steps=200):
        frontend.show(snapshot)
    last = replace(RUNNING, state="finished")
    frontend.show(last)
    seen = []

    def has_come():
        frontend.stream.flush()
        seen.extend(remote.snapshots())
        return last in seen

    wait_until(has_come)
    assert seen[-1] == last
