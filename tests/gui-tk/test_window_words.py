"""What the window says, without a window: from a snapshot to texts, bars and the lines of the chart."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farmhand.events import Finish, ItemError, Pause, Resize, Resume, Stop
from farmhand.progress import Estimate, Failure, ProcessView, Snapshot, TimeLeft
from farmhand.testing.frontends import NASTY_TEXTS, a_failure, a_run, snapshots
from farmhand.wording import RemainingWords
from farmhand_tk.window.failed import Failed
from farmhand_tk.window.looks import chosen_theme, desktop_is_dark
from farmhand_tk.window.orders import Orders
from farmhand_tk.window.plan import plan_of
from farmhand_tk.window.words import (
    full_failure_text,
    kind_text,
    lost_text,
    news_text,
    overview_of,
    rerun_text,
    row_of,
    terminate_text,
    title_of,
)

BUSY = ProcessView(3, 77, "busy", 12, "(13.2, 0.5)", "k = 13.2: simulating", 12.0, 0.4, 0.42, 18.0, 1)
RUN = Snapshot(
    task="find_rate",
    store="/data/rates.db",
    total=300,
    done=100,
    failed=20,
    skipped=30,
    elapsed=725.0,
    complete=0.6,
    rate=0.2,
    remaining=Estimate(720.0, 900.0, 1140.0),
    cpu=0.87,
    processes=(BUSY, replace(BUSY, number=4)),
)


class Farm:
    """What takes orders and answers when it is told to."""

    def __init__(self):
        self.asked = []
        self.answers = {}

    def ask(self, control):
        self.asked.append(control)
        return len(self.asked)

    def answer(self, **fields):
        self.answers[len(self.asked)] = {"answer": len(self.asked), **fields}


# -- the run ---------------------------------------------------------------------------------------


def test_the_title_says_how_far_which_run_is():
    """It is all that is seen of a window in a task bar."""
    assert title_of(RUN) == "find_rate 60 % - rates.db"
    assert title_of(replace(RUN, total=None, complete=None)) == "find_rate 100 done - rates.db"
    assert title_of(replace(RUN, state="finished")) == "find_rate finished - rates.db"
    assert title_of(replace(RUN, store=":memory:")) == "find_rate 60 % - in this program's memory"


def test_the_overview_has_every_number_with_its_meaning():
    """Done, failed, skipped and total; how long it took, will take, and when it is over."""
    overview = overview_of(RUN, TimeLeft("12-20 min", "about 14:35"))
    assert overview.done == "100 of 300 done"
    assert (overview.failed, overview.skipped) == ("20 failed", "30 skipped")
    assert overview.percent == "60 %"
    assert overview.elapsed == "12m 05s"
    assert overview.remaining == "12-20 min, about 14:35"
    assert (overview.rate, overview.cpu) == ("12/min", "87 %")
    assert overview.state == "Running"


def test_the_bar_has_a_part_for_each_way_to_end_and_counts_the_running_items_in():
    """What was skipped, done and failed, and then what the running items have reported."""
    bar = overview_of(RUN, TimeLeft()).bar
    assert (bar.skipped, bar.done, bar.failed) == pytest.approx((0.1, 1 / 3, 20 / 300))
    assert bar.running == pytest.approx(0.6 - 150 / 300)
    assert bar.begins == 0.0


def test_a_bar_of_unknown_length_moves_with_the_run_and_stands_without_news():
    """It is drawn from the time of the run: where none comes, nothing pretends to go on."""
    unknown = replace(RUN, total=None, complete=None)
    one, two = (overview_of(replace(unknown, elapsed=t), TimeLeft()).bar for t in (10.0, 10.5))
    assert one != two
    assert one == overview_of(replace(unknown, elapsed=10.0), TimeLeft()).bar
    assert overview_of(unknown, TimeLeft()).percent == ""


def test_a_run_that_stands_still_promises_no_end():
    """A paused run takes so long once it goes on; one that finishes has its last items to wait for."""
    assert remaining_of(replace(RUN, state="paused")) == "12-20 min, when it goes on"
    assert remaining_of(replace(RUN, state="finishing", remaining=Estimate(15.0, 18.0, 25.0))) == "16-25 s"
    assert remaining_of(replace(RUN, state="finishing", remaining=None)) == "-"
    assert remaining_of(replace(RUN, state="finished")) == "none"
    assert remaining_of(replace(RUN, state="stopped")) == "-"
    assert remaining_of(RUN, lost=True) == "-"


def remaining_of(snapshot, lost=False):
    """What the window says of the time remaining."""
    return overview_of(snapshot, RemainingWords().of(snapshot, 1.7e9), lost).remaining


@pytest.mark.parametrize(
    ("state", "tone"),
    [("running", "busy"), ("paused", "wait"), ("stopped", "wait"), ("broken", "bad"), ("finished", "wait")],
)
def test_a_state_is_a_word_and_a_sign_and_only_then_a_colour(state, tone):
    """Who does not see the colours reads the same."""
    overview = overview_of(replace(RUN, state=state), TimeLeft())
    assert overview.tone == tone
    assert overview.state.lower().startswith(state)
    signs = {
        overview_of(replace(RUN, state=each), TimeLeft()).sign
        for each in ("running", "paused", "stopped", "broken")
    }
    assert len(signs) == 4


def test_silence_is_mentioned_when_it_lasts():
    """A farm may read items, or store: that is not yet a reason to worry, but no secret either."""
    assert news_text(2.9) == ""
    assert news_text(12.3) == "no news for 12s"


@pytest.mark.parametrize(
    ("programs", "dark"),
    [
        ({"gdbus": "echo '(<<uint32 1>>,)'", "gsettings": "echo \"'default'\""}, True),
        ({"gdbus": "echo '(<<uint32 2>>,)'", "gsettings": "echo \"'prefer-dark'\""}, False),
        ({"gdbus": "exit 1", "gsettings": "echo \"'prefer-dark'\""}, True),
        ({"gsettings": "case $3 in gtk-theme) echo \"'Adwaita-dark'\";; *) exit 1;; esac"}, True),
        ({"gsettings": "echo \"'default'\""}, False),
        ({}, False),
    ],
    ids=["portal dark", "portal light", "GNOME dark", "older GNOME", "GNOME light", "no desktop"],
)
def test_the_window_is_dark_where_the_desktop_prefers_it(tmp_path, monkeypatch, programs, dark):
    """Desktops are asked the way that they offer, the newest first; where there is none it is light."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    assert desktop_is_dark("linux") is dark


