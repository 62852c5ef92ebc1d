"""Tables for other programs: whole files or none, of any size, with nothing lost on the way."""

import csv
import io
import json
import os
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farmhand import MemoryStore, StoreError, UsageError, call, export
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done
from made_stores import Poison, add_run


def store_of(pairs, task="t", parameters=(), store=None):
    """A store with one more run of pairs of item and result."""
    store = MemoryStore() if store is None else store
    add_run(store, pairs, task, parameters)
    return store


def exported(store, format, **options):
    """What export writes, as text."""
    out = io.BytesIO()
    export(store, format, out, **options)
    return out.getvalue().decode()


def csv_rows(store, **options):
    return list(csv.reader(io.StringIO(exported(store, "csv", **options), newline="")))


def json_rows(store, **options):
    return [json.loads(line) for line in exported(store, "jsonl", **options).split("\n")[:-1]]


# -- what is written -------------------------------------------------------------------------------


def test_a_table_as_csv_has_one_line_for_each_item():
    """What a spreadsheet opens."""
    store = store_of([(1, {"rate": 0.5, "ok": True}), (2, {"rate": 1e-300, "ok": False})], parameters=["k"])
    assert exported(store, "csv") == "k,rate,ok\n1,0.5,True\n2,1e-300,False\n"


def test_a_table_as_json_lines_has_one_object_for_each_item():
    """What programs read, line by line; a row has the cells that it has."""
    store = store_of([(1, {"rate": 0.5, "µ": None}), (2, {"ok": False})], parameters=["k"])
    assert exported(store, "jsonl") == '{"k": 1, "rate": 0.5, "µ": null}\n{"k": 2, "ok": false}\n'


def test_the_rows_and_columns_are_those_of_a_data_frame():
    """One table, whichever way it is read: the same options, names and order."""
    pytest.importorskip("pandas")
    store = store_of([(1, {"k": 5}), (2, ValueError("no"))], "first", ["k"])
    store_of([((3, 4), 7)], "second", ["x", "y"], store)
    for options in ({}, {"failures": True}, {"task": "first"}, {"records": ["seconds", "key"]}):
        frame = store.to_dataframe(**options)
        rows = csv_rows(store, **options)
        assert rows[0] == list(frame.columns)
        assert len(rows) - 1 == len(frame)
        assert {name for row in json_rows(store, **options) for name in row} == set(frame.columns)
    assert export(store, "csv", io.BytesIO(), failures=True) == 3


