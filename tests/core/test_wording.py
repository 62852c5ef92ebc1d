"""Durations, sizes and times as people read them; what frontends say of progress is tested with these."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.wording import cells, cut, duration_text, size_text, when_text


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