def test_a_desktop_of_apple_is_asked_its_own_way(tmp_path, monkeypatch):
    """``defaults`` fails where the light theme was never changed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "defaults"
    program.write_text("#!/bin/sh\necho Dark\n")
    program.chmod(0o755)
    assert desktop_is_dark("darwin") is True
    program.write_text("#!/bin/sh\nexit 1\n")
    assert desktop_is_dark("darwin") is False


@pytest.mark.parametrize(
    ("word", "theme"), [("dark", "dark"), (" Light", "light"), ("", "auto"), ("blue", "auto")]
)
def test_the_theme_can_be_chosen_before_the_window_opens(monkeypatch, word, theme):
    """``FARMHAND_THEME``, for a shell's start file."""
    monkeypatch.setenv("FARMHAND_THEME", word)
    assert chosen_theme() == theme


# -- the processes ---------------------------------------------------------------------------------


def test_a_row_shows_where_the_item_probably_is():
    """The bar goes on between two reports; the task's own name for what it does comes before the item."""
    row = row_of(BUSY)
    assert (row.number, row.label, row.percent) == ("3", "k = 13.2: simulating", "42 %")
    assert row.bar is not None
    assert row.bar.running == 0.42
    assert (row.elapsed, row.remaining, row.attempt) == ("12s", "18s", "")
    assert row_of(replace(BUSY, taskname="")).label == "(13.2, 0.5)"
    assert row_of(replace(BUSY, taskname=" ", item="")).label == "item 12"


