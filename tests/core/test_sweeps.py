"""Items made by grid() and sample(): which ones, in which order, and the same ones again."""

import itertools
import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import FAST
from farmhand import MemoryStore, UsageError, call, grid, run_tasks, sample

axes = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.lists(st.integers(), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)


# -- grid ------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_and_the_last_parameter_changes_fastest():
    """As nested loops would, and as an array of these dimensions is laid out."""
    items = grid(a=[1, 2], b=["x", "y", "z"])
    assert list(items) == [call(a=a, b=b) for a in (1, 2) for b in "xyz"]
    assert len(items) == 6
    assert items.shape == (2, 3)
    assert items.axes == {"a": (1, 2), "b": ("x", "y", "z")}


@settings(deadline=None)
@given(axes)
def test_a_grid_is_a_sequence_that_can_be_read_again_indexed_and_pickled(axes):
    """Whatever a list of the items could do, without the list."""
    items = grid(axes)
    expected = [call(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    assert list(items) == list(items) == expected
    assert [items[place] for place in range(len(items))] == expected
    assert items[-1] == expected[-1]
    assert items[1::2] == expected[1::2]
    copy = pickle.loads(pickle.dumps(items))
    assert copy == items
    assert list(copy) == expected


def test_a_grid_makes_no_item_before_it_is_asked_for():
    """A grid of more items than any memory has is made at once."""
    huge = grid(a=range(10**6), b=range(10**6), c=range(10**6))
    assert next(iter(huge)) == call(a=0, b=0, c=0)
    assert huge[-1] == call(a=999_999, b=999_999, c=999_999)
    assert len(huge) == 10**18
    with pytest.raises(IndexError):
        huge[10**18]


def test_a_generator_of_values_is_read_once_and_kept():
    """The second iteration would find nothing, and lose all items."""
    items = grid(a=(k * k for k in range(3)))
    assert list(items) == list(items) == [call(a=0), call(a=1), call(a=4)]


def test_values_of_arrays_are_what_python_has_itself_where_that_is_the_same():
    """They travel as small pickles, and are read back where there is no numpy."""
    numpy = pytest.importorskip("numpy")
    [item] = grid(a=numpy.array([0.5]), b=numpy.array([1]), c=numpy.float32([0.1]))
    assert [type(value) for value in item.kwds.values()] == [float, int, numpy.float32]


def test_a_grid_says_what_it_is():
    """In a session, where one looks at what one has made."""
    assert repr(grid(a=range(100), b=["x"])) == "<grid(a=[0, 1, 2, 3, ...], b=['x']): 100 items>"


def test_parameters_whose_names_are_no_keywords_go_into_a_dict():
    """Names with hyphens are common in configurations; `**kwds` of the task takes them."""
    assert list(grid({"learning-rate": [1]}, b=[2])) == [call(**{"learning-rate": 1, "b": 2})]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "a has no values"),
        ("slow", r"a='slow' must be a list of values; for a single one, \[value\]"),
        (5, r"a=5 must be a list"),
        ({"x": 1}, "must be a list"),
        ({1, 2}, "has no order"),
    ],
)
def test_values_that_make_no_grid_are_refused_with_the_name_of_the_parameter(values, said):
    """A text is five values to Python, and a set is in another order tomorrow."""
    with pytest.raises(UsageError, match=said):
        grid(a=values, b=[1])


def test_a_grid_of_nothing_is_refused():
    """It would run the task once, without arguments; nobody means that."""
    with pytest.raises(UsageError, match="at least one parameter"):
        grid()
    with pytest.raises(UsageError, match="was given twice"):
        grid({"a": [1]}, a=[2])
    with pytest.raises(UsageError, match="takes its parameters by name"):
        grid([1, 2])
    with pytest.raises(UsageError, match="names of parameters are str"):
        grid({1: [2]})


