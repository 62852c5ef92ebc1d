"""What a store has recorded of a run, in numpy's columns. No value is read, and nothing is unpickled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from farmhand import DataManager, RunInfo, UsageError
from farmhand.cli.stores import find_run, runs_of, state_of
from farmhand.errors import UnknownName
from farmhand.plain import plain_items
from farmhand.progress import Estimate, Snapshot
from farmhand.replay import earlier_runs, replay
from farmhand.store import Timings
from farmhand.tables import arguments_of
from farmhand.values import dataclass
from farmhand.wording import RemainingWords
from farmhand_plot.course import Course
from farmhand_plot.live import ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["DONE", "FAILED", "RETRIED", "Attempts", "attempts_of", "choose", "course_of", "parameter_of"]

DONE, FAILED, RETRIED = range(3)
_POINTS = 500  # of a line
_MOMENTS = 100  # at which the end is predicted
_MARKED = 300  # failures that are marked
_LONGEST = 1e12  # seconds


@dataclass(frozen=True, slots=True)
class Attempts:
    """Every attempt at an item of a run that has ended, in columns of one length, in no order.

    Parameters
    ----------
    indices, processes : array of int
        Which items, and the number of the process.
    starts, seconds : array of float
        When it started, in seconds since the run began, and how long it took.
    status : array of int
        ``DONE``, ``FAILED`` or ``RETRIED``.
    """

    indices: Ints
    processes: Ints
    starts: Floats
    seconds: Floats
    status: Ints

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def ends(self) -> Floats:
        """When each one ended."""
        return self.starts + self.seconds

    def of(self, wanted: NDArray[np.bool_]) -> Attempts:
        """Some of them."""
        return Attempts(
            self.indices[wanted],
            self.processes[wanted],
            self.starts[wanted],
            self.seconds[wanted],
            self.status[wanted],
        )


# -- which runs --------------------------------------------------------------------------------------------


def choose(
    store: DataManager, run: str | RunInfo | None, task: str | None, several: bool = False
) -> list[RunInfo]:
    """The runs that are meant, the oldest first: one, or with ``several`` and a task all runs of it.

    When none is named it is the newest that has something, or else the newest; none when the store has none.

    Raises
    ------
    UsageError
        There is no such run, or none of that task.
    """
    known = runs_of(store)
    if run is not None:
        known = [find_run(known, run.uid if isinstance(run, RunInfo) else run)]
    if task is not None:
        tasks = list(dict.fromkeys(each.task for each in known))
        if task not in tasks:
            raise UnknownName("task", task, tasks)
        known = [each for each in known if each.task == task]
    if several and task is not None:
        return known
    for each in reversed(known):
        counts = store.counts(each.uid)
        if counts.done or counts.failed or counts.retried:
            return [each]
    return known[-1:]


# -- attempts ----------------------------------------------------------------------------------------------


def attempts_of(store: DataManager, run: RunInfo) -> Attempts:
    """Every attempt of a run that reached a process and has ended."""
    done, failed, retried = store.timings(run.uid), Timings(), Timings()
    failed.add_records(store.failures(run.uid))
    retried.add_records(store.retried(run.uid))
    each = (done, failed, retried)

    def joined(name: str, kind: type) -> Any:
        return np.concatenate([np.asarray(getattr(timings, name), dtype=kind) for timings in each])

    starts, seconds = joined("started", np.float64) - run.started, joined("seconds", np.float64)
    status = np.repeat([DONE, FAILED, RETRIED], [len(timings) for timings in each]).astype(np.int64)
    about = (joined("indices", np.int64), joined("processes", np.int64), _sane(starts), _sane(seconds))
    return Attempts(*about, status)


def _timings(attempts: Attempts) -> Timings:
    """Undo that, but for the status."""
    timings = Timings()
    timings.indices.frombytes(attempts.indices.tobytes())
    timings.processes.frombytes(attempts.processes.tobytes())
    timings.started.frombytes(attempts.starts.tobytes())
    timings.seconds.frombytes(attempts.seconds.tobytes())
    return timings


def _sane(times: Floats) -> Floats:
    """What no clock can have measured counts as the nearest time that it can, NaN as zero."""
    found: Floats = np.clip(np.nan_to_num(times, nan=0.0, posinf=_LONGEST, neginf=0.0), 0.0, _LONGEST)
    return found


# -- the course of a run -----------------------------------------------------------------------------------


def course_of(
    store: DataManager,
    run: RunInfo,
    attempts: Attempts,
    name: str,
    *,
    history: bool = False,
    now: float | None = None,
    snapshot: Snapshot | None = None,
) -> Course:
    """How a run has gone, for its figures.

    Parameters
    ----------
    store : DataManager
        Where it is.
    run : RunInfo
        The run.
    attempts : Attempts
        What :func:`attempts_of` says of it.
    name : str
        What the run is called.
    history : bool
        Whether what was estimated when is wanted; else only what is estimated now.
    now : float, optional
        Seconds since the epoch; the present by default.
    snapshot : Snapshot, optional
        What a run that goes on says of itself.
    """
    state = state_of(run)
    final = attempts.status != RETRIED
    ends = np.sort(attempts.ends[final])
    last = float(attempts.ends.max()) if len(attempts) else 0.0
    goes_on = state in ("running", "unknown")
    if run.ended is not None:
        end = max(0.0, run.ended - run.started)
    elif state == "running":
        end = max(0.0, (time.time() if now is None else now) - run.started)
    else:
        end = last
    end = max(end, last)
    failures = np.sort(attempts.ends[attempts.status == FAILED])
    counts = store.counts(run.uid)
    times, ended = _line(ends, counts.done + counts.failed)
    estimates: list[tuple[float, Estimate | None]] = []
    if history or goes_on:
        moments = np.linspace(0.0, end, _MOMENTS + 1).tolist() if history and end > 0.0 else [end]
        estimates = list(zip(moments, _replayed(store, run, attempts, moments), strict=True))
    skipped = _skipped(run, state, attempts.indices[final], counts.done + counts.failed)
    remaining = estimates[-1][1] if goes_on else None
    if snapshot is not None:
        state, skipped, remaining = snapshot.state, snapshot.skipped, ordered(snapshot.remaining)
        estimates[-1] = estimates[-1][0], remaining
    told = Snapshot(state="running" if state == "unknown" else state, elapsed=end, remaining=remaining)
    return Course(
        task=run.task,
        run=name,
        state=state,
        began=run.started,
        now=end,
        total=run.numitems,
        done=counts.done,
        failed=counts.failed,
        skipped=skipped,
        times=times,
        ended=ended,
        failures=_some(failures, _MARKED).tolist(),
        remaining=remaining,
        left=RemainingWords().of(told, run.started + end),
        estimates=estimates,
    )


def _line(ends: Floats, count: int) -> tuple[list[float], list[int]]:
    """When how many had ended: each one of a few, or of many a few hundred at even distances."""
    if len(ends) <= _POINTS:
        return ends.tolist(), list(range(1, len(ends) + 1))
    times = np.linspace(0.0, ends[-1], _POINTS)
    return times.tolist(), np.searchsorted(ends, times, side="right").tolist()


def _some(values: Floats, most: int) -> Floats:
    """At most so many, evenly chosen."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(np.int64)]


