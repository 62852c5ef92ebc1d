"""What a user sees of a run on a terminal, on a real one whose screen is compared as text."""

from __future__ import annotations

import io
import logging
import os
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment

from farmhand.events import Finish, Pause, Resize, Resume, Stop
from farmhand.progress import Detach, Estimate, FrontendOptions, Output, ProcessView, Snapshot, TimeLeft
from farmhand.testing.frontends import NASTY_TEXTS, FrontendConformance, a_failure, a_run, play, snapshots
from farmhand.text import TextFrontend
from farmhand_rich.frontend import RichFrontend
from farmhand_rich.keys import Steering, presses
from farmhand_rich.layout import Layout, Message
from wavering import NOON, told, wavering_run

QUIET = FrontendOptions(task="find_rate")


def busy(number, complete=None, item="k=1", taskname="", elapsed=12.0, remaining=None, attempts=1):
    return ProcessView(
        number, 100, "busy", number, item, taskname, elapsed, complete, complete, remaining, attempts
    )


RUN = Snapshot(
    task="find_rate",
    total=213,
    done=84,
    failed=3,
    skipped=10,
    elapsed=25.0,
    complete=0.428,
    rate=3.4,
    cpu=0.93,
    remaining=Estimate(31.0, 35.0, 44.0),
    wanted=3,
    processes=(
        busy(0, 0.5, "k=3", remaining=12.0),
        busy(1, 0.25, "k=4", "fit 2", 80.0, remaining=240.0, attempts=2),
        ProcessView(2),
    ),
)
ENDED = replace(RUN, state="finished", done=200, elapsed=62.0, processes=())


def forced(width=100, height=30, **options):
    """A console that takes what it writes to for a terminal."""
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, width=width, height=height, **options), stream


# -- every frontend's contract ---------------------------------------------------------------------


class TestConsole(FrontendConformance):
    @pytest.fixture
    def make_frontend(self):
        return lambda options: RichFrontend(options, forced()[0])


class TestTerminal(FrontendConformance):
    @pytest.fixture
    def make_frontend(self, terminal, monkeypatch, looked_at):
        screen = terminal(60, 15)
        looked_at(screen)
        with open(os.dup(screen.slave), "w", encoding="utf-8") as stream:

            def make(options):
                monkeypatch.setattr("sys.stderr", stream)
                return RichFrontend(options)

            yield make


# -- the screen ------------------------------------------------------------------------------------


def test_one_screen_says_how_the_run_is_and_each_process(terminal, frontend_on):
    """All that the window says: the run, each process, and nothing that one has to guess."""
    screen = terminal(90, 24)
    frontend_on(screen).show(RUN)
    screen.read()
    assert screen.lines == [
        "",
        "find_rate",
        " 42% ━━━━━━━━━━━━━━━━━━╸─────────────────────────   84 of 213 done  3 failed  10 skipped",
        "25s elapsed  30-45 s left  3.4/s  CPU 93%  3 processes",
        "",
        " 0 ━━━━━━━━━━━───────────  50%     12s      12s left  k=3",
        " 1 ━━━━━╸────────────────  25%  1m 20s   4m 00s left  try 2: fit 2  k=4",
        " 2 starting",
    ]


ELSEWHERE = replace(
    RUN,
    cpu=None,
    processes=(
        replace(RUN.processes[0], computer="node17.cluster.example"),
        replace(RUN.processes[1], computer="gpu-2"),
        ProcessView(2, 77, "busy", computer="node17.cluster.example"),  # between two items
        ProcessView(3, 78, "starting", computer="gpu-2"),
        ProcessView(4, state="waiting"),
    ),
)


def test_processes_elsewhere_are_shown_with_their_computers(terminal, frontend_on):
    """In a column, before what may be of any width."""
    screen = terminal(100, 24)
    frontend_on(screen).show(ELSEWHERE)
    screen.read()
    assert screen.lines[5:] == [
        " 0 ━━━━━━━━━━━━────────────  50%     12s      12s left  node17  k=3",
        " 1 ━━━━━━──────────────────  25%  1m 20s   4m 00s left  gpu-2   try 2: fit 2  k=4",
        " 2                                                      node17",
        " 3 starting                                             gpu-2",
        " 4 waiting for a free worker",
    ]


