"""What farmhand knows of Brian 2, which is never imported here: a script, or a task, has done it.

While ``Network.run`` is at work, a thread looks at the network's time, as Brian itself calls a report every
ten seconds unless told otherwise. It finds the network in the frame that has made the first call: that works
whether ``run``, a magic network or a ``Network`` was asked, changes nothing in Brian, and where anything is
other than expected there is only nothing to see.
"""

from __future__ import annotations

import contextlib
import io
import sys

from farmhand.imports import WhenImported
from farmhand.stdlib import Unpickler, pickle_dumps, pickle_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, ModuleType
    from typing import Any

__all__ = [
    "BRIAN2",
    "PERIOD",
    "Watch",
    "advice",
    "apply",
    "forget_random_numbers",
    "is_for_equations",
    "lost_memory",
    "parts_of_unit",
    "problem_of",
    "refusal",
    "report_period",
    "settings",
    "text_of",
]

BRIAN2 = "brian2"
PERIOD = 0.1  # seconds between two looks; snapshots are as frequent

_NETWORK = "brian2.core.network"
_UNITS = "brian2.units.allunits"
_DEEP = 16  # frames between Network.run and here: what wraps a report is not deeper


def _brian2() -> ModuleType | None:
    """Brian 2, if it has been imported as a whole."""
    module = sys.modules.get(BRIAN2)
    return module if hasattr(module, "defaultclock") and hasattr(module, "prefs") else None


def _is_a(value: Any, module: str, *names: str) -> bool:
    """Whether ``value`` is an instance of one of these classes of Brian 2."""
    kinds = (getattr(sys.modules.get(f"{BRIAN2}.{module}"), name, None) for name in names)
    return any(isinstance(kind, type) and isinstance(value, kind) for kind in kinds)


# -- what travels to a process ---------------------------------------------------------------------------


def is_for_equations(value: Any) -> bool:
    """Whether ``value`` was made to be named in equations: a ``TimedArray``, a function that has units."""
    return _is_a(value, "core.functions", "Function") or (
        BRIAN2 in sys.modules and hasattr(value, "_arg_units") and hasattr(value, "_return_unit")
    )


def parts_of_unit(value: Any) -> tuple[Any, ...] | None:
    """What makes a unit again, and of what; None of all else.

    Brian itself pickles a unit as a quantity (one without dimensions as a number). That is as good in a
    calculation, but not as the unit of a ``TimedArray`` or a function: no equation could name these.
    """
    if not _is_a(value, "units.fundamentalunits", "Unit"):
        return None
    about = (value.name, value.dispname, value.latexname, value.iscompound)
    return type(value), (10.0**value.scale, value.dim, value.scale, *about)


def text_of(value: Any) -> str:
    """The text of equations; ``''`` of all else."""
    return str(value) if _is_a(value, "equations.equations", "Equations") else ""


def refusal(value: Any) -> str:
    """Why ``value`` cannot be sent to another process; ``''`` if it can, for all that is known here.

    Pickle would take a part of a simulation, but its variables would be nowhere.
    """
    if _is_a(value, "core.variables", "VariableView"):
        part = "a variable of a group"
    elif isinstance(value, _kinds()):
        part = f"a {value.__class__.__name__}"  # as that may be the class behind a proxy
    else:
        return ""
    return f"{part} of Brian 2 {_IS_PART}"


_IS_PART = "is a part of a simulation, which lives in one process"
_ADVICE = "Return what you need of it as values: M.t[:].copy(), M.num_spikes, G.v[:]"


def problem_of(encoded: bytes, buffers: Sequence[memoryview] = ()) -> str:
    """Why a value that pickle took is worth nothing elsewhere: it has a part of a simulation; else ``''``."""
    if BRIAN2 not in sys.modules or not any(package in encoded for package in _PARTS):
        return ""
    finder = _Finder(io.BytesIO(encoded), buffers=buffers)
    with contextlib.suppress(Exception):  # who proves that it can be decoded will say why not
        finder.load()
    if finder.part is None:
        return ""
    return f"a {finder.part.__name__} of Brian 2 {_IS_PART}. {_ADVICE}"


