"""What a user sees of a run as text: on a terminal, in a file, and where nobody looks."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import struct
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.events import Pause, Stop
from farmhand.progress import Estimate, FrontendOptions, ProcessView, Snapshot
from farmhand.testing.frontends import FrontendConformance, RecordingFrontend, a_failure, a_run, play
from farmhand.text import TextFrontend
from farmhand.wording import clock_text, printable, progress_text, rate_text, summary_text
from wavering import NOON, told, wavering_run

RUN = Snapshot(
    task="find_rate",
    total=213,
    done=84,
    failed=3,
    skipped=10,
    elapsed=25.0,
    complete=0.428,
    rate=3.4,
    remaining=Estimate(31.0, 35.0, 44.0),
    processes=(ProcessView(0, pid=100, state="busy", index=97),),
)
QUIET = FrontendOptions(task="find_rate")
VERBOSE = FrontendOptions(task="find_rate", verbose=True)
COLOUR = re.compile(r"\x1b\[\d*m")


class Screen:
    """The little of a terminal that the frontend relies on; anything else is an error."""

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.lines = [""]
        self.at = 0

    def feed(self, text: str) -> Screen:
        for token in re.findall(r"\x1b\[[\d;]*[A-Za-z]|.", COLOUR.sub("", text), re.DOTALL):
            line = self.lines[-1]
            if token == "\r":
                self.at = 0
            elif token == "\n":
                self.lines.append("")
                self.at = 0
            elif token == "\x1b[K":
                self.lines[-1] = line[: self.at]
            else:
                assert token.isprintable(), f"{token!r} would disturb the display"
                self.lines[-1] = line[: self.at] + token + line[self.at + 1 :]
                self.at += 1
        return self

    @property
    def current(self) -> str:
        """The line that is redrawn; it must leave the last column free, or it would wrap."""
        assert len(self.lines[-1]) < self.columns
        return self.lines[-1]


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal and keeps what was written."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return True

    @property
    def written(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def screen(self) -> Screen:
        return Screen(int(os.environ.get("COLUMNS", "80"))).feed(self.written)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """The tests say themselves what is set; the machine they run on doesn't."""
    for name in ("CI", "NO_COLOR", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def piped(history, options=QUIET):
    """What a run writes into a file, line by line."""
    stream = io.StringIO()
    play(TextFrontend(options, stream), history)
    assert not re.search(r"[^\n -~\u00a0-\U0010ffff]", stream.getvalue())
    return stream.getvalue().splitlines()


# -- every frontend's contract ---------------------------------------------------------------


class TestPiped(FrontendConformance):
    @pytest.fixture
    def make_frontend(self):
        streams = []

        def make(options):
            streams.append(io.StringIO())
            return TextFrontend(options, streams[-1])

        yield make
        for stream in streams:
            assert all(c == "\n" or c.isprintable() for c in stream.getvalue())


class TestTerminal(FrontendConformance):
    @pytest.fixture
    def make_frontend(self):
        terminals = []

        def make(options):
            terminals.append(Terminal())
            return TextFrontend(options, terminals[-1])

        yield make
        for terminal in terminals:
            assert terminal.screen.current == ""  # the prompt comes back on a line of its own


class TestRecording(FrontendConformance):
    @pytest.fixture
    def make_frontend(self):
        return lambda options: RecordingFrontend()


def test_a_recording_frontend_says_what_its_script_says():
    """So that a test of the farm can pause or stop at a moment that it chooses."""
    recorder = RecordingFrontend({1: [Pause()], 2: [Stop()]})
    assert play(recorder, a_run()[:5]) == [Pause(), Stop()]
    assert len(recorder.snapshots) == 5
    reacting = RecordingFrontend(lambda snapshot: [Stop()] if snapshot.done == 3 else [])
    assert set(play(reacting, a_run())) == {Stop()}


def test_a_recording_frontend_notices_a_farm_that_does_not_stop_showing():
    """After close there is nobody to show anything to."""
    recorder = RecordingFrontend()
    play(recorder, a_run())
    with pytest.raises(AssertionError, match="after it was closed"):
        recorder.show(RUN)


@pytest.mark.parametrize(("items", "failures"), [(0, 0), (1, 1), (20, 0), (100, 7), (5000, 900)])
def test_a_plausible_run_adds_up(items, failures):
    """What frontends are tried with is what a farm could show them."""
    run = a_run(items=items, failures=failures, steps=300)
    for before, after in pairwise(run):
        assert (before.elapsed, before.done, before.failed) <= (after.elapsed, after.done, after.failed)
    for snapshot in run:
        numbers = [failure.number for failure in snapshot.failures]
        assert numbers == list(range(max(1, snapshot.failed - 99), snapshot.failed + 1))
        assert list(snapshot.history) == sorted(snapshot.history)
        assert len(snapshot.history) <= 240
        assert snapshot.done + snapshot.failed <= snapshot.total
        assert all(0 <= failure.index < items for failure in snapshot.failures)
    assert (run[-1].state, run[-1].done, run[-1].failed) == ("finished", items - failures, failures)
    assert run[-1].history[-1] == (run[-1].elapsed, items)


# -- on a terminal ---------------------------------------------------------------------------


def test_one_line_says_how_far_the_run_is(monkeypatch):
    """All that matters at a glance, in one line that is redrawn in place."""
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    frontend = TextFrontend(QUIET, terminal)
    frontend.show(replace(RUN, done=83))
    frontend.show(RUN)
    assert terminal.screen.lines == [
        "find_rate   42%  ━━━━━━━━━━╸──────────────   84/213  3 failed  10 skipped  3.4/s  25s  30-45 s left"
    ]


def test_the_line_gives_way_to_a_summary():
    """What stays in the scrollback is one line, and the prompt comes below it."""
    terminal = Terminal()
    play(TextFrontend(QUIET, terminal), [RUN, replace(RUN, state="finished", done=200, elapsed=62.0)])
    assert terminal.screen.lines == ["find_rate: 200 done, 3 failed, 10 skipped in 1m 02s", ""]


def test_an_unknown_length_has_no_bar_and_no_percentage():
    """There is nothing to draw them from."""
    terminal = Terminal()
    TextFrontend(QUIET, terminal).show(replace(RUN, total=None, complete=None, remaining=None))
    assert terminal.screen.lines == ["find_rate  84 done  3 failed  10 skipped  3.4/s  25s"]


@pytest.mark.parametrize("state", ["paused", "finishing", "stopping"])
def test_the_line_says_when_the_run_does_not_just_run(state):
    """Else a user who paused it wonders why nothing moves."""
    terminal = Terminal()
    TextFrontend(QUIET, terminal).show(replace(RUN, state=state))
    assert terminal.screen.current.endswith(f"  {state}")


@pytest.mark.parametrize("columns", [1, 2, 5, 12, 20, 30, 40, 60, 79, 200])
def test_the_line_never_wraps(monkeypatch, columns):
    """A line that wraps can't be redrawn: it fills the screen with its remains."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    frontend = TextFrontend(QUIET, terminal)
    for snapshot in (
        RUN,
        replace(RUN, task="t" * 90),
        replace(RUN, task="漢字" * 30),
        replace(RUN, state="paused"),
    ):
        frontend.show(snapshot)
        assert len(terminal.screen.current) < columns


def test_the_width_is_asked_for_each_time(monkeypatch):
    """A window is resized while the run goes on."""
    terminal = Terminal()
    frontend = TextFrontend(QUIET, terminal)
    frontend.show(RUN)
    wide = len(terminal.screen.current)
    monkeypatch.setenv("COLUMNS", "40")
    frontend.show(RUN)
    assert len(terminal.screen.current) < 40 < wide


def test_a_narrow_line_keeps_what_matters_most(monkeypatch):
    """How far, and what failed; the rest can wait for a wider window."""
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    TextFrontend(QUIET, terminal).show(RUN)
    assert terminal.screen.current == " 42%   84/213  3 failed"


def test_the_same_line_is_not_written_twice():
    """Ten snapshots a second over a slow connection should cost nothing when nothing moves."""
    terminal = Terminal()
    frontend = TextFrontend(QUIET, terminal)
    frontend.show(RUN)
    before = terminal.written
    frontend.show(RUN)
    assert terminal.written == before


def test_no_color_takes_the_colour_but_not_the_line(monkeypatch):
    """NO_COLOR asks for no colour; a line that moves is something else."""
    coloured = Terminal()
    TextFrontend(QUIET, coloured).show(RUN)
    assert COLOUR.search(coloured.written)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    frontend = TextFrontend(QUIET, plain)
    frontend.show(RUN)
    frontend.show(replace(RUN, done=85))
    assert not COLOUR.search(plain.written)
    assert "\r" in plain.written
    assert plain.screen.current.count("85/213") == 1


def test_a_terminal_that_has_no_bar_characters_gets_ascii():
    """An old Windows console, or LANG=C: a bar of question marks is no bar."""
    terminal = Terminal(encoding="cp1252")
    TextFrontend(QUIET, terminal).show(RUN)
    assert "####" in terminal.screen.current
    assert terminal.screen.current.isascii()


def test_a_real_terminal_shows_the_same():
    """Through a pseudo-terminal, so that isatty, the width and the encoding are the system's."""
    pty, termios, fcntl = map(pytest.importorskip, ("pty", "termios", "fcntl"))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 61, 0, 0))
    screen = Screen(61)

    def watch():
        decode = codecs.getincrementaldecoder("utf-8")().decode
        with contextlib.suppress(OSError):  # what Linux says when the other end is closed
            while data := os.read(master, 4096):
                screen.feed(decode(data))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with open(slave, "w", encoding="utf-8") as stream:
        frontend = TextFrontend(VERBOSE, stream)
        for snapshot in a_run(steps=8):
            frontend.show(snapshot)
        frontend.close()
    watcher.join()
    os.close(master)
    messages = [line for line in screen.lines if line.startswith("Process 3: 60% complete")]
    assert messages == ["Process 3: 60% complete, 0s elapsed, approximately 0s remaining: simulating"]
    assert screen.lines[-2:] == ["find_rate: 20 done in 0.8s", ""]
    assert not any("━" in line for line in screen.lines)  # each redraw has erased the one before