def test_a_terminal_of_the_usual_width_has_no_room_for_computers(terminal, frontend_on):
    """What an item is says more."""
    screen = terminal(80, 24)
    frontend_on(screen).show(ELSEWHERE)
    screen.read()
    assert not any("node17" in line for line in screen.lines)
    assert screen.lines[3].endswith("  5 processes on 2 computers")


def test_who_waits_for_a_place_is_told_so(terminal, frontend_on):
    """All places of a cluster may be taken, for hours."""
    screen = terminal(80, 24)
    processes = tuple(ProcessView(number, state="waiting") for number in range(2))
    frontend_on(screen).show(Snapshot(task="find_rate", total=9, elapsed=60.0, processes=processes))
    screen.read()
    assert screen.lines[1] == "find_rate  waiting for a free worker"


def test_the_terminal_says_what_all_frontends_say_of_the_time_remaining(terminal, frontend_on, monkeypatch):
    """Who looks at the window and at the terminal must not wonder which of them is right."""
    monkeypatch.setattr("time.time", lambda: NOON)
    monkeypatch.setattr("farmhand_rich.screen._MOST", 0.0)  # seconds without drawing
    screen = terminal(100, 24)
    frontend = frontend_on(screen)
    history = wavering_run()
    for snapshot, left in zip(history, told(history, NOON), strict=True):
        frontend.show(snapshot)
        screen.read()
        figures = next((line for line in screen.lines if "elapsed" in line), "elapsed  3.4/s")
        expected = f"elapsed  {left.whole}  3.4/s" if left else "elapsed  3.4/s"
        assert expected in figures
    frontend.close()


PARTS = (
    replace(busy(0, None, "k=3"), phase="preparing"),
    replace(busy(1, 0.25, "k=4", "fit 2", 80.0, remaining=240.0, attempts=2), phase="warm-up"),
    replace(busy(2, 0.5, "k=5", remaining=12.0), phase="run 2"),
)


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (
            90,
            [
                " 0 ──────────━━━──── preparing     12s                k=3",
                " 1 ━━━━━╸────────────────  25%  1m 20s   4m 00s left  try 2: warm-up: fit 2  k=4",
                " 2 ━━━━━━━━━━━───────────  50%     12s      12s left  run 2: k=5",
            ],
        ),
        (
            50,
            [
                " 0 ──────━ preparing     12s  k=3",
                " 1 ━━━─────────  25%  1m 20s  try 2: warm-up: fit",
                " 2 ━━━━━━──────  50%     12s  run 2: k=5",
            ],
        ),
        (
            34,
            [
                " 0     preparing  k=3",
                " 1   25%  1m 20s  try 2: warm-up:",
                " 2   50%     12s  run 2: k=5",
            ],
        ),
        (20, [" 0       preparing:", " 1   25% try 2: war", " 2   50% run 2: k=5"]),
    ],
)
def test_an_item_says_that_it_prepares_and_which_part_of_it_runs(terminal, frontend_on, columns, lines):
    """A bar that waits for a compiler is not one that hangs, and two simulations are not one."""
    screen = terminal(columns, 24)
    frontend_on(screen).show(replace(RUN, processes=PARTS))
    screen.read()
    assert screen.lines[-3:] == lines


def test_an_item_that_does_not_report_has_a_guess_of_what_it_still_takes(terminal, frontend_on):
    """It goes by what the others took, and looks like that; one that outlasts them all has none."""
    screen = terminal(90, 24)
    processes = (busy(0, remaining=13.2), busy(1, remaining=95.0), busy(2, remaining=0.0))
    frontend_on(screen).show(replace(RUN, processes=processes))
    screen.read()
    assert [line[26:].split() for line in screen.lines[-3:]] == [
        ["12s", "~14", "s", "left", "k=1"],
        ["12s", "~1.5", "min", "left", "k=1"],
        ["12s", "k=1"],
    ]


