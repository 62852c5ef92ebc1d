"""The runs on which estimates of the time remaining are judged: made up here, by seeds, or recorded.

Each belongs to one of two parts: ``tune``, on which the estimator may be tuned, and ``report``, on which it
is only judged: other distributions, other sizes, other seeds.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

RECORDED = Path(__file__).parent / "traces"
SPLITS = ("tune", "report")


class BadTrace(ValueError):
    """A file that holds no trace; the text names it."""


@dataclass(frozen=True)
class Course:
    """What a running item reports: at which fraction of its duration which fraction as complete."""

    at: tuple[float, ...]
    complete: tuple[float, ...]

    def __call__(self, part: float) -> float:
        """What it says when so much of its time is over."""
        points = zip(self.at, self.complete, strict=True)
        x0, y0 = 0.0, 0.0
        for x1, y1 in points:
            if part <= x1:
                return y0 + (y1 - y0) * (part - x0) / (x1 - x0) if x1 > x0 else y1
            x0, y0 = x1, y1
        return y0


@dataclass(frozen=True)
class Trace:
    """One run: how long each item takes, and what else happens."""

    name: str
    group: str
    split: str
    processes: int
    seconds: tuple[float, ...]  # by the item's index, those that are skipped included
    start: float = 0.1  # seconds until a process is ready
    start_up: float = 0.0  # seconds that the first item of each process takes longer
    overhead: float = 0.0  # seconds between two items of a process, its share of what the farm costs
    course: Course | None = None  # None where items do not report
    skipped: frozenset[int] = frozenset()  # indices that an earlier run has done
    earlier: Mapping[int, float] | None = None  # seconds in earlier runs, by index, where they are known
    resizes: tuple[tuple[float, int], ...] = ()  # at which part of the run, to how many processes
    failures: float = 0.0  # of attempts that raise at their end
    deaths: float = 0.0  # of attempts in which the process dies
    retried: tuple[tuple[int, float], ...] = ()  # attempts that raised before: the item, and their seconds
    retries: int = 3
    sleeps: tuple[float, float] | None = None  # at which part of the run, for how many seconds
    seed: int = 1
    family: str = ""  # of which its durations were drawn, where nothing was changed afterwards


# -- how long items take -----------------------------------------------------------------------------

Draw = Callable[
    [random.Random, float, int], float
]  # an item's place, from 0 to 1, and its index; its seconds


def lognormal(sigma: float) -> Draw:
    """Of mean one."""
    return lambda source, place, index: source.lognormvariate(-sigma * sigma / 2, sigma)


def kinds(*shares: tuple[float, float], spread: float = 0.2) -> Draw:
    """Items of several kinds: how large a share each has, and its seconds."""
    weights = [share for share, _ in shares]

    def draw(source: random.Random, place: float, index: int) -> float:
        _, seconds = source.choices(shares, weights)[0]
        return seconds * source.uniform(1 - spread, 1 + spread)

    return draw


def trend(shape: Callable[[float], float], noise: float = 0.05) -> Draw:
    """Items whose seconds follow from their place; each is off by a random factor."""
    return lambda source, place, index: shape(place) * source.lognormvariate(-noise * noise / 2, noise)


def blocks(*shares: tuple[float, float]) -> Draw:
    """Kinds one after the other: nothing in one block tells how long the next one takes."""

    def draw(source: random.Random, place: float, index: int) -> float:
        for share, seconds in shares:
            if place < share:
                return seconds * source.uniform(0.8, 1.2)
            place -= share
        return shares[-1][1]

    return draw


def up(place: float) -> float:
    """From a tenth of the mean to almost twice as much."""
    return 0.1 + 1.8 * place


Families = Mapping[str, Mapping[str, Draw]]  # by group, by name

TUNE: Families = {
    "uniform": {
        "uniform": lambda source, place, index: source.uniform(0.5, 1.5),
        "constant": lambda source, place, index: source.gauss(1.0, 0.05),
    },
    "heavy-tailed": {
        "exponential": lambda source, place, index: source.expovariate(1.0),
        "lognormal 1": lognormal(1.0),
        "lognormal 1.5": lognormal(1.5),
        "pareto 1.5": lambda source, place, index: source.paretovariate(1.5) / 3,
    },
    "mixed": {
        "two kinds": kinds((0.9, 0.5), (0.1, 5.0)),
        "three kinds": kinds((0.6, 0.3), (0.3, 1.0), (0.1, 5.0)),
    },
    "trended": {
        "linear": trend(up),
        "quadratic": trend(lambda place: 0.1 + 2.7 * place**2),
        "growth": trend(lambda place: 0.15 * 20.0**place),
        "down": trend(lambda place: up(1 - place)),
        "linear, noisy": trend(up, noise=0.5),
    },
    "blocks": {"short, then long": blocks((0.5, 0.3), (0.5, 2.0))},
}
REPORT: Families = {
    "uniform": {
        "triangular": lambda source, place, index: source.triangular(0.4, 1.8, 0.8),
        "normal": lambda source, place, index: max(0.1, source.gauss(1.0, 0.2)),
    },
    "heavy-tailed": {
        "gamma 0.5": lambda source, place, index: source.gammavariate(0.5, 2.0),
        "weibull 0.6": lambda source, place, index: source.weibullvariate(0.66, 0.6),
        "log-uniform": lambda source, place, index: 10.0 ** source.uniform(-1.5, 0.7),
        "pareto 1.8": lambda source, place, index: source.paretovariate(1.8) / 2.2,
    },
    "mixed": {
        "four kinds": kinds((0.4, 0.2), (0.3, 0.7), (0.2, 1.5), (0.1, 4.0)),
        "rare long ones": kinds((0.96, 0.5), (0.04, 12.0), spread=0.1),
        "periodic": lambda source, place, index: (0.2, 0.4, 1.0, 3.0)[index % 4] * source.uniform(0.9, 1.1),
    },
    "trended": {
        "square root": trend(lambda place: 0.1 + 1.4 * math.sqrt(place)),
        "power 1.5": trend(lambda place: 0.1 + 2.2 * place**1.5, noise=0.2),
        "decay": trend(lambda place: 2.5 * 0.1**place),
        "square root, noisy": trend(lambda place: 0.1 + 1.4 * math.sqrt(place), noise=0.7),
    },
    "blocks": {"long, then short": blocks((0.3, 2.5), (0.7, 0.4))},
}
SIZES = {"tune": ((4, 60), (8, 200), (16, 1000)), "report": ((3, 80), (6, 150), (12, 700))}
SEEDS = {"tune": (1, 2, 3), "report": (101, 102, 103, 104)}
FEWER = 2  # of the seeds, for runs in which more happens


DRAWS: Mapping[str, Draw] = {
    name: draw for part in (TUNE, REPORT) for members in part.values() for name, draw in members.items()
}


def seconds(draw: Draw, count: int, seed: object) -> tuple[float, ...]:
    """The durations of so many items."""
    source = random.Random(str(seed))
    return tuple(max(1e-6, draw(source, index / max(1, count - 1), index)) for index in range(count))


def made(split: str) -> Iterator[Trace]:
    """All synthetic traces of one part."""
    families = TUNE if split == "tune" else REPORT
    for group, members in families.items():
        for name, draw in members.items():
            for processes, count in SIZES[split]:
                for seed in SEEDS[split]:
                    drawn = seconds(draw, count, f"{name} {count} {seed}")
                    label = f"{name}, {count} in {processes}, {seed}"
                    yield Trace(label, group, split, processes, drawn, seed=seed, family=name)


# -- what else happens in a run ----------------------------------------------------------------------


def eventful(split: str) -> Iterator[Trace]:
    """Runs in which more happens than that items take their time."""
    tune = split == "tune"
    even, tailed, rising, mixed = (
        ("uniform", "lognormal 1", "linear", "two kinds")
        if tune
        else ("triangular", "gamma 0.5", "power 1.5", "four kinds")
    )
    for seed in SEEDS[split][:FEWER]:
        for name, change in _changes(split, even, tailed, rising, mixed):
            base, _, what = name.partition(", ")
            for processes, count in SIZES[split][:2]:
                group = what.partition(":")[0]
                drawn = seconds(DRAWS[base], count, f"{base} {count} {seed} {group}")
                label = f"{name}, {count} in {processes}, {seed}"
                yield change(Trace(label, group, split, processes, drawn, seed=seed, family=base))
        for processes, mean in ((2, 20e-6), (4, 200e-6), (8, 1e-3)) if tune else ((2, 40e-6), (6, 500e-6)):
            draw = lognormal(0.5) if tune else DRAWS[even]
            drawn = tuple(mean * each for each in seconds(draw, MANY, f"tiny {seed}"))
            label = f"{1e6 * mean:g} µs, {MANY} in {processes}, {seed}"
            yield Trace(label, "tiny", split, processes, drawn, overhead=OVERHEAD, seed=seed)


Change = Callable[[Trace], Trace]
MANY = 100_000  # tiny items
OVERHEAD = 5e-6  # seconds; what a tiny item costs the farm, for each process


def _changes(split: str, even: str, tailed: str, rising: str, mixed: str) -> Iterator[tuple[str, Change]]:
    """The items' family, what happens (the group, after a colon more exactly), and how it is done."""
    tune = split == "tune"
    for base in (even, tailed):
        yield f"{base}, start-up", partial(replace, start_up=2.0 if tune else 4.0)
    for base in (even, tailed, rising):
        for scattered in (True, False):
            for known in (True, False):
                which = "scattered" if scattered else "the first"
                durations = "known" if known else "unknown"
                part = 0.5 if tune else 0.3 if scattered else 0.6
                yield f"{base}, resumed: {which}, {durations}", partial(_resumed, part, scattered, known)
    for base in (even, tailed, rising):
        for factor in (1.0, 1.3) if tune else (0.8, 1.1):
            yield f"{base}, ran before: in {1 / factor:.2g} of the time", partial(_ran_before, factor)
    yield f"{tailed}, misled: by a run of other items", partial(_ran_before, 3.0 if tune else 0.25)
    for place in (0.4, 1.0) if tune else (0.2, 0.8):
        yield f"{even}, straggler: at {place:g}", partial(_straggler, place, 30.0 if tune else 50.0)
    for base in (tailed, mixed):
        for bend in (1.0, 1.3) if tune else (0.8, 1.2):
            yield f"{base}, reporting: bent by {bend:g}", partial(replace, course=bent(bend))
    for base in (even, tailed):
        for part, factor in ((0.25, 2.0), (0.25, 0.5)) if tune else ((0.2, 1.5), (0.35, 0.34)):
            yield f"{base}, resized: by {factor:g}", partial(_resized, part, factor)
    for base in (even, tailed):
        yield f"{base}, retried: failures", partial(replace, failures=0.2 if tune else 0.1, family="")
        yield f"{base}, retried: deaths", partial(replace, deaths=0.05 if tune else 0.1, family="")
    for base in (even, tailed):
        yield f"{base}, slept", partial(_slept, 0.4 if tune else 0.2, 1.0 if tune else 4.0)


