"""A time remaining in words that can be read while it changes: pure, no clock.

What is estimated anew ten times a second wavers, and rounded numbers jump to and fro at every border.
So each bound is said as one of the times in ``_TIMES``, whose distances are a fifteenth of their size
or more, and stays until the estimate has gone all the way to the next one; of a wide range, on which
seconds say nothing, until it has moved by a part of the range. What wavers by less than half such a
distance, or 3 %, then never brings a text back, and what is said is never wrong by more than that.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from math import ceil, inf

from farmhand.progress import Estimate, Snapshot, TimeLeft

__all__ = ["RemainingWords", "about_text", "finish_text", "remaining_text"]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

# (from where on, in which steps, in which unit), up to the next line
_STEPS = (
    (1, 1, 1.0),
    (10, 2, 1.0),
    (20, 5, 1.0),
    (60, 10, 1.0),
    (1.5, 0.5, _MINUTE),
    (5, 1, _MINUTE),
    (16, 2, _MINUTE),
    (30, 5, _MINUTE),
    (60, 10, _MINUTE),
    (1.5, 0.5, _HOUR),
    (5, 1, _HOUR),
    (16, 2, _HOUR),
    (24, 6, _HOUR),
    (2, 0.5, _DAY),
    (5, 1, _DAY),
    (15, 5, _DAY),
    (60, 10, _DAY),
    (100, 20, _DAY),
    (200, 50, _DAY),
    (500, 100, _DAY),
)
_LAST = 1000 * _DAY


def _times() -> list[float]:
    ends = [first * unit for first, _, unit in _STEPS[1:]] + [_LAST]
    times = [0.5]  # which stands for hardly any time
    for (first, step, unit), end in zip(_STEPS, ends, strict=True):
        times += [(first + n * step) * unit for n in range(round((end / unit - first) / step))]
    return [*times, _LAST]


# What can be said, in seconds.
_TIMES = _times()
# The largest first: (seconds, name, name of one, the most that is said in it)
_UNITS = (
    (_DAY, "days", "day", inf),
    (_HOUR, "h", "h", 48.0),
    (_MINUTE, "min", "min", 90.0),
    (1.0, "s", "s", 90.0),
)

_HOLD = 1.0  # seconds for which a text stays, whatever comes: nobody reads faster
_LONG = 60  # characters; what others have made of it may be anything
_NEARLY = 0.05  # seconds by which two snapshots miss a whole second
_SMALL = 50.0  # a low end so many times below the high one is as good as none
_WIDE = 4.0  # where the high end is so many times the low one, no time between them is "about" the end,
_WIDE_SECONDS = 600.0  # unless they are as near to each other as this
_FINE = 0.08  # of the range: what is said is no finer than that,
_FINE_HIGH = 0.06  # nor is a time of day than this part of the high end
_CLOCK_STEPS = (60.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0, _DAY)


_UNKNOWN = "unknown"
_NOTHING = TimeLeft()


class RemainingWords:
    """The time remaining of one run after the other, in words that do not flicker.

    What a farm has put into its snapshots is what is said, so that who begins to look later reads the same.
    For other snapshots the words are made here, and each has to be given to ``of``.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._state = ""
        self._seen = -inf  # seconds into the run, when it was looked at last
        self._changed = -inf  # when the words changed
        self._said = _NOTHING
        self._bounds: tuple[int, int] | None = None  # what is said, as places in _TIMES
        self._end: float | None = None  # the time of day that is said

    def of(self, snapshot: Snapshot, now: float) -> TimeLeft:
        """The words for a snapshot.

        Parameters
        ----------
        snapshot : Snapshot
            The run.
        now : float
            The time of day, as ``time.time()`` has it.
        """
        told = snapshot.told
        if told is not None and told.whole.isprintable() and len(told.whole) < _LONG:
            return told
        elapsed, state, estimate = snapshot.elapsed, snapshot.state, snapshot.remaining
        if estimate is None or state not in ("running", "finishing", "paused"):
            self._forget()
            return _NOTHING
        if state != self._state or not elapsed >= self._seen:  # the latter: another run
            self._forget()
        self._state, self._seen = state, elapsed
        if self._said and elapsed - self._changed < _HOLD - _NEARLY:
            return self._said
        said = self._words(estimate, now)
        if said != self._said:
            self._said, self._changed = said, elapsed
        return said

    def _words(self, estimate: Estimate, now: float) -> TimeLeft:
        if not _is_sane(estimate):
            self._bounds = self._end = None
            return TimeLeft(_UNKNOWN)
        low, high = self._bounds = _bounds(estimate, self._bounds)
        span = _span(low, high)
        if self._state == "paused":
            return TimeLeft(span, "when it goes on")
        latest = _is_wide(low, high)
        self._end = _end(estimate, high, latest, now, self._end)
        return TimeLeft(span, _end_text(self._end, latest, now), latest)


def remaining_text(remaining: Estimate) -> str:
    """A time remaining as a range: ``'12-20 min'``, ``'5 min to 3 h'``, ``'about 40 s'``, ``'unknown'``."""
    return _span(*_bounds(remaining, None)) if _is_sane(remaining) else _UNKNOWN