def test_a_narrow_terminal_keeps_what_matters_most(terminal, frontend_on):
    """Twenty columns, beside an editor: how far it is, what failed, and what runs."""
    screen = terminal(20, 24)
    frontend_on(screen).show(RUN)
    screen.read()
    assert screen.lines == [
        "",
        "find_rate",
        " 42% ━╸──  3 failed",
        "30-45 s left",
        "",
        " 0   50% k=3",
        " 1   25% try 2: fit",
        " 2 starting",
    ]


def test_processes_for_which_there_is_no_room_are_counted(terminal, frontend_on):
    """Sixty-four processes on a small terminal: as many as there is room for, and how the others are."""
    processes = tuple(busy(n) if n < 62 else ProcessView(n) for n in range(64))
    screen = terminal(60, 15)
    frontend_on(screen).show(replace(RUN, processes=processes))
    screen.read()
    assert screen.lines[-2:][0].startswith(" 7 ")
    assert screen.lines[-1] == "... and 56 more processes, 54 busy"
    assert len(screen.lines) <= 12  # the rest is for what is printed above


def test_a_run_of_unknown_length_has_neither_bar_nor_percent(terminal, frontend_on):
    """There is nothing to draw them from."""
    screen = terminal(60, 15)
    frontend_on(screen).show(replace(RUN, total=None, complete=None, remaining=None, processes=()))
    screen.read()
    assert screen.lines[-2:] == [
        "84 done  3 failed  10 skipped",
        "25s elapsed  3.4/s  CPU 93%",
    ]


@pytest.mark.parametrize("state", ["paused", "finishing", "stopping"])
def test_the_title_says_when_the_run_does_not_just_run(terminal, frontend_on, state):
    """Else a user who paused it wonders why nothing moves."""
    screen = terminal()
    frontend_on(screen).show(replace(RUN, state=state))
    screen.read()
    assert screen.lines[1].startswith(f"find_rate  {state}")


def test_who_watches_another_process_is_told_which(terminal, frontend_on):
    """Several farms may run; the bars alone would not say whose they are."""
    screen = terminal()
    frontend_on(screen, watching=True).show(replace(RUN, store="/data/rates.db", pid=4711))
    screen.read()
    assert screen.lines[1] == "find_rate  /data/rates.db, process 4711"


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(), columns=st.integers(1, 130), rows=st.integers(1, 50), text=st.text(max_size=90))
def test_whatever_is_shown_fits_the_terminal(snapshot, columns, rows, text):
    """A line too long, or one too many, and the display can't be drawn in place any more."""
    layout = Layout(forced(columns, rows)[0], snapshot.task, "rates.db")
    message = Message((("p", "pause"), ("+ -", "processes")), text.strip() and "a question? go on")
    lines = layout.lines(snapshot, TimeLeft("30-45 s", "about 14:35"), message, columns, rows)
    assert max(map(Segment.get_line_length, lines)) <= max(1, columns - 1)
    assert len(lines) <= max(3, rows)


@pytest.mark.parametrize("name", ["漢字" * 40, "🐄👩‍🌾" * 30, "e\u0301" * 90, "❤️" * 60, "👍🏽" * 60])
def test_wide_characters_do_not_break_the_lines(terminal, frontend_on, name):
    """Terminals disagree about how wide they are: whatever they think, one line stays one line."""
    screen = terminal(50, 16)
    frontend = frontend_on(screen)
    for elapsed in (25.0, 27.0):
        processes = (busy(0, 0.5, name), busy(1, 0.5, "k=1", name), busy(2, 0.5, "k=2"))
        frontend.show(replace(RUN, task=name, elapsed=elapsed, state="paused", processes=processes))
        frontend.show(replace(RUN, task=name, elapsed=elapsed, processes=processes))
    screen.read()
    assert [line[:3] for line in screen.lines[-3:]] == [" 0 ", " 1 ", " 2 "]
    assert screen.text.count("84 of 213") + screen.text.count("84/213") == 1


