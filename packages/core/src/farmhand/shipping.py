"""How the names of a script travel into a worker.

A worker never imports the user's script: it is a fresh interpreter whose ``__main__`` is empty.
So the task travels *by value*, with dill, and what it refers to in ``__main__`` travels with it:

1. What is importable (a function of a module, a module) travels by reference, as in any pickle.
2. Functions and classes of ``__main__`` travel by value and are put into the worker's own
   ``__main__`` under their names, with every global of ``__main__`` that their code names, and
   with what those refer to in turn; nothing else of the script travels. A package is imported
   there with those of its modules that the script has imported and the code names.
3. All functions of ``__main__`` share one set of globals in the worker as they do in the script:
   the worker's ``__main__``. A ``global`` statement in one is seen by all the others.
4. So a class of the script is, in the worker, ``__main__``'s class of that name: an instance
   that the task returns pickles by reference, and in the script it comes back as an instance of
   that very class.
5. A word in a string of the task that is a global of ``__main__`` travels too if it is small and
   can be pickled, since equations of simulators refer to constants in this way. (Not a function,
   a class or a module, nor an instance of a class of the script: a word is only a guess; but see 10.)
6. An item that is an instance of a class of ``__main__`` makes that class travel, before it, to
   every process, even when the task never names the class.
7. What cannot be pickled is named in the error, as the attribute, global or closure variable.
8. A lock travels as a new lock, which nobody holds: whoever holds it is not in the worker.
9. What the script has from a library by a name of the library (``from brian2 import *``: ``prefs``,
   ``rand``) is, in the worker, the library's own, and no copy; plain values are copied.
10. What was made to be named in equations (Brian 2's ``TimedArray``, a function that has units) travels
    when a string names it, of whatever size, and though only dill can pickle it. Its units stay units.
11. What the script has set in Brian 2 (preferences, ``defaultclock.dt``) is set in the worker, whenever
    the task imports it, over what the task's modules set when they are loaded. A part of a simulation
    (a ``NeuronGroup``) is refused, as its copy would be none.

The bytes are pickles one after another, which share one memo: pairs of name and value, where the
task has no name. The task comes first, as only pickling it says which names are needed. But when
a class of the script runs code while it is loaded (``__setstate__``, ``__init_subclass__``, ...),
all is pickled once more in another order (constants, functions, the rest, the task), so that this
code finds the names that it needs. A first byte says whether dill is needed at all, as importing it
costs both sides some thirty milliseconds: functions that refer to modules, to plain values and to
each other are taken apart here. All else that is rarely needed is imported where it is, too.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import sys
from functools import cache, partial
from marshal import dumps as marshal_dumps
from marshal import loads as marshal_loads
from types import CellType, CodeType, FunctionType, ModuleType

from farmhand import simulators
from farmhand.errors import TaskNotPicklable
from farmhand.stdlib import Pickler, Unpickler, pickle_dumps, pickle_loads
from farmhand.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["Shipper", "has_code", "receive"]

_PLAIN, _FUNCTIONS, _DILL = b"P", b"F", b"D"
_SETTINGS = b"S"  # then the length of the settings in 4 bytes, these, and one of the others
_OWN_TO_EVERY_MAIN = {"__name__", "__builtins__", "__spec__", "__loader__", "__cached__"}
_GLOBAL_NAMES = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
# dill's pickler asks how to reduce each of these as well, and there are very many in a large global
_PLAIN_KINDS = frozenset(
    [int, float, complex, bool, type(None), str, bytes, list, tuple, dict, set, frozenset]
)
_MENTIONED_LIMIT = 1 << 20  # bytes; a name in a string is a guess, so it may not cost much


class Shipper:
    """Ships one task and its items to processes that know nothing of this ``__main__``.

    It remembers which names have been shipped, so that one object is for one run.
    """

    def __init__(self) -> None:
        self._main = sys.modules["__main__"].__dict__
        self._shipped: set[str] = set()

    def ship(self, value: Any, what: str = "the task") -> bytes:
        """``value`` and what it needs, as bytes for :func:`receive`.

        Parameters
        ----------
        value : object
            What to ship.
        what : str
            What to call it in an error.

        Raises
        ------
        TaskNotPicklable
            Names the part at fault.
        """
        settings = simulators.settings() if isinstance(value, Task) else b""
        if settings:
            return _SETTINGS + len(settings).to_bytes(4, "big") + settings + self._ship(value, what)
        return self._ship(value, what)

    def _ship(self, value: Any, what: str) -> bytes:
        try:
            plain = pickle_dumps(value, 5)
            if b"__main__" not in plain and simulators.BRIAN2.encode() not in plain:
                return _PLAIN + plain
        except Exception:
            pass  # pickle refuses lambdas, closures and more, which dill takes

        def fill(load: _Load) -> bytes:
            if isinstance(value, Task):
                target = value.target
                bound = [target.args, target.keywords] if isinstance(target, partial) else None
                load.mention(_words_in([value.initargs, value.initkwds, bound]))
            load.add((None, value), value, what)
            load.add_names()
            return load.finish(value)

        return self._filled(fill)

    def definitions(self, payload: bytes) -> bytes | None:
        """What processes must load before they can decode ``payload``; None for nothing.

        ``payload`` is any pickle, for example of items that are instances of a class of the
        script.
        """
        if b"__main__" not in payload:
            return None
        finder = _Finder(io.BytesIO(payload))
        with contextlib.suppress(Exception):  # whoever decodes it in earnest will say why
            finder.load()
        names = [name for name in finder.names if name in self._main and name not in self._shipped]
        if not names:
            return None

        def fill(load: _Load) -> bytes:
            load.want(names)
            load.add_names()
            return load.finish()

        return self._filled(fill)

    def _filled(self, fill: Callable[[_Load], bytes]) -> bytes:
        """A shipment without dill, if that is possible."""
        load = _Load(self._main, set(self._shipped), _FunctionPickler, blames=False)
        try:
            data = fill(load)
            if b"__main__" not in data:  # else there is more of the script than functions
                self._shipped = load.shipped
                return data
        except Exception:
            pass  # dill will do it, or say why not
        return fill(_Load(self._main, self._shipped))


def receive(data: bytes) -> Any:
    """Undo :meth:`Shipper.ship` in another process, whose ``__main__`` gains the names."""
    if data[:1] == _SETTINGS:
        end = _end_of_settings(data)
        simulators.apply(data[5:end])
        received = receive(data[end:])
        simulators.apply(data[5:end])  # again: modules that were imported meanwhile may have set their own
        return received
    view = memoryview(data)[1:]
    if data[:1] == _PLAIN:
        return pickle_loads(view)
    unpickler: Any
    if data[:1] == _FUNCTIONS:
        unpickler = Unpickler(io.BytesIO(view))
    else:
        import dill

        unpickler = dill.Unpickler(io.BytesIO(view), ignore=True)
    main = sys.modules["__main__"].__dict__
    task = None
    while (pair := unpickler.load()) is not None:
        name, value = pair
        if name is None:
            task = value
        elif name:
            main[name] = value
        else:
            _import_all(value)
    return task


def has_code(data: bytes) -> bool:
    """Whether a shipment has functions as they were compiled, which only one version of Python can run."""
    start = _end_of_settings(data) if data[:1] == _SETTINGS else 0
    return data[start : start + 1] != _PLAIN


def _end_of_settings(data: bytes) -> int:
    return 5 + int.from_bytes(data[1:5], "big")


def _part_of(module: str, name: str) -> Any:
    """What the module has by that name."""
    return getattr(importlib.import_module(module), name)


def _import_all(modules: list[str]) -> None:
    for module in modules:
        with contextlib.suppress(Exception):  # whoever needs it will say that it is not there
            importlib.import_module(module)


class _Finder(Unpickler):
    """Finds the names of ``__main__`` that a pickle refers to."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.names: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            self.names.append(name.partition(".")[0])
        return super().find_class(module, name)


