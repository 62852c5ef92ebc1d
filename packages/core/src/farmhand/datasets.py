"""The results of a sweep over a grid as an xarray ``Dataset``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

from farmhand.codec import short
from farmhand.dataframes import MISSING, needed, series
from farmhand.errors import UsageError
from farmhand.kept import join_key
from farmhand.quantities import is_quantity, magnitude, unit_of
from farmhand.tables import Choice, Column, Columns, described, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.tables import Row, Source

__all__ = ["to_xarray"]

_FLAT = "to_dataframe() takes any items"
_SIMPLE = frozenset([bool, int, float, str])
_SPARSE = 10  # cells for each item, beyond which there is no grid


def to_xarray(store: Source, choice: Choice) -> Any:
    """Parameters as coordinates, results as data variables; NaN where there is no result.

    Raises
    ------
    UsageError
        The items are no grid, or two results are of the same cell.
    """
    needed("numpy", "to_xarray()")
    xarray = needed("xarray", "to_xarray()")
    if len(choice.tasks) > 1:
        raise UsageError(
            f"the store has results of {len(choice.tasks)} tasks ({', '.join(choice.tasks)}), which do not "
            f"share a grid; choose one: task={choice.tasks[0]!r}"
        )
    axes = _axes(store, choice)
    if axes is None:
        return xarray.Dataset()
    shape = tuple(len(axis.values) for axis in axes.values())
    columns = Columns(choice)
    kept: dict[int, tuple[Row, list[tuple[int, Any]]]] = {}
    for row in rows(store, choice):
        place = _place(axes, row)
        if place is None:
            continue
        known = kept.get(place)
        if known is not None and known[0].done and row.done:
            where = ", ".join(f"{name}={short(row.parameters[name])}" for name in axes)
            first, second = (join_key(each.run.uid, each.index) for each in (known[0], row))
            raise UsageError(
                f"two results are of {where}: {first!r} and {second!r}, so that there is no one value for "
                f"that cell. Choose a run (run=), or forget one (store.forget(key)); {_FLAT}"
            )
        if known is None or row.done or not known[0].done:  # what was done stands, else what came last
            kept[place] = (row, columns.cells(row))
    cells: dict[int, list[Any]] = {}
    for place, (_, found) in kept.items():
        for slot, value in found:
            if slot not in cells:
                cells[slot] = [MISSING] * math.prod(shape)
            cells[slot][place] = value
    variables: dict[str, Any] = {}
    for column in columns.found():
        if column.kind != "parameter":
            values = cells.pop(column.slot, [MISSING] * math.prod(shape))
            dims, array = _array(column, values, tuple(axes), shape)
            variables[column.name] = (dims, array, {"units": column.unit} if column.unit else {})
    coordinates = {}
    for name, axis in axes.items():
        attributes = {"units": axis.unit} if axis.unit else {}
        coordinates[name] = ((name,), series(axis.values).to_numpy(), attributes)
    return xarray.Dataset(variables, coordinates, {"task": choice.tasks[0]})


class _Axis:
    """The values of one parameter; each is known by something that can be hashed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[Any] = []
        self.unit: str | None = None
        self._places: dict[Any, int] = {}

    def add(self, value: Any, item: str) -> int:
        """Where ``value`` is among the values, which it joins if it is new."""
        quantity = type(value) not in _SIMPLE and is_quantity(value)
        unit, plain = (unit_of(value), magnitude(value)) if quantity else ("", value)
        if self.unit is None:
            self.unit = unit
        if unit != self.unit:
            first, second = (f"in {each or 'no unit'}" for each in (self.unit, unit))
            raise UsageError(
                f"{self.name} is {first}, but {second} in {item}, and cannot be a coordinate. "
                "Choose runs that agree: run="
            )
        try:
            mark = _mark(plain)
            place = self._places.setdefault(mark, len(self.values))
        except TypeError as error:
            raise UsageError(
                f"{self.name} is a {type(value).__name__} in {item}, which cannot be a coordinate; {_FLAT}"
            ) from error

        if place == len(self.values):
            self.values.append(plain)
        return place

    def sort(self) -> None:
        """Numbers and times ascending; names stay in the order in which they came."""
        if all(isinstance(value, Real) or hasattr(type(value), "day") for value in self.values):
            try:
                order = sorted(self.values)
            except TypeError:  # with and without a time zone, for example
                return
            self.values = order
            self._places = {_mark(value): place for place, value in enumerate(order)}

    def place(self, value: Any) -> int | None:
        if type(value) not in _SIMPLE and is_quantity(value):
            value = magnitude(value)
        return self._places.get(_mark(value))


