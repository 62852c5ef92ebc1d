"""Items for sweeps over parameters: all combinations, or random ones.

Both make items on demand, each a :func:`farmhand.call` with keyword arguments, and both make the
same ones again whenever they are asked.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from numbers import Integral, Real
from random import Random

from farmhand.errors import UsageError
from farmhand.quantities import is_quantity
from farmhand.task import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Grid", "Sample", "grid", "sample"]

_BATCH = 256  # values that a distribution is asked for at once; another number would give others

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxtuple = 4


class Grid(Sequence[Call]):
    """All combinations of some values of each parameter; see :func:`grid`.

    Attributes
    ----------
    axes : dict of str to tuple
        The values of each parameter.
    shape : tuple of int
        How many values each parameter has.
    """

    __slots__ = ("axes",)

    def __init__(self, axes: Mapping[str, tuple[Any, ...]]) -> None:
        self.axes: dict[str, tuple[Any, ...]] = dict(axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes.values()))

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[Call]:
        names = tuple(self.axes)
        for values in product(*self.axes.values()):
            yield Call((), dict(zip(names, values, strict=True)))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._at(index) for index in range(len(self))[place]]
        return self._at(range(len(self))[place])

    def _at(self, index: int) -> Call:
        kwds = {}
        for name, values in reversed(self.axes.items()):  # the last one changes fastest
            index, place = divmod(index, len(values))
            kwds[name] = values[place]
        return Call((), {name: kwds[name] for name in self.axes})

    def __eq__(self, other: object) -> Any:
        return self.axes == other.axes if isinstance(other, Grid) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values may be anything

    def __repr__(self) -> str:
        axes = [f"{name}={_repr.repr(list(values))}" for name, values in self.axes.items()]
        return f"<grid({', '.join(axes)}): {len(self)} items>"


def grid(parameters: Mapping[str, Iterable[Any]] | None = None, /, **axes: Iterable[Any]) -> Grid:
    """All combinations of the values of each parameter, as items.

    The last parameter changes fastest. What it returns is a sequence: it has a length, can be
    indexed and iterated over again and again, and makes an item only when it is asked for.

    Parameters
    ----------
    parameters : mapping, optional
        Parameters and their values, for names that cannot be written as keywords.
    **axes : iterable
        The values of each parameter: a list, a range, a one-dimensional array, ...

    Raises
    ------
    UsageError
        A parameter has no values, or they are not in an order.

    Examples
    --------
    >>> items = grid(a=[1, 2], b=["x", "y"])
    >>> len(items)
    4
    >>> items[1]
    call(a=1, b='y')
    """
    given = _merged("grid", parameters, axes)
    values = {name: _values(name, choices) for name, choices in given.items()}
    return Grid(values)


class Sample:
    """Random combinations of parameters; see :func:`sample`.

    Attributes
    ----------
    seed : int
        What the items depend on; drawn by the system where none was given.
    """

    __slots__ = ("_axes", "_count", "seed")

    def __init__(self, count: int, axes: Mapping[str, _Axis], seed: int) -> None:
        self._count = count
        self._axes = dict(axes)
        self.seed = seed

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Call]:
        if all(type(axis) is _Choice for axis in self._axes.values()):
            yield from self._distinct()
            return
        names = tuple(self._axes)
        # each parameter has chance of its own, so that another one beside it changes nothing
        streams = [axis.draw(Random(f"{self.seed}/{name}")) for name, axis in self._axes.items()]
        for _ in range(self._count):
            yield Call((), dict(zip(names, map(next, streams), strict=True)))

    def _distinct(self) -> Iterator[Call]:
        """Combinations of a grid, none twice: a shuffle that keeps only what it has moved."""
        whole = Grid({name: axis.values for name, axis in self._axes.items() if type(axis) is _Choice})
        random, size = Random(f"{self.seed}/"), len(whole)
        moved: dict[int, int] = {}
        for first in range(self._count):
            chosen = first + _below(random, size - first)
            yield whole[moved.get(chosen, chosen)]
            moved[chosen] = moved.pop(first, first)

    def __repr__(self) -> str:
        axes = [f"{name}={axis!r}" for name, axis in self._axes.items()]
        return f"<sample({self._count}, {', '.join(axes)}, seed={self.seed})>"


def sample(
    n: int, parameters: Mapping[str, Any] | None = None, /, *, seed: int | None = None, **axes: Any
) -> Sample:
    """``n`` random combinations of parameters, as items.

    The first items of a larger sample with the same seed are those of a smaller one, so that with
    ``resume=True`` a sample can be extended. What it returns has a length and can be iterated over
    again and again.

    Parameters
    ----------
    n : int
        How many.
    parameters : mapping, optional
        Parameters and what they are drawn from, for names that cannot be written as keywords.
    seed : int, optional
        The same seed gives the same items. By default each sample has another one, its ``seed``.
    **axes : tuple, distribution or iterable
        What each parameter is drawn from. ``(low, high)`` with two whole numbers: a whole number
        from low to high, both included. ``(low, high)`` with other numbers, such as ``(1.0, 20)``:
        a number between them. ``(low, high, "log-uniform")``: the same for its logarithm. A list,
        a range or an array: one of its values. An object with a method ``rvs``, such as
        ``scipy.stats.norm(0, 1)``: what that gives. Where all parameters have lists, no combination
        is drawn twice.

    Raises
    ------
    UsageError
        A parameter cannot be drawn from, or a grid has fewer combinations than ``n``.

    Examples
    --------
    >>> items = sample(100, rate=(0.1, 0.9), size=[8, 16, 32], seed=1)
    >>> len(items), list(items) == list(items)
    (100, True)
    """
    if not _is_whole(n) or n < 0:
        raise UsageError(f"sample needs the number of items first, such as sample(100, ...), not {n!r}")
    if seed is None:
        seed = Random().getrandbits(64)
    elif not _is_whole(seed):
        raise UsageError(
            f"seed must be a whole number, not {seed!r}. A parameter of that name goes into a dict: "
            'sample(n, {"seed": ...})'
        )
    given = _merged("sample", parameters, axes)
    sources = {name: _axis(name, source) for name, source in given.items()}
    if all(type(axis) is _Choice for axis in sources.values()):
        size = math.prod(len(axis.values) for axis in sources.values() if type(axis) is _Choice)
        if n > size:
            raise UsageError(
                f"sample({n}, ...) was asked for more items than there are: the lists have {size} "
                "combinations, and none is drawn twice. grid(...) makes them all"
            )
    return Sample(int(n), sources, int(seed))


# -- what is drawn from ------------------------------------------------------------------------


class _Choice:
    """One of some values."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def draw(self, random: Random) -> Iterator[Any]:
        values = self.values
        while True:
            yield values[_below(random, len(values))]

    def __repr__(self) -> str:
        return _repr.repr(list(self.values))


