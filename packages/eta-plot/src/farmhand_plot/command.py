"""The command ``farmhand plot``."""

from __future__ import annotations

import logging
import os
import sys

from farmhand.cli.stores import open_existing
from farmhand_plot import KINDS
from farmhand_plot.files import checked, clean, save

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

__all__ = ["make_plot"]


def make_plot(parser: ArgumentParser) -> Callable[[Namespace], int]:
    """Add the arguments; returns what runs the command."""
    parser.description = "Plot a run that a store has. Nothing is unpickled but plain arguments."
    parser.epilog = "farmhand watch STORE --progress plot:FILE plots a run again and again while it goes on."
    parser.add_argument("store", metavar="STORE", help="a store that is there, such as results.db")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to: .png, .svg, .pdf; by default STORE-KIND.png in this folder",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="completions",
        help="items over time with the projected end (completions, the default), the history of the "
        "estimate, a timeline of the processes, how long items took (durations), or all four",
    )
    parser.add_argument(
        "--run", metavar="RUN", help="the run, by the beginning of its name; by default the last"
    )
    parser.add_argument("--task", metavar="NAME", help="the last run of this task; durations: all its runs")
    parser.add_argument("--parameter", metavar="NAME", help="durations: over this parameter of the task")
    return plot


def plot(options: Namespace) -> int:
    """Write the figure, and say where it is."""
    stem = os.path.splitext(os.path.basename(os.path.normpath(options.store)))[0]
    path = options.output or f"{stem}-{options.kind}.png"
    whole = checked(path)
    with open_existing(options.store) as store:
        # where its folder cannot be written, matplotlib says so in two lines, at each start, to no avail
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        from farmhand_plot.figures import plot as draw  # half a second

        figure = draw(store, options.kind, run=options.run, task=options.task, parameter=options.parameter)
    clean(whole)
    save(figure, whole)
    sys.stdout.write(f"{path}: {options.kind} of {options.store}\n")
    return 0
