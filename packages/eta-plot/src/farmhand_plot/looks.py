"""How all figures look: axes with units, colours that colour-blind people and grey printers tell apart."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from matplotlib.ticker import (
    FixedFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
)

from farmhand.wording import clock_text, printable, when_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from farmhand_plot.course import Course

__all__ = [
    "BAND",
    "COLOURS",
    "EDGE",
    "FAINT",
    "HATCHES",
    "INK",
    "LINE",
    "QUIET",
    "SIZES",
    "caption",
    "count_axis",
    "count_text",
    "counted",
    "empty",
    "end_of",
    "heading",
    "legend",
    "log_time_axis",
    "now_line",
    "plain",
    "time_axis",
    "title",
    "took",
]

# Okabe and Ito's, by the status of an item; so light and so dark that they differ without colour, too.
COLOURS = {"done": "#56B4E9", "retried": "#F0E442", "failed": "#D55E00", "running": "#FFFFFF"}
HATCHES = {"done": "", "retried": "", "failed": "////", "running": "...."}
EDGE = "#8A7A00"  # of what was retried, which is hardly seen on white in grey
LINE = "#0072B2"  # what has happened
BAND = "#9ECAE9"  # what may happen
INK, QUIET, FAINT = "#222222", "#666666", "#E3E3E3"
SIZES = {"title": 10.0, "label": 9.0, "small": 8.0}
# of the area in which the end lies four times out of five
BAND_STYLE: dict[str, Any] = {
    "facecolor": BAND,
    "edgecolor": LINE,
    "linewidth": 0.6,
    "linestyle": ":",
    "alpha": 0.6,
    "label": "80 % interval",
    "zorder": 1,
}

# (longest time that is told in it, its seconds, its name, steps between two marks)
_UNITS: tuple[tuple[float, float, str, tuple[float, ...]], ...] = (
    (0.5e-3, 1e-6, "µs", ()),
    (0.5, 1e-3, "ms", ()),
    (150.0, 1.0, "s", (1, 2, 5, 10, 20, 30, 60)),
    (9000.0, 60.0, "min", (1, 2, 5, 10, 15, 20, 30, 60)),
    (2.5 * 86400.0, 3600.0, "h", (1, 2, 3, 6, 12, 24)),
    (math.inf, 86400.0, "days", ()),
)
_MARKS = 7  # at most so many spaces between the marks of an axis of usual size


def plain(axes: Axes, title: str = "") -> None:
    """Give axes the looks of all figures, whatever somebody has set for others of theirs."""
    axes.set_facecolor("white")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=QUIET, linewidth=0.8)
    axes.tick_params(
        which="both", labelsize=SIZES["small"], colors=QUIET, labelcolor=INK, direction="out", width=0.8
    )
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color=FAINT, linewidth=0.6, linestyle="-")
    if title:
        _name(axes, title)


def _name(axes: Axes, name: str, pad: float = 6.0) -> None:
    """Say what axes show, so many points above them."""
    text = axes.set_title(name, loc="left", pad=pad, fontsize=SIZES["label"], color=INK, fontweight="bold")
    caption(text)


def caption(text: Text) -> Text:
    """Text that may come from users, in which a dollar is a dollar."""
    text.set_parse_math(False)
    text.set_usetex(False)
    return text


def heading(figure: Figure, course: Course) -> None:
    """Say which run this is: its task, its name, when it was, and how its items ended."""
    parts = [course.task or "task"]
    if course.run:
        parts.append(f"run {course.run}")
    if course.began is not None:
        parts.append(_date(course.began))
    is_partial = course.total is not None and course.done + course.failed + course.skipped < course.total
    title(
        figure,
        [*parts, *counted(course.done, course.failed, course.skipped, course.total if is_partial else None)],
    )


def counted(done: int, failed: int = 0, skipped: int = 0, total: int | None = None) -> list[str]:
    """How items ended, in words."""
    parts = [f"{done:,} done" if total is None else f"{done:,} of {total:,} done"]
    parts += [f"{number:,} {name}" for number, name in ((failed, "failed"), (skipped, "skipped")) if number]
    return [", ".join(parts)]


def title(figure: Figure, parts: Sequence[str]) -> None:
    """What a figure is of, above all of it."""
    line = "  ·  ".join(printable(part, 60) for part in parts)
    size = min(SIZES["title"], _fitting(figure, line))
    caption(figure.suptitle(line, x=0.01, ha="left", fontsize=size, color=INK))


def _fitting(figure: Figure, line: str) -> float:
    """The size at which a line of text is not wider than the figure; about, as letters differ."""
    return max(6.0, 72.0 * figure.get_figwidth() * 0.97 / (0.56 * max(1, len(line))))


def _date(moment: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "?"


def took(seconds: float) -> str:
    """A time that something took: ``'210 ns'``, ``'43.2 ms'``, ``'2.8 s'``, ``'1m 20s'``."""
    return clock_text(seconds) if not seconds < 59.5 else _mark_text(max(0.0, seconds))


# -- axes --------------------------------------------------------------------------------------------------


def time_axis(axis: Axis, longest: float, label: str, unit_of: float | None = None) -> None:
    """Mark an axis of seconds in the unit that suits it, which its label names.

    Parameters
    ----------
    axis : Axis
        ``axes.xaxis`` or ``axes.yaxis``; its limits are set by the caller.
    longest : float
        The greatest number of seconds on it.
    label : str
        What it is a time of.
    unit_of : float, optional
        The number of seconds that the unit suits, where two axes are to have one; by default ``longest``.
    """
    suited = longest if unit_of is None else unit_of
    _, unit, name, steps = next(row for row in _UNITS if suited <= row[0] or row[0] == math.inf)
    span = max(longest, 1e-9) / unit
    step = next((each for each in steps if span / each <= _MARKS), 0.0)
    if not step or span / step < 3.0:
        step = _round_step(span / _MARKS)
    axis.set_major_locator(MultipleLocator(step * unit))
    axis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds / unit:.10g}"))
    caption(axis.set_label_text(f"{label} ({name})", fontsize=SIZES["label"], color=INK))


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def log_time_axis(axis: Axis, shortest: float, longest: float, label: str) -> None:
    """Mark a logarithmic axis of seconds: each mark has its own unit, as ``10 ms``, ``1 s``, ``1 min``."""
    marks = [mark for mark in _LOG_MARKS if shortest <= mark <= longest]
    while len(marks) > _MARKS:
        marks = marks[::2]
    if len(marks) >= 2:
        axis.set_ticks(marks)
        axis.set_major_formatter(FixedFormatter([_mark_text(mark) for mark in marks]))
    else:
        axis.set_major_locator(LogLocator(10.0, subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda seconds, _: _mark_text(seconds)))
    axis.set_minor_formatter(NullFormatter())
    caption(axis.set_label_text(label, fontsize=SIZES["label"], color=INK))


def _mark_text(seconds: float) -> str:
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit * (1 - 1e-9):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns" if seconds else "0 s"


_LOG_MARKS = (
    *(factor * 10.0**power for power in range(-9, 0) for factor in (1.0, 3.0)),
    *(1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 3 * 3600.0, 12 * 3600.0),
    *(86400.0 * factor for factor in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e4)),
)


def count_axis(axis: Axis, label: str, *, marks: int = 6, whole: bool = True) -> None:
    """Mark an axis of numbers: whole ones, if they count something, and thousands and millions in short."""
    axis.set_major_locator(MaxNLocator(nbins=marks, steps=(1, 2, 2.5, 5, 10), integer=whole, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    caption(axis.set_label_text(label, fontsize=SIZES["label"], color=INK))


def count_text(value: float) -> str:
    """A count: ``'1500'``, ``'15 k'``, ``'2.5 M'``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (unit if name != "k" else 10_000):
            return f"{value / unit:.4g} {name}"
    return f"{value:.6g}"