def test_an_array_of_two_dimensions_is_refused():
    """Are its rows the values, or its numbers?"""
    numpy = pytest.importorskip("numpy")
    with pytest.raises(UsageError, match=r"a is an array of shape \(2, 2\)"):
        grid(a=numpy.eye(2))
    with pytest.raises(UsageError, match="must be a list"):
        grid(a=numpy.array(5))


# -- sample ----------------------------------------------------------------------------------------

SOURCES = {
    "whole": (1, 6),
    "real": (1.0, 6),
    "log": (1e-6, 1e3, "log-uniform"),
    "choice": ["x", "y"],
}


@settings(deadline=None)
@given(st.integers(), st.integers(0, 50), st.integers(0, 50))
def test_a_larger_sample_begins_with_the_smaller_one(seed, smaller, more):
    """So that with ``resume`` a sample is extended, and nothing of it computed twice."""
    whole = list(sample(smaller + more, SOURCES, seed=seed))
    assert whole[:smaller] == list(sample(smaller, SOURCES, seed=seed))
    assert len(whole) == smaller + more
    for item in whole:
        kwds = item.kwds
        assert list(kwds) == list(SOURCES)
        assert type(kwds["whole"]) is int
        assert 1 <= kwds["whole"] <= 6
        assert type(kwds["real"]) is float
        assert 1 <= kwds["real"] <= 6
        assert 1e-6 <= kwds["log"] <= 1e3
        assert kwds["choice"] in ("x", "y")


def test_the_same_seed_gives_the_same_items_in_every_process_and_version():
    """These were written down; who changes them changes what ``resume`` finds."""
    items = list(sample(2, whole=(1, 6), real=(0.0, 1.0), choice=["x", "y"], seed=1))
    assert items == [
        call(whole=6, real=0.9477486711592414, choice="y"),
        call(whole=4, real=0.6257794105050909, choice="x"),
    ]


def test_a_parameter_more_changes_nothing_of_the_others():
    """Each has chance of its own: a sweep is refined without throwing it away."""
    before = list(sample(20, a=(0.0, 1.0), seed=5))
    after = list(sample(20, b=(1, 9), a=(0.0, 1.0), seed=5))
    assert [item.kwds["a"] for item in after] == [item.kwds["a"] for item in before]


def test_without_a_seed_each_sample_is_another_one_and_stays_what_it_is():
    """Its seed is there to be written down."""
    items, others = sample(5, a=(0.0, 1.0)), sample(5, a=(0.0, 1.0))
    assert list(items) == list(items) == list(sample(5, a=(0.0, 1.0), seed=items.seed))
    assert list(items) != list(others)
    assert list(pickle.loads(pickle.dumps(items))) == list(items)


@settings(deadline=None)
@given(st.integers(), st.integers(0, 24), st.integers(0, 24))
def test_where_all_parameters_have_lists_no_combination_comes_twice(seed, smaller, larger):
    """As scikit-learn's ParameterSampler has it; and still a larger one begins with a smaller one."""
    smaller, larger = sorted((smaller, larger))
    choices = {"a": [1, 2, 3, 4], "b": ["x", "y", "z"], "c": [True, False]}
    items = list(sample(larger, choices, seed=seed))
    assert len({tuple(item.kwds.values()) for item in items}) == larger
    assert all(item in list(grid(choices)) for item in items)
    assert items[:smaller] == list(sample(smaller, choices, seed=seed))


