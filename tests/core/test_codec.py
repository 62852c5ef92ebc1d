"""Values survive the way to bytes and back; fingerprints know items again, anywhere and at any time."""

import collections
import copy
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import pickle
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farmhand import codec
from farmhand.codec import fingerprint

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
)
hashables = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner), max_leaves=4)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
    ),
    max_leaves=10,
)


@dataclass
class Cell:
    kind: str
    parts: frozenset[str] = frozenset()
    more: dict = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slotted:
    k: float
    tags: frozenset[str]


Point = collections.namedtuple("Point", "x y")


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Tags(set):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def some_function():
    pass


def same(one, other):
    """Equal, and of equal types all the way down: 1, 1.0 and True are not the same."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, list | tuple):
        return all(map(same, one, other))
    if isinstance(one, dict):
        return all(any(same(k, j) and same(one[k], other[j]) for j in other) for k in one)
    if isinstance(one, set | frozenset):
        return all(any(same(a, b) for b in other) for a in one)
    return True


# -- to bytes and back -------------------------------------------------------------------------------


@given(values)
def test_what_is_encoded_is_decoded(value):
    """For every plain value, through both ways into bytes."""
    assert same(codec.decode(codec.encode(value)), value)
    assert codec.encode_result(value) == codec.encode(value)


@given(st.lists(values))
def test_a_block_gives_its_items_back_however_it_was_encoded(items):
    """All in one pickle is fast; one by one is what is left when that fails."""
    assert codec.decode_items(codec.encode_items(items)) == items
    assert codec.decode_items(codec.encode_items(tuple(items))) == items
    encoded = [codec.encode(item) for item in items]
    assert codec.decode_items(codec.encode_each(encoded)) == items
    assert codec.split_each(codec.encode_each(encoded)) == encoded
    assert codec.split_each(codec.encode_items(items)) is None


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)


@given(st.lists(plain, min_size=1) | st.lists(values, min_size=1))
def test_results_that_travel_as_one_are_each_what_they_were(results):
    """Plain ones are pickled together; with others beside them, each is pickled alone."""
    gathered = [result if type(result) in codec.PLAIN else codec.encode_result(result) for result in results]
    packed = codec.Packed(codec.pack(gathered), len(results))
    assert same(packed.decode(), results)
    assert same([packed.decode_one(place) for place in range(len(results))], results)
    assert list(packed) == [codec.encode(result) for result in results]
    assert codec.Packed.of(packed) is packed
    again = codec.Packed.of(list(packed))
    assert (len(again), list(again), same(again.decode(), results)) == (len(packed), list(packed), True)


@given(values, values)
def test_the_identity_of_an_item_tells_what_its_fingerprint_tells(one, other):
    """It is only found faster; and it is short, since a store has one for each item."""
    assert (codec.identity(one) == codec.identity(other)) == (fingerprint(one) == fingerprint(other))
    assert codec.identity(copy.deepcopy(one)) == codec.identity(one)
    assert len(codec.identity(one)) <= 64


def test_what_pickle_refuses_goes_by_dill():
    """Lambdas and closures are results like others."""
    offset = 40
    add = codec.decode(codec.encode_result(lambda x: x + offset))
    assert add(2) == 42
    [nested] = codec.decode_items(codec.encode_each([codec.encode([lambda: 7])]))
    assert nested[0]() == 7


def test_what_nobody_can_encode_raises():
    """The caller says which item or result it was."""
    with open(os.devnull) as file, pytest.raises(TypeError):
        codec.encode([memoryview(b"x"), file])


class Unloadable:
    def __reduce__(self):
        return int, ("not a number",)


def test_a_result_that_cannot_be_decoded_is_found_before_it_is_stored():
    """Else the run would be done, and the result lost."""
    assert codec.encode(Unloadable())
    with pytest.raises(ValueError, match="not a number"):
        codec.encode_result([1, Unloadable()])


def test_a_task_that_patches_pickle_changes_nothing(monkeypatch):
    """Some libraries replace the functions of the pickle module."""
    for name in ("dumps", "loads", "Pickler"):
        monkeypatch.setattr(pickle, name, None)
    assert codec.decode(codec.encode_result({"a": 1})) == {"a": 1}
    assert fingerprint(Plain(a=1)) == fingerprint(Plain(a=1))


# -- short texts -------------------------------------------------------------------------------------


class Unprintable:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "item",
    [Unprintable(), 10**5000, "x\ny" * 1000, list(range(10**5)), Plain(), "\udcff"],
    ids=lambda item: type(item).__name__,
)
def test_a_short_text_is_one_line_that_can_be_printed(item):
    """It stands beside a process's bar."""
    text = codec.short(item)
    assert len(text) <= 80
    assert text.splitlines() == [text]
    text.encode()