# -- failures and Brian's messages --------------------------------------------------------------


def test_a_failure_is_printed_once_above_the_line():
    """It must not be lost below the next redraw, nor come again with each snapshot."""
    terminal = Terminal()
    frontend = TextFrontend(QUIET, terminal)
    frontend.show(replace(RUN, failed=0))
    for _ in range(3):
        frontend.show(replace(RUN, failed=1, failures=(a_failure(1, "no", index=7),)))
    *above, current = terminal.screen.lines
    assert above == ["item 7 failed: ValueError: no"]
    assert current.startswith("find_rate")


def test_failures_that_read_the_same_are_all_printed():
    """Every item of a run may fail in the same words, and only the last few are in a snapshot."""
    same = [a_failure(number, "no", index=3) for number in range(1, 6)]
    counts = (0, 2, 3, 4, 4, 5)
    history = [replace(RUN, failed=n, failures=tuple(same[max(0, n - 3) : n]), elapsed=0.1) for n in counts]
    assert piped(history).count("item 3 failed: ValueError: no") == 5


def test_failures_that_went_by_between_two_snapshots_are_counted():
    """When more fail than a snapshot holds, the reader is told how many are missing."""
    last = (a_failure(19, "x"), a_failure(20, "x"))
    lines = piped([replace(RUN, failed=0), replace(RUN, failed=20, failures=last)])
    said = ["18 more items failed, and", "item 19 failed: ValueError: x", "item 20 failed: ValueError: x"]
    assert lines[1:4] == said