class _Load:
    """The bytes of one shipment, as they grow."""

    def __init__(
        self, main: dict[str, Any], shipped: set[str], pickler: Any = None, *, blames: bool = True
    ) -> None:
        self._blames = blames
        from farmhand.origins import Origins  # a process that only receives does without

        self._main = main
        self._origins = Origins(main)
        self._without_dill = pickler is not None
        self.shipped = shipped
        self._wanted: dict[str, None] = {}  # an ordered set
        self._mentioned: dict[str, None] = {}
        self._modules: dict[str, None] = {}
        self._added: list[str] = []
        self._runs_code = False
        self._file = io.BytesIO()
        self._file.write(_FUNCTIONS if pickler else _DILL)
        self._pickler = (pickler or _dill_pickler())(self._file, protocol=5)
        self._pickler.farmhand_load = self

    def add(self, pair: Any, value: Any = None, what: str = "") -> None:
        """Append ``pair``; if that is impossible, ``value`` is at fault, called ``what``."""
        try:
            self._pickler.dump(pair)
        except Exception as error:
            if not what or not self._blames:
                raise
            culprit, reason = _blame(value, what, error)
            raise TaskNotPicklable(culprit, reason) from error

    def want(self, names: list[str]) -> None:
        for name in names:
            if name in self._main and name not in self.shipped and name not in _OWN_TO_EVERY_MAIN:
                self._wanted[name] = None

    def reduced(self, thing: Any) -> Any:
        """How a pickler has to reduce ``thing``, where that is not its own affair: NotImplemented."""
        if type(thing) in _PLAIN_KINDS:
            return NotImplemented
        origin = self._origins.find(thing)
        if origin is not None:
            return _part_of, origin
        if reason := simulators.refusal(thing):
            raise TypeError(reason)
        if unit := simulators.parts_of_unit(thing):
            return unit
        if type(thing).__module__ == "__main__":
            self.mention(_words_in(getattr(thing, "__dict__", None)))
        return NotImplemented

    def met(self, thing: FunctionType | type) -> None:
        """The pickler is about to save a function or a class by value."""
        if thing.__module__ == "__main__":
            # a nested class pickles as Outer.Inner, so that Outer has to be there
            self.want([thing.__qualname__.partition(".")[0]])
            if isinstance(thing, type) and any(map(self._needs_names, _run_while_loading(thing))):
                self._runs_code = True
            if isinstance(thing, type):
                own = {name: value for name, value in vars(thing).items() if name != "__doc__"}
                self.mention(_words_in(own))
        if isinstance(thing, FunctionType) and thing.__globals__ is self._main:
            names, words = _names_in(thing)
            self.want(names)
            if self._main.get("__package__"):
                self.want(["__package__"])  # run with -m; the code may say `from . import ...`
            self.mention(words)
            self.mention(_words_in([thing.__defaults__, thing.__kwdefaults__]))
            self.mention(
                _words_in([each.cell_contents for each in thing.__closure__ or () if _is_full(each)])
            )
            self._meet_packages(thing)

    def mention(self, words: Iterable[str]) -> None:
        for word in words:
            if word in self._main:
                self._mentioned[word] = None

    def _needs_names(self, function: Any) -> bool:
        function = getattr(function, "__func__", function)
        return isinstance(function, FunctionType) and not self._main.keys().isdisjoint(_names_in(function)[0])

    def _meet_packages(self, function: FunctionType) -> None:
        """``import xml.dom`` binds ``xml`` alone; what the code reads from that must be imported too."""
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        within = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
        for value in [*within, *(self._main.get(name) for name in names)]:
            if isinstance(value, ModuleType) and hasattr(value, "__path__"):
                top = value.__name__ + "."
                for name in list(sys.modules):
                    if name.startswith(top) and names.issuperset(name[len(top) :].split(".")):
                        self._modules[name] = None

    def add_names(self) -> None:
        """Ship what was wanted on the way, and what that wants, until nothing is left."""
        while self._wanted or self._mentioned:
            if self._wanted:
                name = next(iter(self._wanted))
                del self._wanted[name]
                self.shipped.add(name)
                self._added.append(name)
                value = self._main[name]
                self.mention(_words_in(value))
                self.add((name, value), value, f"the global {name!r}")
            else:
                name = next(iter(self._mentioned))
                del self._mentioned[name]
                if name not in self.shipped and name not in _OWN_TO_EVERY_MAIN:
                    self._try_mentioned(name)

    def _try_mentioned(self, name: str) -> None:
        value = self._main[name]
        for_equations = simulators.is_for_equations(value)
        if for_equations and self._origins.find(value) is None:
            if self._without_dill:
                raise TypeError(f"{name} needs dill")
            try:
                trial = _Load(self._main, {*self.shipped, name}, blames=False)
                trial.add((name, value))
                trial.add_names()
            except Exception:
                return
        elif isinstance(value, FunctionType | type | ModuleType) and not for_equations:
            return  # code refers to these by name, not in strings
        else:
            file = io.BytesIO()
            pickler = _GuessPickler(_Limited(file, _MENTIONED_LIMIT), 5)
            pickler.farmhand_load = self
            try:
                pickler.dump(value)
            except Exception:
                return
            if b"__main__" in file.getvalue():
                return
        self.shipped.add(name)
        self._added.append(name)
        self.add((name, value))
        self.mention(_words_in(value))

    def finish(self, task: Any = None) -> bytes:
        load = self
        if self._runs_code:
            load = _Load(self._main, self.shipped)
            load.add(("", list(self._modules)))
            for name in self._added:
                if type(self._main[name]) in (dict, list, set):  # a registry that classes enter themselves in
                    load.add((name, type(self._main[name])()))
            latest_first = self._added[::-1]
            for name in sorted(latest_first, key=lambda name: _rank(self._main[name])):
                load.add((name, self._main[name]))
            load.add((None, task))
        elif self._modules:
            load.add(("", list(self._modules)))
        load.add(None)
        return load._file.getvalue()


