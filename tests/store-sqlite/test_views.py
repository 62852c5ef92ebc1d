"""What any program that reads SQLite finds in the file: no Python, no pickles, no farmhand."""

from __future__ import annotations

import json
import math
import pickle
import sqlite3
from array import array
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farmhand import call, codec, open_store, run_tasks
from farmhand.events import ItemsDone, RecordDone, Usage
from farmhand.store import Block, Turn
from farmhand.testing.stores import a_run, block, done, failed
from farmhand_sqlite import SqliteStore

COLUMNS = (
    *("key", "run", "task", "item", "status", "process", "started_at", "started", "seconds", "attempts"),
    *("memory", "error", "error_type", "message", "parameters", "file", "id"),
)


@pytest.fixture
def location(tmp_path):
    return tmp_path / "rates.db"


@pytest.fixture
def query(location):
    """Ask the file, as a program that knows nothing of farmhand."""

    def query(text, *parameters):
        with closing(sqlite3.connect(f"file:{location}?mode=ro", uri=True)) as db:
            return db.execute(text, parameters).fetchall()

    return query


def record(location, items, names=("k",)):
    """A run whose items, all of them done, are described."""
    run = a_run(parameters=tuple(names))
    with SqliteStore(location) as store:
        session = store.begin(run)
        whole = Block(range(len(items)), b"", items=items)
        session.record(Turn([whole], [done(range(len(items)), items)]))
        session.close("finished", 2000.0)
    return run


def test_the_view_of_records_has_what_the_store_says(location, query):
    """Done and failed items of several runs, with whatever is known of them; values are not even read."""
    runs = [a_run(task="find_rate", parameters=("k",)), a_run(task="Sim.find")]
    with SqliteStore(location) as store:
        session, other = store.begin(runs[0]), store.begin(runs[1])
        results = RecordDone(replace_usage(done([1, 3], "bd"), {3: Usage(4096, "printed")}), {1: 2})
        session.record(Turn([Block(range(1, 4), b"", items=[1, 2.5, "x"])], [results], [failed(2)]))
        session.record(Turn([], [], [failed(0, again=True)]))
        other.record(Turn([block([0], "a")], [done([0], ["A"])]))
        session.close("finished", 2000.0)
        other.close("finished", 2000.0)
        expected = [
            (
                *(r.key, r.run, r.index, r.status, r.process, r.started, r.seconds, r.attempts, r.memory),
                *((r.error.kind, r.error.type, r.error.message) if r.error else (None, None, None)),
            )
            for r in store.records()
        ]
    columns = (
        "key, run, item, status, process, started, seconds, attempts, memory, error, error_type, message"
    )
    assert query(f"SELECT {columns} FROM records ORDER BY id") == expected
    assert query("SELECT task, parameters, started_at FROM records ORDER BY id") == [
        ("find_rate", '{"k":1}', "1970-01-01T00:01:41.500Z"),
        ("find_rate", '{"k":2.5}', "1970-01-01T00:01:42.500Z"),
        ("find_rate", '{"k":"x"}', "1970-01-01T00:01:42.000Z"),
        ("Sim.find", '{"arg0":"a"}', "1970-01-01T00:01:40.500Z"),
    ]
    assert query("SELECT key, attempt, error, started_at FROM retries") == [
        (f"{runs[0].uid}-0", 1, "raised", "1970-01-01T00:01:40.500Z")
    ]


def replace_usage(record, usage):
    d = record.done
    return ItemsDone(d.number, d.indices, d.values, d.started, d.seconds, usage)


def test_the_columns_of_the_view_are_those_that_the_page_promises(location, query):
    """Programs ask for them by name; one that is gone breaks them."""
    SqliteStore(location).close()
    with closing(sqlite3.connect(location)) as db:
        cursor = db.execute("SELECT * FROM records")
        assert tuple(column[0] for column in cursor.description) == COLUMNS


def test_items_that_came_together_are_rows_of_their_own(location, query):
    """Each with the mean of what they took, one after the other: what each took, SQL cannot read."""
    run = a_run()
    packed = codec.Packed(codec.pack(list(range(5000))), 5000)
    seconds = array("d", [1.0, 3.0] * 2500)
    with SqliteStore(location) as store:
        session = store.begin(run)
        session.record(Turn([], [RecordDone(ItemsDone(3, range(10, 5010), packed, 100.0, seconds))]))
        session.close("finished", 1.0)
    assert query("SELECT count(*), min(item), max(item), sum(seconds) FROM records") == [
        (5000, 10, 5009, 10_000.0)
    ]
    assert query("SELECT key, process, started, seconds, status FROM records WHERE item IN (10, 5009)") == [
        (f"{run.uid}-10", 3, 100.0, 2.0, "done"),
        (f"{run.uid}-5009", 3, 100.0 + 4999 * 2.0, 2.0, "done"),
    ]


