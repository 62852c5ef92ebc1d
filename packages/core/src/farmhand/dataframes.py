"""The results of a store as a pandas ``DataFrame``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farmhand.errors import UsageError
from farmhand.tables import Choice, Columns, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.tables import Source

__all__ = ["MISSING", "needed", "series", "to_dataframe"]


class _Missing:
    """In the cells that a row does not have."""

    __slots__ = ()


MISSING = _Missing()
_EXACT = 2**53  # above this, not every whole number is a float


def needed(name: str, what: str) -> Any:
    """Import the module ``name``, or say how to get it.

    Raises
    ------
    UsageError
        It is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{what} needs {name}, which cannot be imported ({error}). Install it: pip install {name}, or "
            "all that works with tables: pip install 'farmhand[frames]'"
        ) from error


def to_dataframe(store: Source, choice: Choice) -> Any:
    """A row for each item, with the parameters and the result as columns.

    ``frame.attrs['units']`` has the unit of each column that has one.
    """
    pandas = needed("pandas", "to_dataframe()")
    columns = Columns(choice)
    cells: dict[int, list[Any]] = {}
    count = 0
    for row in rows(store, choice):
        for slot, value in columns.cells(row):
            above = cells.setdefault(slot, [])
            if len(above) < count:
                above.extend([MISSING] * (count - len(above)))
            above.append(value)
        count += 1
    found = columns.found()
    made = {}
    for column in found:
        values = cells.pop(column.slot, [])
        values.extend([MISSING] * (count - len(values)))
        made[column.name] = series(values)
    frame = pandas.DataFrame(made, index=pandas.RangeIndex(count), columns=[column.name for column in found])
    units = {column.name: column.unit for column in found if column.unit}
    if units:
        frame.attrs["units"] = units
    return frame


def series(values: Sequence[Any]) -> Any:
    """Cells as a pandas ``Series`` of the narrowest kind that changes none of them."""
    import numpy
    import pandas

    kinds = set(map(type, values))
    lacking = _Missing in kinds
    if lacking:
        values = [None if value is MISSING else value for value in values]
    several = [kind for kind in kinds if hasattr(kind, "__iter__") and not issubclass(kind, str | bytes)]
    if not several and not (int in kinds and kinds & {type(None), _Missing, float} and _loses(values)):
        try:
            made = pandas.Series(values, dtype=None if len(values) else object)
        except UnicodeEncodeError:  # half a pair of surrogates
            made = pandas.Series(values, dtype=object)
        if made.dtype != object or complex not in kinds:
            return made
        if kinds <= {complex, float, int, type(None), _Missing}:
            return pandas.Series([numpy.nan if value is None else value for value in values], dtype=complex)
        return made
    array = numpy.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # numpy would make arrays of one length a table
        array[place] = value
    return pandas.Series(array, dtype=object)


def _loses(values: Iterable[Any]) -> bool:
    """Whether some whole number would become another one as a float."""
    return any(type(value) is int and abs(value) > _EXACT for value in values)