class _Limited:
    """A file that refuses to grow."""

    def __init__(self, file: io.BytesIO, limit: int) -> None:
        self._file = file
        self._left = limit

    def write(self, data: Any) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("too large")
        return self._file.write(data)


def _rank(value: Any) -> int:
    """When to load a value, if some run code meanwhile: first what runs none and needs nothing."""
    if isinstance(value, FunctionType):
        return 1
    made_of_others = isinstance(value, type | dict | list | tuple | set)
    return 2 if made_of_others or type(value).__module__ == "__main__" else 0


def _run_while_loading(cls: type) -> Iterator[Any]:
    """The methods that run when the class, or an instance of it, is made from its pickle."""
    names = ["__setstate__", "__reduce__", "__reduce_ex__", "__new__", "__hash__", "__eq__"]
    names += ["__init_subclass__", "__set_name__"]
    if issubclass(cls, type):
        names += ["__init__", "__prepare__", "__call__"]
    return (vars(cls)[name] for name in names if name in vars(cls))


class _GuessPickler(Pickler):
    """Plain pickle, but for what is not to be copied."""

    farmhand_load: _Load

    def reducer_override(self, thing: Any) -> Any:
        return self.farmhand_load.reduced(thing)


class _FunctionPickler(Pickler):
    """Takes functions of ``__main__`` apart, and leaves to dill what is not as plain as it looks."""

    farmhand_load: _Load

    def reducer_override(self, thing: Any) -> Any:
        reduced = self.farmhand_load.reduced(thing)
        if reduced is not NotImplemented:
            return reduced
        kind = type(thing)
        if kind is ModuleType and thing is not builtins:
            return importlib.import_module, (thing.__name__,)
        if kind is FunctionType and thing.__module__ == "__main__":
            self.farmhand_load.met(thing)
            made = _make_function(*(parts := _parts_of(thing)))
            if all(getattr(made, name, None) == getattr(thing, name, None) for name in _ATTRIBUTES):
                return _make_function, parts
        elif kind.__module__ not in _SPECIAL and kind is not ModuleType:
            return NotImplemented
        raise TypeError(f"{thing!r} needs dill")