def _mark(value: Any) -> Any:
    """What is the same for equal values; TypeError where a value cannot be hashed."""
    hash(value)
    return "nan" if value != value else value


def _axes(store: Source, choice: Choice) -> dict[str, _Axis] | None:
    """The axes of the grid that the items make, those included that have no result; None without items."""
    axes: dict[str, _Axis] = {}
    first, cells = "", set()
    for run in choice.runs:
        for index, parameters in described(store, run):
            item = f"item {index} of run {run.uid}"
            if not first:
                order = {name: place for place, name in enumerate(run.parameters)}
                names = sorted(parameters, key=lambda name: order.get(name, len(order)))
                axes, first = {name: _Axis(name) for name in names}, item
            if parameters.keys() != axes.keys():
                mine, others = (", ".join(names) or "none" for names in (parameters, axes))
                raise UsageError(
                    f"the items are no grid: {item} has the parameters {mine}, but {first} has {others}. "
                    f"Choose a run (run=); {_FLAT}"
                )
            cells.add(tuple([axis.add(parameters[name], item) for name, axis in axes.items()]))
    if not first:
        return None
    lengths = [len(axis.values) for axis in axes.values()]
    distinct = len(cells)
    alone = sum(length == distinct for length in lengths)
    if distinct < math.prod(lengths) and (alone > 1 or distinct * _SPARSE < math.prod(lengths)):
        size = " × ".join(f"{len(axis.values)} values of {name}" for name, axis in axes.items())
        raise UsageError(
            f"the items are no grid: there are {distinct} of them with {size}, so that most cells would be "
            f"empty. {_FLAT}"
        )
    for axis in axes.values():
        axis.sort()
    return axes


def _place(axes: Mapping[str, _Axis], row: Row) -> int | None:
    """Which cell a row is; None where a farm that still runs has added it since the axes were read."""
    if row.parameters.keys() != axes.keys():
        raise UsageError(
            f"the store does not have the item {row.index} of run {row.run.uid}, so that its result has no "
            f"cell. Choose other runs (run=); {_FLAT}"
        )
    place = 0
    for name, axis in axes.items():
        along = axis.place(row.parameters[name])
        if along is None:
            return None
        place = place * len(axis.values) + along
    return place


def _array(
    column: Column, cells: Sequence[Any], dims: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[tuple[str, ...], Any]:
    """The cells as an array; where all have arrays of one shape, these are further dimensions."""
    import numpy

    inner: tuple[int, ...] | None = None
    arrays: list[Any] = []
    for cell in cells:
        if cell is MISSING:
            arrays.append(None)
            continue
        array = _as_numbers(cell)
        if array is None or inner not in (None, array.shape):
            return dims, series(cells).to_numpy().reshape(shape)
        inner = array.shape
        arrays.append(array)
    if inner is None:
        return dims, series(cells).to_numpy().reshape(shape)
    dtype = numpy.result_type(*{array.dtype for array in arrays if array is not None})
    if all(array is not None for array in arrays):
        filled = numpy.empty((len(cells), *inner), dtype)
    elif dtype.kind in "mM":
        filled = numpy.full((len(cells), *inner), "NaT", dtype)
    else:
        dtype = numpy.result_type(dtype, numpy.float32 if dtype.kind == "f" else numpy.float64)
        filled = numpy.full((len(cells), *inner), numpy.nan, dtype)
    for place, array in enumerate(arrays):
        if array is not None:
            filled[place] = array
    return (*dims, *(f"{column.name}_dim_{axis}" for axis in range(len(inner)))), filled.reshape(
        *shape, *inner
    )


def _as_numbers(cell: Any) -> Any:
    """An array with dimensions, of numbers or times, or None."""
    import numpy

    if not isinstance(cell, list | tuple | numpy.ndarray):
        return None
    try:
        array = numpy.asarray(cell)
    except ValueError:  # rows of different lengths
        return None
    return array if array.ndim and array.dtype.kind in "biufcmM" else None