def test_a_flood_of_failures_ends():
    """Nobody reads the thousandth; the store has them all, and the counts go on."""
    history = [replace(RUN, failed=n, failures=(a_failure(n, "no"),)) for n in range(1000)]
    lines = piped(history)
    assert sum(line.endswith("failed: ValueError: no") for line in lines) == 100
    assert lines.count("further failures are counted, not printed; the store has them all") == 1


def busy(number, complete, taskname="", elapsed=12.0, index=0):
    return ProcessView(number, 100, "busy", index, "k=1", taskname, elapsed, complete)


def test_verbose_prints_each_message_as_brian_did():
    """Scripts and eyes that know Brian 1.4 find what they look for."""
    history = [
        replace(RUN, processes=(busy(0, 0.35, "k = 3"), busy(1, 0.0))),
        replace(RUN, processes=(busy(0, 0.35, "k = 3"), busy(1, 0.0))),
        replace(RUN, processes=(busy(0, 0.35, "k = 4"), busy(1, 0.05, elapsed=3.0))),
    ]
    assert [line for line in piped(history, VERBOSE) if line.startswith("Process")] == [
        "Process 0: 35% complete, 12s elapsed, approximately 22s remaining: k = 3",
        "Process 1: 0% complete, 12s elapsed: No task information",
        "Process 0: 35% complete, 12s elapsed, approximately 22s remaining: k = 4",
        "Process 1: 5% complete, 3s elapsed, approximately 57s remaining: No task information",
    ]