# what is one object in all the process, and what the globals of a module have in them
_SPECIAL = ("dataclasses", "_frozen_importlib")
_ATTRIBUTES = ("__globals__", "__closure__", "__dict__", "__doc__", "__type_params__")


def _parts_of(function: FunctionType) -> tuple[Any, ...]:
    code = marshal_dumps(function.__code__)
    defaults = function.__defaults__, function.__kwdefaults__
    return code, function.__name__, function.__qualname__, *defaults, function.__annotations__


def _make_function(
    code: bytes, name: str, qualname: str, defaults: Any, kwdefaults: Any, annotations: dict[str, Any]
) -> FunctionType:
    function = FunctionType(marshal_loads(code), sys.modules["__main__"].__dict__, name, defaults)
    function.__qualname__, function.__kwdefaults__ = qualname, kwdefaults
    function.__annotations__ = annotations
    return function


@cache
def _dill_pickler() -> Any:
    """dill's pickler, told to say what it meets and to keep globals and modules by name.

    Made on first use, because importing dill takes tens of milliseconds.
    """
    import dataclasses
    import pickle
    import threading
    import typing

    import dill

    base = dill.Pickler.dispatch

    class Dispatch(dict):  # type: ignore[type-arg]
        def get(self, kind: type, default: Any = None) -> Any:
            saver = super().get(kind)
            if saver is None and issubclass(kind, type):
                return save_class  # a metaclass
            return saver or default

    class MainPickler(dill.Pickler):  # type: ignore[misc]
        dispatch = Dispatch(base)
        farmhand_load: _Load

        def reducer_override(self, thing: Any) -> Any:
            return self.farmhand_load.reduced(thing)

        def save_global(self, thing: Any, name: str | None = None) -> None:
            if pickle.whichmodule(thing, name) == "__main__":  # type: ignore[attr-defined]
                raise pickle.PicklingError(
                    f"{name or thing!r} is known by its name alone, and only in the script"
                )
            super().save_global(thing, name)

    def save_function(pickler: Any, function: FunctionType) -> None:
        pickler.farmhand_load.met(function)
        base[FunctionType](pickler, function)

    def save_class(pickler: Any, cls: type) -> None:
        if cls.__module__ == "__main__":
            pickler.farmhand_load.met(cls)
            remake = _remaking(cls)
            if remake is not None:
                make, arguments, attributes = remake
                pickler.save_reduce(make, arguments, attributes, state_setter=_set_attributes, obj=cls)
                return
        base[type](pickler, cls)

    def save_type_variable(pickler: Any, variable: Any) -> None:
        home = sys.modules.get(variable.__module__)  # the T of `class Box[T]` is in no module
        if variable.__module__ != "__main__" and getattr(home, variable.__name__, None) is variable:
            pickler.save_global(variable)
        elif isinstance(variable, typing.TypeVar):
            flags = (variable.__covariant__, variable.__contravariant__)
            arguments = (variable.__name__, variable.__constraints__, variable.__bound__, *flags)
            pickler.save_reduce(_make_type_variable, arguments, obj=variable)
        else:
            pickler.save_reduce(type(variable), (variable.__name__,), obj=variable)

    def save_dict(pickler: Any, value: dict[Any, Any]) -> None:
        name = value.get("__name__") if "__name__" in value else None
        module = sys.modules.get(name) if type(name) is str else None
        if module is not None and module.__dict__ is value:
            pickler.save_reduce(_globals_of, (name,), obj=value)
        else:
            pickle._Pickler.dispatch[dict](pickler, value)

    def save_module(pickler: Any, module: ModuleType) -> None:
        pickler.save_reduce(importlib.import_module, (module.__name__,), obj=module)

    def save_sentinel(pickler: Any, sentinel: Any) -> None:
        # dataclasses compares these by identity; a copy would make fields() forget its fields
        missing = sentinel is dataclasses.MISSING
        name = getattr(sentinel, "name", None) or ("MISSING" if missing else "KW_ONLY")
        pickler.save_global(sentinel, name=name)

    def save_lock(pickler: Any, lock: Any) -> None:
        # nobody in the worker holds it, and dill's copy of an RLock could never be acquired
        make = threading.Lock if isinstance(lock, type(threading.Lock())) else threading.RLock
        pickler.save_reduce(make, (), obj=lock)

    def saver_of_named(meaning: str) -> Any:
        """For what is made of its name and one attribute, ``meaning``."""

        def save_named(pickler: Any, named: Any) -> None:
            if named.__module__ == "__main__":
                pickler.save_reduce(type(named), (named.__name__, getattr(named, meaning)), obj=named)
            else:
                pickler.save_global(named)

        return save_named

    for lock in (threading.Lock(), threading.RLock()):
        MainPickler.dispatch[type(lock)] = save_lock
    MainPickler.dispatch[typing.NewType] = saver_of_named("__supertype__")
    if hasattr(typing, "TypeAliasType"):
        MainPickler.dispatch[typing.TypeAliasType] = saver_of_named("__value__")
    MainPickler.dispatch[FunctionType] = save_function
    MainPickler.dispatch[type] = save_class
    MainPickler.dispatch[dict] = save_dict
    MainPickler.dispatch[ModuleType] = save_module
    for kind in (typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple):
        MainPickler.dispatch[kind] = save_type_variable
    for sentinel in (
        dataclasses.MISSING,
        dataclasses.KW_ONLY,
        dataclasses._FIELD,  # type: ignore[attr-defined]
        dataclasses._FIELD_CLASSVAR,  # type: ignore[attr-defined]
        dataclasses._FIELD_INITVAR,  # type: ignore[attr-defined]
    ):
        MainPickler.dispatch[type(sentinel)] = save_sentinel
    return MainPickler


