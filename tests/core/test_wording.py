"""Durations, sizes and times as people read them; what frontends say of progress is tested with these."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.progress import ProcessView, Snapshot
from farmhand.values import replace
from farmhand.wording import (
    cells,
    computer_text,
    cut,
    duration_text,
    phase_text,
    process_text,
    processes_text,
    rest_text,
    size_text,
    state_text,
    summary_text,
    when_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0000123, "0.012ms"),
        (0.0049, "4.9ms"),
        (0.34, "340ms"),
        (0.9996, "1.0s"),
        (2.54, "2.5s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "59s"),
        (80.0, "1m 20s"),
        (7500.0, "2h 05m"),
        (math.inf, "?"),
    ],
)
def test_a_duration_has_two_figures_or_a_clock(seconds, text):
    """From microseconds to days, in one column."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_345_678, "12 MB"),
        (1_500_000_000, "1.5 GB"),
        (10**19, "10000 PB"),
    ],
)
def test_a_size_is_in_the_units_that_arguments_take(size, text):
    """``memory_limit='1.5 GB'`` means the same."""
    assert size_text(size) == text


def test_a_time_of_another_day_has_its_date():
    """Of today, the second may be of interest; of another day, the day is."""
    now = time.mktime((2026, 3, 4, 15, 0, 0, 0, 0, -1))
    assert when_text(now - 3600, now) == "14:00:00"
    assert when_text(now - 86400, now) == "2026-03-03 15:00"
    assert when_text(1e300, now) == when_text(math.nan, now) == "?"


@given(text=st.text(), width=st.integers(0, 50))
def test_what_is_cut_fits_and_is_the_beginning(text, width):
    """Wide letters take two columns, and accents none."""
    part = cut(text, width)
    assert text.startswith(part)
    assert cells(part) <= width
    assert part == text or cells(text[: len(part) + 1]) > width


@pytest.mark.parametrize(
    ("complete", "remaining", "text"),
    [
        (0.4, 80.0, "1m 20s"),
        (1.0, 0.0, "0s"),
        (0.0, 80.0, "~80 s"),
        (math.nan, 80.0, "~80 s"),
        (None, 80.0, "~80 s"),
        (None, 13.2, "~14 s"),
        (None, 1.2, "~1 s"),
        (None, 0.3, ""),
        (None, 0.0, ""),
        (None, -5.0, ""),
        (None, None, ""),
        (0.4, math.nan, ""),
        (0.4, -1.0, "0s"),
        (None, math.inf, ""),
    ],
)
def test_what_an_item_still_takes_is_told_from_a_guess(complete, remaining, text):
    """One that reports knows; of another, how long others took. One that is at zero has said nothing.

    Of items that take milliseconds, a second would be too much, and come and go.
    """
    process = ProcessView(0, 77, "busy", 3, elapsed=10.0, complete=complete, remaining=remaining)
    assert rest_text(process) == text


@pytest.mark.parametrize(
    ("phase", "elapsed", "text"),
    [
        ("preparing", 0.1, ""),
        ("preparing", 0.5, "preparing"),
        ("warm-up", 0.1, "warm-up"),
        ("warm\nup" + "x" * 90, 9.0, "warm up" + "x" * 30 + "..."),
        ("", 9.0, ""),
    ],
)
def test_the_part_of_an_item_is_told_once_it_lasts(phase, elapsed, text):
    """Most tasks are prepared in milliseconds; a word that flashes for each item would say nothing."""
    assert phase_text(ProcessView(0, 77, "busy", 3, elapsed=elapsed, phase=phase)) == text


@pytest.mark.parametrize(
    ("computer", "text"),
    [
        ("", ""),
        ("node17", "node17"),
        ("node17.cluster.example.org", "node17"),
        ("10.0.0.17", "10.0.0.17"),
        (".", "."),
        ("node\x1b[2J", "node\ufffd[2J"),
    ],
)
def test_a_computer_is_called_by_its_own_name(computer, text):
    """All of a cluster are of one domain."""
    assert computer_text(ProcessView(0, computer=computer)) == text


def test_a_progress_message_says_on_which_computer_it_is():
    """Only where that is another one: the others are as Brian had them."""
    view = ProcessView(3, 77, "busy", 3, elapsed=2.0, complete=0.5)
    assert process_text(view).startswith("Process 3: 50% complete")
    assert process_text(replace(view, computer="node17")).startswith("Process 3 on node17: 50% complete")


def test_where_processes_are_is_told_once_one_is_elsewhere():
    """One that waits for a place is nowhere yet; one computer has a name."""
    here = ProcessView(0, 77)
    there = ProcessView(1, 77, computer="node17.cluster.example")
    assert processes_text(Snapshot(processes=(here,))) == "1 process"
    assert processes_text(Snapshot(processes=(here, ProcessView(1)))) == "2 processes"
    assert processes_text(Snapshot(processes=(there, ProcessView(1)))) == "2 processes on node17"
    assert processes_text(Snapshot(processes=(there, here, there))) == "3 processes on 2 computers"


def test_the_state_of_a_run_is_told_in_words():
    """A person at a window or a terminal reads what goes on, and what is waited for."""
    busy = ProcessView(0, state="busy", index=3)
    assert state_text(Snapshot(processes=(ProcessView(0), ProcessView(1)))) == "starting 2 processes"
    assert state_text(Snapshot(processes=(busy, ProcessView(1)))) == "running"
    waiting = ProcessView(0, state="waiting")
    assert state_text(Snapshot(processes=(waiting, waiting))) == "waiting for a free worker"
    imports = ProcessView(1, pid=77)  # which may take long, but the system has started it
    assert state_text(Snapshot(processes=(waiting, imports))) == "starting 2 processes"
    assert state_text(Snapshot(processes=(waiting, busy))) == "running"
    assert state_text(Snapshot(state="paused")) == "paused"
    assert state_text(Snapshot(state="paused", processes=(busy,))) == "paused: 1 item still runs"
    assert state_text(Snapshot(state="finishing", processes=(busy, busy))) == "finishing: 2 items still run"
    assert state_text(Snapshot(state="stopping")) == "stopping"
    assert state_text(Snapshot(state="finished", elapsed=123.0)) == "finished in 2m 03s"
    assert (
        state_text(Snapshot(state="stopped", elapsed=1.0, reason="max_time"))
        == "stopped after 1.0s: max_time"
    )
    assert (
        state_text(Snapshot(state="broken", elapsed=12.0, reason="disk\nfull"))
        == "broken off after 12s: disk full"
    )


def test_of_a_run_that_goes_on_a_watcher_says_how_it_was():
    """Whoever leaves has not broken it off; how it has ended is told as always."""
    shown = Snapshot(task="find_rate", state="paused", total=9, done=3, elapsed=12.0)
    assert summary_text(shown) == "find_rate: broken off after 12s: 3 of 9 done"
    assert summary_text(shown, watching=True) == "find_rate: paused after 12s: 3 of 9 done"
    ended = replace(shown, state="stopped")
    assert summary_text(ended, watching=True) == summary_text(ended)
