"""How a package that is called ``brian`` does not pass for the simulator.

*It says what it is*: a warning at ``import brian``, none when only a module inside is wanted.

*It refuses*: ``brian.NeuronGroup`` is an ``AttributeError``, as ``hasattr`` and everything that looks
around in modules needs it. Python forgets the text of that one in ``from brian import NeuronGroup``, where it
looks for a module of that name next. So a finder, the last one, is asked for what nobody else has found,
and raises a ``ModuleNotFoundError`` for all that Brian 1 may have had there.

*It steps aside*: the first thing that it does is to look for another ``brian`` on ``sys.path``.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType

__all__ = ["Refusing", "begin", "refusal"]

_NAME = "brian"
_BESIDE = "farmhand_brian"  # in the folder of each copy of this package
_WHAT = (
    "this package `brian` is not the simulator; it has the task farm of Brian 1.4 alone "
    "(brian.tools.taskfarm and brian.tools.datamanager, from farmhand-brian), and who simulates needs "
    "Brian 2: `pip install brian2`, and in the script `from brian2 import *`"
)


def refusal(name: str) -> str:
    """What is said of a name that only the simulator has."""
    return f"there is no {name}: {_WHAT}"


def begin(spec: ModuleSpec) -> None:
    """Import a real ``brian`` in place of the module of this ``spec``, or say that it is none."""
    real = _real_spec(spec)
    if real is not None:
        _hand_over(real)
        return
    if Refusing not in sys.meta_path:
        sys.meta_path.append(Refusing)
    if not _is_on_the_way() and "farmhand.local.worker" not in sys.modules:
        import warnings

        # importlib's own frames do not count: 2 is `brian`, 3 is the line that imports it
        warnings.warn(_WHAT, UserWarning, stacklevel=3)


class Refusing:
    """A finder: says why nobody has found a module of ``brian``."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for what may have been in Brian 1; None for everything else."""
        package, _, rest = name.partition(".")
        if package != _NAME or name.rpartition(".")[2].startswith("_") or not rest:
            return None
        spec = getattr(sys.modules.get(_NAME), "__spec__", None)
        if spec is None or spec.origin is None or not _is_ours(spec.origin):
            return None
        # Not of `name`: Python passes over a module that is missing in `from brian import NeuronGroup`.
        raise ModuleNotFoundError(refusal(name), name=_NAME)


def _real_spec(own: ModuleSpec) -> ModuleSpec | None:
    """The first package on ``sys.path`` that is called ``brian`` and is not this one, if there is any."""
    for entry in sys.path:
        spec = PathFinder.find_spec(_NAME, [entry])
        # a folder of that name without an `__init__.py`, such as one of results, is no package
        if spec is None or spec.origin is None or not spec.submodule_search_locations:
            continue
        if spec.origin != own.origin and not _is_ours(spec.origin):
            return spec
    return None


def _is_ours(origin: str) -> bool:
    return os.path.isdir(os.path.join(os.path.dirname(os.path.dirname(origin)), _BESIDE))


def _hand_over(real: ModuleSpec) -> None:
    """Run the real one in a module of its own, which is what the import that is under way then gives."""
    assert real.loader is not None
    for name in [name for name in sys.modules if name.startswith(f"{_NAME}.")]:
        del sys.modules[name]  # this very module: the real one may have others of these names
    module = module_from_spec(real)
    sys.modules[_NAME] = module
    real.loader.exec_module(module)


def _is_on_the_way() -> bool:
    """Whether ``brian`` is imported since somebody wants a module inside it.

    Python does not tell; the frames of its import system do. Where they should look different one day, the
    warning is given once too often.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            wanted = frame.f_locals.get("name")
            if isinstance(wanted, str) and wanted.startswith(f"{_NAME}."):
                return True
        frame = frame.f_back
    return False