def _processes(run: RunInfo) -> int:
    """How many processes a run began with."""
    number = run.provenance.get("processes")
    return number if isinstance(number, int) and number > 0 else 1


def _skipped(run: RunInfo, state: str, indices: Ints, ended: int) -> int:
    """How many items ``resume`` has skipped; of a run that has not come to its end, about so many."""
    if run.numitems is not None and state == "finished":
        return max(0, run.numitems - ended)
    if not len(indices):
        return 0
    holes = int(indices.max()) + 1 - len(np.unique(indices))
    return max(0, holes - _processes(run))


def _replayed(
    store: DataManager, run: RunInfo, attempts: Attempts, moments: Sequence[float]
) -> list[Estimate | None]:
    again = attempts.status == RETRIED
    return replay(
        _timings(attempts.of(~again)),
        _timings(attempts.of(again)),
        began=0.0,
        moments=moments,
        total=run.numitems,
        processes=_processes(run),
        earlier=earlier_runs(store, run),
        outcome=run.outcome,
    )


# -- parameters --------------------------------------------------------------------------------------------


def parameter_of(
    store: DataManager, runs: Sequence[RunInfo], name: str, indices: Sequence[Ints]
) -> tuple[Floats, list[str]]:
    """A parameter of items, as far as it can be read without running any code.

    Parameters
    ----------
    store : DataManager
        Where they are.
    runs : sequence of RunInfo
        Their runs.
    name : str
        Of the parameter, as :meth:`DataManager.to_dataframe` calls it.
    indices : sequence of array of int
        Which items of each run.

    Returns
    -------
    values : array of float
        For each of ``indices``, one run after the other, NaN where there is none. Of texts, the place in ...
    names : list of str
        ... these; empty when the parameter is a number.

    Raises
    ------
    UsageError
        There is no such parameter, or it is of another kind, or the items cannot be read.
    """
    others: dict[str, None] = {}
    unreadable = False
    values: list[Any] = []
    for run, wanted in zip(runs, indices, strict=True):
        found: dict[int, Any] = {}
        for index, arguments in _arguments(store, run):
            if arguments is None:
                unreadable = True
            elif name in arguments:
                found[index] = arguments[name]
            elif len(others) < 100:
                others.update(dict.fromkeys(arguments))
        values += map(found.get, wanted.tolist())
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds and others:
        raise UnknownName("parameter", name, list(others))
    if not kinds and unreadable:
        raise UsageError(
            f"{name!r} cannot be read: the items of {runs[-1].task} are not plain values, and reading them "
            "would run code. Plot over the index, or make a table: store.to_dataframe(records=True)"
        )
    odd = next((kind for kind in kinds if not issubclass(kind, str | bool | int | float)), None)
    if odd is not None:
        raise UsageError(f"{name!r} is a {odd.__name__}; durations are plotted over numbers and texts alone")
    names: list[str] = []
    if any(issubclass(kind, str | bool) for kind in kinds):
        names = sorted({str(value) for value in values if value is not None})
        places = {text: place for place, text in enumerate(names)}
        values = [None if value is None else places[str(value)] for value in values]
    return np.array(list(map(_float, values)), dtype=np.float64), names


def _float(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.nan


def _arguments(store: DataManager, run: RunInfo) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """By index the arguments of each item; None for those that are not plain."""
    first = run.parameters[0] if run.parameters else "arg0"
    for block in store.blocks(run.uid):
        items = None if block.payload is None else plain_items(block.payload)
        if items is None:
            for index in block.indices:
                yield index, None
        else:
            for index, item in zip(block.indices, items, strict=True):
                if type(item) in (int, float, str):
                    yield index, {first: item}
                else:
                    yield index, arguments_of(item, run.parameters)
