"""Doing something when a module has been imported, by whomever, without importing it for that."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["WhenImported"]


class WhenImported:
    """Waits for the import of a module; while it waits, other imports take a tenth of a microsecond longer.

    Parameters
    ----------
    name : str
        The full name of a module that has not been imported yet.
    then : callable
        Is given the module, once, as soon as it has been executed.
    """

    def __init__(self, name: str, then: Callable[[ModuleType], object]) -> None:
        self._name = name
        self._then = then
        sys.meta_path.insert(0, self)

    def cancel(self) -> None:
        """Wait no longer; nothing happens if that is over."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """What the import system asks each finder: this one has others find the module."""
        if name != self._name:
            return None
        from importlib.util import find_spec

        self.cancel()
        spec = find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._then(module)

            loader.exec_module = exec_module
        return spec
