"""Numbers that carry a unit, as Brian's: what they are in SI units, and which unit that is.

Nothing here imports Brian. Whoever has such a number has imported what made it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["is_quantity", "magnitude", "unit_of"]


def is_quantity(value: Any) -> bool:
    """Whether ``value`` is a quantity of Brian 2 or Brian 1, or works like one."""
    kind = type(value)  # asking the class runs no code of the value
    return hasattr(kind, "get_best_unit") and hasattr(kind, "in_best_unit")


def unit_of(value: Any) -> str:
    """The base SI unit of ``value``: ``'V'``, ``'m^2'``; ``''`` when it has none."""
    if not is_quantity(value):
        return ""
    dimensions = getattr(value, "dim", None)
    if dimensions is None:
        dimensions = getattr(value, "dimensions", None)
    if dimensions is None or getattr(dimensions, "is_dimensionless", False):
        return ""
    # Brian 2 knows that m^2 kg s^-3 A^-1 is a volt
    get_unit = getattr(sys.modules.get(type(dimensions).__module__), "get_unit", None)
    try:
        text = str(dimensions if get_unit is None else get_unit(dimensions))
    except Exception:
        text = str(dimensions)
    return "" if text in ("1", "1.0") else text


def magnitude(value: Any) -> Any:
    """A quantity as a plain float, or a plain array of them, in base SI units."""
    if isinstance(value, float):  # as in Brian 1
        return float(value)
    import numpy

    array = numpy.asarray(value)
    return array.item() if array.shape == () else array