def bent(power: float) -> Course:
    """Reports of items whose pace is not even: slow at first where the power is above one."""
    places = tuple(place / 10 for place in range(1, 11))
    return Course(places, tuple(place**power for place in places))


def _resumed(part: float, scattered: bool, known: bool, trace: Trace) -> Trace:
    count = len(trace.seconds)
    size = int(part * count)
    source = random.Random(f"resumed {trace.seed}")
    skipped = frozenset(source.sample(range(count), size) if scattered else range(size))
    earlier = {index: trace.seconds[index] for index in sorted(skipped)} if known else None
    return replace(trace, skipped=skipped, earlier=earlier)


def _ran_before(factor: float, trace: Trace) -> Trace:
    """The run before had so many times the speed."""
    source = random.Random(f"earlier {trace.seed}")
    earlier = {
        index: each / factor * source.lognormvariate(0.0, 0.1) for index, each in enumerate(trace.seconds)
    }
    return replace(trace, earlier=earlier)


def _straggler(place: float, times: float, trace: Trace) -> Trace:
    changed = list(trace.seconds)
    changed[min(len(changed) - 1, int(place * len(changed)))] = times
    return replace(trace, seconds=tuple(changed), family="")


def _resized(part: float, factor: float, trace: Trace) -> Trace:
    return replace(trace, resizes=((part, max(1, round(factor * trace.processes))),))