def test_a_row_of_a_task_that_does_not_report_moves_without_a_number():
    """A bar that stands at zero for an hour says that it hangs."""
    silent = replace(BUSY, complete=None, expected=None, remaining=None)
    row, later = row_of(silent), row_of(replace(silent, elapsed=13.0))
    assert (row.percent, row.remaining) == ("", "")
    assert row.bar != later.bar
    assert row_of(replace(silent, remaining=18.4)).remaining == "~18 s"  # which is a guess
    assert row_of(replace(silent, remaining=-1.0)).remaining == ""


def test_a_row_says_that_its_item_prepares_and_which_part_of_it_runs():
    """A bar that waits for a compiler is not one that hangs."""
    preparing = replace(BUSY, complete=None, expected=None, remaining=None, phase="preparing")
    row = row_of(preparing)
    assert (row.label, row.percent) == ("k = 13.2: simulating", "preparing")
    assert row.bar != row_of(replace(preparing, elapsed=13.0)).bar  # it moves
    assert row_of(replace(preparing, elapsed=0.1)).percent == ""
    row = row_of(replace(BUSY, phase="warm-up"))
    assert (row.label, row.percent) == ("warm-up: k = 13.2: simulating", "42 %")


@pytest.mark.parametrize(
    ("attempts", "text"),
    [(1, ""), (2, "2nd try"), (3, "3rd try"), (4, "4th try"), (11, "11th try"), (22, "22nd try")],
)
def test_a_row_names_the_attempt_from_the_second_one(attempts, text):
    """An item that is tried again explains why the time remaining has grown."""
    assert row_of(replace(BUSY, attempts=attempts)).attempt == text


@pytest.mark.parametrize(
    ("state", "label"),
    [
        ("waiting", "waiting for a free worker"),
        ("idle", "waiting for an item"),
        ("starting", "starting"),
        ("leaving", "ending"),
        ("busy", "busy"),  # the last item has ended, and the next one was not seen to begin
    ],
)
def test_a_process_without_an_item_says_what_it_does(state, label):
    """And has no bar, which would mean something."""
    row = row_of(ProcessView(1, 5, state))
    assert (row.label, row.quiet, row.bar) == (label, True, None)


# -- what is asked and told ------------------------------------------------------------------------


def test_terminating_says_what_is_kept_and_what_is_lost():
    """Only the running items are lost, and they are not lost for good."""
    assert terminate_text(replace(RUN, done=217, failed=0)) == (
        "217 results are stored in rates.db and stay. "
        "2 running items are given up; with resume=True they run again."
    )
    one = replace(RUN, done=1, failed=0, processes=(BUSY,))
    assert terminate_text(one) == (
        "1 result is stored in rates.db and stays. "
        "1 running item is given up; with resume=True it runs again."
    )
    assert "in this program's memory" in terminate_text(replace(RUN, store=":memory:"))
    assert terminate_text(replace(RUN, done=0, failed=0, processes=())) == (
        "Nothing is stored yet. No item is running, so that nothing is lost."
    )


def test_a_farm_that_was_killed_is_reported_with_what_it_left():
    """In plain words, with the way out."""
    text = lost_text(replace(RUN, done=97, skipped=30))
    assert "it was killed, or its computer lost power" in text
    assert text.endswith("127 of 300 are stored in rates.db; resume=True runs the rest.")
    assert "are gone" in lost_text(replace(RUN, store=":memory:"))
    assert lost_text(None)
    watched = lost_text(RUN, watching=True)
    assert "the run goes on" in watched, "the command that shows it may have been stopped"
    assert "farmhand status" in watched


