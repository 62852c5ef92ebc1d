"""The standard library's ``dataclass`` in the form that farmhand uses, ready in no time.

Importing ``dataclasses`` takes as long as half a start of Python, since it reads and compiles
source; and so does making some forty classes with it. Here a class is made in microseconds from
what it says: slots, and methods that go through them. To a type checker it is the library's own,
and ``dataclasses.fields``, ``asdict`` and ``replace`` work as well.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes longer than all that is here
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field, replace
    from typing import Any

__all__ = ["dataclass", "field", "replace"]


class _Factory:
    """A default that is made anew for each value."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def _field(*, default_factory: Callable[[], Any]) -> Any:
    """As ``dataclasses.field``, for a default that can change."""
    return _Factory(default_factory)


def _replace(value: Any, /, **changes: Any) -> Any:
    """As ``dataclasses.replace``: the same value with other fields."""
    return value.__replace__(**changes)


def _dataclass(*, frozen: bool = False, slots: bool) -> Callable[[type], type]:
    """As ``dataclasses.dataclass``, for classes that have slots and inherit no fields.

    Parameters
    ----------
    frozen : bool
        Whether values cannot change, so that they can be hashed.
    slots : bool
        True: there are no others.
    """
    assert slots
    return _frozen if frozen else _changing


class _OnDemand:
    """What the library's ``dataclass`` would have made of a class, once somebody asks for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, value: object, cls: Any) -> Any:
        import dataclasses
        import inspect

        fields = []
        for name, kind in cls.__annotations__.items():
            given = {}
            if name in cls._defaults:
                default = cls._defaults[name]
                is_made = type(default) is _Factory
                given = {"default_factory": default.make} if is_made else {"default": default}
            fields.append((name, kind, dataclasses.field(**given)))
        frozen = cls.__hash__ is not None
        twin = dataclasses.make_dataclass(cls.__name__, fields, frozen=frozen, slots=True)
        found = inspect.signature(twin) if self._name == "__signature__" else getattr(twin, self._name)
        setattr(cls, self._name, found)
        return found


def _frozen(cls: type) -> type:
    return _made(cls, {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse})


def _changing(cls: type) -> type:
    return _made(cls, {"__hash__": None})


def _made(cls: Any, methods: dict[str, Any]) -> type:
    """The class that ``cls`` describes; slots cannot be added to one that exists."""
    said = dict(vars(cls))
    for name in ("__dict__", "__weakref__"):
        said.pop(name, None)
    names = tuple(said.get("__annotations__", ()))
    defaults = {name: said.pop(name) for name in names if name in said}
    puts: list[Any] = []  # what sets each field, once the class has been made
    namespace = {
        "__slots__": names,
        "__match_args__": names,
        "__qualname__": cls.__qualname__,
        "__init__": _init(cls.__name__, names, defaults, puts),
        "_defaults": defaults,
        "_puts": puts,
        **_METHODS,
        **methods,
        **said,
    }
    made: type = type(cls)(cls.__name__, cls.__bases__, namespace)
    puts += [vars(made)[name].__set__ for name in names]
    return made


def _init(cls: str, names: tuple[str, ...], defaults: dict[str, Any], puts: list[Any]) -> Any:
    count = len(names)

    def __init__(self: object, /, *args: Any, **kwds: Any) -> None:
        if len(args) != count or kwds:
            args = _completed(cls, names, defaults, args, kwds)
        for put, value in zip(puts, args):  # noqa: B905 - strict costs a tenth of a microsecond
            put(self, value)

    return __init__


def _completed(
    cls: str, names: tuple[str, ...], defaults: dict[str, Any], args: tuple[Any, ...], kwds: dict[str, Any]
) -> tuple[Any, ...]:
    """``args``, and behind them the others by keyword or by default."""
    if len(args) > len(names):
        raise TypeError(f"{cls}() takes {len(names)} arguments, but {len(args)} were given")
    values = [*args]
    for name in names[len(args) :]:
        if name in kwds:
            values.append(kwds.pop(name))
        elif name in defaults:
            default = defaults[name]
            values.append(default.make() if type(default) is _Factory else default)
        else:
            raise TypeError(f"{cls}() lacks the argument {name!r}")
    for name in kwds:
        problem = "twice" if name in names else "no argument"
        raise TypeError(f"{cls}() was given {problem}: {name!r}")
    return tuple(values)


def _fields(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _repr(self: Any) -> str:
    fields = [f"{name}={getattr(self, name)!r}" for name in self.__slots__]
    return f"{type(self).__qualname__}({', '.join(fields)})"


def _eq(self: Any, other: object) -> Any:
    return _fields(self) == _fields(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(tuple(_fields(self)))


def _replaced(self: Any, /, **changes: Any) -> Any:
    return type(self)(**{**_getstate(self), **changes})


def _getstate(self: Any) -> dict[str, Any]:
    return {name: getattr(self, name) for name in self.__slots__}


def _setstate(self: Any, state: dict[str, Any]) -> None:
    for name, put in zip(self.__slots__, self._puts, strict=True):
        put(self, state[name])


def _refuse(self: object, name: str, *value: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: its {name!r} cannot change")


_METHODS = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__replace__": _replaced,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    **{name: _OnDemand(name) for name in ("__dataclass_fields__", "__dataclass_params__", "__signature__")},
}

if not TYPE_CHECKING:
    dataclass, field, replace = _dataclass, _field, _replace
