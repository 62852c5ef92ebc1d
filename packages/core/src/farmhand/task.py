"""The task protocol: what a task may be, what it is given, and how it says how far it is.

The rules are those of ``brian.tools.taskfarm`` (Brian 1.4), made exact:

- a class is made once in each process, with ``*initargs, **initkwds``, and its ``__call__``
  is the task; anything else callable is the task itself;
- a class whose ``__init__`` takes ``process_number``, or ``**kwds``, is given the number;
- a task that takes ``report``, or ``**kwds``, is given a :class:`Report`;
- with a seed, each item has random numbers of its own;
- a tuple becomes the positional arguments, anything else is the one argument.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import FunctionType

from farmhand import seeds
from farmhand.errors import UsageError
from farmhand.report import Report, SendReport
from farmhand.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    RunItem: TypeAlias = Callable[[int, Any], Any]

__all__ = ["Call", "MadeTask", "Report", "Task", "call"]

_VARKEYWORDS = 0x08  # a flag of code: it takes **kwds


@dataclass(frozen=True, slots=True)
class Call:
    """The exact arguments of one call of the task; see :func:`call`."""

    args: tuple[Any, ...] = ()
    kwds: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [repr(arg) for arg in self.args] + [f"{name}={value!r}" for name, value in self.kwds.items()]
        return f"call({', '.join(parts)})"


def call(*args: Any, **kwds: Any) -> Call:
    """An item that calls the task as ``task(*args, **kwds)``, exactly.

    Examples
    --------
    >>> call(1, 2, mode="slow")
    call(1, 2, mode='slow')
    """
    return Call(args, kwds)


@dataclass(frozen=True, slots=True)
class Task:
    """A task, checked, before it is made in any process.

    Parameters
    ----------
    target : callable or class
        What the user passed.
    initargs, initkwds
        For a class, the arguments of its ``__init__``; never changed.
    seed : int, optional
        From which each item gets its random numbers; None: they are left alone.
    """

    target: Callable[..., Any]
    initargs: tuple[Any, ...] = ()
    initkwds: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    @classmethod
    def check(
        cls,
        target: Any,
        initargs: Sequence[Any] | None = None,
        initkwds: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Task:
        """A task from what the user passed.

        Raises
        ------
        UsageError
            When it cannot be a task; says why.
        """
        if initargs is not None and not isinstance(initargs, Iterable):
            raise UsageError(f"initargs must be a sequence of arguments, such as (3,), not {initargs!r}")
        if initkwds is not None and not isinstance(initkwds, Mapping):
            raise UsageError(f"initkwds must be a dict of keyword arguments, not {initkwds!r}")
        if isinstance(target, type):
            if not any("__call__" in vars(base) for base in target.__mro__):
                raise UsageError(
                    f"the task class {target.__qualname__} has no __call__ method; farmhand makes the class "
                    "once in each process and then calls the instance with each item"
                )
        elif not callable(target):
            raise UsageError(
                f"the task must be a function, another callable or a class, not {type(target).__name__} "
                f"({target!r})"
            )
        elif initargs or initkwds:
            raise UsageError(
                f"initargs and initkwds are for a task class, which is made once in each process; "
                f"{_name_of(target)} is not a class. Bind arguments of a function with functools.partial, "
                "or put them into the items"
            )
        return cls(target, tuple(initargs or ()), dict(initkwds or {}), seed)

    @property
    def name(self) -> str:
        """The qualified name of the task, without its module."""
        return _name_of(self.target)

    @property
    def takes_rng(self) -> bool:
        """Whether the task has a parameter ``rng``."""
        target = self.target
        return _takes(target.__call__ if isinstance(target, type) else target, "rng", or_kwds=False)

    @property
    def names_report(self) -> bool:
        """Whether the task has a parameter ``report``."""
        target = self.target
        return _takes(target.__call__ if isinstance(target, type) else target, "report", or_kwds=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters that an item fills, in their order; empty where nobody can know."""
        target = self.target
        names = _positional(target.__call__ if isinstance(target, type) else target)
        if isinstance(target, type):
            names = names[1:]  # self
        return tuple(name for name in names if name not in ("report", "rng"))

    def make(self, process_number: int, send: SendReport) -> MadeTask:
        """Make the task in this process.

        Parameters
        ----------
        process_number : int
            The number of this process.
        send : callable
            Is given item, fraction complete, task name and phase whenever the task reports.

        Returns
        -------
        MadeTask
            What runs an item.
        """
        target = make = self.target
        owner: object = None
        if isinstance(target, type):
            os.environ[seeds.RUN_VARIABLE] = "" if self.seed is None else str(self.seed)
            kwds = dict(self.initkwds)
            if _takes(target, "process_number", or_kwds=True):
                kwds.setdefault("process_number", process_number)
            target = owner = make(*self.initargs, **kwds)
        takes_report = _takes(target, "report", or_kwds=True)
        if takes_report or owner is not None or self.takes_rng:
            seed = self.seed if self.takes_rng else None
            made = MadeTask(_full_runner(target, Report(send, owner), takes_report, seed))
        else:
            made = MadeTask(_plain_runner(target), target)
        return made if self.seed is None else MadeTask(_seeded(made.run, self.seed))