def lost_memory(value: Any) -> str:
    """Why the numbers in a result are no longer what they were; ``''`` if they are.

    With Brian 2.10, ``M.t[:]`` shows memory of the monitor, and does not keep it: when the task has returned,
    both are gone, and anything may stand there.
    """
    if BRIAN2 not in sys.modules:
        return ""
    arrays: list[Any] = []
    with contextlib.suppress(Exception):  # then dill has pickled it
        pickle_dumps(value, 5, buffer_callback=lambda part: arrays.append(memoryview(part).obj))
    for array in arrays:
        while getattr(array, "base", None) is not None:
            array = array.base
        flags = getattr(array, "flags", None)
        if flags is not None and not flags.owndata:
            return (
                "an array in it shows memory that nobody keeps, such as that of a Brian 2 monitor which is "
                "gone when the task returns. Return a copy: M.t[:].copy()"
            )
    return ""


def advice(error: BaseException) -> str:
    """What to do about a value that cannot be pickled, in a sentence; ``''`` if nothing is known."""
    if BRIAN2 in sys.modules and isinstance(error, ReferenceError):
        return f". A variable of a Brian 2 object lives only as long as that does. {_ADVICE}"
    return ""


_PARTS = (b"brian2.groups", b"brian2.monitors", b"brian2.synapses", b"brian2.input", b"brian2.core.network")


class _Finder(Unpickler):
    """Notices a class whose instances are parts of simulations."""

    part: type | None = None

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if isinstance(found, type) and issubclass(found, _kinds()):
            self.part = self.part or found  # the first is the outermost
        return found


def _kinds() -> tuple[type, ...]:
    """The classes of what is a part of a simulation."""
    named = [("core.base", "BrianObject"), ("core.network", "Network"), ("groups.group", "VariableOwner")]
    modules = [(sys.modules.get(f"{BRIAN2}.{module}"), name) for module, name in named]
    return tuple(getattr(module, name) for module, name in modules if hasattr(module, name))


# -- settings --------------------------------------------------------------------------------------------

_DT = 1e-4  # seconds; Brian's default
_waiting: list[
    WhenImported
] = []  # at most one: Brian is slow to import, so that nobody does it for settings alone


def settings() -> bytes:
    """What the script has set in Brian 2, for :func:`apply`: preferences, and the clock's ``dt``.

    ``b''`` when all is as Brian has it by default. What cannot be sent is warned of.
    """
    brian2 = _brian2()
    if brian2 is None:
        return b""
    device = brian2.get_device()
    if device is not brian2.all_devices["runtime"]:
        names = [name for name, known in brian2.all_devices.items() if known is device]
        call = f"set_device({names[0]!r})" if names else "set_device"
        _warn(
            f"{call} of the script has no effect in the processes of the farm, where Brian 2 starts "
            "with its runtime device. Choose the device in the task: farmhand_brian.standalone does it, with "
            "a directory for each process"
        )
    changed: dict[str, bytes] = {}
    for name, value in _changed_preferences(brian2).items():
        try:
            changed[name] = pickle_dumps(value, 5)
            if b"__main__" in changed[name]:
                raise TypeError("it is made by the script")
        except Exception as error:
            changed.pop(name, None)
            _warn(f"the preference {name} of Brian 2 cannot be sent to the processes of the farm: {error}")
    clock = device.defaultclock
    dt = _DT if clock is None else float(clock.dt_)
    return pickle_dumps((changed, dt), 5) if changed or dt != _DT else b""


def apply(data: bytes) -> None:
    """Set in this process what :func:`settings` found in another: now, or as soon as Brian 2 is imported."""
    while _waiting:
        _waiting.pop().cancel()
    if _brian2() is not None:
        _apply(data)
    elif data:
        _waiting.append(WhenImported(BRIAN2, lambda _: _apply(data)))


