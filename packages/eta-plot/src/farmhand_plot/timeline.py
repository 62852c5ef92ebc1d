"""What each process did when: one lane for each, so that stragglers and idle processes are seen."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.collections import PolyCollection

from farmhand.progress import OVER
from farmhand_plot import looks
from farmhand_plot.course import Course
from farmhand_plot.reading import DONE, FAILED, RETRIED, Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from farmhand_plot.reading import Floats

__all__ = ["draw_timeline"]

_BARS = 3000  # rectangles that are drawn; of more items, how busy a process was in each column
_COLUMNS = 500
_LABELLED = 8  # stragglers
_STRAGGLES = 3.0  # times the median that a straggler takes at least ...
_SHARE = 0.03  # ... and of the width of the figure, so that there is room for its number
_HEIGHT = 0.8  # of a lane
_NAMES = {DONE: "done", RETRIED: "retried", FAILED: "failed"}


def draw_timeline(axes: Axes, attempts: Attempts, course: Course) -> None:
    """Draw one lane for each process, with its items as bars.

    Where there are too many of them to be seen, the height of a lane says which share of the time the process
    was busy.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    attempts : Attempts
        What ran when.
    course : Course
        The run.
    """
    numbers = np.unique(attempts.processes)
    lanes = {int(number): lane for lane, number in enumerate(numbers)}
    in_columns = len(attempts) > _BARS
    busy = (
        f": {100 * _busy(attempts, course, len(lanes)):.0f} % busy" if len(lanes) and course.now > 0.0 else ""
    )
    looks.plain(axes, f"Processes{busy}")
    axes.grid(visible=False, axis="y")
    end = looks.end_of(course.now)
    for lane in lanes.values():
        axes.axhline(lane, color=looks.FAINT, linewidth=0.6, zorder=0)
    for status in (DONE, RETRIED, FAILED):
        some = attempts.of(attempts.status == status)
        if not len(some):
            continue
        if not in_columns:
            _draw_bars(axes, some, lanes, status, end)
    if in_columns:
        _draw_columns(axes, attempts, lanes, end)
    if course.state not in OVER:
        _draw_running(axes, attempts, course, lanes)
    _label_stragglers(axes, attempts, lanes, end)
    if course.now and not course.is_over:
        looks.now_line(axes, course)
    axes.set_xlim(0.0, end)
    axes.set_ylim(max(len(lanes), 1) - 0.4, -0.6)
    looks.time_axis(axes.xaxis, end, "time since the start")
    every = ceil(len(lanes) / 24) or 1
    axes.set_yticks(list(lanes.values())[::every], [str(number) for number in list(lanes)[::every]])
    label = "process (height: share of its time)" if in_columns else "process"
    axes.set_ylabel(label, fontsize=looks.SIZES["label"], color=looks.INK)
    if not lanes:
        axes.set_yticks([])
        looks.empty(axes, "no item has ended")
    looks.legend(axes, above=axes)


def _busy(attempts: Attempts, course: Course, lanes: int) -> float:
    """The share of the processes' time that went into items."""
    return min(1.0, float(attempts.seconds.sum()) / (lanes * course.now))


def _draw_bars(axes: Axes, some: Attempts, lanes: dict[int, int], status: int, end: float) -> None:
    # one that took no time is seen all the same
    stops = some.starts + np.maximum(some.seconds, end * 5e-4)
    places = np.array([lanes[number] for number in some.processes.tolist()], dtype=np.float64)
    edge = {FAILED: looks.INK, RETRIED: looks.EDGE}.get(status, "white")
    _add_bars(axes, some.starts, stops, places, _NAMES[status], _NAMES[status], edge, 2 + status)


def _add_bars(
    axes: Axes, starts: Floats, stops: Floats, places: Floats, name: str, label: str, edge: str, above: float
) -> None:
    """Bars in their lanes, as one thing to draw."""
    low, high = places - _HEIGHT / 2, places + _HEIGHT / 2
    corners = np.stack([[starts, low], [stops, low], [stops, high], [starts, high]]).transpose(2, 0, 1)
    bars = PolyCollection(
        list(corners),
        facecolors=looks.COLOURS[name],
        edgecolors=edge,
        hatch=looks.HATCHES[name] or None,
        linewidths=0.4,
        label=label,
        zorder=above,
        gid=f"timeline-{name}",
    )
    axes.add_collection(bars, autolim=False)


