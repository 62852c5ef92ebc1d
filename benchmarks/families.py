"""The runs on which estimates of the time remaining are judged: made up here, by seeds, or recorded.

Each belongs to one of two parts: ``tune``, on which the estimator may be tuned, and ``report``, on which it is
only judged: other distributions, other sizes, other seeds.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

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
    retries: int = 3
    sleeps: tuple[float, float] | None = None  # at which part of the run, for how many seconds
    seed: int = 1


# -- how long items take -----------------------------------------------------------------------------

Draw = Callable[
    [random.Random, float, int], float
]  # an item's place, from 0 to 1, and its index; its seconds


def lognormal(sigma: float) -> Draw:
    """Of mean one."""
    return lambda source, place, index: source.lognormvariate(-sigma * sigma / 2, sigma)


def kinds(*shares: tuple[float, float], spread: float = 0.2) -> Draw:
    """Items of several kinds: how large a share each has, and its seconds."""
    weights, seconds = zip(*shares, strict=True)

    def draw(source: random.Random, place: float, index: int) -> float:
        return source.choices(seconds, weights)[0] * source.uniform(1 - spread, 1 + spread)

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
SEEDS = {"tune": (1, 2), "report": (101, 102)}


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
                    yield Trace(label, group, split, processes, drawn, seed=seed)


def all_traces(split: str, seeds: int | None = None) -> Iterator[Trace]:
    """All traces of one part; synthetic ones with the first of the seeds alone, if so few are wanted."""
    for trace in made(split):
        if seeds is None or trace.seed in SEEDS[split][:seeds]:
            yield trace