def test_the_display_follows_the_size_of_the_terminal(terminal, frontend_on):
    """A window is resized while the run goes on; nothing of what stood there before is left."""
    screen = terminal(90, 24)
    frontend = frontend_on(screen)
    for columns, rows in [(90, 24), (40, 24), (70, 12), (90, 24)]:
        screen.resize(columns, rows)
        frontend.show(RUN)
        screen.read()
        assert screen.text.count("find_rate") == 1
        assert max(map(len, screen.lines)) < columns
    frontend.show(ENDED)
    frontend.close()
    screen.read()
    assert screen.lines == ["find_rate: 200 done, 3 failed, 10 skipped in 1m 02s"]


def test_a_terminal_that_breaks_lines_anew_is_cleaned_up(terminal, frontend_on, monkeypatch):
    """Most do when they become narrower: then what stood there has more lines than were drawn."""
    monkeypatch.delenv("XTERM_VERSION")
    screen = terminal(90, 24)
    frontend = frontend_on(screen)
    frontend.show(RUN)
    screen.read()
    before, broken = len(screen.written), sum(max(1, -(-len(line) // 40)) for line in screen.lines)
    assert broken > len(screen.lines)
    screen.resize(40, 24)
    frontend.show(RUN)
    screen.read()
    assert screen.written[before:].count(b"\x1b[1A") == broken - 1


def test_nothing_that_is_drawn_over_is_kept_by_tmux(terminal, frontend_on):
    """It moves what was cleared into its history, where old displays would stand one above the other."""
    screen = terminal(60, 12)
    frontend = frontend_on(screen)
    for number in range(1, 5):
        failures = tuple(a_failure(n) for n in range(1, number))
        state = "paused" if number % 2 else "running"
        frontend.show(replace(RUN, state=state, failed=number - 1, failures=failures))
    frontend.show(ENDED)
    screen.read()
    assert screen.screen.cleared == 0


def test_one_line_is_left_in_the_end_and_how_to_learn_more(terminal, frontend_on):
    """What stays in the scrollback is what one would look for there."""
    screen = terminal(60, 10)
    play(frontend_on(screen), [RUN, replace(RUN, elapsed=60.0), replace(ENDED, store="/data/rates.db")])
    screen.read()
    assert screen.all_lines == [
        "find_rate: 200 done, 3 failed, 10 skipped in 1m 02s",
        "farmhand failures /data/rates.db",
    ]
    assert not screen.screen.cursor.hidden


def test_a_run_that_breaks_off_says_so(terminal, frontend_on):
    """A summary that reads like success would be a lie."""
    screen = terminal()
    play(frontend_on(screen), [RUN])
    screen.read()
    assert screen.lines == ["find_rate: broken off after 25s: 84 of 213 done, 3 failed, 10 skipped"]


def test_who_leaves_a_run_that_goes_on_is_told_how_it_was(terminal, frontend_on):
    """That it broke off would be a lie."""
    screen = terminal()
    play(frontend_on(screen, watching=True), [RUN])
    screen.read()
    assert screen.lines == ["find_rate: running after 25s: 84 of 213 done, 3 failed, 10 skipped"]


def test_no_color_takes_the_colour_but_not_the_bars(terminal, frontend_on, monkeypatch):
    """NO_COLOR asks for no colour; bars that move are something else."""
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal()
    frontend_on(screen).show(RUN)
    screen.read()
    assert "━━━" in screen.text
    colours = {cell.fg for row in screen.screen.buffer.values() for cell in row.values()}
    assert colours == {"default"}


def test_a_terminal_that_has_no_bar_characters_gets_ascii(terminal, frontend_on):
    """A bar of question marks is no bar."""
    screen = terminal()
    frontend_on(screen, encoding="latin-1").show(replace(RUN, task="größe"))
    screen.read()
    assert "#####" in screen.text
    assert "━" not in screen.text


def test_drawing_takes_little_of_the_time(terminal, frontend_on):
    """Rich is slow: however many snapshots come, most of them are not drawn."""
    screen = terminal(100, 70)
    frontend = frontend_on(screen)
    history = a_run(items=1000, processes=64, steps=400)
    for snapshot in history[:-1]:
        frontend.show(snapshot)
        screen.read()
    assert 0 < screen.written.count(b"find_rate") < len(history) / 2


def test_a_change_of_state_is_drawn_at_once(terminal, frontend_on):
    """Who has pressed a key looks whether it has an effect."""
    screen = terminal()
    frontend = frontend_on(screen)
    for state in ("running", "paused", "running", "finishing", "stopping"):
        frontend.show(replace(RUN, state=state))
        screen.read()
        assert state == "running" or state in screen.lines[1]


# -- above the bars --------------------------------------------------------------------------------


def test_a_failure_is_printed_once_above_the_bars(terminal, frontend_on):
    """It must not be lost below the next drawing, nor come again with each snapshot."""
    screen = terminal()
    frontend = frontend_on(screen)
    failed = replace(RUN, failed=1, failures=(a_failure(1, "no", index=7),))
    for snapshot in (replace(RUN, failed=0), failed, failed, replace(failed, state="paused"), ENDED):
        frontend.show(snapshot)
    screen.read()
    assert screen.lines[0] == "item 7 failed: ValueError: no"
    assert screen.text.count("item 7 failed") == 1


def test_what_tasks_print_goes_above_the_bars_in_whole_lines(terminal, frontend_on):
    """Several processes print at once: each line says whose it is, and none controls the terminal."""
    screen = terminal()
    frontend = frontend_on(screen, verbose=True)
    frontend.show(replace(RUN, outputs=(Output(7, "one\ntwo"), Output(8, "\x1b[2Jthree\n"))))
    frontend.show(replace(ENDED, outputs=(Output(9, "four\n"),)))
    screen.read()
    assert screen.lines[:4] == ["[7] one", "[7] two", "[8] \ufffd[2Jthree", "[9] four"]


def test_progress_messages_are_bars_and_no_lines(terminal, frontend_on):
    """What Brian printed, ten times a second with many processes, would push everything else away."""
    screen = terminal()
    play(frontend_on(screen, verbose=True), a_run())
    screen.read()
    assert screen.all_lines == ["find_rate: 20 done in 5.0s"]


def test_what_the_script_prints_goes_above_the_bars(terminal, frontend_on, monkeypatch):
    """print, warnings, logging, also by a handler that was there before; whole lines, in their order."""
    screen = terminal()
    frontend = frontend_on(screen)
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    before = sys.stderr
    frontend.show(RUN)
    print("from the script", file=sys.stderr)
    logging.getLogger("mine").error("from a log")
    print("a line", end="", file=sys.stderr)
    print(" in two parts", file=sys.stderr)
    print("unfinished", end="", file=sys.stderr)
    frontend.show(replace(RUN, state="paused"))
    screen.read()
    assert screen.lines[:5] == ["from the script", "from a log", "a line in two parts", "unfinished", ""]
    assert screen.text.count("find_rate") == 1
    frontend.show(ENDED)
    frontend.close()
    assert sys.stderr is before
    assert handler.stream is before
    screen.read()
    said = ["from the script", "from a log", "a line in two parts", "unfinished"]
    assert screen.lines == [*said, "find_rate: 200 done, 3 failed, 10 skipped in 1m 02s"]


def test_a_forked_process_prints_where_its_own_descriptors_lead(terminal, frontend_on, tmp_path):
    """It has a copy of what stands for the streams here; what it prints is none of the display's business."""
    frontend_on(terminal()).show(RUN)
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(tmp_path / "printed", os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
            print("by the child", file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "printed").read_text() == "by the child\n"


def test_what_the_script_writes_to_a_file_goes_there(terminal, frontend_on, monkeypatch):
    """``farm.py > table.txt``: nothing of the table may end up on the terminal, nor the reverse."""
    table = io.StringIO()
    monkeypatch.setattr("sys.stdout", table)
    screen = terminal()
    frontend = frontend_on(screen)
    frontend.show(RUN)
    print("1,2,3")
    frontend.close()
    screen.read()
    assert table.getvalue() == "1,2,3\n"
    assert "1,2,3" not in screen.text


def test_a_user_of_rich_prints_above_the_bars(terminal):
    """Who gives the frontend a console may go on using it."""
    console, stream = forced(60, 12)
    frontend = RichFrontend(QUIET, console)
    frontend.show(RUN)
    console.print("[b]mine[/b]")
    frontend.show(ENDED)
    frontend.close()
    console.print("later")
    assert stream.getvalue().endswith("later\n")
    assert stream.getvalue().count("mine") == 1


# -- where drawing is no use -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_a_terminal_that_is_none_gets_plain_text(terminal, frontend_on, monkeypatch, name, value):
    """The same lines as without this package."""
    monkeypatch.setenv(name, value)
    screen = terminal()
    play(frontend_on(screen), [RUN, ENDED])
    screen.read()
    plain = io.StringIO()
    play(TextFrontend(QUIET, plain), [RUN, ENDED])
    assert screen.written.decode().replace("\r\n", "\n") == plain.getvalue()


def test_a_run_that_is_over_at_once_is_not_drawn(terminal, frontend_on):
    """Bars that flash up say nothing, and rich takes longer to import than such a run."""
    screen = terminal()
    printed = replace(RUN, failed=0, elapsed=0.0, outputs=(Output(6, "early\n"),))
    failures = (a_failure(1, "no", index=7),)
    failed = replace(RUN, failed=1, failures=failures, elapsed=0.1, store="/data/rates.db")
    play(frontend_on(screen, verbose=True), [printed, failed, replace(failed, state="finished")])
    screen.read()
    assert "─" not in screen.written.decode()
    assert screen.lines == [
        "[6] early",
        "item 7 failed: ValueError: no",
        "find_rate: 84 done, 1 failed, 10 skipped in 0.1s",
        "farmhand failures /data/rates.db",
    ]


def test_a_run_that_will_be_over_soon_is_not_drawn_yet(terminal, frontend_on):
    """A million tiny items take a second or two: rich would be a good part of it."""
    screen = terminal()
    frontend = frontend_on(screen)
    soon = Estimate(0.2, 0.4, 0.9)
    frontend.show(replace(RUN, elapsed=1.0, remaining=soon))
    screen.read()
    assert screen.lines == []
    frontend.show(replace(RUN, elapsed=2.5, remaining=soon))  # it was not
    screen.read()
    assert "find_rate" in screen.text


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_run(terminal, frontend_on, looked_at):
    """Ctrl-S, or a connection that hangs: the farm goes on, and all is there when it is looked at again."""
    screen = terminal(100, 40)
    frontend = frontend_on(screen, verbose=True)
    for number, snapshot in enumerate(a_run(items=4000, processes=20, steps=4000)[:-1]):
        frontend.show(replace(snapshot, state="paused" if number % 2 else "running"))  # each is drawn at once
    frontend.show(replace(RUN, outputs=(Output(7, "printed meanwhile\n"),)))
    looked_at(screen)
    frontend.show(ENDED)
    frontend.close()
    screen.see("200 done")
    assert "[7] printed meanwhile" in screen.lines


def test_a_terminal_that_is_gone_is_no_error(terminal, frontend_on):
    """The window of the terminal is closed: the farm hears of it by a signal, and the display is silent."""
    screen = terminal()
    frontend = frontend_on(screen)
    frontend.show(RUN)
    screen.hang_up()
    play(frontend, a_run())


def test_a_broken_pipe_does_not_end_the_program():
    """Rich exits on one, which would cost the run."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    play(RichFrontend(QUIET, Console(file=stream, force_terminal=True)), a_run())
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_no_stderr_at_all_is_silence(monkeypatch):
    """Under pythonw there is none."""
    monkeypatch.setattr("sys.stderr", None)
    play(RichFrontend(QUIET), a_run())


# -- keys ------------------------------------------------------------------------------------------


def test_keys_are_what_they_say():
    """Each asks for one thing, and the user is told until it has taken effect."""
    steering = Steering(watching=False)
    assert steering.press(["p"], RUN) == [Pause()]
    assert steering.text(RUN) == "pausing..."
    paused = replace(RUN, state="paused")
    assert steering.text(paused) == ""
    assert steering.press(["P"], paused) == [Resume()]
    assert steering.press(["f"], RUN) == [Finish()]
    assert steering.text(RUN) == "finishing the running items..."
    assert steering.text(replace(RUN, state="finishing")) == ""
    assert steering.press(["x", "", "\n", "é"], RUN) == []


def test_processes_are_counted_from_what_was_asked_for_last():
    """Three times + within one snapshot are three processes more."""
    steering = Steering(watching=False)
    assert steering.press(["+", "+", "="], RUN) == [Resize(4), Resize(5), Resize(6)]
    assert steering.text(RUN) == "6 processes..."
    six = replace(RUN, wanted=6, processes=tuple(ProcessView(n) for n in range(6)))
    assert steering.text(six) == ""
    assert steering.press(["-"], six) == [Resize(5)]
    one = replace(RUN, wanted=1, processes=(ProcessView(0),))
    steering = Steering(watching=False)
    assert steering.press(["-"], one) == []
    assert steering.text(one) == "one process is the least; p pauses"
    assert steering.text(replace(one, elapsed=one.elapsed + 5)) == ""


def test_stopping_is_asked_for_and_told_what_it_costs():
    """A key that is hit by mistake must not end a run of hours."""
    steering = Steering(watching=False)
    assert steering.press(["q"], RUN) == []
    question = "q again stops: 2 running items are given up, 84 results stay; any other key: go on"
    assert steering.text(RUN) == question
    assert steering.press(["n"], RUN) == []
    assert steering.text(RUN) == "the run goes on"
    assert steering.press(["q"], RUN) == []
    assert steering.press(["q"], RUN) == [Stop()]
    assert steering.text(RUN) == "stopping..."


def test_an_answer_counts_once_its_question_was_seen():
    """What is pasted, or comes from a key that is held down, is no answer."""
    steering = Steering(watching=False)
    assert steering.press(["q", "q", "q"], RUN) == []
    assert "again stops" in steering.text(RUN)
    assert steering.press(["", "q"], RUN) == []  # an arrow is another key
    assert steering.text(RUN) == "the run goes on"


def test_who_watches_leaves_with_q_and_stops_with_a_capital_one():
    """The run is another process's: to leave it costs nothing, and is not asked about."""
    steering = Steering(watching=True)
    assert steering.press(["q"], RUN) == [Detach()]
    assert steering.press(["Q"], RUN) == []
    assert steering.text(RUN).startswith("Q again stops")
    assert steering.press(["Q"], RUN) == [Stop()]
    assert {("q", "leave"), ("Q", "stop")} <= {*steering.help(RUN)}


def test_keys_that_send_several_bytes_are_one_key():
    """An arrow, F5 or a letter with Alt must not be read as the letters that it sends."""
    data = b"p\x1b[A\x1bOP\x1b[15~\x1bqf" + "éq漢".encode()
    assert presses(data) == ["p", "", "", "", "", "f", "", "q", ""]


@given(st.binary(max_size=40))
def test_any_bytes_are_keys(data):
    """Whatever a terminal sends, or a cat on the keyboard."""
    assert len(presses(data)) <= len(data)
    Steering(watching=False).press(presses(data), RUN)


@pytest.mark.parametrize("text", NASTY_TEXTS, ids=lambda text: ascii(text[:12]))
def test_nothing_that_is_shown_controls_the_terminal(text):
    """Names and errors come from the user's code and may hold anything."""
    console, stream = forced()
    shown = replace(RUN, task=text, failures=(a_failure(3, text),), processes=(busy(0, 0.5, text, text),))
    play(RichFrontend(FrontendOptions(text), console), [shown, replace(shown, state="finished")])
    for code in ("\x1b[2J", "\x07", "\x08", "\x9b", "\x00", "\u202e", "\u2028"):
        assert code not in stream.getvalue()