def finish_text(remaining: Estimate, now: float) -> str:
    """A time remaining with the time of day at which it is over: ``'12-20 min, about 14:35'``.

    Parameters
    ----------
    remaining : Estimate
        The time remaining.
    now : float
        The time of day, as ``time.time()`` has it. Of another day than this one the day is told
        as well (``'about Tue 14:00'``), after a week the date alone; of the next minute nothing. Of a
        wide range it is the latest time that is likely (``'5 min to 3 h, by 17:30'``).
    """
    return str(RemainingWords().of(Snapshot(remaining=remaining), now))


def about_text(seconds: float) -> str:
    """One rounded time: ``'12 s'``, ``'1.5 min'``; ``''`` for hardly any, and for none that can be told."""
    place = _nearest(seconds) if 0.0 < seconds < inf else 0
    return _time_text(_TIMES[place]) if place else ""


def _is_sane(estimate: Estimate) -> bool:
    """Whether it is a range of times at all; others may have made it."""
    return 0.0 <= estimate.low <= estimate.median <= estimate.high < inf


# -- from seconds to what is said ----------------------------------------------------------------------


def _bounds(estimate: Estimate, before: tuple[int, int] | None) -> tuple[int, int]:
    """Both ends as places in ``_TIMES``, the same as before as long as these are true."""
    low, high = estimate.low, estimate.high
    if before is None:
        return _nearest(low), _nearest(high)
    fine = (high - low) * _FINE
    if _is_true(before[0], low, fine) and _is_true(before[1], high, fine):
        return before
    # One has to move. The other goes along if it is due soon, so that the words change once and not twice.
    new_high = _moved(before[1], high, fine)
    return min(_moved(before[0], low, fine), new_high), new_high


def _moved(place: int, seconds: float, fine: float) -> int:
    nearest = _nearest(seconds)
    return nearest if nearest < place or not _is_true(place, seconds, fine) else place


def _is_true(place: int, seconds: float, fine: float) -> bool:
    """Whether a time lies within one step of what is said, or is as good as that."""
    below = _TIMES[place - 1] if place else -inf
    above = _TIMES[place + 1] if place + 1 < len(_TIMES) else inf
    return below < seconds < above or abs(seconds - _TIMES[place]) < fine


def _nearest(seconds: float) -> int:
    place = bisect_left(_TIMES, seconds)
    if place == 0 or place == len(_TIMES):
        return min(place, len(_TIMES) - 1)
    return place - (seconds - _TIMES[place - 1] < _TIMES[place] - seconds)


def _is_wide(low: int, high: int) -> bool:
    first, last = _TIMES[low], _TIMES[high]
    return last > _WIDE * first and last - first >= _WIDE_SECONDS


# -- and in words ----------------------------------------------------------------------------------------


def _span(low: int, high: int) -> str:
    first, last = _TIMES[low], _TIMES[high]
    if high == 0:
        return "under a second"
    if last == _LAST:
        return f"over {_time_text(first)}"
    if low == high:
        return f"about {_time_text(last)}"
    if low == 0 or first * _SMALL <= last:
        return f"under {_time_text(last)}"
    for unit in _UNITS:
        one, other = _in(first, unit), _in(last, unit)
        if one and other:
            return f"{one}-{other} {unit[1]}"
    return f"{_time_text(first)} to {_time_text(last)}"


def _time_text(seconds: float) -> str:
    if seconds < 1.0:
        return "a second"
    texts = ((_in(seconds, unit), unit) for unit in _UNITS)
    number, (_, name, of_one, _) = next(each for each in texts if each[0])
    return f"{number} {of_one if number == '1' else name}"


def _in(seconds: float, unit: tuple[float, str, str, float]) -> str:
    """A time in some unit, ``''`` where that does not read well."""
    size, _, _, most = unit
    value = seconds / size
    return f"{value:.1f}".removesuffix(".0") if 1.0 <= value <= most and (value * 2).is_integer() else ""


# -- the time of day at which it is over ---------------------------------------------------------------


def _end(estimate: Estimate, high: int, latest: bool, now: float, before: float | None) -> float | None:
    """The time of day that is said: the same as before as long as it is true; None for none."""
    if not _MINUTE <= _TIMES[high] < _LAST:
        return None
    end = now + (estimate.high if latest else estimate.median)
    # no more precise than the estimate is, nor than the span
    fine = max((estimate.high - estimate.low) * _FINE, estimate.high * _FINE_HIGH)
    step = next((each for each in _CLOCK_STEPS if each >= fine), fine)
    if before is not None and before > now and abs(before - end) <= step:
        return before
    try:
        then = time.localtime(end)
    except (OverflowError, ValueError, OSError):
        return None
    past = then.tm_hour * _HOUR + then.tm_min * _MINUTE + end % _MINUTE  # seconds into its day, here
    # the latest time is rounded up, and nothing ends in the past
    step = min(step, _DAY)
    end += ceil(past / step if latest else past / step - 0.5) * step - past
    return end if end > now else end + step


def _end_text(end: float | None, latest: bool, now: float) -> str:
    if end is None:
        return ""
    try:
        today, then = time.localtime(now), time.localtime(end)
        form = "%H:%M" if then[:3] == today[:3] else "%a %H:%M" if end - now < 6 * _DAY else "%Y-%m-%d"
        return f"{'by' if latest else 'about'} {time.strftime(form, then)}"
    except (OverflowError, ValueError, OSError):
        return ""