def legend(axes: Axes, above: Axes | None = None, **about: Any) -> None:
    """Say what the lines and the areas are, where there are any; perhaps above some axes.

    There it is beside the title, or, where there is no room, below it.
    """
    labels = axes.get_legend_handles_labels()[1]
    if not labels:
        return
    if above is not None:
        columns, rows = _columns(axes, above, labels)
        if rows:
            _name(axes, axes.get_title("left"), pad=6.0 + 13.0 * rows)
        about = {
            "loc": "lower right",
            "bbox_to_anchor": (1.0, 1.0),
            "bbox_transform": above.transAxes,
            "ncols": columns,
            "borderaxespad": 0.2,
            "handlelength": 1.8,
            "handletextpad": 0.5,
            "columnspacing": 1.0,
        }
    shown = axes.legend(
        **{"loc": "best", "fontsize": SIZES["small"], "labelcolor": INK, "frameon": above is None, **about},
        facecolor="white",
        edgecolor="none",
        framealpha=0.8,
    )
    shown.set_in_layout(above is None)  # the title beside it has the room
    for text in shown.get_texts():
        caption(text)


def _columns(axes: Axes, above: Axes, labels: Sequence[str]) -> tuple[int, int]:
    """How many columns of a legend have room above axes, and in how many rows, none if beside the title."""
    # inches, about: nothing has been laid out yet, when axes will get a little wider
    room = 1.15 * (above.bbox.x1 - axes.bbox.x0) / axes.figure.dpi
    widths = [0.4 + 0.055 * len(label) for label in labels]
    if sum(widths) + 0.075 * len(axes.get_title("left")) <= room:
        return len(labels), 0
    columns = max(1, min(len(labels), int(room / max(widths))))
    return columns, math.ceil(len(labels) / columns)


def now_line(axes: Axes, course: Course) -> None:
    """Mark the moment that a figure of a run that goes on tells of, with the time of day that it was."""
    label = "now"
    if course.began is not None:
        label = f"now: {when_text(course.began + course.now, course.began)}"
    axes.axvline(course.now, color=QUIET, linewidth=0.8, linestyle="-.", label=label, zorder=1)


def empty(axes: Axes, text: str) -> None:
    """Say why nothing is drawn."""
    caption(
        axes.text(
            0.5,
            0.5,
            text,
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=SIZES["label"],
            color=QUIET,
        )
    )


def end_of(longest: float) -> float:
    """Where an axis ends on which so many seconds are shown: a little later; never at its beginning."""
    return longest * 1.03 if 1e-9 < longest < math.inf else 1.0