def _slept(part: float, times: float, trace: Trace) -> Trace:
    return replace(trace, sleeps=(part, times * sum(trace.seconds) / trace.processes))


# -- recorded ----------------------------------------------------------------------------------------

SLOW_FIRST = 2.0  # times the median: when all of the first items took so long, something was made ready
AT_LEAST = 8  # processes: each recorded trace is also replayed with so many


def recorded(split: str, folder: Path = RECORDED) -> Iterator[Trace]:
    """Real runs, with as many processes as they had, and with more."""
    for path in sorted(folder.glob("*.json")):
        trace, first = read(path)
        if trace.split != split:
            continue
        yield trace
        if trace.processes < AT_LEAST:
            yield _with_processes(trace, first, AT_LEAST)


def read(path: Path) -> tuple[Trace, tuple[int, ...]]:
    """A recorded trace, and which items were the first of their process.

    Raises
    ------
    BadTrace
        The file holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        seconds = tuple(float(each) for each in found["seconds"])
        first = tuple(int(each) for each in found["first"])
        retried = tuple((int(index), float(took)) for index, took in found.get("retried", ()))
        course = found.get("fractions")
        trace = Trace(
            name=f"{found['name']}, {found['processes']} processes",
            group=f"recorded: {found['group']}",
            split=found["split"],
            processes=int(found["processes"]),
            seconds=seconds,
            retried=retried,
            retries=max(Counter(index for index, _ in retried).values(), default=0),
            course=None if course is None else Course(tuple(course["at"]), tuple(course["complete"])),
        )
    except (OSError, UnicodeDecodeError) as error:
        raise BadTrace(f"{path} cannot be read: {error}") from None
    except KeyError as error:
        raise BadTrace(f"{path}: {error.args[0]!r} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadTrace(f"{path} is no trace: {error}") from None
    if trace.split not in SPLITS:
        raise BadTrace(f"{path}: 'split' is {trace.split!r}, and not one of: {', '.join(SPLITS)}")
    if trace.processes < 1:
        raise BadTrace(f"{path}: 'processes' is {trace.processes}")
    if len(seconds) < 2 or not all(0.0 <= each < math.inf for each in seconds) or not sum(seconds):
        raise BadTrace(f"{path}: 'seconds' must be at least two durations, none negative, not all zero")
    if not all(0 <= index < len(seconds) for index in first) or len(set(first)) >= len(seconds):
        raise BadTrace(f"{path}: 'first' names items that there are not")
    if not all(0 <= index < len(seconds) and 0.0 <= took < math.inf for index, took in retried):
        raise BadTrace(f"{path}: 'retried' must be pairs of an item that there is, and seconds")
    if trace.course is not None:
        points = (*trace.course.at, *trace.course.complete)
        rising = list(trace.course.at) == sorted(trace.course.at)
        same = len(trace.course.at) == len(trace.course.complete)
        if not (rising and same and all(0.0 <= each <= 1.0 for each in points)):
            raise BadTrace(
                f"{path}: 'fractions' must be as many of 'complete' as of 'at', rising, from 0 to 1"
            )
    return trace, first


def _with_processes(trace: Trace, first: Sequence[int], processes: int) -> Trace:
    """The same items in more processes: what the first ones took longer, those take that are first now."""
    seconds = list(trace.seconds)
    usual = median(each for index, each in enumerate(seconds) if index not in first)
    start_up = 0.0
    if first and min(seconds[index] for index in first) > SLOW_FIRST * usual:
        start_up = min(seconds[index] for index in first) - usual
        for index in first:
            seconds[index] -= start_up
    name = f"{trace.name.rpartition(', ')[0]}, {processes} processes"
    return replace(trace, name=name, processes=processes, seconds=tuple(seconds), start_up=start_up)


def all_traces(split: str, *, few: bool = False) -> Iterator[Trace]:
    """All traces of one part; of those that are made up a ``few`` are those of the first seed."""
    for trace in (*made(split), *eventful(split)):
        if not few or trace.seed == SEEDS[split][0]:
            yield trace
    yield from recorded(split)