def test_verbose_tells_of_preparation_that_lasts_and_of_each_part_of_an_item():
    """What remains is what the bar says: the time that an item prepared for is no pace."""
    preparing = replace(busy(0, None), phase="preparing")
    part = replace(busy(0, 0.35, "k = 4"), phase="run 2", remaining=3.0)
    history = [
        replace(RUN, processes=(replace(preparing, elapsed=0.2),)),
        replace(RUN, processes=(preparing,)),
        replace(RUN, processes=(replace(preparing, elapsed=13.0),)),
        replace(RUN, processes=(part,)),
        replace(RUN, processes=(replace(part, taskname="", phase="run 3"),)),
    ]
    assert [line for line in piped(history, VERBOSE) if line.startswith("Process")] == [
        "Process 0: preparing, 12s elapsed: No task information",
        "Process 0: 35% complete, 12s elapsed, approximately 3s remaining: run 2: k = 4",
        "Process 0: 35% complete, 12s elapsed, approximately 3s remaining: run 3",
    ]


def test_verbose_says_nothing_of_tasks_that_say_nothing():
    """A task without reports has no progress messages."""
    history = [replace(RUN, processes=(busy(0, None, index=n),)) for n in range(5)]
    assert not any(line.startswith("Process") for line in piped(history, VERBOSE))


def test_messages_do_not_garble_the_line():
    """They scroll by above it, and it stands below them, whole."""
    terminal = Terminal()
    frontend = TextFrontend(VERBOSE, terminal)
    for percent in range(0, 100, 20):
        frontend.show(replace(RUN, processes=(busy(0, percent / 100, "long " * 30),)))
    *above, current = terminal.screen.lines
    assert len(above) == 5
    assert all(line.startswith("Process 0: ") for line in above)
    assert current.startswith("find_rate")


# -- in a file, or a log ----------------------------------------------------------------------


def test_a_file_gets_plain_lines_ever_more_seldom():
    """One after a second, then every few, up to every thirty: an hour is some hundred lines."""
    hour = [replace(RUN, failed=0, elapsed=n / 10) for n in range(36000)]
    lines = piped([*hour, replace(hour[-1], state="finished")])
    assert lines[:3] == [
        "find_rate: 213 items, 10 skipped, 1 process",
        "find_rate: 42%, 84 of 213 done, 10 skipped, 3.4/s, 1s elapsed, 30-45 s left",
        "find_rate: 42%, 84 of 213 done, 10 skipped, 3.4/s, 6s elapsed, 30-45 s left",
    ]
    assert lines[-1] == "find_rate: 84 done, 10 skipped in 59m 59s"
    assert 100 < len(lines) < 150


def test_a_file_is_told_where_processes_are_once_they_are_elsewhere():
    """When the first line is written none of them has started; later there may be more or fewer."""
    there = replace(RUN.processes[0], computer="node17.cluster.example")
    elsewhere = replace(RUN, elapsed=9.0, failed=0, processes=(there, replace(there, computer="node18")))
    waiting = replace(RUN, processes=(ProcessView(0), ProcessView(1)))
    first, second, *_ = piped([waiting, elsewhere, replace(elsewhere, state="finished")])
    assert first.endswith(", 2 processes")
    assert ", 3.4/s, 2 processes on 2 computers, 9s elapsed" in second


def test_a_file_is_told_at_once_when_the_run_is_paused():
    """Else the log would look as if it hung."""
    lines = piped([RUN, RUN, replace(RUN, state="paused"), replace(RUN, state="paused")])
    assert sum("paused" in line for line in lines) == 1


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_a_terminal_that_is_none_gets_plain_lines(monkeypatch, name, value):
    """Build services and editors claim a terminal and then show every control character."""
    monkeypatch.setenv(name, value)
    terminal = Terminal()
    play(TextFrontend(QUIET, terminal), [RUN, replace(RUN, state="finished")])
    assert "\r" not in terminal.written
    assert "\x1b" not in terminal.written


def test_a_run_that_breaks_off_says_so():
    """A summary that reads like success would be a lie."""
    assert piped([RUN])[-1] == "find_rate: broken off after 25s: 84 of 213 done, 3 failed, 10 skipped"