def _draw_running(axes: Axes, attempts: Attempts, course: Course, lanes: dict[int, int]) -> None:
    """What has not ended: since its last item, a process of a run that goes on is on another one.

    Where fewer items are left than there are processes, those have them that have been silent for longest:
    the others found none any more.
    """
    last = {number: float(attempts.ends[attempts.processes == number].max()) for number in lanes}
    left = len(lanes)
    if course.total is not None:
        left = max(0, course.total - course.skipped - course.done - course.failed)
    silent = sorted((end, number) for number, end in last.items() if end < course.now)[:left]
    if silent:
        ends = np.array([end for end, _ in silent])
        places = np.array([lanes[number] for _, number in silent], dtype=np.float64)
        stops = np.full(len(silent), course.now)
        _add_bars(axes, ends, stops, places, "running", "not ended", looks.QUIET, 1.5)


def _draw_columns(axes: Axes, attempts: Attempts, lanes: dict[int, int], end: float) -> None:
    edges = np.linspace(0.0, end, _COLUMNS + 1)
    named: set[str] = set()
    order = np.argsort(attempts.processes, kind="stable")
    cuts = np.searchsorted(attempts.processes[order], [*lanes, max(lanes) + 1])
    for (number, lane), start, stop in zip(lanes.items(), cuts[:-1], cuts[1:], strict=True):
        places = order[start:stop]
        floor = np.full(_COLUMNS, lane + _HEIGHT / 2)
        for status in (DONE, RETRIED, FAILED):
            wanted = places[attempts.status[places] == status]
            if not len(wanted):
                continue
            share = busy_share(attempts.starts[wanted], attempts.ends[wanted], edges)
            if status == FAILED:  # a single failure among thousands is to be seen
                share = np.where(share > 0.0, np.maximum(share, 0.08), 0.0)
            top = np.maximum(floor - _HEIGHT * share, lane - _HEIGHT / 2)
            name = _NAMES[status]
            axes.fill_between(
                edges,
                np.append(floor, floor[-1]),
                np.append(top, top[-1]),
                step="post",
                facecolor=looks.COLOURS[name],
                linewidth=0.0,
                label=None if name in named else name,
                zorder=2 + status,
                gid=f"timeline-{name}-{number}",
            )
            named.add(name)
            floor = top


def busy_share(starts: Floats, ends: Floats, edges: Floats) -> Floats:
    """Which share of each column of time lies within one of the intervals, at most all of it.

    Parameters
    ----------
    starts, ends : array of float
        Of the intervals.
    edges : array of float
        Of the columns, ascending.
    """
    covered = _until(starts, edges) - _until(ends, edges)
    share: Floats = np.clip(np.diff(covered) / np.maximum(np.diff(edges), 1e-300), 0.0, 1.0)
    return share


def _until(times: Floats, edges: Floats) -> Floats:
    """For each edge, the sum over all times before it of how long ago they were."""
    ordered = np.sort(times)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    count = np.searchsorted(ordered, edges)
    ago: Floats = edges * count - sums[count]
    return ago


def _label_stragglers(axes: Axes, attempts: Attempts, lanes: dict[int, int], end: float) -> None:
    """Say which items took much longer than the others."""
    if len(attempts) < 3:
        return
    least = max(_STRAGGLES * float(np.median(attempts.seconds)), _SHARE * end)
    slow = np.flatnonzero(attempts.seconds >= least)
    slow = slow[np.argsort(attempts.seconds[slow])[::-1][:_LABELLED]]
    small = max(5.0, min(looks.SIZES["small"], 420.0 / max(1, len(lanes))))
    for place in slow.tolist():
        looks.caption(
            axes.text(
                attempts.starts[place] + attempts.seconds[place] / 2,
                lanes[int(attempts.processes[place])],
                f"#{attempts.indices[place]}",
                ha="center",
                va="center",
                fontsize=small,
                color=looks.INK,
                clip_on=True,
                zorder=6,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            )
        )
