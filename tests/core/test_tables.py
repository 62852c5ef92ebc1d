"""Results as pandas data frames and xarray data sets."""

import dataclasses
import math
import sys
from collections import namedtuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import FAST
from farmhand import MemoryStore, UsageError, call, grid, run_tasks
from made_stores import store_of

pandas = pytest.importorskip("pandas", reason="data frames are pandas'")


def table(frame):
    """A frame as plain values: the names of the columns, then the rows; None for what is missing."""
    lines = [
        [None if cell is None or cell is pandas.NA or cell != cell else cell for cell in row]
        for row in frame.itertuples(index=False, name=None)
    ]
    return [list(frame.columns), *lines]


# -- data frames -----------------------------------------------------------------------------------


def test_each_item_is_a_row_with_its_parameters_and_its_result():
    """Whichever way the item was written: the names are those of the task."""
    items = [1, (2, 5), call(3, tau=7), call(k=4)]
    store = store_of(("rate", ["k", "tau"], [(item, place * 1.5) for place, item in enumerate(items)]))
    assert table(store.to_dataframe()) == [
        ["k", "tau", "result"],
        [1, None, 0.0],
        [2, 5, 1.5],
        [3, 7, 3.0],
        [4, None, 4.5],
    ]


Named = namedtuple("Named", "low high")


@dataclasses.dataclass
class Fit:
    slope: float
    quality: str


@pytest.mark.parametrize("result", [{"slope": 1.5, "quality": "good"}, Fit(1.5, "good")])
def test_the_parts_of_a_result_that_have_names_are_columns(result):
    """What people return when there is more than one number."""
    frame = store_of(("fit", ["k"], [(1, result)])).to_dataframe()
    assert table(frame) == [["k", "slope", "quality"], [1, 1.5, "good"]]


def test_a_named_tuple_is_columns_and_a_plain_one_is_one_cell():
    """A tuple says no names; 0 and 1 are none."""
    assert table(store_of(("t", ["k"], [(1, Named(2, 3))])).to_dataframe()) == [
        ["k", "low", "high"],
        [1, 2, 3],
    ]
    assert table(store_of(("t", ["k"], [(1, (2, 3))])).to_dataframe()) == [["k", "result"], [1, (2, 3)]]


def test_columns_that_appear_late_are_missing_before():
    """Results of one task need not look alike."""
    pairs = [(1, {"a": 1}), (2, None), (3, {"b": "x", "a": 2}), (4, {})]
    assert table(store_of(("t", ["k"], pairs)).to_dataframe()) == [
        ["k", "a", "result", "b"],
        [1, 1, None, None],
        [2, None, None, None],
        [3, 2, None, "x"],
        [4, None, None, None],
    ]


def test_a_name_that_a_parameter_and_a_result_share_stays_the_parameters():
    """Both are kept, and so is what the record adds."""
    store = store_of(("t", ["k"], [((1,), {"k": 2, "result_k": 3, "status": 4, 1: 5, "1": 6})]))
    assert table(store.to_dataframe(records="status")) == [
        ["k", "result_result_k", "result_k", "status", "1", "result_1", "record_status"],
        [1, 2, 3, 4, 5, 6, "done"],
    ]


def test_failures_have_a_row_when_asked_for():
    """Otherwise the frame has results alone, as ``values()`` has."""
    store = store_of(("t", ["k"], [(1, 10), (2, ValueError("no")), (3, 30)]))
    assert table(store.to_dataframe()) == [["k", "result"], [1, 10], [3, 30]]
    assert table(store.to_dataframe(failures=True)) == [
        ["k", "result", "status", "error"],
        [1, 10, "done", None],
        [2, None, "failed", "ValueError: no"],
        [3, 30, "done", None],
    ]