def test_a_run_that_stopped_by_itself_says_why():
    """Whoever has set a limit, and whoever has not, is to know that it was this."""
    stopped = replace(RUN, state="stopped", reason="max_failures=3 is\nreached")
    assert piped([RUN, stopped])[-1] == (
        "find_rate: stopped after 25s: 84 of 213 done, 3 failed, 10 skipped (max_failures=3 is reached)"
    )


# -- where nobody looks -----------------------------------------------------------------------


def test_a_broken_pipe_silences_the_frontend():
    """``farm.py 2>&1 | head`` must not end the run."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    play(TextFrontend(VERBOSE, stream), a_run())
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_stream_that_was_closed_silences_the_frontend():
    """pytest and notebooks replace and close stderr as they like, before or during a run."""
    stream = io.StringIO()
    frontend = TextFrontend(QUIET, stream)
    frontend.show(RUN)
    stream.close()
    play(frontend, a_run())
    play(TextFrontend(QUIET, stream), a_run())


def test_no_stderr_at_all_is_silence(monkeypatch):
    """Under pythonw there is none."""
    monkeypatch.setattr("sys.stderr", None)
    play(TextFrontend(VERBOSE), a_run())


def test_stderr_is_looked_up_when_the_frontend_is_made(capsys):
    """So that a capture or a redirection that came after the import is heeded."""
    play(TextFrontend(QUIET), a_run())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("find_rate: 20 done in 5.0s\n")


def test_the_line_says_what_all_frontends_say_of_the_time_remaining(monkeypatch):
    """Who looks at the window and at the terminal must not wonder which of them is right."""
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr("time.time", lambda: NOON)
    terminal, piped = Terminal(), io.StringIO()
    frontend, other = TextFrontend(QUIET, terminal), TextFrontend(QUIET, piped)
    history = wavering_run()
    for snapshot, left in zip(history, told(history, NOON), strict=True):
        frontend.show(snapshot)
        line = terminal.screen.current
        assert (left.left in line and left.end in line) if left else "left" not in line
        before = len(piped.getvalue())
        other.show(snapshot)
        new = piped.getvalue()[before:]
        if before and new:
            assert new.endswith(f", {left.whole}\n" if left else "elapsed\n")


# -- the words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (3.9, "3s"), (80, "1m 20s"), (62, "1m 02s"), (7500, "2h 05m"), (97200, "1d 3h")],
)
def test_clocks_read_well(seconds, text):
    """Two units at most: nobody plans by the seconds of an hour."""
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("elapsed", "complete", "text"),
    [
        (12.0, 0.35, "35% complete, 12s elapsed, approximately 22s remaining"),
        (3.0, 0.05, "5% complete, 3s elapsed, approximately 57s remaining"),
        (3.0, 0.0, "0% complete, 3s elapsed"),
        (3.0, 0.29, "29% complete, 3s elapsed, approximately 7s remaining"),
        (3665.0, 1.0, "100% complete, 1h 1m 5s elapsed, approximately 0s remaining"),
        (3.0, None, "3s elapsed"),
    ],
)
def test_progress_is_told_in_brians_words(elapsed, complete, text):
    """What Brian 1.4's make_text_report said, but for the full stop."""
    assert progress_text(elapsed, complete) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, ""), (3.4, "3.4/s"), (12000, "12k/s"), (0.07, "4.2/min"), (0.001, "3.6/h"), (2.5e6, "2.5M/s")],
)
def test_rates_are_told_in_units_that_one_can_picture(rate, text):
    """0.07 items a second is nothing that anybody can picture."""
    assert rate_text(rate) == text


def test_a_summary_tells_stopped_from_finished():
    """The last line is often the only one that is read."""
    finished = replace(RUN, state="finished", done=200, elapsed=62.0)
    assert summary_text(finished) == "find_rate: 200 done, 3 failed, 10 skipped in 1m 02s"
    stopped = replace(RUN, state="stopped")
    assert summary_text(stopped) == "find_rate: stopped after 25s: 84 of 213 done, 3 failed, 10 skipped"


@given(st.text(), st.integers(4, 40))
def test_printable_text_is_one_short_line(text, limit):
    """Whatever a name holds, it can neither move the cursor nor fill the screen."""
    assert printable(text, limit).isprintable()
    assert len(printable(text, limit)) <= limit


@given(st.floats(), st.floats(), st.none() | st.floats())
def test_no_number_is_beyond_words(low, high, complete):
    """A broken number is shown as something, not raised."""
    assert progress_text(low, complete)
    assert clock_text(high)
    assert isinstance(rate_text(high), str)
