"""A time remaining that can be read while it counts down: what is said does not flicker, and stays true."""

from __future__ import annotations

import math
import random
import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from farmhand.progress import Estimate, Snapshot, TimeLeft
from farmhand.timeleft import RemainingWords, about_text, finish_text, remaining_text
from farmhand.values import replace

NOON = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0, "days": 86400.0}


def counting_down(low, median, high, at):
    """An estimate that is right, so many seconds later."""
    return Estimate(*(max(0.0, each - at) for each in (low, median, high)))


def told(words, estimate, elapsed, state="running"):
    """What is said of an estimate, so many seconds into a run."""
    return words.of(Snapshot(state=state, elapsed=elapsed, remaining=estimate), NOON + elapsed)


def bounds_in(span):
    """The seconds that somebody reads in a text: the low end (None where none is told) and the high one."""
    if span == "under a second":
        return None, 0.5
    numbers = re.findall(r"([\d.]+)(?: (s|min|h|days?))?", span)
    unit = numbers[-1][1]
    seconds = [float(number) * UNITS[own or unit] for number, own in numbers]
    return (None if span.startswith("under") else seconds[0]), seconds[-1]


def is_near(said, truth, estimate):
    """A step away at most, which is a third of the time or less, or a second; or a part of the range."""
    return abs(said - truth) <= max(1.0, truth * 0.34, 0.08 * (estimate.high - estimate.low))


def assert_true(left, estimate):
    low, high = bounds_in(left.span)
    assert is_near(high, estimate.high, estimate), (left, estimate)
    if low is not None:
        assert is_near(low, estimate.low, estimate), (left, estimate)
    else:  # a low end that is not told is hardly any
        assert estimate.low <= max(2.0, estimate.high / 10), (left, estimate)


ranges = st.builds(
    lambda high, median, low: (high * median * low, high * median, high),
    st.floats(0.0, 6.0).map(lambda power: 10.0**power),
    st.floats(0.05, 1.0),
    st.floats(0.0, 1.0),
)


@given(bounds=ranges, steps=st.integers(20, 400))
def test_while_bounds_count_down_nothing_comes_back_that_was_said_before(bounds, steps):
    """Who looks twice sees that it has become less; 12-19, 12-18, 12-19 min says that nobody knows."""
    words = RemainingWords()
    said = []
    for n in range(steps + 1):
        at = bounds[2] * n / steps
        left = str(told(words, counting_down(*bounds, at), at))
        if left != (said or [None])[-1]:
            said.append(left)
    assert len(said) == len(set(said))


@given(bounds=ranges, steps=st.integers(2, 300), noise=st.floats(0.0, 0.5), seed=st.integers(0, 2**32))
def test_what_is_said_is_within_a_step_of_the_truth(bounds, steps, noise, seed):
    """However much it wavers: who is told half an hour must not wait for an hour."""
    chance = random.Random(seed)
    words = RemainingWords()
    for n in range(steps):
        at = max(bounds[2] / steps, 1.1) * n  # a text may stay for a second, whatever comes
        low, median, high = (
            max(0.0, each - at) * (1 + noise * chance.uniform(-1, 1)) for each in sorted(bounds)
        )
        estimate = Estimate(*sorted((low, median, high)))
        assert_true(told(words, estimate, at), estimate)


@settings(max_examples=40)
@given(bounds=ranges, seed=st.integers(0, 2**32), minutes=st.integers(1, 3))
def test_an_estimate_that_wavers_a_little_makes_words_that_hardly_change(bounds, seed, minutes):
    """By 3 % ten times a second: the words change as often as if it did not waver, and a few times more."""
    assume(bounds[2] > 90.0 * minutes)
    chance = random.Random(seed)
    steady, wavering = RemainingWords(), RemainingWords()
    changes = {steady: 0, wavering: 0}
    before = {}
    for n in range(600 * minutes):
        at = n / 10
        true = counting_down(*bounds, at)
        noisy = sorted(
            each * (1 + 0.03 * chance.uniform(-1, 1)) for each in (true.low, true.median, true.high)
        )
        for words, estimate in ((steady, true), (wavering, Estimate(*noisy))):
            text = str(told(words, estimate, at))
            changes[words] += before.get(words, text) != text
            before[words] = text
    assert changes[wavering] <= changes[steady] + 3 * minutes


