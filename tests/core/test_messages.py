"""What crosses a connection arrives as it was sent, or is refused as no message; nothing in between."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.messages import (
    MOST_PROCESSES,
    MessageError,
    SnapshotEncoder,
    SnapshotReader,
    SnapshotWriter,
    control_of,
    decoded,
    encoded,
    request_of,
    standing,
)
from farmhand.progress import Output, ProcessView, Snapshot
from farmhand.testing.frontends import NASTY_TEXTS, a_failure, a_run, snapshots

# a computer that is busy with other things makes examples slowly
QUICKLY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
POINTS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), max_size=8).map(tuple)


def lines_of(written):
    """The messages in what a writer wrote."""
    assert written.isascii()
    assert written.endswith(b"\n")
    return [decoded(line) for line in written.splitlines()]


def read_all(reader, written):
    """The snapshot in some lines, the last of which has it."""
    *before, last = lines_of(written)
    for message in before:
        reader.learn(message)
    return reader.read(last)


def same(one, other):
    """Whether two snapshots are equal, not-a-numbers included."""
    return repr(one) == repr(other)


# -- snapshots -------------------------------------------------------------------------------------


@QUICKLY
@given(snapshot=snapshots(), history=POINTS)
def test_any_snapshot_arrives_as_it_was(snapshot, history):
    """Also one with numbers that JSON does not have, and with text that is no valid Unicode."""
    snapshot = replace(snapshot, history=history)
    written = SnapshotWriter(outputs=True).write(snapshot)
    # ints where there should be floats arrive as floats
    assert same(read_all(SnapshotReader(), written), snapshot)


@QUICKLY
@given(shown=st.lists(st.tuples(snapshots(), POINTS, st.integers(0, 3), st.booleans()), max_size=5))
def test_who_is_shown_only_some_snapshots_misses_no_failure_and_no_output(shown):
    """Of what is not new nothing is sent; of what is, nothing is left out with the snapshots that are."""
    writer, reader = SnapshotWriter(outputs=True), SnapshotReader()
    failures, history, printed = (), (), ()
    for snapshot, points, failed, skipped in shown:
        first = len(failures) + 1
        failures += tuple(a_failure(number) for number in range(first, first + failed))
        # a chart grows at its end, until every second point goes
        history = history[::2] if len(history) > 10 else history + points
        snapshot = replace(snapshot, failures=failures, history=history)
        printed += snapshot.outputs
        if skipped:
            writer.skip(snapshot)
        else:
            seen = read_all(reader, writer.write(snapshot))
            assert same(seen, replace(snapshot, outputs=printed))
            printed = ()


@QUICKLY
@given(numbers=st.lists(st.lists(st.integers(1, 20), max_size=5), max_size=5))
def test_failures_whose_numbers_go_back_disturb_nobody(numbers):
    """No farm shows such; all the same each that is new is shown, and nothing is shown for ever."""
    writer, reader = SnapshotWriter(), SnapshotReader()
    highest = 0
    for some in numbers:
        shown = Snapshot(failures=tuple(map(a_failure, some)))
        seen = {each.number for each in read_all(reader, writer.write(shown)).failures}
        assert {number for number in some if number > highest} <= seen
        highest = max([highest, *some])
    [again] = lines_of(writer.write(Snapshot(failures=tuple(map(a_failure, range(1, highest + 1))))))
    assert "failures" not in again["snapshot"]


def test_what_has_not_changed_is_not_sent_again():
    """Hundreds of points and a hundred tracebacks, ten times a second, would keep both ends busy."""
    history = tuple((number / 10, number) for number in range(200))
    failures = tuple(map(a_failure, range(1, 101)))
    one = Snapshot(history=history, failures=failures)
    writer, reader = SnapshotWriter(), SnapshotReader()
    read_all(reader, writer.write(one))
    [again] = lines_of(writer.write(one))
    assert "history" not in again["snapshot"]
    assert "failures" not in again["snapshot"]
    later = replace(one, history=(*history, (20.0, 200)), failures=(*failures[1:], a_failure(101)))
    [message] = lines_of(writer.write(later))
    assert message["snapshot"]["history"] == [200, [[20.0, 200]]]
    assert [each["number"] for each in message["snapshot"]["failures"]] == [101]
    assert reader.read(message) == later


def test_failures_of_any_size_come_in_messages_that_are_not_too_long():
    """A hundred long tracebacks in one line would be more than a reader should have to take at once."""
    large = [replace(a_failure(number), output="\U0001f404" * 20_000) for number in range(1, 101)]
    written = SnapshotWriter().write(Snapshot(failures=tuple(large), state="finished"))
    assert max(map(len, written.splitlines())) < 8 << 20
    assert read_all(SnapshotReader(), written).failures == tuple(large)


def test_what_items_print_is_kept_within_bounds_for_who_reads_slowly():
    """A watcher that has stopped must not fill the farm's memory; it is shown the newest."""
    writer = SnapshotWriter(outputs=True)
    for number in range(3000):
        writer.skip(Snapshot(outputs=(Output(number, f"{number}" + "x" * 10_000),)))
    seen = read_all(SnapshotReader(), writer.write(Snapshot(outputs=(Output(3000, "last"),)))).outputs
    assert seen[-1].text == "last"
    assert [each.index for each in seen] == list(range(3001 - len(seen), 3001))
    assert sum(len(each.text) for each in seen) <= 1 << 20