def test_what_records_say_is_added_when_asked_for():
    """All of it, or what is named, in that order; the key leads back to the store."""
    store = store_of(("t", ["k"], [(1, 10), (2, 20)]))
    [run] = store.runs()
    frame = store.to_dataframe(records=["seconds", "index", "run", "key", "attempts", "process"])
    assert table(frame)[2] == [2, 20, 0.5, 1, run.uid, f"{run.uid}-1", 1, 0]
    assert store[frame["key"][1]] == 20
    assert list(store.to_dataframe(records=True).columns) == [
        *("k", "result", "key", "status", "process", "started", "seconds", "attempts", "memory")
    ]
    assert list(store.to_dataframe(records="seconds").columns) == ["k", "result", "seconds"]
    with pytest.raises(UsageError, match="no column of records is called 'second'; known: run, index"):
        store.to_dataframe(records=["second"])


def test_runs_of_two_tasks_are_told_apart_and_can_be_chosen():
    """One file for a whole study has both."""
    store = store_of(("rate", ["k"], [(1, 10.0)]), ("fit", ["x", "y"], [((2, 3), {"slope": 4.0})]))
    first, second = store.runs()
    assert table(store.to_dataframe()) == [
        ["task", "k", "x", "y", "result", "slope"],
        ["rate", 1, None, None, 10, None],
        ["fit", None, 2, 3, None, 4],
    ]
    assert table(store.to_dataframe(task="rate")) == [["k", "result"], [1, 10]]
    for chosen in (second.uid, second, [second.uid]):
        assert table(store.to_dataframe(chosen)) == [["x", "y", "slope"], [2, 3, 4]]
    assert len(store.to_dataframe([first, second.uid])) == 2
    with pytest.raises(UsageError, match="no task is called 'rates'; known: fit, rate"):
        store.to_dataframe(task="rates")
    with pytest.raises(KeyError, match="nowhere"):
        store.to_dataframe("nowhere")


def test_an_empty_store_is_an_empty_frame_with_the_columns_that_there_would_be():
    """A notebook that is run before the farm goes on to the next cell."""
    assert table(MemoryStore().to_dataframe()) == [["result"]]
    assert table(MemoryStore().to_dataframe(failures=True)) == [["result", "status", "error"]]
    assert table(store_of(("t", ["k", "tau"], [])).to_dataframe(records="seconds")) == [
        ["k", "tau", "result", "seconds"]
    ]


def test_of_a_large_item_there_is_a_text():
    """The store has no more; the result is there all the same."""
    store = MemoryStore()
    run_tasks(store, len, ["x" * 100_000], **FAST)
    [(_, [text, length])] = enumerate(table(store.to_dataframe())[1:])
    assert text.startswith("'xxx")
    assert length == 100_000

    def both(a, b):
        return len(a) + b

    store = MemoryStore()
    run_tasks(store, both, [("y" * 100_000, 1), ("z", 2)], **FAST)
    names, *lines = table(store.to_dataframe())
    assert sorted(names) == ["a", "b", "item", "result"]
    assert [dict(zip(names, line, strict=True))["result"] for line in lines] == [100_001, 3]
    assert dict(zip(names, lines[0], strict=True))["item"].startswith("('yyy")


