"""Plots of farmhand runs. What draws, and matplotlib with it, is imported once it is wanted.

``plot(store)`` makes a figure of what a store has recorded; ``KINDS`` names the kinds of figures.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand_plot.figures import plot

__all__ = ["KINDS", "plot"]

#: The kinds of figures; ``'all'`` are the four of them in one.
KINDS = ("completions", "estimate", "timeline", "durations", "all")


def __getattr__(name: str) -> Any:
    if name == "plot":
        from farmhand_plot.figures import plot

        return plot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