def test_a_small_item_is_shown_as_it_is():
    assert codec.short((1.5, "a")) == "(1.5, 'a')"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (np.float64(11.98), "11.98"),
        (np.float32(0.1), "0.1"),
        ((np.int64(3), [np.str_("a")]), "(3, ['a'])"),
        ({"k": np.bool_(True)}, "{'k': True}"),
        (np.complex128(1 + 2j), "(1+2j)"),
        (np.float64("nan"), "nan"),
        (np.array([1.5]), "array([1.5])"),
        (np.datetime64("2024-01-01"), "np.datetime64('2024-01-01')"),
    ],
)
def test_a_scalar_of_numpy_is_shown_as_the_number_that_it_is(item, text):
    """It is the same item (see below), and a sweep over an array has nothing else in its rows."""
    assert codec.short(item) == text


# -- fingerprints ------------------------------------------------------------------------------------


@given(values)
def test_a_copy_has_the_same_fingerprint(value):
    """A resumed run makes its items anew."""
    assert len(fingerprint(value)) == 16
    assert fingerprint(copy.deepcopy(value)) == fingerprint(value)
    assert fingerprint(codec.decode(codec.encode(value))) == fingerprint(value)


@given(values, values)
def test_different_plain_values_have_different_fingerprints(one, other):
    """Else an item would be skipped that never ran."""
    assert (fingerprint(one) == fingerprint(other)) == same(one, other)


@pytest.mark.parametrize(
    "items",
    [
        [0, 0.0, -0.0, False, None, "", b"", (), [], {}, set(), "0", "n", 0j, "None"],
        [("a", "b"), ("ab",), ("a,b",), ["a", "b"], {"a": "b"}, {"a", "b"}, ("b", "a"), (("a",), "b")],
        [1, 1.0, True, 1 + 0j, "1", b"1", 10**5000, -1, 2**64, float("inf"), float("nan")],
        [np.arange(6), np.arange(6.0), np.arange(6).reshape(2, 3), np.arange(6, dtype="i2"), np.arange(5)],
        [np.array("ab"), np.array(b"ab"), np.array([1], "M8[s]"), np.array([1], "M8[ns]"), np.array(1)],
        [
            Plain(a=1),
            Plain(a=2),
            Plain(b=1),
            {"a": 1},
            Point(1, 2),
            (1, 2),
            Point(2, 1),
            Cell("a"),
            Cell("b"),
        ],
        [Colour.RED, Colour.BLUE, 1, Plain, Cell, some_function, len, Tags("ab"), {"a", "b"}, Tags("ac")],
        [collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2}],
        [np.longdouble(1) / 3, np.longdouble(1), np.clongdouble(1j), np.longdouble(2)],
    ],
)
def test_items_that_look_alike_are_told_apart(items):
    """By type as well as by value: the task may treat them differently."""
    assert len({fingerprint(item) for item in items}) == len(items)