def test_cells_are_what_the_task_returned():
    """No number changes its value, and no list becomes a table, on the way into pandas."""
    numpy = pytest.importorskip("numpy")
    cells = [
        [1, 2, 3],
        [0.5, 1, 2],
        [True, False, True],
        ["a", "b", ""],
        [[1, 2], [3, 4], []],
        [(1, 2), (3, 4), (5, 6)],
        [{"x": 1}, {}, None],
        [2**80, -(2**63), 1],
        [2**53 + 1, None, 1],
        [2**53 + 1, 0.5, 1],
        [1 + 2j, None, 3],
        [None, None, None],
        [b"x", None, "y"],
    ]
    for column in cells:
        frame = store_of(("t", ["k"], [(k, [value]) for k, value in enumerate(column)])).to_dataframe()
        assert [cell for [cell] in frame["result"]] == column
        frame = store_of(("t", ["k"], [(k, {"v": value}) for k, value in enumerate(column)])).to_dataframe()
        assert [None if cell is None or cell != cell else cell for cell in frame["v"]] == column
    arrays = [numpy.array([1, 2]), numpy.array([3, 4])]
    frame = store_of(("t", ["k"], list(enumerate(arrays)))).to_dataframe()
    assert [cell.tolist() for cell in frame["result"]] == [[1, 2], [3, 4]]
    assert store_of(("t", ["k"], [(1, 1), (2, 2)])).to_dataframe()["result"].dtype == "int64"
    assert store_of(("t", ["k"], [(1, numpy.float64(1)), (2, 2)])).to_dataframe()["result"].dtype == "float64"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(-9, 9)),
            st.none() | st.dictionaries(st.sampled_from(["a", "x", "y", "result"]), st.integers(-9, 9)),
        ),
        max_size=6,
    )
)
def test_every_cell_of_every_row_is_in_the_frame_once(rows):
    """Whatever parameters and results come, in whatever order, nothing is lost, moved or invented."""
    pairs = [(call(**kwds), ValueError("no") if result is None else result) for kwds, result in rows]
    frame = store_of(("t", ["a"], pairs)).to_dataframe(failures=True)
    names = {name for kwds, _ in rows for name in kwds}
    assert len(frame) == len(rows)
    assert not frame.columns.duplicated().any()
    for (kwds, result), (_, line) in zip(rows, frame.iterrows(), strict=True):
        cells = {name: cell for name, cell in line.items() if cell is not None and cell == cell}
        expected = {name: value for name, value in (result or {}).items() if name not in names}
        clashing = {f"result_{name}": value for name, value in (result or {}).items() if name in names}
        about = {"status": "failed", "error": "ValueError: no"} if result is None else {"status": "done"}
        assert cells == {**kwds, **expected, **clashing, **about}


def test_a_text_that_is_no_valid_unicode_is_a_cell_as_all_others():
    """As names of files can be."""
    store = store_of(("t", ["k"], [("a", "b"), ("\udcff", "c\ud800")]))
    assert table(store.to_dataframe()) == [["k", "result"], ["a", "b"], ["\udcff", "c\ud800"]]


