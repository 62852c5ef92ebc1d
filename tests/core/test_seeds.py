"""Each item of a run with a seed has random numbers of its own, wherever and whenever it runs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import seed_tasks
from farmhand import open_store, run_tasks
from farmhand.rerun import Rerun, Surroundings
from farmhand.seeds import item_seed
from waiting import DEADLINE, wait_for, wait_until

numpy = pytest.importorskip("numpy")

SEEDS = st.integers(0, 2**200)
INDICES = st.integers(0, 2**32 - 1)
ITEMS = list(range(8))


def farm(task, items=ITEMS, poolsize=2, **kwds):
    """What each item gave, in the order of the items."""
    with open_store(":memory:") as store:
        run_tasks(store, task, items, gui=False, progress="none", poolsize=poolsize, **kwds)
        return values_of(store)


def values_of(store):
    records = sorted(store.records(), key=lambda record: record.index)
    return [store[record.key] for record in records]


def drawn(seed):
    """What ``seed_tasks.draw`` gives when everything is seeded with ``seed``."""
    before = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed)
    try:
        return (*seed_tasks.draw()[:3], str(seed))
    finally:
        random.setstate(before[0])
        numpy.random.set_state(before[1])


EXPECTED = [drawn(item_seed(7, index)) for index in ITEMS]


# -- the seed of an item -------------------------------------------------------------------------------------


@given(SEEDS, INDICES, INDICES)
@example(7, 0, 1 << 16)
def test_no_two_items_of_a_run_share_a_seed(seed, one, other):
    """It is a permutation of all numbers that every generator takes."""
    first, second = item_seed(seed, one), item_seed(seed, other)
    assert (first == second) == (one == other)
    assert 0 <= first < 2**32


def test_neighbours_are_as_different_as_chance_has_it():
    """Of the 32 bits, half differ; also between the seeds 0 and 1."""
    seeds = [item_seed(0, index) for index in range(2000)]
    apart = [(one ^ other).bit_count() for one, other in pairwise(seeds)]
    assert 15.5 < sum(apart) / len(apart) < 16.5
    across = [(one ^ item_seed(1, index)).bit_count() for index, one in enumerate(seeds)]
    assert 15.5 < sum(across) / len(across) < 16.5


def test_the_seed_of_an_item_never_changes():
    """What was published with a seed must come out again with any later version."""
    assert [item_seed(7, 0), item_seed(7, 1), item_seed(8, 0)] == [2930287822, 1777733166, 2533583933]


# -- the same numbers, whatever happens ----------------------------------------------------------------------


@pytest.mark.parametrize("poolsize", [1, 3])
@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_python_and_numpy_draw_what_the_seed_says(poolsize, start_method):
    """However many processes there are, however they started, and whatever they ran before."""
    assert farm(seed_tasks.draw_some, [0] * 8, poolsize, seed=7, start_method=start_method) == EXPECTED
    found = farm(seed_tasks.draw_some, ITEMS, poolsize, seed=7, start_method=start_method)
    assert [each[3] for each in found] == [str(item_seed(7, index)) for index in ITEMS]
    assert found == farm(seed_tasks.draw_some, ITEMS, 1, seed=7)


def test_tiny_items_that_are_sent_by_hundreds_have_their_own():
    """Chunks, and the order in which they end, make no difference."""
    found = farm(seed_tasks.tiny, range(3000), 3, seed=7)
    assert found == [random.Random(item_seed(7, index)).random() for index in range(3000)]


def test_rng_is_what_it_was_and_the_others_are_seeded_beside_it():
    """A generator of one's own is the better way; old code in the same task draws from the old ones."""
    found = farm(seed_tasks.draw_and_rng, seed=7)
    assert [each[:4] for each in found] == EXPECTED
    generators = [numpy.random.SeedSequence(7, spawn_key=(index,)) for index in ITEMS]
    assert [each[4] for each in found] == [numpy.random.default_rng(each).random() for each in generators]


def test_a_class_is_made_without_a_seed_and_its_items_have_theirs():
    """What ``__init__`` draws depends on the process, what an item draws does not."""
    assert farm(seed_tasks.Drawing, poolsize=3, seed=7) == EXPECTED
    assert farm(seed_tasks.Made, [1], 1, seed=7) != farm(seed_tasks.Made, [1], 1, seed=7)


def test_a_program_that_the_task_starts_finds_the_seed_in_its_environment():
    assert farm(seed_tasks.draw_in_a_program, [1, 2], seed=7) == [str(item_seed(7, 0)), str(item_seed(7, 1))]


def test_a_farm_inside_an_item_has_no_seed_of_that_item():
    """All its items would have the same."""
    assert farm(seed_tasks.nested, [1], 1, seed=7) == [[None]]


def test_an_item_whose_process_died_draws_the_same_again(tmp_path):
    """And so do all others."""
    task = partial(seed_tasks.die_once, folder=str(tmp_path))
    assert farm(task, seed=7, retries=1) == EXPECTED


def test_an_item_that_is_tried_again_draws_the_same_again(tmp_path):
    """Its record has one seed for all attempts."""
    task = partial(seed_tasks.fail_once, folder=str(tmp_path))
    with open_store(":memory:") as store:
        run_tasks(store, task, ITEMS, gui=False, progress="none", poolsize=2, seed=7, retries=1)
        assert values_of(store) == EXPECTED
        again = sorted(store.retried(), key=lambda record: record.index)
        assert [float(record.error.message) for record in again] == [each[0] for each in EXPECTED]
        assert [record.seed for record in again] == [item_seed(7, index) for index in ITEMS]


