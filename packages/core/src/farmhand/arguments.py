"""What the arguments of ``run_tasks`` mean, and what is said of those that mean nothing."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from farmhand import codec
from farmhand.cpus import cpu_count
from farmhand.errors import UnknownName, UsageError
from farmhand.plugins import Plugins
from farmhand.progress import Frontend, FrontendOptions

__all__ = ["choice", "duration", "frontends", "length", "pool_size", "whole"]

_FRONTEND_METHODS = ("show", "controls", "close")


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


def pool_size(poolsize: Any) -> int:
    """How many processes ``poolsize`` means: 0 is all CPUs, -1 all but one."""
    number = whole("poolsize", poolsize)
    if number > 0:
        return number
    cpus = cpu_count()
    if cpus + number < 1:
        raise UsageError(
            f"poolsize={number} leaves no process: this computer lets farmhand use {cpus} CPUs, and 0 "
            "means all of them, -1 all but one"
        )
    return cpus + number


def length(items: Iterable[Any]) -> int | None:
    """How many items there are, None when they do not say."""
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None


def frontends(
    plugins: Plugins,
    progress: str | Frontend | Sequence[str | Frontend] | None,
    gui: bool,
    verbose: bool | None,
    task: str,
) -> dict[str, Callable[[], Frontend]]:
    """What makes each frontend that was asked for, by a name to blame it by."""
    asked: list[Any]
    if progress is None:
        asked = ["text"]
        if gui:
            if plugins.knows_frontend("tk"):
                asked = ["tk"]
            else:
                warnings.warn(
                    "gui=True needs the Tk window, which is not installed (pip install farmhand-tk); "
                    "progress is shown as text. gui=False says that text is wanted",
                    UserWarning,
                    stacklevel=3,
                )
    else:
        alone = isinstance(progress, str) or not isinstance(progress, Iterable)
        asked = [progress] if alone else list(progress)  # type: ignore[arg-type]
    makers: dict[str, Callable[[], Frontend]] = {}
    for frontend in asked:
        if isinstance(frontend, str):
            kind, _, argument = frontend.partition(":")
            options = FrontendOptions(task, not gui if verbose is None else verbose, argument)
            makers[frontend] = partial(plugins.frontend(kind), options)
        elif isinstance(frontend, type) or not all(hasattr(frontend, name) for name in _FRONTEND_METHODS):
            raise UsageError(
                "progress takes frontends, by name, such as 'text', or as objects with the methods "
                f"{', '.join(_FRONTEND_METHODS)}, not {codec.short(frontend)}"
            )
        else:
            name = type(frontend).__qualname__
            makers[f"{name} {len(makers) + 1}" if name in makers else name] = partial(_itself, frontend)
    return makers


def _itself(frontend: Frontend) -> Frontend:
    return frontend