def test_a_failure_is_told_with_its_traceback_its_output_and_the_way_to_run_it_again():
    """All that one needs to begin with, in a form that can be pasted into a mail or a shell."""
    error = ItemError("raised", "ValueError", "no", "Traceback ...\n\tat once\nValueError: no")
    failure = Failure(1, 12, error, "(13.2, 0.5)", "r1-12", 3, 2, 1.25, "k = 13.2\nwarning\n")
    text = full_failure_text(failure, "/my data/rates.db")
    assert text.splitlines()[:3] == [
        "Item 12: (13.2, 0.5)",
        "Raised in process 3 after 1.2s, tried 2 times",
        "Run it again: farmhand rerun '/my data/rates.db' r1-12",
    ]
    assert "Traceback ...\n        at once\nValueError: no\n\nWhat it printed:\nk = 13.2\nwarning\n" in text
    assert rerun_text(failure, ":memory:") == rerun_text(replace(failure, key=""), "a.db") == ""
    died = replace(failure, error=ItemError("died", "", "killed by SIGKILL"), output="", attempts=1)
    assert "Died in process 3 after 1.2s\n" in full_failure_text(died, "a.db")
    assert "killed by SIGKILL\n\nIt printed nothing.\n" in full_failure_text(died, "a.db")


def test_an_item_whose_computer_was_lost_says_so():
    """It was no death of its process by itself."""
    assert kind_text("lost") == "computer lost"
    failure = replace(a_failure(1), error=ItemError("lost", "", "lost 4 times"), process=3, seconds=1.2)
    assert "\nLost in process 3 after 1.2s" in full_failure_text(failure, "a.db")


@pytest.mark.parametrize("text", NASTY_TEXTS, ids=lambda text: ascii(text[:12]))
def test_no_text_of_a_user_gets_to_tk_as_it_is(text):
    """Control characters, halves of characters and megabytes: Tk stumbles over some, and X over others."""
    view = replace(BUSY, taskname=text, item=text, computer=text)
    snapshot = replace(RUN, task=text, store=text, reason=text, processes=(view,))
    said = [title_of(snapshot), *astuple(overview_of(snapshot, TimeLeft())), *astuple(row_of(view))]
    said += full_failure_text(a_failure(1, text), text).splitlines()
    said += [terminate_text(snapshot), lost_text(snapshot)]
    for each in said:
        if isinstance(each, str):
            assert each.isprintable()
            assert len(each) < 3000


def astuple(value):
    return [getattr(value, name) for name in type(value).__annotations__]


@settings(max_examples=60)
@given(snapshot=snapshots(), lost=st.booleans())
def test_any_snapshot_has_words_and_bars_that_fit(snapshot, lost):
    """Arithmetic done elsewhere is not trusted: no part of a bar is negative, or goes beyond its end."""
    overview = overview_of(snapshot, TimeLeft(), lost)
    bars = [overview.bar, *(row_of(each).bar for each in snapshot.processes)]
    title_of(snapshot)
    terminate_text(snapshot)
    lost_text(snapshot)
    for bar in bars:
        if bar is not None:
            parts = astuple(bar)
            assert all(0.0 <= part <= 1.0 for part in parts)
            assert sum(parts) <= 1.0 + 1e-9


# -- failures that are kept ------------------------------------------------------------------------


def failing(first, last):
    """A snapshot after so many failures, of which it has those from the first on."""
    return replace(RUN, failed=last, failures=tuple(a_failure(n) for n in range(first, last + 1)))


def test_failures_are_kept_once_each_with_the_time_at_which_they_came():
    """Each snapshot has the last hundred again."""
    failed = Failed()
    failed.add(replace(RUN, failed=0, elapsed=0.1), 10.0)
    assert [seen.failure.number for seen in failed.add(failing(1, 2), 11.0)] == [1, 2]
    assert [seen.failure.number for seen in failed.add(failing(1, 3), 12.0)] == [3]
    assert [seen.moment for seen in failed.kept.values()] == [11.0, 11.0, 12.0]
    assert failed.unseen == 0


