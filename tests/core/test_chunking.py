"""How many items travel together: arithmetic, so its laws can be stated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand.chunking import (
    GATHER,
    GROWTH,
    LARGEST,
    LEAST,
    LONGEST_TRIP,
    MOST,
    NOTHING,
    OVERHEAD,
    SINGLE,
    TARGET,
    UNDISTURBED,
    Pace,
    chunk_size,
    refill,
    worth_taking,
)

seconds = st.floats(0, 1e6)
means = st.none() | seconds
lasts = st.integers(0, LARGEST)
lefts = st.none() | st.integers(0, 10**9)
processes = st.integers(1, 10_000)
trips = st.floats(0.001, LONGEST_TRIP)  # of a network


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


# -- far away --------------------------------------------------------------------------------------------


def largest_chunk(mean, trip):
    """What a process is sent when it is known how long items take, and many are left."""
    return chunk_size(mean, MOST * LARGEST, None, 1, trip)


@given(means, lasts, lefts, processes, trips | st.floats(LONGEST_TRIP, 1e6))
def test_far_away_as_well_a_chunk_has_at_least_one_item_and_never_too_many(mean, last, left, count, trip):
    """However long a message takes; and the very first items travel alone."""
    size = chunk_size(mean, last, left, count, trip)
    assert 1 <= size <= min(MOST * LARGEST, GROWTH * max(last, 1))
    assert size == 1 or mean is not None


@given(seconds, trips)
def test_a_process_that_asks_for_more_has_work_for_a_round_trip_in_hand(mean, trip):
    """And for the time for which it gathers results: else it would wait each time.

    But of tiny items, of which a chunk cannot have so many, it has two chunks; and beside long ones a round
    trip is nothing.
    """
    size = largest_chunk(mean, trip)
    held = 1
    while refill(mean, size, held, trip):
        held += 1
    enough = held * (mean + OVERHEAD) >= trip + GATHER
    assert enough or held >= 2 * LARGEST or mean > max(UNDISTURBED, NOTHING * trip)


@given(st.floats(0, 1), trips)
def test_a_process_that_is_far_away_has_at_most_three_chunks(mean, trip):
    """What it holds is bounded by the round trip, not by what there is: the others want some, too."""
    size = largest_chunk(mean, trip)
    held = 0
    while refill(mean, size, held, trip):
        held += size
    assert size <= held <= 3 * size
    assert held * mean <= 2 * TARGET + 10 * trip + 3 * mean


@given(st.floats(0, 1), trips, st.integers(1, 10**6))
def test_a_process_does_not_ask_more_often_than_about_once_a_round_trip(mean, trip, held):
    """Unless each of its items takes as long: tiny items cost few messages."""
    work = largest_chunk(mean, trip) * (mean + OVERHEAD)
    assert work >= trip or largest_chunk(mean, trip) >= LARGEST


@given(trips, st.floats(0, 1e6), st.integers(1, LARGEST), st.integers(1, 10**6))
def test_nothing_waits_behind_an_item_beside_which_a_round_trip_is_nothing(trip, more, size, held):
    """It costs a hundredth at most, and the next item might have waited for an hour."""
    long = max(UNDISTURBED, NOTHING * trip)
    assert chunk_size(long, LARGEST, None, 1, trip) == 1
    assert not refill(long * 1.001 + more, size, held, trip)


@given(st.floats(0, 1), st.integers(1, 10**6), processes, trips)
def test_towards_the_end_a_chunk_has_a_round_trip_of_work_or_half_of_an_equal_share(mean, left, count, trip):
    """Smaller ones would not make the end more even: the answer to each takes as long."""
    size = chunk_size(mean, LARGEST, left, count, trip)
    assert size <= left
    assert size == 1 or size <= left / (2 * count) + 1 or size * mean <= LEAST + trip


@given(seconds, trips, trips)
def test_the_longer_the_way_the_larger_the_chunks(mean, one, other):
    near, far = sorted((one, other))
    assert largest_chunk(mean, 0.0) <= largest_chunk(mean, near) <= largest_chunk(mean, far)


@given(means, st.integers(1, LARGEST), st.integers(0, 10**6), st.integers(0, 10**6), trips)
def test_far_away_as_well_whoever_has_less_is_refilled_first(mean, size, one, other, trip):
    less, more = sorted((one, other))
    assert refill(mean, size, less, trip) or not refill(mean, size, more, trip)


def test_what_a_stall_of_the_network_seems_to_ask_for_is_not_done():
    """A round trip of a minute does not mean minutes of work for each process."""
    assert chunk_size(0.01, LARGEST, None, 1, 60.0) * 0.01 <= TARGET + 4 * LONGEST_TRIP


# -- taking --------------------------------------------------------------------------------------------


@given(means, st.integers(0, 10**6), st.floats(0, 1e6), st.floats(0, 1))
def test_a_process_with_a_single_item_has_none_to_give_away(mean, held, silent, trip):
    """And on this computer whoever has more than one has."""
    assert not worth_taking(mean, min(held, 1), silent, trip)
    assert worth_taking(mean, held, silent) == (held > 1)


def test_items_that_would_have_ended_before_they_arrived_elsewhere_stay_where_they_are():
    """Ten of a millisecond, when they would be on their way for 150 of them."""
    assert not worth_taking(0.001, 10, 0.0, 0.1)
    assert worth_taking(1.0, 2, 0.0, 0.1)


def test_items_behind_one_that_is_longer_than_others_are_worth_taking():
    """It should have ended them all by now, and has not been heard of."""
    assert not worth_taking(0.001, 10, 0.2, 0.1)
    assert worth_taking(0.001, 10, 0.22, 0.1)


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


def test_of_more_batches_one_that_is_different_counts_for_less():
    """When many processes tell theirs, the latest ten are what chance brought."""
    few, many = Pace(), Pace()
    for pace, batches in ((few, 10), (many, 1000)):
        for seconds in [1.0] * 1000 + [9.0] * 10:
            pace.add(1, seconds, batches)
    assert few.mean > 5.0
    assert 1.0 < many.mean < 1.2


@given(st.floats(max_value=-1e-9) | st.just(float("nan")))
def test_a_clock_that_was_set_back_does_no_harm(strange):
    pace = Pace()
    pace.add(1, strange)
    pace.add(1, 1.0)
    assert pace.mean is not None
    assert 0 < pace.mean <= 1.0
