"""Plots of farmhand runs. What draws, and matplotlib with it, is imported once it is wanted.

``plot(store)`` makes a figure of what a store has recorded; ``KINDS`` names the kinds of figures.
"""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import hookimpl
from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable
    from typing import Any

    from farmhand.hookspecs import MakeCommand, MakeFrontend
    from farmhand_plot.figures import plot

__all__ = ["KINDS", "farmhand_commands", "farmhand_frontends", "plot"]

#: The kinds of figures; ``'all'`` are the four of them in one.
KINDS = ("completions", "estimate", "timeline", "durations", "all")


def __getattr__(name: str) -> Any:
    if name == "plot":
        from farmhand_plot.figures import plot

        return plot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _make_frontend(options: FrontendOptions) -> Frontend:
    from farmhand_plot.frontend import PlotFrontend

    return PlotFrontend(options)


def _make_command(parser: ArgumentParser) -> Callable[[Namespace], int]:
    from farmhand_plot.command import make_plot

    return make_plot(parser)


@hookimpl
def farmhand_frontends() -> Mapping[str, MakeFrontend]:
    """``progress='plot:eta.png'``: the figure of a run, written again every few seconds."""
    return {"plot": _make_frontend}


@hookimpl
def farmhand_commands() -> Mapping[str, MakeCommand]:
    """``farmhand plot STORE``."""
    return {"plot": _make_command}