def test_failures_that_went_by_unseen_are_counted():
    """Thousands may fail between two snapshots; the store has them all, and the window says so."""
    failed = Failed()
    failed.add(failing(1, 5), 1.0)
    failed.add(failing(346, 445), 2.0)
    assert (len(failed.kept), failed.unseen) == (105, 340)


def test_no_more_than_a_thousand_failures_are_kept():
    """A task that is broken fails a million times in a minute."""
    failed = Failed()
    for last in range(100, 5001, 100):
        failed.add(failing(last - 99, last), 1.0)
    assert list(failed.kept) == list(range(4001, 5001))
    assert failed.unseen == 4000


def test_nobody_pretends_to_know_when_something_failed_before_the_window_was_there():
    """``farmhand gui`` may come hours later."""
    failed = Failed()
    failed.add(failing(1, 2), 5.0)
    failed.add(failing(1, 3), 6.0)
    assert [seen.moment for seen in failed.kept.values()] == [None, None, 6.0]


# -- orders ----------------------------------------------------------------------------------------


def test_a_button_says_that_it_was_pressed_until_the_farm_answers():
    """Then the state has changed, and the button says what can be done now."""
    farm = Farm()
    orders = Orders(farm)
    assert orders.label(Pause, RUN) == "Pause"
    orders.ask(Pause())
    assert orders.label(Pause, RUN) == "Pausing..."
    assert not orders.is_possible(Pause, RUN, connected=True)
    farm.answer(state="paused", wanted=2)
    orders.look()
    paused = replace(RUN, state="paused")
    assert orders.label(Pause, paused) == "Resume"
    assert orders.is_possible(Resume, paused, connected=True)
    orders.ask(Resume())
    assert orders.label(Pause, paused) == "Resuming..."


def test_an_order_that_is_refused_says_why():
    """The button is free again, and the reason is shown."""
    farm = Farm()
    orders = Orders(farm)
    orders.ask(Resize(9))
    assert orders.wanted == 9
    farm.answer(error="workers takes a number\nof processes")
    orders.look()
    assert orders.error == "workers takes a number of processes"
    assert orders.wanted is None
    assert orders.is_possible(Resize, RUN, connected=True)


@pytest.mark.parametrize(
    "state", ["running", "paused", "finishing", "stopping", "finished", "stopped", "broken"]
)
def test_only_what_the_farm_would_follow_can_be_asked(state):
    """A button that does nothing is a lie."""
    orders = Orders(Farm())
    now = replace(RUN, state=state)
    goes_on = state in ("running", "paused")
    assert orders.is_possible(Pause, now, connected=True) is goes_on
    assert orders.is_possible(Finish, now, connected=True) is goes_on
    assert orders.is_possible(Resize, now, connected=True) is goes_on
    assert orders.is_possible(Stop, now, connected=True) is (goes_on or state == "finishing")
    for kind in (Pause, Finish, Resize, Stop):
        assert not orders.is_possible(kind, now, connected=False)
        assert not orders.is_possible(kind, None, connected=True)


def test_a_run_that_is_being_terminated_takes_no_other_orders():
    """Not even a second time the same."""
    orders = Orders(Farm())
    orders.ask(Stop())
    assert orders.label(Stop, RUN) == "Terminating..."
    assert not any(orders.is_possible(kind, RUN, connected=True) for kind in (Pause, Finish, Resize, Stop))
    orders.forget()
    assert orders.is_possible(Stop, RUN, connected=True)


# -- the chart -------------------------------------------------------------------------------------