class _Whole:
    """A whole number between two, both included."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def draw(self, random: Random) -> Iterator[int]:
        while True:
            yield self.low + _below(random, self.high - self.low + 1)

    def __repr__(self) -> str:
        return f"({self.low}, {self.high})"


class _Between:
    """A number, or a quantity, between two."""

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high

    def draw(self, random: Random) -> Iterator[Any]:
        low, high = self.low, self.high
        while True:
            share = random.random()
            # rounding may lead a little out of the range
            yield min(max(low * (1.0 - share) + high * share, low), high)

    def __repr__(self) -> str:
        return f"({self.low!r}, {self.high!r})"


class _LogBetween:
    """A positive number whose logarithm is between those of two."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def draw(self, random: Random) -> Iterator[float]:
        low, high = math.log(self.low), math.log(self.high)
        while True:
            yield min(max(math.exp(low + (high - low) * random.random()), self.low), self.high)

    def __repr__(self) -> str:
        return f"({self.low}, {self.high}, 'log-uniform')"


class _Distribution:
    """What has a method ``rvs``, as the frozen distributions of ``scipy.stats``."""

    def __init__(self, name: str, source: Any) -> None:
        self.name, self.source = name, source

    def draw(self, random: Random) -> Iterator[Any]:
        import numpy

        # the old generator of numpy, whose numbers stay the same in every version
        state = numpy.random.RandomState([random.getrandbits(32) for _ in range(8)])
        # scipy's are slow for each call; what else has rvs may know no more than random_state
        options = {"size": _BATCH} if type(self.source).__module__.startswith("scipy.") else {}
        while True:
            try:
                drawn = self.source.rvs(random_state=state, **options)
            except Exception as error:
                raise UsageError(f"the distribution of {self.name} cannot be drawn from: {error}") from error
            if options:
                yield from drawn.tolist() if drawn.ndim == 1 else drawn
            else:
                yield drawn.item() if isinstance(drawn, numpy.generic) else drawn

    def __repr__(self) -> str:
        frozen = getattr(getattr(self.source, "dist", None), "name", None)
        if frozen is None:
            return _repr.repr(self.source)
        arguments = [repr(value) for value in getattr(self.source, "args", ())]
        arguments += [f"{name}={value!r}" for name, value in getattr(self.source, "kwds", {}).items()]
        return f"{frozen}({', '.join(arguments)})"


