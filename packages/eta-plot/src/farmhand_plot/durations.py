"""How long items took: which durations are common, and what they depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from farmhand.wording import printable
from farmhand_plot import looks
from farmhand_plot.reading import DONE, FAILED, RETRIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from farmhand_plot.reading import Floats, Ints

__all__ = ["draw_durations"]

_DOTS = 4000  # that are drawn; of more items, how many there are in each cell
_CROSSES = 400
_CELLS = (120, 80)
_BINS = 40
_WIDE = 30.0  # times the shortest that the longest takes, from where on the axis is logarithmic
_GROUPS = 25  # of which a median is drawn, of at least so many items
_SMALLEST = 20
_STATUS = {DONE: "done", RETRIED: "retried", FAILED: "failed"}
_DENSITY = LinearSegmentedColormap.from_list("density", ["#CFE8F7", "#56B4E9", "#0072B2", "#002B45"])


def draw_durations(
    axes: Axes,
    histogram: Axes,
    seconds: Floats,
    status: Ints,
    over: Floats,
    label: str,
    names: Sequence[str] = (),
) -> None:
    """Draw durations over something, and beside it how many items took how long.

    Parameters
    ----------
    axes, histogram : Axes
        Where to draw; they share their y axis.
    seconds : array of float
        How long attempts took.
    status : array of int
        How they ended.
    over : array of float
        What is on the x axis for each; NaN where that is not known.
    label : str
        What that is.
    names : sequence of str
        What its values stand for, if they are places in it.
    """
    looks.plain(axes, "Durations")
    looks.plain(histogram)
    done = status == DONE
    positive = seconds[seconds > 0.0]
    lowest, highest = (positive.min(), positive.max()) if len(positive) else (0.0, 1.0)
    is_wide = False
    if len(positive) > 1:
        short, middle, long = np.percentile(positive, [0.5, 50.0, 99.5])
        is_wide = bool(long > _WIDE * short or highest > _WIDE / 2 * middle)
    if is_wide:
        bottom, top = lowest / 1.5, highest * 1.5
        shown = np.maximum(seconds, bottom)
        edges = np.geomspace(bottom, top, _BINS + 1)
        axes.set_yscale("log")
    else:
        bottom, top = 0.0, looks.end_of(highest)
        shown = seconds
        edges = np.linspace(0.0, top, _BINS + 1)
    axes.set_ylim(bottom, top)
    if is_wide:
        looks.log_time_axis(axes.yaxis, bottom, top, "duration")
    else:
        looks.time_axis(axes.yaxis, top, "duration")
    known = np.isfinite(over)
    if names:
        axes.set_xticks(range(len(names)), [printable(name, 20) for name in names])
        axes.set_xlim(-0.6, len(names) - 0.4)
        for tick in axes.get_xticklabels():
            looks.caption(tick)
            tick.set_rotation(30 if max(map(len, names)) > 6 else 0)
        looks.caption(axes.set_xlabel(label, fontsize=looks.SIZES["label"], color=looks.INK))
    elif known.any():
        left, right = float(over[known].min()), float(over[known].max())
        room = 0.02 * (right - left) or 0.5
        axes.set_xlim(left - room, right + room)
        are_whole = bool(np.all(over[known] == np.rint(over[known])))
        looks.count_axis(axes.xaxis, label, whole=are_whole)
    else:
        looks.count_axis(axes.xaxis, label)
    if len(seconds):
        _draw_over(axes, shown, status, over, known, is_wide, names)
    else:
        looks.empty(axes, "no item has ended")
    _draw_histogram(histogram, shown, status, edges)
    histogram.tick_params(which="both", left=False, labelleft=False)
    if done.any():
        median = float(np.median(seconds[done]))
        for each in (axes, histogram):
            each.axhline(
                max(median, bottom),
                color=looks.INK,
                linewidth=1.2,
                linestyle=(0, (5, 3)),
                label=f"median {looks.took(median)}" if each is axes else None,
                zorder=4,
                gid="durations-median" if each is axes else "histogram-median",
            )
    looks.legend(axes, above=histogram)


def _draw_over(
    axes: Axes,
    shown: Floats,
    status: Ints,
    over: Floats,
    known: NDArray[np.bool_],
    is_wide: bool,
    names: Sequence[str],
) -> None:
    done = known & (status == DONE)
    if names:
        # texts have no order that means anything: dots of one value lie beside each other
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(over))
        over = over + spread
    if done.sum() <= _DOTS:
        axes.plot(
            over[done],
            shown[done],
            color=looks.LINE,
            linestyle="none",
            marker="o",
            markersize=4.0 if done.sum() < 500 else 2.0,
            markeredgewidth=0.0,
            alpha=0.6,
            label="done" if done.any() else None,
            zorder=2,
            gid="durations-done",
        )
    else:
        left, right = axes.get_xlim()
        bottom, top = axes.get_ylim()
        columns, rows = _CELLS
        across = np.linspace(left, right, columns + 1)
        up = np.geomspace(bottom, top, rows + 1) if is_wide else np.linspace(bottom, top, rows + 1)
        counts, _, _ = np.histogram2d(over[done], shown[done], [across, up])
        axes.pcolormesh(
            across,
            up,
            np.where(counts > 0, counts, np.nan).T,
            cmap=_DENSITY,
            norm=LogNorm(1.0, max(2.0, float(counts.max()))),
            rasterized=True,
            zorder=1,
            gid="durations-density",
        )
        axes.fill([], [], facecolor=_DENSITY(0.5), label="done (darker: more)")
    if not names and done.sum() >= 5 * _SMALLEST:
        at, medians = _medians(over[done], shown[done])
        axes.plot(
            at,
            medians,
            color=looks.COLOURS["failed"] if done.sum() > _DOTS else looks.INK,
            linewidth=1.4,
            label="trend",
            zorder=3,
            gid="durations-trend",
        )
    for number, marker in ((RETRIED, "+"), (FAILED, "x")):
        some = np.flatnonzero(known & (status == number))
        if len(some) > _CROSSES:
            some = some[np.linspace(0, len(some) - 1, _CROSSES).astype(np.int64)]
        if len(some):
            name = _STATUS[number]
            axes.plot(
                over[some],
                shown[some],
                color=looks.COLOURS["failed"] if number == FAILED else looks.EDGE,
                linestyle="none",
                marker=marker,
                markersize=5.5 if len(some) < 100 else 3.5,
                markeredgewidth=1.3 if len(some) < 100 else 0.9,
                label=name,
                zorder=5,
                gid=f"durations-{name}",
            )


def _medians(over: Floats, shown: Floats) -> tuple[list[float], list[float]]:
    """Medians of neighbours, so that a trend is seen."""
    order = np.argsort(over, kind="stable")
    groups = np.array_split(order, min(_GROUPS, len(order) // _SMALLEST))
    return [float(np.median(over[group])) for group in groups], [
        float(np.median(shown[group])) for group in groups
    ]


def _draw_histogram(axes: Axes, shown: Floats, status: Ints, edges: Floats) -> None:
    before = np.zeros(len(edges) - 1)
    for number in (DONE, RETRIED, FAILED):
        some = shown[status == number]
        if not len(some):
            continue
        counts, _ = np.histogram(some, edges)
        name = _STATUS[number]
        there = counts > 0
        axes.barh(
            edges[:-1][there],
            counts[there],
            height=np.diff(edges)[there],
            left=before[there],
            align="edge",
            facecolor=looks.COLOURS[name],
            edgecolor={FAILED: looks.INK, RETRIED: looks.EDGE}.get(number, "white"),
            hatch=looks.HATCHES[name] or None,
            linewidth=0.4,
            zorder=2,
            label=name,
        )
        before = before + counts
    axes.set_xlim(0.0, max(1.0, float(before.max())) * 1.08)
    looks.count_axis(axes.xaxis, "items", marks=3)
