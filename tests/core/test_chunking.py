"""How many items travel together: arithmetic, so its laws can be stated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.chunking import (
    GROWTH,
    LARGEST,
    LEAST,
    OVERHEAD,
    SINGLE,
    TARGET,
    UNDISTURBED,
    Pace,
    chunk_size,
    refill,
)

seconds = st.floats(0, 1e6)
means = st.none() | seconds
lasts = st.integers(0, LARGEST)
lefts = st.none() | st.integers(0, 10**9)
processes = st.integers(1, 10_000)


# -- bounds ----------------------------------------------------------------------------------------


@given(means, lasts, lefts, processes)
def test_a_chunk_has_at_least_one_item_and_never_too_many(mean, last, left, count):
    """Too many would be read ahead, and would all be sent back by a crash."""
    assert 1 <= chunk_size(mean, last, left, count) <= LARGEST


@given(lasts, lefts, processes)
def test_the_first_items_travel_alone(last, left, count):
    """Before any has ended nobody knows how long they take."""
    assert chunk_size(None, last, left, count) == 1


@given(st.floats(SINGLE, 1e6, exclude_min=True), lasts, lefts, processes)
def test_items_of_more_than_20_ms_travel_alone(mean, last, left, count):
    """What a message costs is nothing beside them."""
    assert chunk_size(mean, last, left, count) == 1


@given(st.floats(0, SINGLE), lasts, lefts, processes)
def test_a_chunk_is_at_most_50_ms_of_work(mean, last, left, count):
    """Then a pause, or a process that waits, is served within that time."""
    assert chunk_size(mean, last, left, count) * mean <= TARGET + mean


def test_items_of_a_millisecond_travel_in_chunks_of_50():
    """Once they have got there, and while enough is left."""
    assert chunk_size(0.001 - OVERHEAD, 50, None, 4) == 50


# -- growth ----------------------------------------------------------------------------------------


@given(means, lasts, lefts, processes)
def test_chunks_grow_step_by_step(mean, last, left, count):
    """The first items may have been quicker than all others."""
    assert chunk_size(mean, last, left, count) <= GROWTH * max(last, 1)


def test_tiny_items_reach_the_largest_chunk_in_a_few_steps():
    """Five messages, and the cost of messages is gone."""
    sizes = [1]
    for _ in range(5):
        sizes.append(chunk_size(1e-7, sizes[-1], None, 4))
    assert sizes[-1] == LARGEST


# -- the end ---------------------------------------------------------------------------------------


@given(st.floats(0, SINGLE), lasts, st.integers(2, 10**9), processes)
def test_no_chunk_is_more_than_half_of_an_equal_share_of_what_is_left_or_a_moment_of_work(
    mean, last, left, count
):
    """So that chunks shrink towards the end, and all processes end together."""
    size = chunk_size(mean, last, left, count)
    assert size == 1 or size <= left / (2 * count) + 1 or size * (mean + OVERHEAD) <= LEAST


@given(st.floats(0, SINGLE), st.integers(1, 100_000), st.integers(1, 64))
def test_the_chunks_of_any_farm_use_up_all_items(mean, items, count):
    """And shrink to single items at the end, or to a moment of work."""
    left, last, sizes = items, 0, []
    while left:
        last = chunk_size(mean, last, left, count)
        left -= last
        sizes.append(last)
        assert left >= 0
    assert sizes[-1] == 1 or sizes[-1] * (mean + OVERHEAD) <= LEAST


# -- monotony ----------------------------------------------------------------------------------------


@given(seconds, seconds, lasts, lefts, processes)
def test_longer_items_never_travel_in_larger_chunks(one, other, last, left, count):
    shorter, longer = sorted((one, other))
    assert chunk_size(longer, last, left, count) <= chunk_size(shorter, last, left, count)


@given(means, lasts, st.integers(0, 10**9), st.integers(0, 10**9), processes)
def test_more_left_never_means_smaller_chunks(mean, last, one, other, count):
    """And the largest are sent when nobody knows how much is left."""
    less, more = sorted((one, other))
    sizes = [chunk_size(mean, last, left, count) for left in (less, more, None)]
    assert sizes == sorted(sizes)


@given(means, lasts, lefts, processes, processes)
def test_more_processes_never_mean_larger_chunks(mean, last, left, one, other):
    fewer, more = sorted((one, other))
    assert chunk_size(mean, last, left, more) <= chunk_size(mean, last, left, fewer)


@given(means, lasts, lasts, lefts, processes)
def test_a_larger_chunk_before_never_means_a_smaller_one_now(mean, one, other, left, count):
    smaller, larger = sorted((one, other))
    assert chunk_size(mean, smaller, left, count) <= chunk_size(mean, larger, left, count)


# -- refilling -----------------------------------------------------------------------------------------


@given(means, st.integers(1, LARGEST))
def test_a_process_that_has_nothing_is_always_sent_something(mean, size):
    assert refill(mean, size, 0)


@given(
    st.none() | st.floats(UNDISTURBED, 1e6, exclude_min=True), st.integers(1, LARGEST), st.integers(1, 10**6)
)
def test_nothing_waits_behind_a_long_item(mean, size, held):
    """Another process could take it; and as long as no item has ended, any may be long."""
    assert not refill(mean, size, held)


@given(means, st.integers(1, LARGEST), st.integers(0, 10**6), st.integers(0, 10**6))
def test_whoever_has_less_is_refilled_first(mean, size, one, other):
    less, more = sorted((one, other))
    assert refill(mean, size, less) or not refill(mean, size, more)


@given(st.floats(0, UNDISTURBED), st.integers(1, LARGEST))
def test_a_process_with_short_items_has_at_most_a_chunk_and_a_half(mean, size):
    """Enough never to wait, and no more than that: its share is bounded."""
    held = 0
    while refill(mean, size, held):
        held += size
    assert held >= size
    assert held <= 1.5 * size + 1


# -- the pace --------------------------------------------------------------------------------------------


def test_nothing_is_known_of_the_pace_before_the_first_item():
    assert Pace().mean is None


def test_the_pace_of_equal_items_is_their_duration():
    pace = Pace()
    for count in (1, 8, 64):
        pace.add(count, count * 0.25)
    assert pace.mean == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(1, LARGEST), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_the_pace_lies_between_the_fastest_and_the_slowest(batches):
    pace = Pace()
    for count, mean in batches:
        pace.add(count, count * mean)
    means = [mean for _, mean in batches]
    assert pace.mean is not None
    assert min(means) * (1 - 1e-9) <= pace.mean <= max(means) * (1 + 1e-9)


def test_the_pace_follows_items_that_become_slower():
    """Batches of long ago hardly count any more, unless they were very many."""
    pace = Pace()
    for _ in range(1000):
        pace.add(10, 10 * 0.001)
    for _ in range(50):
        pace.add(10, 10 * 1.0)
    assert pace.mean == pytest.approx(1.0, rel=0.01)


@given(st.floats(max_value=-1e-9) | st.just(float("nan")))
def test_a_clock_that_was_set_back_does_no_harm(strange):
    pace = Pace()
    pace.add(1, strange)
    pace.add(1, 1.0)
    assert pace.mean is not None
    assert 0 < pace.mean <= 1.0