def test_who_does_not_want_outputs_is_not_sent_any():
    """They may be most of what there is to send."""
    writer = SnapshotWriter()
    writer.skip(Snapshot(outputs=(Output(0, "before"),)))
    [message] = lines_of(writer.write(Snapshot(outputs=(Output(1, "now"),))))
    assert "outputs" not in message["snapshot"]


def test_writers_that_share_an_encoder_write_the_same_as_others():
    """Sixty-four watchers cost little more than one; each is sent what is new for it."""
    run = [replace(s, failures=(a_failure(n + 1),)) for n, s in enumerate(a_run(processes=3))]
    shared = SnapshotEncoder()
    first, second = SnapshotWriter(encoder=shared), SnapshotWriter(encoder=shared)
    alone_first, alone_second = SnapshotWriter(), SnapshotWriter()
    for place, snapshot in enumerate(run):
        assert first.write(snapshot) == alone_first.write(snapshot)
        if place % 3 == 0:
            assert second.write(snapshot) == alone_second.write(snapshot)


@pytest.mark.parametrize("text", NASTY_TEXTS, ids=lambda text: ascii(text[:12]))
def test_any_text_arrives(text):
    """Names, items and errors come from the user's code; whatever they hold, no line is broken by it."""
    view = ProcessView(0, 1, "busy", 3, text, text)
    shown = Snapshot(task=text, reason=text, processes=(view,), failures=(a_failure(1, text),))
    written = SnapshotWriter().write(shown)
    assert written.count(b"\n") == 1
    assert read_all(SnapshotReader(), written) == shown


def test_numbers_that_json_does_not_have_are_texts():
    """Other programs could not read them; and so they are the same on the other side."""
    written = SnapshotWriter().write(Snapshot(rate=math.inf, elapsed=-math.inf, complete=math.nan))
    [message] = lines_of(written)
    assert (message["snapshot"]["rate"], message["snapshot"]["elapsed"]) == ("inf", "-inf")
    json.loads(written, parse_constant=pytest.fail)


def test_what_a_newer_farmhand_says_in_addition_is_passed_over():
    """Fields may be added to a protocol of the same number."""
    [message] = lines_of(SnapshotWriter().write(a_run()[5]))
    message["snapshot"]["mood"] = "good"
    message["snapshot"]["processes"][0]["mood"] = ["fair"]
    assert SnapshotReader().read(message) == a_run()[5]