def _remaking(cls: type) -> tuple[Any, tuple[Any, ...], dict[str, Any]] | None:
    """For classes that dill gets wrong: what makes them again, of what, and what to add to them."""
    import collections
    import enum
    import pickle

    own = vars(cls)
    if isinstance(cls, enum.EnumMeta):
        named: dict[str, Any] = dict(cls.__members__)
        members = [(name, member.value) for name, member in named.items()]
        at_once = {name: own[name] for name in ("__init__", "__doc__") if name in own}
        if "__new_member__" in own:
            raise pickle.PicklingError(
                f"{cls.__qualname__} is an enum with a __new__ of its own, whose arguments are forgotten; "
                "put it into a module, from which it can be imported"
            )
        if issubclass(cls, enum.Flag):
            at_once["_boundary_"] = cls._boundary_  # type: ignore[attr-defined]
        later = {
            name: value
            for name, value in own.items()
            if name not in cls.__members__ and name not in at_once and _is_of_user(name, value)
        }
        return _make_enum, (type(cls), cls.__name__, cls.__qualname__, cls.__bases__, members, at_once), later
    if cls.__bases__ == (tuple,) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults"):
        fields = cls._fields
        plain = vars(collections.namedtuple("plain", fields))
        later = {
            name: value
            for name, value in own.items()
            if (name not in plain or name == "__doc__") and name not in _MADE_BY_PYTHON
        }
        return _make_namedtuple, (cls.__name__, cls.__qualname__, fields, cls._field_defaults), later
    return None