rows = st.lists(
    st.tuples(
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(), max_size=3),
        st.dictionaries(
            st.text(max_size=3),
            st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            max_size=3,
        ),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(rows)
def test_whatever_appears_late_is_in_its_column(rows):
    """The head of a CSV file comes first, and all columns are known last. Any text survives, too."""
    store = store_of([(call(**kwds), result) for kwds, result in rows]) if rows else MemoryStore()
    parameters = list(dict.fromkeys(name for kwds, _ in rows for name in kwds))
    names, *lines = csv_rows(store)
    written = json_rows(store)
    assert len(names) == len(set(names))
    assert names[: len(parameters)] == parameters
    assert len(lines) == len(written) == len(rows)
    for (kwds, result), line, row in zip(rows, lines, written, strict=True):
        cells = dict(zip(names, line, strict=True))
        assert sorted(map(str, row.values())) == sorted(map(str, [*kwds.values(), *result.values()]))
        assert {name: row[name] for name in kwds} == kwds
        assert all(cells[name] == str(value) for name, value in row.items())
        assert all(cell == "" for name, cell in cells.items() if name not in row)


def test_cells_that_are_neither_numbers_nor_texts_are_json_or_else_text():
    """Readable by some program, and never a truncated picture of an array."""
    numpy = pytest.importorskip("numpy")
    import datetime

    class Odd:
        def __str__(self):
            return "odd"

    cells = [
        (numpy.arange(2000), json.dumps(list(range(2000)))),
        (numpy.float64(0.5), "0.5"),
        (numpy.bool_(True), "True"),
        (numpy.int8(3), "3"),
        ([1, (2.5, None), {"x": {4}}], '[1, [2.5, null], {"x": [4]}]'),
        ({1: float("nan")}, '{"1": null}'),
        (b"\xff", "\\xff"),
        (1 + 2j, "(1+2j)"),
        (datetime.date(2020, 5, 17), "2020-05-17"),
        (float("inf"), "inf"),
        (10**6000, hex(10**6000)),
        (None, ""),
    ]
    store = store_of([(k, {"v": value}) for k, (value, _) in enumerate(cells)], parameters=["k"])
    assert [line[1] for line in csv_rows(store)[1:]] == [text for _, text in cells]
    values = [row["v"] for row in json_rows(store)]
    assert values[:6] == [list(range(2000)), 0.5, True, 3, [1, [2.5, None], {"x": [4]}], {"1": None}]
    assert values[6:10] == ["\\xff", "(1+2j)", "2020-05-17", None]
    assert values[10:] == [hex(10**6000), None]


def test_what_contains_itself_ends():
    """Pickle can keep it, so an export meets it."""
    knot = [1]
    knot.append(knot)
    [row] = json_rows(store_of([(1, knot)], parameters=["k"]))
    assert row["result"][0] == row["result"][1][1][0] == 1


def test_half_a_character_is_escaped():
    """File names that are no text come as such; UTF-8 cannot write them, JSON can."""
    store = store_of([(1, "\udcff")], parameters=["k"])
    assert json_rows(store) == [{"k": 1, "result": "\udcff"}]
    assert exported(store, "csv") == "k,result\n1,\\udcff\n"


def test_quantities_have_their_unit_in_the_head(brian2):
    """A number of volts among numbers of millivolts would be a trap."""
    store = store_of([(1, {"v": 5 * brian2.mV, "all": [5 * brian2.mV]})], parameters=["k"])
    assert exported(store, "csv") == 'k,v [V],all\n1,0.005,"[""5. mV""]"\n'
    assert json_rows(store) == [{"k": 1, "v": 0.005, "all": ["5. mV"]}]


def test_parquet_has_half_a_pair_of_surrogates_escaped_as_the_other_formats(tmp_path):
    """It knows valid Unicode alone; names of files may be something else."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "results.parquet"
    assert export(store_of([(1, "\udcff"), (2, "ü")], parameters=["k"]), "parquet", path) == 2
    assert list(pandas.read_parquet(path)["result"]) == ["\\udcff", "ü"]


def test_parquet_is_what_pandas_reads_back(tmp_path):
    """With units, and what Parquet has no kind for as text."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    numpy = pytest.importorskip("numpy")
    pairs = [
        (
            k,
            {
                "x": k / 2,
                "trace": numpy.arange(2) * k,
                "table": numpy.eye(2),
                "any": any_,
                "z": 1j,
                "text": "a",
            },
        )
        for k, any_ in enumerate([1, "one", [2], None])
    ]
    store = store_of([*pairs, (5, ValueError("no"))], parameters=["k"])
    path = tmp_path / "results.parquet"
    assert export(store, "parquet", path, failures=True) == 5
    frame = pandas.read_parquet(path)
    assert list(frame.columns) == ["k", "x", "trace", "table", "any", "z", "text", "status", "error"]
    assert frame["x"][:4].tolist() == [0, 0.5, 1, 1.5]
    assert frame["trace"][3].tolist() == [0, 3]
    assert [row.tolist() for row in frame["table"][0]] == [[1, 0], [0, 1]]
    assert frame["any"][:3].tolist() == ["1", "one", "[2]"]
    assert frame["z"][0] == "1j"
    assert frame["error"][4] == "ValueError: no"
    assert frame["error"].isna().tolist() == [True] * 4 + [False]
    out = io.BytesIO()
    export(store, "parquet", out, failures=True)
    assert out.getvalue()[:4] == b"PAR1"


def test_an_empty_store_is_a_table_with_a_head():
    """What reads it need not treat it as something else."""
    assert exported(MemoryStore(), "csv") == "result\n"
    assert exported(MemoryStore(), "jsonl") == ""


def test_a_format_that_nobody_knows_is_refused(tmp_path):
    """Before anything is created."""
    with pytest.raises(UsageError, match="'xlsx'; known: csv, jsonl, parquet"):
        export(MemoryStore(), "xlsx", tmp_path / "results.xlsx")
    assert list(tmp_path.iterdir()) == []


# -- where it goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_export_that_breaks_leaves_what_was_there(format, tmp_path):
    """Half a table looks like a whole one."""
    if format == "parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
    store = store_of([(k, 10 * k) for k in range(3000)], parameters=["k"])
    store.begin(a_run()).record(Turn([block([0], [1])], [done([0], [Poison()])]))
    path = tmp_path / "results"
    path.write_text("before")
    with pytest.raises(AssertionError, match="was decoded"):
        export(store, format, path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["results"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_rights_that_the_user_gives_to_new_files(umask, mode, tmp_path):
    """Neither more nor less, although it was a private one until it was whole."""
    before = os.umask(umask)
    try:
        export(store_of([(1, 2)]), "csv", tmp_path / "results.csv")
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "results.csv").st_mode & 0o777 == mode


def test_a_file_that_was_there_keeps_its_rights_and_a_link_stays_a_link(tmp_path):
    """Who made results private meant it."""
    path, link = tmp_path / "results.csv", tmp_path / "link.csv"
    path.touch()
    path.chmod(0o640)
    link.symlink_to(path)
    export(store_of([(1, 2)], parameters=["k"]), "csv", link)
    assert link.is_symlink()
    assert path.read_text() == "k,result\n1,2\n"
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "results.csv"]


def test_while_it_is_written_a_file_is_for_the_user_alone(tmp_path):
    """Unpublished results on a shared computer."""
    seen = []

    class Watching(MemoryStore):
        def decoded(self, run):
            seen.extend(path.stat().st_mode & 0o777 for path in tmp_path.iterdir())
            return super().decoded(run)

    export(store_of([(1, 2)], store=Watching()), "csv", tmp_path / "results.csv")
    assert seen == [0o600]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """And what to do about it."""
    store = store_of([(1, 2)])
    with pytest.raises(UsageError, match=r"there is no folder .*/nowhere; create it"):
        export(store, "csv", tmp_path / "nowhere" / "results.csv")
    with pytest.raises(UsageError, match="is a folder"):
        export(store, "csv", tmp_path)
    if os.path.exists("/dev/full"):
        with pytest.raises(StoreError, match=r"/dev/full: the table cannot be written \(No space left"):
            export(store, "csv", "/dev/full")


def test_a_table_can_go_to_a_pipe_or_to_standard_output():
    """``> file`` and ``| program`` are how command lines are joined; pandas is not needed."""
    code = """
import sys
sys.modules["pandas"] = sys.modules["numpy"] = None
from farmhand import MemoryStore, export, run_tasks
store = MemoryStore()
run_tasks(store, abs, [-1, 2], gui=False, progress="none")
export(store, "csv", sys.stdout)
sys.stdout.flush()
export(store, "jsonl", "/dev/stdout")
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    name = out.split(",")[0]
    assert out == f'{name},result\n-1,1\n2,2\n{{"{name}": -1, "result": 1}}\n{{"{name}": 2, "result": 2}}\n'


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_rows(format, tmp_path):
    """A table of a million rows is written by a computer that could not hold it."""
    store = MemoryStore()
    session = store.begin(a_run(parameters=("k",)))
    peaks = []
    for first in (0, 2000, 4000, 6000):
        span = range(first, first + 2000)
        session.record(Turn([block(span, list(span))], [done(span, [f"{k:01000}" for k in span])]))
        if first in (0, 6000):
            export(store, format, tmp_path / "results")  # whatever is imported and kept
            tracemalloc.start()
            try:
                assert export(store, format, tmp_path / "results") == first + 2000
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert (tmp_path / "results").stat().st_size > 8_000_000
    assert peaks[1] < 1.5 * peaks[0]
