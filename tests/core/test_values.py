"""Our own ``dataclass`` does what the library's does, for a plugin's author cannot tell them apart."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys

import pytest

from farmhand import values
from farmhand.task import Call
from waiting import DEADLINE


@values.dataclass(frozen=True, slots=True)
class Ours:
    """A value."""

    x: int
    y: int = 2
    names: dict[str, int] = values.field(default_factory=dict)

    def total(self) -> int:
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """A value."""

    x: int
    y: int = 2
    names: dict[str, int] = dataclasses.field(default_factory=dict)

    def total(self) -> int:
        return self.x + self.y


@values.dataclass(slots=True)
class Changing:
    x: int
    y: list[int] = values.field(default_factory=list)


@values.dataclass(frozen=True, slots=True)
class Plain:
    x: object = None


@values.dataclass(frozen=True, slots=True)
class Empty:
    pass


ARGUMENTS = [
    ((1,), {}),
    ((1, 3), {}),
    ((1, 3, {"a": 1}), {}),
    ((), {"x": 1}),
    ((), {"names": {}, "y": 5, "x": 1}),
    ((1,), {"names": {"b": 2}}),
    ((), {}),
    ((1, 2, {}, 4), {}),
    ((1,), {"x": 1}),
    ((1,), {"z": 1}),
    ((), {"self": 1}),
]


@pytest.mark.parametrize(("args", "kwds"), ARGUMENTS)
def test_a_value_is_made_as_the_librarys_is(args, kwds):
    """By position, by keyword, by default, or not at all."""
    try:
        expected = Theirs(*args, **kwds)
    except TypeError:
        with pytest.raises(TypeError, match=r"Ours\(\)"):
            Ours(*args, **kwds)
        return
    value = Ours(*args, **kwds)
    assert (value.x, value.y, value.names) == (expected.x, expected.y, expected.names)
    assert repr(value) == repr(expected).replace("Theirs", "Ours")
    assert value.total() == expected.total()


def test_a_default_that_can_change_is_made_anew():
    """No two values share one."""
    assert Ours(1).names is not Ours(1).names


def test_values_are_equal_by_class_and_fields():
    """A value of another class is never equal, whatever its fields."""
    assert Ours(1, 2, {}) == Ours(1)
    assert Ours(1) != Ours(2)
    assert Ours(1) != Theirs(1)
    assert Empty() == Empty() != Plain()
    assert Changing(1) == Changing(1)


def test_frozen_values_can_be_hashed_and_others_cannot():
    """Equal ones are one in a set."""
    assert len({Plain(1), Plain(1), Plain(2), Empty(), Empty()}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Changing(1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours(1))  # a field of it is


@pytest.mark.parametrize("name", ["x", "other"])
def test_a_frozen_value_cannot_change(name):
    """Neither a field, nor by a field that it has not, nor by taking one away."""
    value = Ours(1)
    with pytest.raises(AttributeError, match=f"Ours is frozen: its '{name}' cannot change"):
        setattr(value, name, 3)
    with pytest.raises(AttributeError, match=f"Ours is frozen: its '{name}' cannot change"):
        delattr(value, name)
    assert value == Ours(1)


def test_another_value_changes_in_its_fields_alone():
    """A slip of the pen is an error, as slots make it."""
    value = Changing(1)
    value.x = 5
    value.y.append(6)
    assert value == Changing(5, [6])
    with pytest.raises(AttributeError):
        value.z = 1


@pytest.mark.parametrize(
    "value", [Ours(1, 2, {"a": 1}), Changing(1, [2]), Plain(), Empty(), Call((1,))], ids=repr
)
def test_values_are_pickled_and_copied(value):
    """With each protocol; a deep copy shares nothing that can change."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value
    assert copy.copy(value) == copy.deepcopy(value) == value
    for part in ("names", "y"):
        if isinstance(getattr(value, part, None), dict | list):
            assert getattr(copy.copy(value), part) is getattr(value, part)
            assert getattr(copy.deepcopy(value), part) is not getattr(value, part)


def test_the_librarys_functions_work():
    """A store or a frontend of a plugin uses them on what farmhand hands to it."""
    value = Ours(1, names={"a": 1})
    assert dataclasses.is_dataclass(Ours)
    assert [(f.name, f.type) for f in dataclasses.fields(value)] == [
        (f.name, f.type) for f in dataclasses.fields(Theirs)
    ]
    assert [f.default for f in dataclasses.fields(Ours)] == [f.default for f in dataclasses.fields(Theirs)]
    assert dataclasses.asdict(Plain(value)) == {"x": {"x": 1, "y": 2, "names": {"a": 1}}}
    assert dataclasses.astuple(value) == (1, 2, {"a": 1})
    assert dataclasses.replace(value, x=7) == values.replace(value, x=7) == Ours(7, 2, {"a": 1})
    assert dataclasses.fields(Empty) == ()
    with pytest.raises(TypeError, match="z"):
        values.replace(value, z=7)


def test_the_library_can_extend_a_value():
    """A plugin's author adds a field."""

    @dataclasses.dataclass(frozen=True)
    class More(Ours):
        z: int = 4

    assert More(1, z=5).z == 5
    assert [f.name for f in dataclasses.fields(More)] == ["x", "y", "names", "z"]
    assert [f.name for f in dataclasses.fields(Ours)] == ["x", "y", "names"]


def test_help_shows_the_arguments():
    """And what each is by default."""
    assert str(inspect.signature(Ours)) == str(inspect.signature(Theirs))


def test_a_value_is_taken_apart_by_match():
    """By position and by name."""
    match Ours(1, 3):
        case Ours(x, 3, names=names):
            assert (x, names) == (1, {})
        case _:
            pytest.fail("does not match")


def test_a_method_of_the_class_stays():
    """Call has its own repr."""
    assert repr(Call((1,), {"a": 2})) == "call(1, a=2)"


def test_nothing_is_imported_for_it():
    """That is all its purpose."""
    code = "import sys, farmhand.events; print(*{'dataclasses', 'inspect', 'ast'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert found.stdout.strip() == ""