def _is_of_user(name: str, value: Any) -> bool:
    """Whether an attribute of an enum stands in its source: ``_so_`` and ``__so__`` if they are code."""
    if not (name.startswith("_") and name.endswith("_")):
        return True
    function = getattr(value, "__func__", value)
    own = isinstance(function, FunctionType) and function.__module__ != "enum"
    return own and name != "_generate_next_value_"


_MADE_BY_PYTHON = {
    "__module__", "__qualname__", "__dict__", "__weakref__", "__new__", "__orig_bases__", "__firstlineno__",
    "__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__",
}  # fmt: skip


def _make_enum(
    meta: Any, name: str, qualname: str, bases: tuple[type, ...], members: Any, at_once: dict[str, Any]
) -> Any:
    namespace = meta.__prepare__(name, bases)
    namespace["__module__"] = "__main__"
    namespace["__qualname__"] = qualname
    boundary = {"boundary": at_once.pop("_boundary_")} if "_boundary_" in at_once else {}
    for key, value in [*at_once.items(), *members]:
        namespace[key] = value
    return meta(name, bases, namespace, **boundary)


def _make_namedtuple(name: str, qualname: str, fields: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    import collections

    made = collections.namedtuple(name, fields, defaults=tuple(defaults.values()), module="__main__")  # type: ignore[misc]
    made.__qualname__ = qualname
    return made


def _make_type_variable(name: str, constraints: Any, bound: Any, covariant: bool, contravariant: bool) -> Any:
    import typing

    return typing.TypeVar(name, *constraints, bound=bound, covariant=covariant, contravariant=contravariant)


def _set_attributes(cls: type, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(cls, name, value)


def _globals_of(module: str) -> dict[str, Any]:
    """The names of a module; of ``__main__``, those of whichever process asks."""
    if module == "__main__":
        return sys.modules["__main__"].__dict__
    return importlib.import_module(module).__dict__


def _names_in(function: FunctionType) -> tuple[list[str], list[str]]:
    """The names that the code of ``function`` uses, and the words in its strings (not its docstring)."""
    names: list[str] = []
    words: list[str] = []
    for code in _codes(function.__code__):
        if not function.__globals__.keys().isdisjoint(code.co_names):
            import dis

            # not all of co_names, which has the attributes as well: `self.lock` is not the global `lock`
            names += [each.argval for each in dis.get_instructions(code) if each.opname in _GLOBAL_NAMES]
        docstring = code.co_consts[0] if code.co_consts else None
        for constant in code.co_consts:
            if not (constant is docstring and constant == function.__doc__):
                words += _words_in(constant)
    return names, words


def _words_in(value: Any, depth: int = 3) -> Iterator[str]:
    """The words in a string, or in the strings of a short plain container."""
    if isinstance(value, str):
        import re

        yield from re.findall(r"[^\W\d]\w*", value[:_MENTIONED_LIMIT])
    elif depth and isinstance(value, list | tuple | set | frozenset | dict) and len(value) <= 1000:
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _words_in(part, depth - 1)
    elif not isinstance(value, int | float | None) and (text := simulators.text_of(value)):
        yield from _words_in(text)


def _is_full(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises when the variable has no value
    except ValueError:
        return False
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _blame(value: Any, what: str, error: BaseException) -> tuple[str, str]:
    """The smallest part of ``value`` that cannot be pickled, as a path, and why."""
    seen: dict[int, str] = {}
    while not simulators.refusal(value):
        seen[id(value)] = what
        for name, part in _parts(value):
            refusal = _refusal(part)
            if refusal is not None:
                if id(part) in seen:  # a part that only refers back: the fault is there
                    return seen[id(part)], f"{type(error).__name__}: {error}"
                value, error = part, refusal
                what = f"{what}{name}" if name[:1] in ("", ".", "[") else f"{name} of {what}"
                break
        else:
            break
    return what, simulators.refusal(value) or f"{type(error).__name__}: {error}"


def _refusal(value: Any) -> BaseException | None:
    try:
        load = _Load(sys.modules["__main__"].__dict__, set(), blames=False)
        load.add(value)
        load.add_names()
    except Exception as error:
        return error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if _is_full(cell):
                yield f"the closure variable {name!r}", cell.cell_contents
        for index, default in enumerate(value.__defaults__ or ()):
            yield f"default argument {index}", default
        for name, default in (value.__kwdefaults__ or {}).items():
            yield f"default argument {name!r}", default
        if value.__globals__ is sys.modules["__main__"].__dict__:
            owner = value.__qualname__.partition(".")[0]  # of a method, the class
            for name in dict.fromkeys([*_names_in(value)[0], owner]):
                if name in value.__globals__:
                    yield f"the global {name!r}", value.__globals__[name]
        return
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{key!r}]", part
        return
    if isinstance(value, list | tuple | set | frozenset):
        for index, part in enumerate(value):
            yield f"[{index}]", part
        return
    if isinstance(value, type):
        for name, part in vars(value).items():
            if not name.startswith("__"):
                yield f".{name}", part
        return
    if hasattr(value, "__func__"):
        yield "the function", value.__func__
        yield "the object", value.__self__
        return
    if hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
        return
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part
    for cls in type(value).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if hasattr(value, name):
                yield "" if cls is Task and name == "target" else f".{name}", getattr(value, name)