if TYPE_CHECKING:
    _Axis = _Choice | _Whole | _Between | _LogBetween | _Distribution


def _axis(name: str, source: Any) -> _Axis:
    """What the user's ``source`` of the parameter ``name`` means."""
    if callable(getattr(source, "rvs", None)):
        return _Distribution(name, source)
    if isinstance(source, tuple):
        return _range(name, source)
    return _Choice(_values(name, source, "a tuple (low, high), a distribution or a list"))


def _range(name: str, bounds: tuple[Any, ...]) -> _Axis:
    law = bounds[2] if len(bounds) == 3 else "uniform"
    if len(bounds) not in (2, 3) or law not in ("uniform", "log-uniform"):
        raise UsageError(
            f"{name}={_repr.repr(bounds)} is no range: a tuple is (low, high), or "
            '(low, high, "log-uniform"). Choices are a list: [...]'
        )
    low, high = bounds[:2]
    if any(is_quantity(bound) for bound in (low, high)) and law == "uniform":
        return _Between(*_ordered(name, low, high))
    if any(isinstance(bound, bool) or not isinstance(bound, Real) for bound in (low, high)):
        raise UsageError(
            f"{name}={_repr.repr(bounds)} is no range: low and high are numbers. Choices are a list: [...]"
        )
    if _is_whole(low) and _is_whole(high) and law == "uniform":
        return _Whole(*_ordered(name, int(low), int(high)))
    low, high = float(low), float(high)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{name}={_repr.repr(bounds)} is no range: low and high are finite")
    if law == "uniform":
        return _Between(*_ordered(name, low, high))
    if low <= 0.0:
        raise UsageError(f"{name}={_repr.repr(bounds)}: the logarithm needs a low above 0")
    return _LogBetween(*_ordered(name, low, high))


def _ordered(name: str, low: Any, high: Any) -> tuple[Any, Any]:
    try:
        rising = bool(low <= high)
    except Exception as error:  # volts and amperes, or arrays
        raise UsageError(f"{name}=({low!r}, {high!r}) is no range: {error}") from error
    if not rising:
        raise UsageError(f"{name}=({low!r}, {high!r}) is no range: low is above high")
    return low, high


def _merged(function: str, parameters: Mapping[str, Any] | None, axes: Mapping[str, Any]) -> dict[str, Any]:
    if parameters is not None and not isinstance(parameters, Mapping):
        raise UsageError(
            f"{function} takes its parameters by name, such as {function}(a=[1, 2, 3]), or as one dict, "
            f"not {_repr.repr(parameters)}"
        )
    given = dict(parameters or {})
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f"the names of parameters are str, not {name!r}")
        if name in axes:
            raise UsageError(f"the parameter {name} was given twice, in the dict and by name")
    given.update(axes)
    if not given:
        raise UsageError(f"{function} needs at least one parameter, such as {function}(a=[1, 2, 3])")
    return given


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _values(name: str, values: Any, wanted: str = "a list of values") -> tuple[Any, ...]:
    """The values of a parameter, where they are some and in an order."""
    if isinstance(values, str | bytes | Mapping):
        raise UsageError(f"{name}={_repr.repr(values)} must be {wanted}; for a single one, [value]")
    if isinstance(values, set | frozenset):
        raise UsageError(
            f"{name}={_repr.repr(values)} has no order, which changes from one process to the next; "
            "sorted(...) makes a list"
        )
    if callable(getattr(values, "to_numpy", None)):  # of pandas and xarray
        values = values.to_numpy()
    shape: tuple[int, ...] = getattr(values, "shape", (0,))
    if shape == () or not isinstance(values, Iterable):
        raise UsageError(f"{name}={_repr.repr(values)} must be {wanted}; for a single one, [value]")
    if len(shape) > 1:
        raise UsageError(
            f"{name} is an array of shape {shape}, but the values of a parameter have one dimension; "
            "list(...) makes each row a value"
        )
    array: Any = values
    is_plain = type(array).__module__ == "numpy" and str(array.dtype) in _PLAIN
    # what Python has as well travels and is compared more easily
    found = tuple(array.tolist() if is_plain else array)
    if not found:
        raise UsageError(f"{name} has no values, so that there would be no items at all")
    return found


_PLAIN = ("bool", "int64", "float64", "complex128")


def _below(random: Random, count: int) -> int:
    """A whole number below ``count``, by what Python promises never to change."""
    return min(int(random.random() * count), count - 1)