def test_shelves_written_by_hand_are_no_rows():
    """They have no items."""
    store = store_of(("t", ["k"], [(1, 10)]))
    store.session("mine")["note"] = "text"
    assert len(store.to_dataframe()) == 1


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_without_its_package_the_error_says_what_to_install(package, method, monkeypatch):
    """Core brings neither."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"needs {package}.*pip install {package}"):
        getattr(MemoryStore(), method)()


# -- data sets -------------------------------------------------------------------------------------


@pytest.fixture
def xarray():
    return pytest.importorskip("xarray", reason="data sets are xarray's")


def test_a_sweep_over_a_grid_has_its_parameters_as_coordinates(xarray):
    """Run by a farm, with the cell of each result where its parameters say."""

    def task(a, b):
        return {"product": a * b, "name": f"{a}{b}"}

    store = MemoryStore()
    run_tasks(store, task, grid(a=[3, 1, 2], b=[0.5, 0.25]), **FAST)
    data = store.to_xarray()
    assert dict(data.sizes) == {"a": 3, "b": 2}
    assert data.a.values.tolist() == [1, 2, 3]
    assert data["product"].dims == ("a", "b")
    for a in (1, 2, 3):
        for b in (0.5, 0.25):
            assert data["product"].sel(a=a, b=b) == a * b
            assert data["name"].sel(a=a, b=b) == f"{a}{b}"
    assert data.attrs["task"] == store.runs()[0].task


def test_cells_without_a_result_are_nan_and_keep_their_place(xarray):
    """Failed items, forgotten ones, and rows that a stopped farm never reached."""
    pairs = [(call(a=a, b=b), 10 * a + b) for a in (1, 2) for b in (3, 4)]
    pairs[1] = (pairs[1][0], ValueError("no"))
    store = store_of(("t", [], pairs))
    store.forget(store.where(a=2, b=3)[0].key)
    data = store.to_xarray()
    assert data["result"].dtype == float
    cells = data["result"].values.tolist()
    assert cells[0][0] == 13
    assert cells[1][1] == 24
    assert math.isnan(cells[0][1])
    assert math.isnan(cells[1][0])
    failures = store.to_xarray(failures=True)
    assert failures["status"].sel(a=1, b=4) == "failed"
    assert failures["error"].sel(a=1, b=4) == "ValueError: no"


def test_an_item_that_failed_and_was_run_again_is_its_result(xarray):
    """As ``resume`` leaves it: a failure in one run, the result in the next."""
    store = store_of(("t", ["k"], [(1, ValueError("no")), (2, 20)]), ("t", ["k"], [(1, 10)]))
    assert store.to_xarray()["result"].values.tolist() == [10, 20]
    assert store.to_xarray(failures=True)["status"].values.tolist() == ["done", "done"]


def test_arrays_of_one_shape_are_further_dimensions(xarray):
    """A trace for each cell is one array of all traces; where shapes differ, each cell keeps its own."""
    numpy = pytest.importorskip("numpy")
    pairs = [
        (k, {"trace": numpy.arange(3) * k, "pair": [k, 2 * k], "odd": numpy.zeros(k), "words": ["x"] * 2})
        for k in (1, 2)
    ]
    data = store_of(("t", ["k"], pairs)).to_xarray()
    assert data["trace"].dims == ("k", "trace_dim_0")
    assert data["trace"].values.tolist() == [[0, 1, 2], [0, 2, 4]]
    assert data["trace"].dtype == numpy.arange(3).dtype
    assert data["pair"].values.tolist() == [[1, 2], [2, 4]]
    assert data["odd"].dims == ("k",)
    assert [cell.shape for cell in data["odd"].values] == [(1,), (2,)]
    assert data["words"].values.tolist() == [["x", "x"], ["x", "x"]]
    data = store_of(("t", ["k"], [*pairs, (3, ValueError("no"))])).to_xarray()
    assert data["trace"].isnull().values.tolist() == [[False] * 3, [False] * 3, [True] * 3]


def test_items_that_are_no_grid_are_refused_and_the_item_is_named(xarray):
    """Each error says what to do instead."""
    store = store_of(("t", [], [(call(a=1), 1), (call(a=1, b=2), 2)]))
    with pytest.raises(UsageError, match=r"item 1 of run .* has the parameters a, b, but item 0 .* has a\."):
        store.to_xarray()
    store = store_of(("t", [], [(call(a=k, b=k * k), k) for k in range(20)]))
    with pytest.raises(UsageError, match=r"20 of them with 20 values of a × 20 values of b.*to_dataframe"):
        store.to_xarray()
    store = store_of(("t", [], [(call(a=[1, 2]), 1)]))
    with pytest.raises(UsageError, match=r"a is a list in item 0 of run .*, which cannot be a coordinate"):
        store.to_xarray()


def test_two_results_of_one_cell_are_refused_and_both_are_named(xarray):
    """Which of them is meant? A run can be chosen, or a result forgotten."""
    store = store_of(("t", ["k"], [(1, 10), (2, 20)]), ("t", ["k"], [(2, 21)]))
    first, second = store.runs()
    with pytest.raises(UsageError, match=f"two results are of k=2: '{first.uid}-1' and '{second.uid}-0'"):
        store.to_xarray()
    assert store.to_xarray(run=first)["result"].values.tolist() == [10, 20]
    store.forget(f"{first.uid}-1")
    assert store.to_xarray()["result"].values.tolist() == [10, 21]


def test_two_tasks_share_no_grid(xarray):
    """One of them is chosen."""
    store = store_of(("rate", ["k"], [(1, 10)]), ("fit", ["k"], [(1, 20)]))
    with pytest.raises(UsageError, match=r"2 tasks \(rate, fit\).*task='rate'"):
        store.to_xarray()
    assert store.to_xarray(task="fit")["result"].values.tolist() == [20]


def test_an_empty_store_is_an_empty_data_set(xarray):
    """As for data frames."""
    assert not MemoryStore().to_xarray().variables
    assert not store_of(("t", ["k"], [])).to_xarray().variables


def test_an_item_without_parameters_is_a_data_set_without_dimensions(xarray):
    """One cell is a grid, too."""
    data = store_of(("t", [], [(call(), {"v": 5})])).to_xarray()
    assert data["v"].dims == ()
    assert data["v"] == 5


def test_names_keep_their_order_and_numbers_ascend(xarray):
    """A slice of coordinates needs ascending numbers; 'low, middle, high' is an order, too."""
    items = grid(level=["low", "middle", "high"], flag=[True, False], k=[3, 1.5])
    data = store_of(("t", [], [(item, 1) for item in items])).to_xarray()
    assert data["level"].values.tolist() == ["low", "middle", "high"]
    assert data["k"].values.tolist() == [1.5, 3]
    assert data["flag"].values.tolist() == [False, True]


# -- units -----------------------------------------------------------------------------------------


class Dimension:
    """As in Brian 1: its text is what it is made of."""

    is_dimensionless = False

    def __str__(self):
        return "m^2 kg s^-3 A^-1"


class OldQuantity(float):
    """A quantity of Brian 1: a float that knows its dimensions."""

    dim = Dimension()

    def get_best_unit(self):
        raise NotImplementedError

    def in_best_unit(self):
        raise NotImplementedError


def test_quantities_of_brian_2_are_numbers_in_si_units_and_the_column_has_the_unit(xarray, brian2):
    """Parameters and results; the frame's Parquet file keeps it, too."""
    numpy = pytest.importorskip("numpy")
    mV, ms = brian2.mV, brian2.ms
    pairs = [
        (k * ms, {"v": k * mV, "trace": numpy.arange(2) * mV, "ratio": ms / ms, "none": mV * 0})
        for k in (1, 2)
    ]
    store = store_of(("t", ["tau"], pairs))
    frame = store.to_dataframe()
    assert frame.attrs["units"] == {"tau": "s", "v": "V", "trace": "V", "none": "V"}
    assert frame["v"].attrs["units"]["v"] == "V"
    assert frame["v"].dtype == float
    assert frame["v"].tolist() == [0.001, 0.002]
    assert frame["tau"].tolist() == [0.001, 0.002]
    assert type(frame["trace"][0]) is numpy.ndarray
    data = store.to_xarray()
    assert data["v"].attrs["units"] == "V"
    assert data["tau"].attrs["units"] == "s"
    assert data["trace"].values.tolist() == [[0, 0.001], [0, 0.001]]
    assert [result.value["v"] for result in store.where(tau=1 * ms)] == [1 * mV]
    assert store.where(tau=0.001) == []
    assert [result.index for result in store.where(tau=lambda tau: tau > 1.5 * ms)] == [1]


