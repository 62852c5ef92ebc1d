"""Where a script has a thing from: the module that calls it by that name.

``from brian2 import *`` puts ``prefs``, ``rand``, ``sin``, ``run`` and ``ms`` among the script's own
names. Pickle can name some of these; the others it would copy, or refuse. A copy of a library's object
is not the one that the library itself uses: a setting made on it is without effect, and a copy of a
random generator gives every process the same numbers. So what can be found in a module goes by the name
that it has there.
"""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

from farmhand import simulators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Origins"]

_FUNCTIONS = (FunctionType, BuiltinFunctionType)
# What is of these modules has its own way, or is a value like any other; a method is not.
_VALUES = ("builtins", "dataclasses", "_frozen_importlib", "collections", "_thread")
_PLACES = ("site-packages", "dist-packages")


class Origins:
    """Finds the origins of what a script refers to.

    Parameters
    ----------
    main : dict
        The names of the script.
    """

    def __init__(self, main: dict[str, Any]) -> None:
        self._main = main
        self._names: dict[int, list[str]] | None = None  # of the things that the script has, by id
        self._homes: dict[str, dict[int, str]] = {}  # what a library's module has, by id
        self._modules: list[tuple[str, dict[str, Any]]] | None = None  # each with what it has

    def find(self, value: Any) -> tuple[str, str] | None:
        """The module that has ``value``, and its name there; None if it has to travel by itself.

        That is so for plain values (numbers, strings, containers, arrays), for what the script has
        made, for what pickle itself can name, and for instances that are in the author's own modules: a
        script may have changed these, and expects that to travel.
        """
        kind = type(value)
        if isinstance(value, type | ModuleType):
            return None
        if isinstance(value, _FUNCTIONS):
            owner = getattr(value, "__self__", None)
            if owner is None or isinstance(owner, ModuleType):
                if value.__module__ == "__main__" or _is_named(value):
                    return None
                return self._by_name(value, any_module=True)
        elif kind.__module__ in _VALUES and not hasattr(value, "__self__"):
            return None
        if kind.__module__ == "__main__" or kind.__name__ == "ndarray":
            return None
        return self._at_home(value) or self._by_name(value)

    def _by_name(self, value: Any, *, any_module: bool = False) -> tuple[str, str] | None:
        if self._names is None:
            self._names = {}
            for name, thing in self._main.items():
                self._names.setdefault(id(thing), []).append(name)
        found = [
            (module, name)
            for name in self._names.get(id(value), ())
            if self._main.get(name) is value
            for module in self._modules_with(name, value)
            if any_module or _is_of_library(module)
        ]
        return min(found, key=_obscurity, default=None)

    def _at_home(self, value: Any) -> tuple[str, str] | None:
        """Many classes are there for one instance, beside them in their module."""
        home: Any = type(value).__module__
        if not isinstance(home, str):  # a class may call anything that
            return None
        if home not in self._homes:
            module = sys.modules.get(home) if _is_of_library(home) else None
            names = getattr(module, "__dict__", {})
            self._homes[home] = {id(thing): name for name, thing in names.items()}
        name = self._homes[home].get(id(value))
        if name is None or getattr(sys.modules.get(home), name, None) is not value:
            return None
        # the module that users know, if it calls it the same
        return min(
            [(module, name) for module in self._modules_with(name, value)],
            key=_obscurity,
            default=(home, name),
        )

    def _modules_with(self, name: str, value: Any) -> Iterator[str]:
        if self._modules is None:
            # not module.__dict__, which makes importlib.util.LazyLoader load the module
            self._modules = [
                (module, object.__getattribute__(part, "__dict__"))
                for module, part in list(sys.modules.items())
                if isinstance(part, ModuleType) and module != "__main__"
            ]
        for module, names in self._modules:
            if names.get(name) is value and names.get("__spec__") is not None:
                yield module


def _obscurity(origin: tuple[str, str]) -> tuple[bool, int, int, str]:
    module, name = origin
    return "._" in f".{module}", module.count("."), len(module), name


def _is_named(function: Any) -> bool:
    """Whether pickle finds a function by its own names."""
    thing: Any = sys.modules.get(function.__module__ or "")
    for part in function.__qualname__.split("."):
        thing = getattr(thing, part, None)
    return thing is function


def _is_of_library(module: str) -> bool:
    """Whether a module is Python's own or has been installed, and is not the work of the script's author."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == simulators.BRIAN2:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return not file or any(place in file.replace("\\", "/").split("/") for place in _PLACES)