def _apply(data: bytes) -> None:
    brian2: Any = _brian2()
    if brian2 is None:
        return
    prefs = brian2.prefs
    changed, dt = pickle_loads(data) if data else ({}, _DT)
    for name in _changed_preferences(brian2).keys() - changed.keys():
        prefs[name] = _default(prefs, name)
    for name, value in changed.items():
        if name in prefs:  # else it is of a package that has not been imported
            prefs[name] = pickle_loads(value)
    if float(brian2.defaultclock.dt_) != dt:
        brian2.defaultclock.dt = dt * brian2.second


def _changed_preferences(brian2: Any) -> dict[str, Any]:
    prefs = brian2.prefs
    changed = {}
    for name, value in prefs.items():
        default = _default(prefs, name)
        same = value is default
        with contextlib.suppress(Exception):  # whatever a preference may be, and compares like
            same = same or bool(value == default)
        if not same:
            changed[name] = value
    return changed


def _default(prefs: Any, name: str) -> Any:
    category, _, last = name.rpartition(".")
    return prefs.pref_register[category][0][last].default


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=_depth())


def _depth() -> int:
    """How many frames up the code is that is not farmhand's."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "farmhand":
        depth, frame = depth + 1, frame.f_back
    return depth


# -- random numbers ---------------------------------------------------------------------------------------


def forget_random_numbers() -> None:
    """Empty the buffers of random numbers that Brian 2's compiled code has drawn ahead."""
    device = getattr(sys.modules.get(f"{BRIAN2}.devices.device"), "runtime_device", None)
    if device is not None:
        device.rand_buffer_index[:] = 0
        device.randn_buffer_index[:] = 0


# -- a simulation that runs -----------------------------------------------------------------------------


def report_period() -> Any:
    """What to give to ``run(report_period=...)``: a quantity where Brian 2 is imported, else seconds."""
    second = getattr(sys.modules.get(_UNITS), "second", None)
    return PERIOD if second is None else PERIOD * second


class Watch:
    """Looks at a simulation while it runs, some ten times a second, in a thread of its own.

    Parameters
    ----------
    start, duration : float
        From when on and how long it simulates, in seconds.
    tell : callable
        Is given this object, and the fraction of the simulation that is done.
    """

    def __init__(self, start: float, duration: float, tell: Callable[[Watch, float], None]) -> None:
        self._start, self.duration = start, duration
        self._tell = tell
        # the frame of Network.run and the network: let go as soon as the simulation is over
        self._held: tuple[FrameType, Any] | None = None

    def begin(self) -> None:
        """Look at the simulation whose first report has led here; at nothing, if it is none of Brian 2's."""
        frame = _running_network()
        if frame is None or not self.duration > 0.0:
            return
        network = frame.f_locals.get("self")
        if not isinstance(getattr(network, "t_", None), float):
            return
        import threading

        self._held = frame, network
        self._thread = threading.get_ident()
        self._over = threading.Event()
        try:
            threading.Thread(target=self._look, name="farmhand watch", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._held = None

    def end(self) -> None:
        """Look no more. That also ends by itself when the simulation does, in whatever way."""
        if self._held is not None:
            self._held = None
            self._over.set()

    def _look(self) -> None:
        try:
            while not self._over.wait(PERIOD):
                complete = self._complete()
                if complete is None:
                    break
                self._tell(self, complete)
        except Exception:  # of whatever kind: then there is nothing to see
            return
        finally:
            self._held = None

    def _complete(self) -> float | None:
        """How far it is; None when it is over. It may have raised, which nobody is told."""
        held = self._held
        if held is None:
            return None
        frame, network = held
        runs = sys._current_frames().get(self._thread)
        while runs is not None and runs is not frame:
            runs = runs.f_back
        return None if runs is None else (float(network.t_) - self._start) / self.duration


def _running_network() -> FrameType | None:
    """The frame of Brian's ``Network.run`` that has called what calls this, if there is one."""
    if _NETWORK not in sys.modules:
        return None
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEEP):
        if frame is None:
            return None
        if frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == _NETWORK:
            return frame
        frame = frame.f_back
    return None
