"""Whole figures: of a store (:func:`plot`), and of a run that goes on (:func:`course_figure`)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from farmhand import DataManager, RunInfo, UsageError, open_store, owner
from farmhand.cli.stores import must_exist, runs_of, short_uids, snapshots_of
from farmhand.errors import UnknownName
from farmhand_plot import KINDS, looks
from farmhand_plot.completions import draw_completions
from farmhand_plot.course import Course
from farmhand_plot.durations import draw_durations
from farmhand_plot.estimates import draw_estimates
from farmhand_plot.reading import DONE, FAILED, Attempts, attempts_of, choose, course_of, parameter_of
from farmhand_plot.timeline import draw_timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["course_figure", "plot"]

_SIZES = {
    "completions": (7.0, 4.0),
    "estimate": (7.0, 4.0),
    "durations": (7.0, 4.0),
    "all": (12.0, 8.0),
}
_NOTHING = Attempts(*(np.empty(0, dtype=kind) for kind in (np.int64, np.int64, float, float, np.int64)))


def plot(
    store: DataManager | str | os.PathLike[str],
    kind: str = "completions",
    *,
    run: str | RunInfo | None = None,
    task: str | None = None,
    parameter: str | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Draw what a store has recorded of a run. No result is read, and nothing is unpickled.

    Parameters
    ----------
    store : DataManager or path
        Where the run is. A path must be there; it is opened, and closed again.
    kind : str
        One of ``KINDS``:

        - ``'completions'``: items over time, and of a run that goes on where that leads: the median, and a
          band in which it ends four times out of five.
        - ``'estimate'``: when the run was thought to end, at each moment, against its end.
        - ``'timeline'``: a lane for each process with its items, coloured by how they ended.
        - ``'durations'``: how long items took, over their index or a parameter, and as a histogram.
        - ``'all'``: these four.
    run : str or RunInfo, optional
        The run, by its uid or the beginning of that; the newest in which an item has ended by default.
    task : str, optional
        Only of this task; of ``'durations'`` without ``run`` all its runs together.
    parameter : str, optional
        For ``'durations'``: the parameter on the x axis instead of the item's index.
    size : (float, float), optional
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it; ``figure.savefig('eta.pdf')`` writes it.

    Raises
    ------
    UsageError
        There is no such kind, run, task, parameter or store; or the items are not plain values, so that
        the parameter cannot be read without running code.
    StoreError
        The store cannot be read.
    """
    if kind not in KINDS:
        raise UnknownName("kind of figure", str(kind), KINDS)
    if parameter is not None and kind not in ("durations", "all"):
        raise UsageError(f"parameter={parameter!r} is for kind='durations'; {kind!r} has no axis for it")
    if isinstance(store, DataManager):
        return _plot(store, kind, run, task, parameter, size)
    path = os.fspath(store)
    must_exist(path)
    with open_store(path) as opened:
        return _plot(opened, kind, run, task, parameter, size)


def course_figure(course: Course, *, size: tuple[float, float] | None = None) -> Figure:
    """Draw items over time, and below it the history of the estimate.

    Parameters
    ----------
    course : Course
        The run.
    size : (float, float), optional
        Width and height in inches.

    Returns
    -------
    Figure
        To be saved with ``figure.savefig(path)``.
    """
    figure = _figure(size or (7.0, 6.5))
    looks.heading(figure, course)
    above, below = figure.subplots(2, 1, sharex=True)
    draw_completions(above, course)
    draw_estimates(below, course, above.get_xlim()[1])
    above.set_xlabel("")
    above.tick_params(labelbottom=False)
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    return Figure(figsize=size, dpi=120, layout="constrained", facecolor="white", edgecolor="white")


def _plot(
    store: DataManager,
    kind: str,
    run: str | RunInfo | None,
    task: str | None,
    parameter: str | None,
    size: tuple[float, float] | None,
) -> Figure:
    chosen = choose(store, run, task, several=kind == "durations" and run is None)
    if not chosen:
        figure = _figure(size or _SIZES.get(kind, (7.0, 4.0)))
        looks.title(figure, [os.path.basename(store.basepath) or store.basepath, "no run yet"])
        _draw(figure, kind, Course(), [_NOTHING], np.empty(0), "index of the item", ())
        return figure
    newest = chosen[-1]
    each = [attempts_of(store, one) for one in chosen]
    name = short_uids(runs_of(store))[newest.uid]
    # It knows more than its records say; `farmhand status` asks it, too. Our own would not answer before
    # this call is over.
    is_asked = kind != "durations" and newest.owner != owner.here()
    snapshot = snapshots_of([newest]).get(newest.uid) if is_asked else None
    course = course_of(store, newest, each[-1], name, history=kind in ("estimate", "all"), snapshot=snapshot)
    if size is None:
        lanes = len(np.unique(each[-1].processes))
        size = _SIZES.get(kind, (7.0, min(12.0, 1.8 + 0.32 * max(lanes, 2))))
    names: Sequence[str] = ()
    if parameter is not None:
        over, names = parameter_of(store, chosen, parameter, [attempts.indices for attempts in each])
    else:
        over = np.concatenate([attempts.indices for attempts in each]).astype(np.float64)
    figure = _figure(size)
    if len(chosen) > 1:
        done, failed = (sum(int((part.status == how).sum()) for part in each) for how in (DONE, FAILED))
        looks.title(figure, [newest.task, f"{len(chosen)} runs", *looks.counted(done, failed)])
    else:
        looks.heading(figure, course)
    _draw(figure, kind, course, each, over, parameter or "index of the item", names)
    return figure


def _draw(
    figure: Figure,
    kind: str,
    course: Course,
    each: Sequence[Attempts],
    over: NDArray[np.float64],
    label: str,
    names: Sequence[str],
) -> None:
    """Fill a figure. ``over``, ``label`` and ``names`` are for :func:`draw_durations`."""

    def durations(left: Axes, right: Axes) -> None:
        seconds = np.concatenate([attempts.seconds for attempts in each])
        status = np.concatenate([attempts.status for attempts in each])
        draw_durations(left, right, seconds, status, over, label, names)

    beside: dict[str, Any] = {"width_ratios": (3, 1), "wspace": 0.04}
    if kind == "completions":
        draw_completions(figure.subplots(), course)
    elif kind == "estimate":
        draw_estimates(figure.subplots(), course)
    elif kind == "timeline":
        draw_timeline(figure.subplots(), each[-1], course)
    elif kind == "durations":
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw=beside)
        durations(left, right)
    else:
        grid = figure.add_gridspec(2, 2)
        draw_completions(figure.add_subplot(grid[0, 0]), course)
        draw_estimates(figure.add_subplot(grid[0, 1]), course)
        draw_timeline(figure.add_subplot(grid[1, 0]), each[-1], course)
        cells = grid[1, 1].subgridspec(1, 2, **beside)
        left = figure.add_subplot(cells[0])
        durations(left, figure.add_subplot(cells[1], sharey=left))