@pytest.mark.parametrize("name", ["results.db", "results.data"])
def test_a_run_that_was_killed_and_resumed_has_the_numbers_of_one_that_was_not(tmp_path, name):
    """An item keeps its index, as long as the items are the same: ``resume`` counts those that it skips."""
    pytest.importorskip({"results.db": "farmhand_sqlite", "results.data": "farmhand_shelve"}[name])
    path = tmp_path / name
    with subprocess.Popen([sys.executable, seed_tasks.__file__, str(path), str(tmp_path)]) as killed:
        wait_for(tmp_path / "there")
        with open_store(path) as store:
            wait_until(lambda: store.itemcount() == 4, "four results")
        killed.kill()
        killed.wait(DEADLINE)
    (tmp_path / "go").touch()
    task = partial(seed_tasks.wait_at, folder=str(tmp_path))
    with open_store(path) as store:
        summary = run_tasks(
            store, task, range(6), gui=False, progress="none", poolsize=2, seed=7, resume=True
        )
        assert (summary.done, summary.skipped) == (2, 4)
        assert {store.item(record.key): store[record.key] for record in store.records()} == dict(
            enumerate(EXPECTED[:6])
        )
        assert {store.item(each.key): each.seed for each in store.records()} == {
            index: item_seed(7, index) for index in range(6)
        }


# -- without a seed ----------------------------------------------------------------------------------------


def test_without_a_seed_nothing_is_seeded_and_nothing_said():
    """And the record says so."""
    with open_store(":memory:") as store:
        run_tasks(store, seed_tasks.draw, [1, 2], gui=False, progress="none", poolsize=1)
        first, second = store.values()
        assert first[:3] != second[:3]
        assert first[3] is second[3] is None
        assert [record.seed for record in store.records()] == [None, None]
        assert store.runs()[0].seed is None


def test_forked_processes_do_not_all_draw_the_same_numbers(monkeypatch):
    """Each is a copy of this one, generators included; their items would be duplicates of each other."""
    found = farm(seed_tasks.Made, [0] * 40, 4, start_method="fork", recycle=1)
    for source in range(3):
        assert len({each[source] for each in found}) == 40


# -- again, by hand ----------------------------------------------------------------------------------------


def test_a_record_has_what_an_item_can_be_drawn_again_with():
    """The seed is kept with the run, for a task without ``rng`` as well."""
    with open_store(":memory:") as store:
        summary = run_tasks(
            store, seed_tasks.draw, ITEMS, gui=False, progress="none", poolsize=2, seed=7, stop_when=len
        )
        assert store.runs()[0].seed == 7
        for record in store.records():
            assert store[record.key] == drawn(record.seed)
        assert summary.failed == 0


def test_a_drawn_seed_serves_all_generators():
    """A task that takes ``rng`` has a seed in any case: its item can be had again as a whole."""
    with open_store(":memory:") as store:
        run_tasks(store, seed_tasks.draw_and_rng, [1, 2], gui=False, progress="none", poolsize=1)
        for record in store.records():
            assert store[record.key][:4] == drawn(record.seed)


def test_rerun_seeds_the_item_as_the_farm_did(tmp_path):
    """Afterwards the environment is as it was."""
    pytest.importorskip("farmhand_sqlite")
    with open_store(tmp_path / "results.db") as store:
        run_tasks(store, seed_tasks.Drawing, ITEMS, gui=False, progress="none", poolsize=2, seed=7)
        [run] = store.runs()
        environment = dict(os.environ)
        before = random.getstate(), numpy.random.get_state()
        with Surroundings(store, run) as surroundings:
            tried = Rerun(surroundings, store, run, 5).run()
        random.setstate(before[0])
        numpy.random.set_state(before[1])
    assert tried.value == EXPECTED[5]
    assert dict(os.environ) == environment


def test_a_table_has_the_seeds_with_what_records_say():
    """A parameter that is called ``seed`` keeps its name."""
    pytest.importorskip("pandas")
    with open_store(":memory:") as store:
        run_tasks(store, seed_tasks.draw, [1, 2], gui=False, progress="none", poolsize=1, seed=7)
        assert list(store.to_dataframe(records=True)["seed"]) == [item_seed(7, 0), item_seed(7, 1)]
        assert list(store.to_dataframe(records=["index", "seed"]).columns)[-2:] == ["index", "seed"]


# -- Brian 2 -------------------------------------------------------------------------------------------------


def test_brian_draws_what_the_seed_says_from_its_first_item_on(brian2):
    """Its import draws nothing; what its compiled code has drawn ahead is not for the next item."""
    with open_store(":memory:") as store:
        run_tasks(store, seed_tasks.simulate, [0] * 4, gui=False, progress="none", poolsize=2, seed=7)
        found = {record.index: (store[record.key], record.seed) for record in store.records()}
    assert [found[index][0][2] for index in range(4)] == [0] * 4
    target = brian2.prefs.codegen.target
    try:
        for index in (0, 3):
            value, seed = found[index]
            brian2.seed(seed)
            assert seed_tasks.simulate(0)[:2] == value[:2]
    finally:
        brian2.prefs.codegen.target = target
        brian2.seed()
