"""Items over time, with the band in which the rest will end."""

from __future__ import annotations

from math import isfinite

import numpy as np

from farmhand.wording import when_text
from farmhand_plot import looks
from farmhand_plot.course import Course

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["draw_completions"]

_FURTHEST = 4.0  # times the median of the rest that are shown; of a band that goes on, only the beginning
_CROSSES = 40  # failures that are marked one by one
_ENDED = {
    "finished": "ended after",
    "stopped": "stopped after",
    "broken": "broken off after",
    "killed": "killed after",
}


def draw_completions(axes: Axes, course: Course) -> None:
    """Draw how many items had ended when, where that leads, and what is aimed at.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    course : Course
        The run.
    """
    looks.plain(axes, "Items ended")
    now = max(0.0, course.now)
    times = np.asarray([0.0, *course.times, now], dtype=float)
    ended = course.done + course.failed
    counts = np.asarray([0, *course.ended, ended], dtype=float)
    goal = None if course.total is None else max(course.total - course.skipped, ended)
    left = 0 if goal is None else goal - ended
    estimate = course.remaining if left and not course.is_over else None
    if estimate is not None and not isfinite(estimate.median):
        estimate = None

    axes.plot(
        times,
        counts,
        color=looks.LINE,
        linewidth=1.8,
        linestyle="-",
        drawstyle="steps-post",  # nothing ends between
        label="ended",
        zorder=3,
        gid="completions-ended",
    )
    _draw_failures(axes, course, times, counts)
    furthest = now
    if estimate is not None and goal is not None:
        low, median = now + estimate.low, now + estimate.median
        high = now + min(estimate.high, _FURTHEST * estimate.median + 1.0)
        axes.fill(
            [now, low, high],
            [ended, goal, goal],
            gid="completions-band",
            **looks.BAND_STYLE,
        )
        axes.plot(
            [now, median],
            [ended, goal],
            color=looks.LINE,
            linewidth=1.2,
            linestyle=(0, (5, 3)),
            label="projected",
            zorder=2,
            gid="completions-projected",
        )
        furthest = high
    end = looks.end_of(furthest)
    if goal is not None:
        axes.axhline(
            goal,
            color=looks.QUIET,
            linewidth=1.0,
            linestyle=(0, (1, 1.5)),
            label=_goal_text(course, goal),
            zorder=1.5,
            gid="completions-total",
        )
    if now and not course.is_over:
        looks.now_line(axes, course)
    axes.plot([now], [ended], color=looks.LINE, marker="o", markersize=4.5, zorder=5, gid="completions-end")
    axes.set_xlim(0.0, end)
    axes.set_ylim(0.0, max(1.0, goal or 0.0, ended) * 1.06)
    looks.time_axis(axes.xaxis, end, "time since the start")
    looks.count_axis(axes.yaxis, "items")
    says = _says(course)
    if says:
        looks.caption(axes.set_title(says, loc="right", fontsize=looks.SIZES["small"], color=looks.INK))
    if not ended:
        looks.empty(axes, "no item has ended yet" if not course.is_over else "no item has ended")
    looks.legend(axes)


def _draw_failures(axes: Axes, course: Course, times: Floats, counts: Floats) -> None:
    """Mark a few failures on the line; of more, how many there were is a line of its own."""
    at = np.asarray(course.failures, dtype=float)
    about: dict[str, Any] = {
        "color": looks.COLOURS["failed"],
        "label": "failed",
        "zorder": 4,
        "gid": "completions-failed",
    }
    if len(at) > _CROSSES:
        # the first and the last of them, and some between at even distances
        failed = np.linspace(1.0, max(1, course.failed), len(at))
        path = np.concatenate([[0.0], at, [max(at[-1], course.now)]])
        axes.plot(path, np.concatenate([[0.0], failed, failed[-1:]]), linestyle="--", **about)
    elif len(at):
        cross: dict[str, Any] = {
            "linestyle": "none",
            "marker": "X",
            "markersize": 6.5,
            "markeredgewidth": 0.6,
            "markeredgecolor": "white",  # which is seen on the line in grey, too
        }
        axes.plot(at, np.interp(at, times, counts), **cross, **about)


def _goal_text(course: Course, goal: int) -> str:
    if course.skipped:
        return f"{looks.count_text(goal)} to do, {looks.count_text(course.skipped)} skipped"
    return f"all {looks.count_text(goal)} items" if goal > 1 else "the one item" if goal else "no items"


def _says(course: Course) -> str:
    """The end, as far as it is known, in words."""
    if course.state in _ENDED:
        after = f"{_ENDED[course.state]} {looks.took(course.now)}"
        if course.began is None or not course.now:
            return after
        return f"{after}, at {when_text(course.began + course.now, course.began)}"
    left = course.left.whole if course.left else ""
    if course.state == "unknown":
        return f"if it still runs: {left}" if left else "it still runs, or was killed"
    return ": ".join(filter(None, ["" if course.state == "running" else course.state, left]))