def test_a_text_stays_for_a_second_whatever_comes():
    """Nobody can read a flicker; then it is said what is true by now."""
    words = RemainingWords()
    assert told(words, Estimate(720, 900, 1200), 10.0).span == "12-20 min"
    assert told(words, Estimate(3600, 4000, 4800), 10.5).span == "12-20 min"
    assert told(words, Estimate(3600, 4000, 4800), 11.0).span == "60-80 min"


def test_a_bound_stays_until_the_estimate_is_a_whole_step_away():
    """Twelve minutes are not the same as eleven; as eleven and a half they are."""
    words = RemainingWords()
    spans = [
        told(words, Estimate(low, 900, 1200), 10.0 * n).span
        for n, low in enumerate((720, 661, 690, 661, 660, 690, 719, 720))
    ]
    assert spans == ["12-20 min"] * 4 + ["11-20 min"] * 3 + ["12-20 min"]


def test_the_low_end_of_a_wide_range_does_not_count_seconds():
    """Where it may as well take a minute longer, nine seconds are no news after ten."""
    words = RemainingWords()
    moments = (0, 2, 4, 5, 7, 9, 12, 20)
    spans = [told(words, counting_down(12.0, 30.0, 72.0, at), at).span for at in moments]
    assert spans == ["12-70 s"] * 3 + ["7-70 s"] * 3 + ["under 1 min", "under 50 s"]


def test_another_run_and_another_state_begin_anew():
    """What was said of something else is no reason to go on saying it."""
    words = RemainingWords()
    told(words, Estimate(720, 900, 1200), 10.0)
    assert told(words, Estimate(661, 900, 1200), 0.5).span == "11-20 min"
    assert told(words, Estimate(720, 900, 1200), 0.6, "finishing").span == "12-20 min"
    assert not told(words, None, 0.7)
    assert told(words, Estimate(661, 900, 1200), 0.8).span == "11-20 min"


@pytest.mark.parametrize("state", ["stopping", "finished", "stopped", "broken"])
def test_of_a_run_that_ends_nothing_is_said(state):
    """Its last items are given up, or it is over."""
    left = told(RemainingWords(), Estimate(720, 900, 1200), 1.0, state)
    assert not left
    assert str(left) == ""


def test_a_paused_run_has_a_time_remaining_but_no_end():
    """It takes so long once it goes on, and nobody knows when that is."""
    left = told(RemainingWords(), Estimate(720, 900, 1200), 1.0, "paused")
    assert str(left) == "12-20 min, when it goes on"
    assert left.whole == "12-20 min left, when it goes on"


def test_who_begins_to_look_later_reads_what_the_farm_tells_all():
    """Made of this estimate alone the words would be a step away from what those say who saw how it came."""
    told_all = TimeLeft("11-20 min", "about 12:15")
    late = Snapshot(remaining=Estimate(690, 900, 1200), told=told_all)
    assert RemainingWords().of(late, NOON) == told_all
    assert RemainingWords().of(replace(late, told=None), NOON).span == "12-20 min"


@pytest.mark.parametrize("span", ["12\x1b[2J min", "a week, or " * 100])
def test_what_a_farm_tells_has_to_be_fit_for_a_line(span):
    """It came through a socket."""
    snapshot = Snapshot(remaining=Estimate(720, 900, 1200), told=TimeLeft(span))
    assert RemainingWords().of(snapshot, NOON).span == "12-20 min"


