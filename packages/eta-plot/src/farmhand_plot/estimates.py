"""What the end was thought to be when, against what happened."""

from __future__ import annotations

from math import isfinite

import numpy as np

from farmhand_plot import looks
from farmhand_plot.course import Course

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_estimates"]

_HIGHEST = 2.5  # times the true end, or the last one predicted, that are shown
_FAR = 5.0  # so many times as far, a prediction needs a larger unit than the run so far


def draw_estimates(axes: Axes, course: Course, end: float | None = None) -> None:
    """Draw the predicted end of the run over the moments at which it was predicted.

    The better the predictions, the flatter the line; and four times out of five the end is in the band.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    course : Course
        The run.
    end : float, optional
        The end of the x axis; by default, what that needs.
    """
    looks.plain(axes, "Predicted end")
    now = max(0.0, course.now)
    known = [
        (at, at + each.low, at + each.median, at + each.high)
        for at, each in course.estimates
        if each is not None and isfinite(at) and isfinite(each.high)
    ]
    truth = now if course.is_complete else None
    reference = truth
    is_predicted = bool(known and now and _had_items(course))
    if is_predicted:
        at, low, median, high = np.asarray(known, dtype=float).T
        reference = float(median[-1]) if truth is None else truth
        # what is far outside has dotted edges of millions of dots, each of which is drawn
        low, median, high = np.minimum([low, median, high], 2.0 * _HIGHEST * max(reference, now))
        axes.fill_between(
            at,
            low,
            high,
            gid="estimate-band",
            **looks.BAND_STYLE,
        )
        axes.plot(
            at,
            median,
            color=looks.LINE,
            linewidth=1.6,
            linestyle="-",
            marker="o" if len(known) < 3 else "",
            markersize=3.5,
            label="predicted",
            zorder=3,
            gid="estimate-predicted",
        )
        highest = min(float(high.max()), _HIGHEST * max(reference, now))
    else:
        highest = now
        looks.empty(axes, _why(course))
    if truth is not None:
        axes.axhline(
            truth,
            color=looks.INK,
            linewidth=1.2,
            linestyle=(0, (5, 3)),
            label=f"ended: {looks.took(truth)}",
            zorder=2,
            gid="estimate-truth",
        )
    end = looks.end_of(now) if end is None else end
    top = looks.end_of(max(highest, now) * 1.05)
    if is_predicted:
        axes.fill(
            [0.0, now, now],
            [0.0, now, 0.0],
            facecolor=looks.FAINT,
            edgecolor=looks.QUIET,
            linewidth=0.4,
            zorder=0.5,
            label="past",
            gid="estimate-past",
        )
    if now and not course.is_over:
        looks.now_line(axes, course)
    axes.set_xlim(0.0, end)
    axes.set_ylim(0.0, top)
    unit_of = end if top <= _FAR * end else top  # one for both axes
    looks.time_axis(axes.xaxis, end, "time since the start", unit_of)
    looks.time_axis(axes.yaxis, top, "predicted end", unit_of)
    looks.legend(axes, above=axes)


def _had_items(course: Course) -> bool:
    """Whether there was anything to do."""
    return not course.is_complete or course.done + course.failed > 0


def _why(course: Course) -> str:
    if not _had_items(course):
        return "there was nothing to predict"
    if course.total is None and course.times:
        return "nobody knew how many items there are:\nno end could be predicted"
    return "nothing has been predicted"