EQUALS = {
    "numpy integers": lambda: [5, np.int64(5), np.int8(5), np.uint32(5)],
    "numpy floats": lambda: [0.5, np.float64(0.5), np.float32(0.5), np.float16(0.5)],
    "numpy others": lambda: [
        (True, "a", b"b", 1j),
        (np.True_, np.str_("a"), np.bytes_(b"b"), np.complex64(1j)),
    ],
    "arrays in another order": lambda: [
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(3, 2).T.copy("F").T.reshape(2, 3),
    ],
    "a view and its copy": lambda: [np.arange(10)[::2], np.arange(0, 10, 2)],
    "fortran order": lambda: [np.eye(3), np.asfortranarray(np.eye(3))],
    "object arrays": lambda: [np.array([{"b", "a"}, 1], object), np.array([{"a", "b"}, 1], object)],
    "dicts": lambda: [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "sets": lambda: [set("abcdefgh"), set("hgfedcba")],
    "sets with subclasses": lambda: [Tags("abcdefgh"), Tags("hgfedcba")],
    "dataclasses": lambda: [Cell("a", frozenset("xyz"), {1: {2}}), Cell("a", frozenset("zyx"), {1: {2}})],
    "slots": lambda: [Slotted(0.5, frozenset("xyz")), Slotted(np.float64(0.5), frozenset("zyx"))],
    "namedtuples": lambda: [Point("x", {"p", "q"}), Point("x", {"q", "p"})],
    "a long double": lambda: [np.longdouble(1) / 3, np.longdouble(1) / 3],
}


@pytest.mark.parametrize("name", EQUALS)
def test_equal_items_have_one_fingerprint(name):
    """However they came about; numpy's numbers are the Python numbers of the same value."""
    assert len({fingerprint(item) for item in EQUALS[name]()}) == 1


def test_sharing_does_not_matter():
    """Whether two parts are one object is an accident of how the item was made."""
    part = [1.5, "a"]
    assert fingerprint([part, part]) == fingerprint([[1.5, "a"], [1.5, "a"]])
    assert fingerprint(Plain(a=part, b=part)) == fingerprint(Plain(a=[1.5, "a"], b=[1.5, "a"]))
    text = "".join(["a", "b"])
    assert fingerprint(Plain(a=text, b="ab")) == fingerprint(Plain(a="ab", b="ab"))


def everything():
    """One of everything whose bytes could depend on the hash seed or on an address."""
    names = [f"name{i}" for i in range(20)]
    return [
        set(names),
        {frozenset(names): set(names)},
        Tags(names),
        Cell("a", frozenset(names), {"deep": [set(names)]}),
        Slotted(1.5, frozenset(names)),
        Plain(tags=set(names), when=datetime.datetime(2024, 1, 2), where=pathlib.PurePosixPath("a/b")),
        Point(set(names), 2),
        [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), range(5), slice(1, 2), Ellipsis],
        [collections.deque(names, 5), collections.Counter(names), collections.defaultdict(list, a=[1])],
        [re.compile("a+"), bytearray(b"x"), Colour.RED, some_function, Plain, len],
        [
            np.arange(5),
            np.array([set(names), None], object),
            np.zeros(2, [("a", "i4"), ("b", "U3")]),
            np.dtype("f4"),
        ],
    ]


def test_another_process_with_other_hashes_finds_the_same_fingerprints():
    """Resume happens in another process, perhaps on another machine."""
    folder = os.path.dirname(__file__)
    code = f"""
import sys; sys.path.insert(0, {folder!r})
import test_codec
print([found.hex() for found in map(test_codec.fingerprint, test_codec.everything())])
"""
    here = [fingerprint(item).hex() for item in everything()]
    assert len(set(here)) == len(here)
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        there = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert eval(there.stdout) == here


def test_an_item_that_contains_itself_has_a_fingerprint():
    """It must not end in a recursion without end, and still tell values apart."""

    def loop(value):
        ring = [value]
        ring += [ring, ring, {"again": ring}]
        plain = Plain(value=value)
        plain.me = [plain, ring]
        return ring, plain

    for one, other, again in zip(loop(1), loop(2), loop(1), strict=True):
        assert fingerprint(one) == fingerprint(again) != fingerprint(other)


def test_a_deeply_nested_item_has_the_same_fingerprint_at_any_depth_of_the_stack():
    """How much of the stack is left must not decide how an item is walked."""
    item = 1
    for _ in range(200):
        item = [item]

    def deeper(levels):
        return deeper(levels - 1) if levels else fingerprint(item)

    assert deeper(0) == deeper(500)
    assert fingerprint(item) != fingerprint(item[0])


def test_functions_that_go_by_dill_have_a_fingerprint():
    """A task may be given functions; equal code is enough to be equal."""
    assert fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)
    assert fingerprint([Plain(f=lambda: 1)])


def test_a_property_that_raises_does_no_harm():
    """Nobody asks an item for what it may look like to numpy."""

    assert fingerprint(Touchy()) == fingerprint(Touchy())


class Touchy:
    @property
    def dtype(self):
        raise RuntimeError


@pytest.mark.parametrize("size", [0, 59, 61, 119, 120, 121, 500])
def test_of_long_bytes_the_ends_are_shown(size):
    """As of anything else that is long; but nobody writes out the middle of some megabytes for that."""
    item = bytes(range(256)) + bytes(range(255, -1, -1))
    whole = repr(item[-size:] if size else b"")
    assert codec.short(item[-size:] if size else b"") == (
        whole if len(whole) <= 60 else f"{whole[:28]}...{whole[-29:]}"
    )