@dataclass(frozen=True, slots=True)
class MadeTask:
    """A task as one process has made it.

    Parameters
    ----------
    run : callable
        ``run(index, item)`` returns the result or raises what the task raises.
    plain : callable or None
        The task itself, where it is given nothing but what the item says.
    """

    run: RunItem
    plain: Callable[[Any], Any] | None = None

    def __call__(self, index: int, item: Any) -> Any:
        """Run one item."""
        return self.run(index, item)

    def plain_for(self, items: Sequence[Any]) -> Callable[[Any], Any] | None:
        """What can be called with each of these items as its one argument, if anything can."""
        kinds = set(map(type, items))
        return None if any(issubclass(kind, tuple | Call) for kind in kinds) else self.plain


def _plain_runner(target: Callable[..., Any]) -> RunItem:
    def run(index: int, item: Any) -> Any:
        if isinstance(item, tuple):
            return target(*item)
        if type(item) is Call:
            return target(*item.args, **item.kwds)
        return target(item)

    return run


def _full_runner(target: Callable[..., Any], report: Report, takes_report: bool, seed: int | None) -> RunItem:
    """As the plain one, for a task that is given more than its item, or that may have a name."""
    extras: dict[str, Any] = {"report": report} if takes_report else {}

    def run(index: int, item: Any) -> Any:
        if seed is not None:
            extras["rng"] = seeds.item_generator(seed, index)
        report._begin(index)
        try:
            if isinstance(item, tuple):
                result = target(*item, **extras)
            elif type(item) is Call:
                result = target(*item.args, **{**extras, **item.kwds})
            else:
                result = target(item, **extras)
            report._check()
            return result
        finally:
            report._end()

    return run


def _seeded(run: RunItem, seed: int) -> RunItem:
    """As ``run``, with random numbers that are the item's own."""
    begin = seeds.seeder(seed)

    def run_seeded(index: int, item: Any) -> Any:
        begin(index)
        return run(index, item)

    return run_seeded


def _takes(function: Any, name: str, *, or_kwds: bool) -> bool:
    """Whether ``function`` has a parameter ``name`` that a keyword can fill (Brian: or ``**kwds``)."""
    if isinstance(function, partial) and name in function.keywords:
        return False  # the user has filled it
    if type(function) is FunctionType and not function.__dict__:  # as most are: there is an easy way
        code = function.__code__
        named = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
        return name in named or (or_kwds and bool(code.co_flags & _VARKEYWORDS))
    import inspect

    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):  # many functions written in C have no signature
        return False
    for parameter in parameters.values():
        if parameter.name == name and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            return True
        if or_kwds and parameter.kind is parameter.VAR_KEYWORD:
            # a function written in C, such as a ufunc, may claim **kwargs and refuse most of them
            return _is_python(function)
    return False


def _positional(function: Any) -> list[str]:
    """The parameters of ``function`` that positional arguments can fill."""
    if type(function) is FunctionType and not function.__dict__:
        return list(function.__code__.co_varnames[: function.__code__.co_argcount])
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return []
    # of a partial, those behind a keyword that it fills can be given by keyword alone
    return [
        each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]


def _is_python(function: Any) -> bool:
    import inspect

    function = inspect.unwrap(_unbound(function))
    return (
        isinstance(function, type)
        or hasattr(function, "__code__")
        or hasattr(type(function).__call__, "__code__")
    )


def _unbound(target: Any) -> Any:
    """What a partial, or a partial of one, calls in the end."""
    while isinstance(target, partial):
        target = target.func
    return target


def _name_of(target: Any) -> str:
    target = _unbound(target)
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return str(name).replace("<locals>.", "")