@pytest.mark.parametrize(
    ("item", "parameters"),
    [
        (7, {"k": 7}),
        (True, {"k": True}),
        (2.5, {"k": 2.5}),
        ("ü \udcff", {"k": "ü \ufffd"}),
        (None, {"k": None}),
        ((1, "two"), {"k": 1, "tau": "two"}),
        ((1, 2, (3, 4)), {"k": 1, "tau": 2, "arg2": [3, 4]}),
        ((), {}),
        ([1, [2]], {"k": [1, [2]]}),
        ({"a": False}, {"k": {"a": False}}),
        (call(1, tau=2), {"k": 1, "tau": 2}),
        (call(a=1, b=[True, None]), {"a": 1, "b": [True, None]}),
        (call(5), {"k": 5}),
        (math.inf, {"k": math.inf}),
        ((-math.inf, 1), {"k": -math.inf, "tau": 1}),
        (math.nan, {"k": None}),
        (np.float64(0.1), {"k": 0.1}),
        (np.float64("nan"), {"k": None}),
        ((np.int32(4), np.bool_(True)), {"k": 4, "tau": True}),
        (call(np.uint8(3), b=np.float32(0.5)), {"k": 3, "b": 0.5}),
        (10**400, {"k": 10**400}),
        (0.1 + 0.2, {"k": 0.1 + 0.2}),
        ("😀", {"k": "😀"}),
        (1j, None),
        (object(), None),
        ((1, object()), None),
        (np.arange(3), None),
        ("x" * 2000, None),
        (b"bytes", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_item_of_plain_values_is_described(location, query, item, parameters):
    """Arguments by the names that the task has for them; what JSON has no word for is left out."""
    record(location, [item], names=("k", "tau"))
    [(text,)] = query("SELECT parameters FROM records")
    found = None if text is None else json.loads(text)
    assert found == parameters
    assert repr(found) == repr(parameters)  # 1 is not True


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_the_parameters_of_each_item_are_found_wherever_it_is(tmp_path_factory, data):
    """Hundreds of them, of several kinds beside each other, with gaps between them."""
    location = tmp_path_factory.mktemp("views") / "rates.db"
    kinds = data.draw(st.lists(plain | st.just(object()), min_size=1, max_size=4))
    count = data.draw(st.integers(1, 300))
    gone = data.draw(st.sets(st.integers(0, count - 1), max_size=5)) if count > 5 else set()
    indices = [index for index in range(count) if index not in gone]
    items = [(index, kinds[index % len(kinds)]) for index in indices]
    run = a_run(parameters=("k", "x"))
    with SqliteStore(location) as store:
        session = store.begin(run)
        session.record(Turn([Block(indices, b"", items=items)], [done(indices, indices)]))
        session.close("finished", 1.0)
    with closing(sqlite3.connect(location)) as db:
        found = dict(db.execute("SELECT item, parameters FROM records"))
    assert found.keys() == set(indices)
    for index, (_, x) in zip(indices, items, strict=True):
        if type(x) is object:
            assert found[index] is None
        else:
            assert json.loads(found[index]) == {"k": index, "x": x}


@pytest.mark.parametrize(
    "items",
    [
        range(-5, 500),
        range(0, 5000, 7),
        [*range(100), 7],
        [*range(100), 7, *range(101, 200)],
        range(2**62, 2**62 + 20),
        [3] * 50,
        range(50, 0, -1),
        [0, True, 2, 3, 4, 5, 6, 7, 8, 9],
        range(0, 2**60, 2**55),
    ],
    ids=str,
)
def test_ints_in_steps_are_described_as_others_are(location, query, items):
    """They take next to no room, which nobody has to know who asks for them."""
    items = list(items)
    record(location, items)
    found = query("SELECT item, parameters FROM records ORDER BY item")
    assert [(item, json.loads(text)) for item, text in found] == [(i, {"k": k}) for i, k in enumerate(items)]
    assert [text for _, text in found] == [json.dumps({"k": k}, separators=(",", ":")) for k in items]


def test_items_behind_ints_in_steps_are_not_taken_for_more_of_them(location, query):
    """Of those that are not plain, nothing is said."""
    with SqliteStore(location) as store:
        session = store.begin(a_run(parameters=("k",)))
        for first, items in (0, list(range(20))), (20, [object()] * 20):
            indices = range(first, first + 20)
            session.record(Turn([Block(indices, b"", items=items)], [done(indices, indices)]))
        session.close("finished", 1.0)
    found = query("SELECT parameters FROM records ORDER BY item")
    assert found == [(f'{{"k":{k}}}',) for k in range(20)] + [(None,)] * 20


def rate(k, tau=10.0, *, mode="fast"):
    if k == 3:
        raise ValueError("three")
    return k / tau


def test_a_whole_run_can_be_looked_into_with_sql_alone(location, query):
    """Parameters, results that failed, and how it all came about, as SQLite's own shell would show them."""
    items = [1, (2, 5.0), call(3, mode="slow"), call(4, tau=2.0)]
    with open_store(location) as store:
        run_tasks(store, rate, items, gui=False, poolsize=1, errors="collect", progress="none")
    assert query("SELECT item, status, json_extract(parameters, '$.k') FROM records ORDER BY item") == [
        (0, "done", 1),
        (1, "done", 2),
        (2, "failed", 3),
        (3, "done", 4),
    ]
    assert query("SELECT message FROM records WHERE json_extract(parameters, '$.mode') = 'slow'") == [
        ("three",)
    ]
    [(task, outcome, done_, failed_, python)] = query(
        "SELECT task, outcome, done, failed, json_extract(provenance, '$.python') FROM runs"
    )
    assert (task, outcome, done_, failed_) == ("rate", "finished", 3, 1)
    assert python


def big(k):
    return bytes(k)


def test_the_view_names_the_file_of_a_large_result(location, query):
    """Also where results that are small came with it in one message; it is there, beside the store."""
    with open_store(location, large=1000) as store:
        run_tasks(store, big, [10, 5000, 20, 6000], gui=False, poolsize=1, progress="none")
        assert [len(value) for value in store.values()] == [10, 5000, 20, 6000]
        assert list(store.check()) == []
    rows = query("SELECT item, file FROM records ORDER BY item")
    assert [item for item, file in rows if file] == [1, 3]
    for _, file in rows:
        if file:
            assert location.with_name("rates.db.files").joinpath(file).stat().st_size > 5000


def test_an_old_sqlite_can_read_the_tables(location, query):
    """A view with an operator that it does not know would make it refuse the whole file."""
    SqliteStore(location).close()
    for (text,) in query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"):
        for new in ("->", "RETURNING", "STRICT", "MATERIALIZED", "iif(", "unixepoch("):
            assert new not in text


def test_tiny_items_are_described_when_there_is_time(location, query):
    """Thousands at a time: ints in steps at once, others by a vacuum; what is not plain never."""
    kinds = {
        "ints": list(range(10, 5010)),
        "floats": [index / 7 for index in range(5000)],
        "calls": [call(index, tau=0.5) for index in range(2000)],
        "numpy": list(np.linspace(0, 1, 1500)),
        "objects": [frozenset([index]) for index in range(1200)],
        "few": [0.25, 0.5],
    }
    with SqliteStore(location) as store:
        for name, items in kinds.items():
            session = store.begin(a_run(task=name, parameters=("k",)))
            indices = range(len(items))
            session.record(Turn([replace(block(indices, items), items=items)], [done(indices, indices)]))
            session.close("finished", 2000.0)
        count = "SELECT task, count(parameters) FROM records GROUP BY 1"
        assert dict(query(count)) == {n: len(kinds[n]) if n in ("ints", "few") else 0 for n in kinds}
        store.vacuum()
        assert dict(query(count)) == {n: 0 if n == "objects" else len(kinds[n]) for n in kinds}
        store.vacuum()
    text = "SELECT parameters FROM records WHERE task = ? ORDER BY id"
    assert [json.loads(row[0]) for row in query(text, "floats")] == [{"k": item} for item in kinds["floats"]]
    assert json.loads(query(text, "calls")[1999][0]) == {"k": 1999, "tau": 0.5}
    assert [json.loads(row[0])["k"] for row in query(text, "numpy")] == list(kinds["numpy"])


def test_what_was_merged_is_described_and_nothing_of_it_is_run(location, query):
    """Of a block that comes without its items, the plain ones are made of its bytes, which runs no code."""
    good, bad = block(range(2), [(1, 2.5), call(3)]), pickle.dumps([Poison()])
    mixed = codec.encode_each([pickle.dumps(7), bad])
    with SqliteStore(location) as store:
        session = store.begin(a_run(parameters=("k", "tau")))
        session.record(Turn([good], [done(range(2), "ab")]))
        session.record(Turn([Block(range(2, 3), bad), Block(range(3, 5), mixed)], [done(range(2, 5), "cde")]))
        session.close("finished", 2000.0)
        store.vacuum()
    found = [row[0] for row in query("SELECT parameters FROM records ORDER BY id")]
    assert found == ['{"k":1,"tau":2.5}', '{"k":3}', None, None, None]


class Poison:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)