# -- what is said of one estimate ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.6, "under a second"),
        (0.2, 3.0, "under 3 s"),
        (3.0, 6.0, "3-6 s"),
        (38.0, 42.0, "about 40 s"),
        (59.0, 61.0, "about 1 min"),
        (48.0, 72.0, "50-70 s"),
        (60.0, 120.0, "1-2 min"),
        (12 * 60.0, 19 * 60.0, "12-20 min"),
        (20.0, 250.0, "20 s to 4 min"),
        (42 * 60.0, 61 * 60.0, "40-60 min"),
        (90 * 60.0, 150 * 60.0, "1.5-2.5 h"),
        (5 * 60.0, 3 * 3600.0, "5 min to 3 h"),
        (10.0, 3 * 3600.0, "under 3 h"),
        (20 * 3600.0, 50 * 3600.0, "20-48 h"),
        (2.1 * 86400, 3.4 * 86400, "2-3.5 days"),
        (3 * 86400.0, 1e10, "over 3 days"),
        (1e10, 1e11, "over 1000 days"),
    ],
)
def test_times_remaining_are_ranges_that_read_well(low, high, text):
    """As exact as the estimate is, and no more; both ends of a wide range, each in its own unit."""
    assert remaining_text(Estimate(low, (low + high) / 2, high)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((30.0, 40.0, 50.0), "30-50 s"),
        ((720.0, 900.0, 1140.0), "12-20 min, about 12:15"),
        ((650.0, 700.0, 750.0), "11-13 min, about 12:12"),
        ((3 * 3600.0, 4 * 3600.0, 6.2 * 3600), "3-6 h, about 16:00"),
        ((12 * 3600.0, 13 * 3600.0, 15 * 3600.0), "12-15 h, about Thu 01:00"),
        ((8 * 86400.0, 9 * 86400.0, 12 * 86400.0), "8-12 days, about 2026-03-13"),
        ((5 * 60.0, 3600.0, 3 * 3600.0), "5 min to 3 h, by 15:00"),
        ((60.0, 400.0, 740.0), "1-12 min, by 12:13"),
        ((60.0, 240.0, 480.0), "1-8 min, about 12:04"),
        ((10.0, 600.0, 5.1 * 3600.0), "under 5 h, by 17:30"),
        ((3 * 86400.0, 1e9, 1e10), "over 3 days"),
    ],
)
def test_a_time_remaining_has_the_time_of_day_of_its_end(seconds, text):
    """Who looks at noon wants to know whether to come back after lunch, and no second of it.

    Between five minutes and three hours there is no time that is "about" the end, so that it is the
    one by which the run is probably over.
    """
    assert finish_text(Estimate(*seconds), NOON) == text


@pytest.mark.parametrize(
    "seconds",
    [
        (math.nan, 2.0, 3.0),
        (1.0, math.nan, 90.0),
        (1.0, 2.0, math.inf),
        (math.inf, math.inf, math.inf),
        (-1.0, 2.0, 3.0),
        (3.0, 2.0, 1.0),
        (1.0, 5.0, 3.0),
    ],
)
def test_what_is_no_range_of_times_is_unknown(seconds):
    """Somebody else's estimate may be anything; half of it is not worth more than nothing."""
    assert remaining_text(Estimate(*seconds)) == "unknown"
    assert told(RemainingWords(), Estimate(*seconds), 1.0).whole == "time left unknown"


numbers = st.floats() | st.floats(0.0, 1e7)


@given(
    history=st.lists(
        st.tuples(st.builds(Estimate, numbers, numbers, numbers), numbers, numbers), min_size=1, max_size=5
    )
)
def test_any_time_remaining_can_be_told(history):
    """The arithmetic was done elsewhere, and the clock may be anywhere."""
    words = RemainingWords()
    for estimate, elapsed, now in history:
        left = words.of(Snapshot(elapsed=elapsed, remaining=estimate), now)
        assert left.whole.isprintable()
        assert 0 < len(left.whole) < 50
        assert remaining_text(estimate)
        assert isinstance(about_text(now), str)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (13.2, "14 s"),
        (0.9, "1 s"),
        (0.3, ""),
        (95.0, "1.5 min"),
        (86400.0, "1 day"),
        (0.0, ""),
        (-3.0, ""),
        (math.nan, ""),
    ],
)
def test_one_time_is_rounded_as_ranges_are(seconds, text):
    """A guess of how long an item takes."""
    assert about_text(seconds) == text


def test_nothing_to_say_is_false():
    """So that a frontend leaves it out."""
    assert not TimeLeft()
    assert TimeLeft("unknown")