def test_more_combinations_than_there_are_cannot_be_drawn():
    """Fewer items than asked for, and no word, would be a loss."""
    with pytest.raises(UsageError, match=r"have 4 combinations, .* grid\(...\) makes them all"):
        sample(5, a=[1, 2], b=[1, 2])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ((2, 1), "low is above high"),
        ((1, 2, 3), "a tuple is"),
        ((1,), "a tuple is"),
        (("x", "y"), "low and high are numbers. Choices are a list"),
        ((True, False), "low and high are numbers"),
        ((0.0, float("inf")), "finite"),
        ((0, 1, "log-uniform"), "above 0"),
        ([], "a has no values"),
        (5, "must be a tuple"),
        ("slow", "must be a tuple"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_when_the_sample_is_made(source, said):
    """And not in the middle of a farm."""
    with pytest.raises(UsageError, match=said):
        sample(3, a=source)


@pytest.mark.parametrize("count", [-1, 2.5, "3", True, None])
def test_a_sample_needs_a_number_of_items(count):
    """It comes first, without a name, so that a parameter may be called n."""
    with pytest.raises(UsageError, match="needs the number of items"):
        sample(count, a=(0, 1))
    assert len(list(sample(3, n=(0, 1)))) == 3


def test_a_parameter_that_is_called_seed_goes_into_a_dict():
    """``seed=(1, 9)`` is no seed, and the error says where it goes."""
    with pytest.raises(UsageError, match="goes into a dict"):
        sample(3, seed=(1, 9))
    assert all(1 <= item.kwds["seed"] <= 9 for item in sample(3, {"seed": (1, 9)}))


def test_distributions_of_scipy_are_drawn_from_and_can_be_extended():
    """Also beyond one batch, in which they are drawn for speed."""
    stats = pytest.importorskip("scipy.stats")
    items = sample(600, a=stats.norm(10, scale=0.1), b=stats.randint(0, 3), seed=2)
    drawn = list(items)
    assert drawn == list(items)
    assert drawn[:300] == list(sample(300, a=stats.norm(10, scale=0.1), b=stats.randint(0, 3), seed=2))
    assert {item.kwds["b"] for item in drawn} == {0, 1, 2}
    assert type(drawn[0].kwds["a"]) is float
    assert abs(sum(item.kwds["a"] for item in drawn) / 600 - 10) < 0.05
    assert repr(items) == "<sample(600, a=norm(10, scale=0.1), b=randint(0, 3), seed=2)>"
    assert list(pickle.loads(pickle.dumps(items))) == drawn


class Dice:
    """What scikit-learn takes for a distribution: it has ``rvs``, with nothing but a random state."""

    def rvs(self, random_state):
        return random_state.randint(1, 7)


def test_whatever_has_rvs_is_a_distribution():
    """Not only scipy's; one that cannot be drawn from is named."""
    pytest.importorskip("numpy")
    items = list(sample(50, a=Dice(), seed=1))
    assert {item.kwds["a"] for item in items} <= set(range(1, 7))
    assert items[:20] == list(sample(20, a=Dice(), seed=1))

    class Broken:
        def rvs(self):
            return 1

    with pytest.raises(UsageError, match="the distribution of a cannot be drawn from"):
        list(sample(1, a=Broken(), seed=1))


def test_a_range_of_quantities_gives_quantities(brian2):
    """Brian's users write units, and a sample without them would be another model."""
    volt, mV, amp = brian2.volt, brian2.mV, brian2.amp
    for item in sample(20, v=(1 * mV, 5 * mV), seed=1):
        assert brian2.have_same_dimensions(item.kwds["v"], volt)
        assert 1 * mV <= item.kwds["v"] <= 5 * mV
    with pytest.raises(UsageError, match="is no range"):
        sample(1, v=(1 * mV, 1 * amp))


def test_drawing_numbers_needs_no_numpy():
    """Most sweeps draw nothing but numbers."""
    import subprocess

    code = (
        "import sys; from farmhand import grid, sample; list(sample(9, a=(0, 1), b=(0.5, 1), c=[1]));"
        "list(grid(a=[1], b=range(3))); print('numpy' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def double(a, b=1):
    return 2 * a * b


@pytest.mark.parametrize("items", [grid(a=[1, 2, 3], b=[5, 7]), sample(6, a=(1, 9), b=(1, 9), seed=1)])
def test_a_farm_runs_them_and_skips_them_when_it_resumes(items):
    """They are items as any others."""
    store = MemoryStore()
    run_tasks(store, double, items, **FAST)
    assert store.values() == [2 * item.kwds["a"] * item.kwds["b"] for item in items]
    assert store.runs()[0].numitems == 6
    assert run_tasks(store, double, items, resume=True, **FAST).skipped == 6
