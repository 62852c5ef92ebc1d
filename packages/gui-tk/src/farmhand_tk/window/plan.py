"""Where the lines of the chart run: numbers and labels, no Tk."""

from __future__ import annotations

from math import floor, isfinite, log10

from farmhand.progress import OVER, Snapshot
from farmhand.values import dataclass

__all__ = ["Axis", "Plan", "count_label", "plan_of", "steps_of", "time_steps"]

_TIMES = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(3600.0, 7200.0, 10800.0, 21600.0, 43200.0, 86400.0),
)
_MOST_TIME = 1e10  # seconds
_MOST_ITEMS = 1e15
_KEPT = 0.6  # an axis is kept as long as this much of it is used, and does not jump


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from 0.

    Parameters
    ----------
    end : float
        Its last value.
    ticks : tuple of (float, str)
        Values with their labels, in rising order.
    """

    end: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the chart shows, in seconds and items.

    Parameters
    ----------
    times, items : Axis
        The axes.
    line : tuple of (float, float)
        How many items had ended when.
    goal : float or None
        How many there are to run.
    ends : tuple of (float, float, float) or None
        When the run is over: the early, the middle and the late time.
    reach : float
        How many items will have ended by then.
    """

    times: Axis
    items: Axis
    line: tuple[tuple[float, float], ...]
    goal: float | None
    ends: tuple[float, float, float] | None
    reach: float


def plan_of(snapshot: Snapshot, before: Plan | None = None, most_times: int = 6, most_items: int = 4) -> Plan:
    """The chart of a run.

    Parameters
    ----------
    snapshot : Snapshot
        The run.
    before : Plan, optional
        The one that is shown: its axes are kept while they fit.
    most_times, most_items : int
        Labels for which there is room.
    """
    elapsed = _within(snapshot.elapsed, _MOST_TIME)
    ended = _within(snapshot.done + snapshot.failed, _MOST_ITEMS)
    line = [(_within(at, _MOST_TIME), _within(count, _MOST_ITEMS)) for at, count in snapshot.history]
    line = [point for point in line if point[0] <= elapsed]
    line.append((elapsed, ended))
    line.sort()
    goal = None
    if snapshot.total is not None:
        goal = max(ended, _within(snapshot.total - snapshot.skipped, _MOST_ITEMS))
    ends, reach = None, ended
    rest = snapshot.remaining
    if snapshot.state == "running" and goal is not None:
        reach = goal
    elif snapshot.state == "finishing":  # those that run now, and no others
        reach += sum(process.state in ("busy", "leaving") for process in snapshot.processes)
        reach = reach if goal is None else min(reach, goal)
    # the end of a run that is paused moves away all the time
    if rest is not None and reach > ended:
        low, middle, high = sorted(
            elapsed + _within(each, _MOST_TIME) for each in (rest.low, rest.median, rest.high)
        )
        ends = (low, middle, high)
    over = snapshot.state in OVER
    # a little room behind the line
    latest = ends[2] if ends else elapsed * (1.0 if over else 1.1)
    times = _time_axis(max(latest, 1.0), before.times if before else None, most_times, tight=over)
    most = max([goal or 0.0, reach, *(count for _, count in line)])
    items = _count_axis(max(most, 1.0), before.items if before else None, most_items, goal)
    return Plan(times, items, tuple(line), goal, ends, reach)


def _time_axis(latest: float, before: Axis | None, most: int, tight: bool) -> Axis:
    """An axis of times that ends a little behind the latest."""
    if before and not tight and before.end * _KEPT <= latest <= before.end:
        latest = before.end
    elif not tight:
        latest *= 1.08
    step = time_steps(latest, most)
    return Axis(latest, tuple(_ticks(step, latest, _time_label)))


def _count_axis(most: float, before: Axis | None, labels: int, goal: float | None) -> Axis:
    if before and goal is None and before.end * _KEPT / 2 <= most <= before.end:
        end = before.end
    else:
        end = most * (1.0 if goal is not None else 1.3)
    step = max(1.0, steps_of(end, labels))
    return Axis(end, tuple(_ticks(step, end, count_label)))


def _ticks(step: float, end: float, label: object) -> list[tuple[float, str]]:
    assert callable(label)
    return [(n * step, label(n * step)) for n in range(floor(end / step + 1e-9) + 1)]


def steps_of(end: float, most: int) -> float:
    """The round distance (1, 2 or 5 times a power of ten) at which at most so many ticks fit."""
    least = end / max(1, most)
    power: float = 10.0 ** floor(log10(least))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0, 20.0) if power * factor >= least)


def time_steps(end: float, most: int) -> float:
    """The round distance in time at which at most so many ticks fit."""
    least = end / max(1, most)
    found = next((step for step in _TIMES if step >= least), None)
    return found if found is not None else 86400.0 * steps_of(end / 86400.0, most)


def _time_label(seconds: float) -> str:
    """A label of the axis, in the largest unit in which it has no long fraction."""
    if seconds == 0.0:
        return "0"
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        value = seconds / size
        if value >= 1.0 and abs(value * 2 - round(value * 2)) < 1e-6:
            return f"{value:.1f}".removesuffix(".0") + f" {unit}"
    if seconds >= 60.0:
        minutes = seconds / 60.0
        if minutes >= 60.0:
            return f"{int(minutes // 60)}:{round(minutes % 60):02d} h"
        return f"{int(minutes)}:{round(seconds % 60):02d} min"
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def count_label(count: float) -> str:
    """A number of items, short: ``'1500'``, ``'20k'``, ``'1.5M'``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size * (10.0 if unit == "k" else 1.0):
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return f"{count:.0f}"


def _within(value: float, most: float) -> float:
    value = float(value)
    return min(max(value, 0.0), most) if isfinite(value) else 0.0