def test_what_an_older_farmhand_does_not_say_is_taken_as_nothing():
    """A farm that was started before an update can be watched after it."""
    running = replace(a_run()[5].processes[0], phase="warm-up")
    [message] = lines_of(SnapshotWriter().write(replace(a_run()[5], processes=(running,))))
    assert message["snapshot"]["processes"][0].pop("phase") == "warm-up"
    assert SnapshotReader().read(message).processes == (replace(running, phase=""),)


@QUICKLY
@given(junk=ANYTHING, field=st.sampled_from([*Snapshot.__match_args__, "?"]))
def test_what_is_no_snapshot_is_refused_and_nothing_else_happens(junk, field):
    """A frontend is never shown a value of another kind than it expects."""
    [message] = lines_of(SnapshotWriter(outputs=True).write(replace(a_run()[5], failures=(a_failure(1),))))
    for broken in (
        {"snapshot": junk},
        {"snapshot": {**message["snapshot"], field: junk}},
        {"failures": junk},
    ):
        reader = SnapshotReader()
        try:
            seen = reader.read(broken) if "snapshot" in broken else reader.learn(broken)
        except MessageError:
            continue
        assert seen is None or isinstance(seen, Snapshot)
        for name in ("done", "failed", "skipped", "wanted"):
            assert seen is None or type(getattr(seen, name)) is int
        assert seen is None or type(seen.elapsed) is float


@pytest.mark.parametrize(
    "fields",
    [
        {"done": "3"},
        {"done": True},
        {"done": 1.5},
        {"elapsed": 10**400},
        {"elapsed": "fast"},
        {"task": None},
        {"remaining": {"low": 1}},
        {"processes": [{}]},
        {"failures": [{"number": 1, "index": 2}]},
        {"history": [5, []]},
        {"history": [0, [[1]]]},
        {"outputs": [3]},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_refused(fields):
    """What a window draws was a number where it should be one."""
    with pytest.raises(MessageError, match="no snapshot"):
        SnapshotReader().read({"snapshot": fields})


# -- lines and requests ------------------------------------------------------------------------------


@QUICKLY
@given(line=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_are_refused(line):
    """Whoever connects may send anything."""
    try:
        message = decoded(line)
    except MessageError:
        return
    assert isinstance(message, dict)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
    ids=lambda line: ascii(line[:8]),
)
def test_lines_made_to_hurt_are_refused(line):
    """Nested too deeply, numbers too long, no text, no object."""
    with pytest.raises(MessageError):
        decoded(line)


@pytest.mark.parametrize("control", [Pause(), Resume(), Finish(), Stop(), Resize(1), Resize(MOST_PROCESSES)])
def test_what_was_asked_is_what_is_done(control):
    """Every order has a word, and comes back as that order."""
    request = decoded(encoded(request_of(control, 7)))
    assert request["id"] == 7
    assert control_of(request) == control


@QUICKLY
@given(request=st.dictionaries(st.sampled_from(["request", "processes", "id"]), ANYTHING))
def test_what_is_no_order_is_refused(request):
    """No text and no number becomes an order by chance."""
    with pytest.raises(MessageError, match=r"request is|from 1 to"):
        control_of(request)


@pytest.mark.parametrize("processes", [0, -1, MOST_PROCESSES + 1, 1.0, "4", True, None])
def test_a_number_of_processes_is_a_sensible_whole_number(processes):
    """A slip of the finger must not start a million processes."""
    with pytest.raises(MessageError, match="from 1 to"):
        control_of({"request": "workers", "processes": processes})


def test_how_a_run_stands_is_said_in_a_few_numbers():
    """Who pauses a run wants to know what that means for it, and not all that there is to see."""
    views = (ProcessView(0, 1, "busy"), ProcessView(1, 2, "idle"), ProcessView(2, 3, "busy"))
    shown = Snapshot(state="paused", total=9, done=3, failed=1, skipped=2, wanted=4, processes=views)
    assert standing(shown) == {
        "state": "paused",
        "total": 9,
        "done": 3,
        "failed": 1,
        "skipped": 2,
        "wanted": 4,
        "running": 2,
    }