def test_the_chart_leads_from_what_has_ended_to_the_projected_end():
    """The line ends now; the band reaches the goal, without what is skipped, where the range says."""
    plan = plan_of(replace(RUN, history=((0.0, 0), (300.0, 50), (700.0, 118))))
    assert plan.line == ((0.0, 0.0), (300.0, 50.0), (700.0, 118.0), (725.0, 120.0))
    assert plan.goal == 270.0
    assert plan.ends == (725.0 + 720.0, 725.0 + 900.0, 725.0 + 1140.0)
    assert plan.times.end >= plan.ends[2]
    assert [label for _, label in plan.times.ticks] == ["0", "10 min", "20 min", "30 min"]
    assert [label for _, label in plan.items.ticks] == ["0", "100", "200"]


def test_the_chart_has_no_projection_where_there_is_none_to_be_had():
    """Of an unknown number of items, of a paused run, whose end moves away, and of one that is over."""
    assert plan_of(replace(RUN, total=None)).ends is None
    assert plan_of(replace(RUN, total=None)).goal is None
    for state in ("paused", "finished", "stopped"):
        assert plan_of(replace(RUN, state=state)).ends is None


def test_the_chart_of_a_run_that_finishes_leads_to_the_end_of_its_running_items():
    """The others are not going to run, so that the goal is out of reach."""
    finishing = replace(RUN, state="finishing", remaining=Estimate(15.0, 18.0, 25.0))
    for snapshot in (finishing, replace(finishing, total=None)):
        plan = plan_of(snapshot)
        assert plan.reach == 122.0
        assert plan.ends == (740.0, 743.0, 750.0)
    assert plan_of(replace(finishing, total=151)).reach == 121.0
    assert plan_of(replace(finishing, processes=())).ends is None


def test_the_band_stands_still_while_the_time_remaining_counts_down():
    """What has ended moves towards it; an end that moves as well would say that nothing is known."""
    plan = plan_of(RUN)
    for seconds in (0.5, 60.0, 700.0):
        rest = Estimate(720.0 - seconds, 900.0 - seconds, 1140.0 - seconds)
        later = plan_of(replace(RUN, elapsed=RUN.elapsed + seconds, remaining=rest), plan)
        assert (later.ends, later.reach, later.times) == (plan.ends, plan.reach, plan.times)


def test_the_axes_stand_still_while_the_estimate_wavers():
    """A chart that is stretched ten times a second cannot be read."""
    before = plan_of(RUN)
    for high in (1100.0, 1150.0, 1000.0):
        after = plan_of(replace(RUN, remaining=Estimate(700.0, 900.0, high)), before)
        assert after.times == before.times
    shorter = plan_of(replace(RUN, remaining=Estimate(10.0, 12.0, 15.0)), before)
    assert shorter.times.end < before.times.end


@settings(max_examples=40)
@given(before=snapshots(), snapshot=snapshots(), width=st.integers(1, 20), height=st.integers(1, 20))
def test_any_snapshot_has_a_chart_with_a_few_labels(before, snapshot, width, height):
    """Whatever numbers come: the axes are finite, labelled, and hold all that is drawn."""
    plan = plan_of(snapshot, plan_of(before), width, height)
    for axis, most in ((plan.times, width), (plan.items, height)):
        assert 0.0 < axis.end < math.inf
        assert 1 <= len(axis.ticks) <= most + 2
        assert all(0.0 <= value <= axis.end * (1 + 1e-9) for value, _ in axis.ticks)
    assert all(0.0 <= at <= plan.times.end and 0.0 <= count <= plan.items.end for at, count in plan.line)
    if plan.ends is not None:
        assert plan.ends[2] <= plan.times.end


def test_a_whole_run_is_drawn_from_the_first_moment_to_the_last():
    """The first snapshot has no history, and no time has passed."""
    plan = None
    for snapshot in a_run():
        plan = plan_of(snapshot, plan)
        assert plan.line[-1] == (snapshot.elapsed, snapshot.done + snapshot.failed)
