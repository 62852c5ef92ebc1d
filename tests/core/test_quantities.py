"""Quantities of Brian 2 as items and as results: by value, with their unit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farm_tasks
from farmhand import call, codec, open_store, run_tasks
from farmhand.quantities import unit_of
from waiting import DEADLINE

STORES = pytest.mark.parametrize("name", [":memory:", "results.db", "results.data"])
PERSISTENT = pytest.mark.parametrize("name", ["results.db", "results.data"])
PLUGINS = {"results.db": "farmhand_sqlite", "results.data": "farmhand_shelve"}
HERE = Path(__file__).parent


@pytest.fixture
def place(tmp_path, name):
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name])
    return name if name == ":memory:" else tmp_path / name


def run(place, items, **kwds):
    return run_tasks(place, farm_tasks.pair, items, gui=False, progress="none", poolsize=1, **kwds)


def units():
    import brian2 as b

    return [b.volt, b.mvolt, b.uvolt, b.amp, b.nA, b.second, b.ms, b.siemens, b.metre**2, b.mM, b.Hz]


@st.composite
def quantities(draw):
    value = draw(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-5, 5))
    return value * draw(st.sampled_from(units()))


# -- keyed by value --------------------------------------------------------------------------------------


@given(data=st.data())
def test_two_quantities_are_one_item_when_value_and_dimensions_are_equal(brian2_once, data):
    """Whatever unit they were written in, and within whatever they are."""
    b = brian2_once
    one, other = data.draw(quantities()), data.draw(quantities())
    same = b.have_same_dimensions(one, other) and float(one).hex() == float(other).hex()
    for wrap in (lambda q: q, lambda q: (q, 1), lambda q: {"q": [q]}, lambda q: call(1, y=q)):
        assert (codec.fingerprint(wrap(one)) == codec.fingerprint(wrap(other))) == same
    assert codec.fingerprint(one) != codec.fingerprint(float(one))
    again = float(one) * b.Quantity(1.0, dim=one.dim)
    assert codec.fingerprint(again) == codec.fingerprint(one)
    assert codec.fingerprint(codec.decode(codec.encode(one))) == codec.fingerprint(one)


@pytest.fixture(scope="module")
def brian2_once():
    """For tests of many examples, which cannot have a fixture that is made for each test."""
    return pytest.importorskip("brian2")


def test_units_and_arrays_go_by_value_too(brian2):
    """A unit is the quantity of one of it; an array is not the list of its parts."""
    b, fingerprint = brian2, codec.fingerprint
    assert fingerprint(b.volt) == fingerprint(1 * b.volt) == fingerprint(1.0 * b.volt)
    assert fingerprint(b.mV) == fingerprint(0.001 * b.volt) != fingerprint(b.volt)
    assert fingerprint([1, 2] * b.mV) == fingerprint(b.Quantity([0.001, 0.002], dim=b.volt.dim))
    assert fingerprint([1, 2] * b.mV) != fingerprint([1, 2] * b.mA)
    assert fingerprint([1, 2] * b.mV) != fingerprint([0.001, 0.002])


@PERSISTENT
def test_resume_skips_what_another_process_has_done_in_other_units(brian2, place):
    """The whole way: sent, stored, read again and compared, with another Brian in another process."""
    first = f"""
        import sys; sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}
        from brian2 import *
        from farmhand import call, run_tasks
        import farm_tasks
        items = [3*mV, 3*mA, 0.003, (5*mV, 2*ms), call(4*mV, y=2*nA), [{{"v": 1*mV}}], array([1, 2])*mV, mV]
        run_tasks({str(place)!r}, farm_tasks.pair, items, gui=False, progress="none", poolsize=1)
    """
    script = textwrap.dedent(first)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    volt, amp, second = brian2.volt, brian2.amp, brian2.second
    known = [
        0.001 * volt,
        0.003,
        0.003 * amp,
        0.003 * volt,
        (0.005 * volt, 0.002 * second),
        call(0.004 * volt, y=2e-9 * amp),
        [{"v": 0.001 * volt}],
        [0.001, 0.002] * volt,
    ]
    new = [0.003 * second, (0.005, 0.002), [0.001, 0.002]]
    summary = run(place, [*known, *new], resume=True)
    assert (summary.skipped, summary.done) == (len(known), len(new))
    assert run(place, [*new, *known], resume=True).skipped == len(known) + len(new)


@PERSISTENT
def test_a_key_may_be_made_of_a_quantity(brian2, place):
    """For who wants values that differ in their last bit to be one item."""
    rounded = "{:.3g}".format
    items = [0.1 * brian2.mV + 0.2 * brian2.mV]
    assert items[0] != 0.3 * brian2.mV
    assert run(place, items, key=lambda v: rounded(v / brian2.mV)).done == 1
    assert run(place, [0.3 * brian2.mV], key=lambda v: rounded(v / brian2.mV), resume=True).skipped == 1


# -- there and back --------------------------------------------------------------------------------------


@STORES
def test_quantities_come_back_as_they_were_given(brian2, place):
    """Numbers, arrays of any type, units; alone, in containers and as arguments by name."""
    import numpy

    b = brian2
    small = b.Quantity(numpy.arange(3, dtype=numpy.float32), dim=b.volt.dim)
    items = [3 * b.mV, small, b.ms, (2 * b.nS, [1, 2] * b.nF), call(5 * b.Hz, y={"t": 1 * b.second}), 7]
    expected = [
        (3 * b.mV, None),
        (small, None),
        (1 * b.ms, None),
        (2 * b.nS, [1, 2] * b.nF),
        (5 * b.Hz, {"t": 1 * b.second}),
        (7, None),
    ]
    with open_store(place) as store:
        run(store, items)
        keys = [record.key for record in sorted(store.records(), key=lambda record: record.index)]
        values = [store[key] for key in keys]
        for (x, [inner]), (wanted, named) in zip(values, expected, strict=True):
            assert _same(x, wanted)
            assert _same(inner["y"], named)
        for key, item in zip(keys, items, strict=True):
            assert codec.fingerprint(store.item(key)) == codec.fingerprint(item)
        assert values[1][0].dtype == numpy.float32
        assert [codec.short(item) for item in items[:1]] == ["3. * mvolt"]


def _same(one, other):
    import numpy

    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return unit_of(one) == unit_of(other) and type(one) is type(other) and numpy.all(one == other)


@PERSISTENT
def test_without_brian_the_store_says_what_is_missing(brian2, place):
    """What needs no value can be read all the same."""
    run(place, [3 * brian2.mV])
    blocked = f"""
        import sys; sys.modules["brian2"] = None     # as if it was not installed
        from farmhand import open_store
        store = open_store({str(place)!r})
        record, = store.records()
        print(record.status)
        store[record.key]
    """
    script = textwrap.dedent(blocked)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout == "done\n"
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: ")
    assert "brian2" in done.stderr.splitlines()[-1]
