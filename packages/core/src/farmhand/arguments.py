"""What the arguments of ``run_tasks`` mean, and what is said of those that mean nothing."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from farmhand import codec
from farmhand.errors import UnknownName, UsageError
from farmhand.events import FINAL_KINDS, KINDS
from farmhand.plugins import Plugins
from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "choice",
    "duration",
    "frontends",
    "frontends_for",
    "function",
    "in_terminal",
    "length",
    "named_frontend",
    "pool_size",
    "retries_by_kind",
    "size",
    "time_limit",
    "whole",
]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

_FRONTEND_METHODS = ("show", "controls", "close")
_WINDOW_ENDS = ("stay", "close", "wait")


def choice(what: str, asked: object, known: Sequence[str]) -> None:
    """Raise UnknownName unless ``asked`` is one of ``known``."""
    if asked not in known:
        raise UnknownName(what, str(asked), known)


def whole(what: str, value: Any, least: int | None = None) -> int:
    """``value`` as an int, numpy's included, or UsageError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{what} must be a whole number, not {codec.short(value)}") from None
    if least is not None and number < least:
        raise UsageError(f"{what} must be at least {least}, not {number}")
    return number


def duration(what: str, value: Any) -> float:
    """``value`` as a positive number of seconds, or UsageError."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(value, bool | str) or not seconds > 0.0:
        raise UsageError(f"{what} must be a number of seconds above zero, not {codec.short(value)}")
    return seconds


def time_limit(value: Any) -> tuple[float | None, float | None]:
    """What ``timeout`` means: seconds, or (``'5x'``) a factor of the median duration."""
    if value is None:
        return None, None
    if isinstance(value, str) and value.endswith("x"):
        try:
            factor = float(value[:-1])
        except ValueError:
            factor = 0.0
        if factor > 1.0:
            return None, factor
        raise UsageError(
            f"timeout={value!r} means nothing: '5x' is five times the median duration so far, and the "
            "number before the x must be above 1"
        )
    return duration("timeout", value), None


def retries_by_kind(value: Any) -> int | dict[str, int]:
    """What ``retries`` means: so many for every item, or so many for each kind of failure."""
    if not isinstance(value, Mapping):
        return whole("retries", value, least=0)
    known = [kind for kind in KINDS if kind not in FINAL_KINDS]
    for kind in value:
        choice("kind of failure that can be tried again", kind, known)
    return {kind: whole(f"retries[{kind!r}]", number, least=0) for kind, number in value.items()}


def size(what: str, value: Any) -> int:
    """``value`` as a number of bytes: an int, or text such as ``'2 GB'`` or ``'512MiB'``."""
    number: float | None = None
    if isinstance(value, str):
        text = value.strip().lower().removesuffix("b").rstrip()
        unit = text.lstrip("0123456789.,_ ")
        factor = {**_UNITS, **_BINARY_UNITS}.get(unit)
        try:
            number = None if factor is None else float(text[: len(text) - len(unit)]) * factor
        except ValueError:
            number = None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if number is None or not 1.0 <= number < 2.0**63:
        raise UsageError(f"{what} must be a size, such as 2_000_000_000 or '2 GB', not {codec.short(value)}")
    return int(number)


def function(what: str, value: Any, meaning: str) -> Any:
    """``value``, which must be callable or None, or UsageError."""
    if value is not None and not callable(value):
        raise UsageError(f"{what} must be a function {meaning}, not {codec.short(value)}")
    return value


def pool_size(poolsize: int, room: int) -> int:
    """How many processes ``poolsize`` means where there is room for ``room``: 0 is all, -1 all but one.

    Where there is no room yet, as in a cluster that has not begun, one waits for it.
    """
    if poolsize > 0:
        return poolsize
    if room <= 0:
        return 1
    if room + poolsize < 1:
        raise UsageError(
            f"poolsize={poolsize} leaves no process: there are {room} CPUs that farmhand may use, and 0 "
            "means all of them, -1 all but one"
        )
    return room + poolsize


def length(items: Iterable[Any]) -> int | None:
    """How many items there are, None when they do not say."""
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None


def frontends(
    plugins: Plugins,
    progress: str | Frontend | Sequence[str | Frontend] | None,
    gui: bool | str,
    verbose: bool | None,
    task: str,
) -> dict[str, Callable[[], Frontend]]:
    """What makes each frontend that was asked for, by a name to blame it by."""
    if isinstance(gui, str):
        choice("gui", gui, _WINDOW_ENDS)
    asked: list[Any]
    if progress is None:
        asked = frontends_for(plugins, gui, stacklevel=4)
    else:
        alone = isinstance(progress, str) or not isinstance(progress, Iterable)
        asked = [progress] if alone else list(progress)  # type: ignore[arg-type]
    talkative = not gui if verbose is None else verbose
    makers: dict[str, Callable[[], Frontend]] = {}
    for frontend in asked:
        if frontend == "none":
            continue  # no snapshot is made for nobody
        if isinstance(frontend, str):
            makers[frontend] = named_frontend(plugins, frontend, task, talkative)
        elif isinstance(frontend, type) or not all(hasattr(frontend, name) for name in _FRONTEND_METHODS):
            raise UsageError(
                "progress takes frontends, by name, such as 'text', or as objects with the methods "
                f"{', '.join(_FRONTEND_METHODS)}, not {codec.short(frontend)}"
            )
        else:
            name = type(frontend).__qualname__
            makers[f"{name} {len(makers) + 1}" if name in makers else name] = partial(_itself, frontend)
    return makers


def frontends_for(plugins: Plugins, gui: bool | str, stacklevel: int = 3) -> list[str]:
    """The frontends, by name, that ``gui`` means where no ``progress`` is given.

    Parameters
    ----------
    plugins : Plugins
        What is installed.
    gui : bool or str
        As for ``run_tasks``. Without the window there is one warning, and text.
    stacklevel : int
        Whose call is at fault then, as for `warnings.warn`; 3 is the caller of the caller.
    """
    if gui and plugins.knows_frontend("tk"):
        return [f"tk:{gui}" if isinstance(gui, str) else "tk"]
    if gui:
        warnings.warn(
            "gui=True needs the Tk window, which is not installed (pip install farmhand-tk); "
            "progress is shown as text. gui=False says that text is wanted",
            UserWarning,
            stacklevel=stacklevel,
        )
    return [in_terminal(plugins)]


def named_frontend(
    plugins: Plugins, name: str, task: str, verbose: bool, watching: bool = False
) -> Callable[[], Frontend]:
    """What makes one frontend, by name, perhaps with an argument behind a colon."""
    kind, _, argument = name.partition(":")
    make = plugins.frontend(kind)
    other = in_terminal(plugins)
    instead = None
    if other != kind:
        plain = FrontendOptions(task, verbose, "", watching)
        instead = partial(plugins.frontend(other), plain)
    return partial(make, FrontendOptions(task, verbose, argument, watching, instead))


def in_terminal(plugins: Plugins) -> str:
    """The frontend for the terminal, or the notebook, that this process runs in: ``'rich'`` or ``'text'``.

    Rich where somebody looks and farmhand-rich is installed.
    """
    return "rich" if _somebody_looks() and plugins.has("rich") else "text"


def _somebody_looks() -> bool:
    """Whether progress is drawn on a terminal, or in a notebook, where it can be redrawn."""
    if "ipykernel" in sys.modules:
        return True
    from farmhand.text import is_live

    return is_live(sys.stderr)


def _itself(frontend: Frontend) -> Frontend:
    return frontend