def test_quantities_of_brian_1_keep_their_unit():
    """Folders of that time are read, and nothing here asks which Brian it was."""
    frame = store_of(("t", ["k"], [(1, OldQuantity(0.5)), (2, OldQuantity(1.5))])).to_dataframe()
    assert frame["result"].tolist() == [0.5, 1.5]
    assert [type(value) for value in frame["result"].tolist()] == [float, float]
    assert frame.attrs["units"] == {"result": "m^2 kg s^-3 A^-1"}


def test_a_column_of_two_units_is_refused_and_both_places_are_named():
    """Volts and numbers below each other would be wrong without a word."""
    store = store_of(("t", ["k"], [(1, 0), (2, OldQuantity(0.5)), (3, 2.0)]))
    with pytest.raises(UsageError, match=r"'result' is in m\^2.* in item 1 .*, but in no unit in item 2"):
        store.to_dataframe()
    store = store_of(("t", ["k"], [(1, 2.0), (2, OldQuantity(0.5))]))
    with pytest.raises(UsageError, match=r"'result' is in no unit in item 0 .*, but in m\^2.* in item 1"):
        store.to_dataframe()
    zero = store_of(("t", ["k"], [(1, 0), (2, OldQuantity(0.5)), (3, math.nan), (4, None)]))
    assert zero.to_dataframe().attrs["units"] == {"result": "m^2 kg s^-3 A^-1"}


def test_a_frame_without_quantities_imports_no_brian():
    """Nor does one with them: whoever made them has imported it."""
    import subprocess

    code = (
        "import sys; from farmhand import MemoryStore, run_tasks; store = MemoryStore();"
        "run_tasks(store, abs, [1], gui=False, progress='none'); store.to_dataframe();"
        "print(*sorted({'brian', 'brian2'} & {*sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
