"""The scheduler with thousands of processes and millions of items, in virtual time.

Without arguments some standard scenarios are played, which takes less than a minute; with arguments one of
your own: ``python benchmarks/simulate.py --processes 500 --items 100000 --family bimodal --deaths 0.001``.

``farmhand.scheduler.Scheduler`` makes every decision of the farm and does nothing else: events go in,
commands come out, and it does not know what time it is. So this program needs no process and no waiting to
see what it would do on a thousand CPUs: all that is around it is in ``virtual.py``, which is also an example
of how the scheduler is driven.

The makespan, the virtual time until the last item has ended, is compared with what no scheduler could beat:
the time that a process takes to start, and then either all work (wasted attempts, too) shared equally among
all processes, or the longest attempt, whichever is longer. Where a process has only a few items and some of
these are much longer than others, nobody who does not know which would come near it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from virtual import Agenda, Farm, Ledger, Misfortune, Process, World

from farmhand.scheduler import Scheduler

__all__ = ["Agenda", "Ledger", "Misfortune", "Process", "World", "simulate"]  # the tests look at each part

DRAWN = 1 << 16  # durations that are drawn; further items take the same again, so that memory stays flat
MOST_PROCESSES = 100_000
MOST_ITEMS = 100_000_000  # the ledger needs a byte for each


@dataclass(frozen=True)
class Scenario:
    """What is simulated. Rates are probabilities for each attempt at an item."""

    processes: int = 100
    items: int = 10_000
    family: str = "lognormal"
    mean: float | None = None  # seconds that an item takes; None for what is usual in the family
    recorded: tuple[float, ...] = ()  # durations to take in turn, instead of a family
    start: float = 0.1  # seconds until a process is ready
    latency: float = 0.0005  # seconds that a message takes
    deaths: float = 0.0
    timeouts: float = 0.0
    failures: float = 0.0
    retries: int = 3
    backoff: float = 0.1
    seed: int = 1


STANDARD = (
    Scenario(processes=8, items=20_000, family="lognormal", mean=0.05),
    Scenario(processes=64, items=50_000, family="bimodal", failures=0.01),
    Scenario(processes=500, items=100_000, family="trend", mean=0.01),
    Scenario(processes=500, items=50_000, family="exponential", deaths=0.002, timeouts=0.001, failures=0.01),
    Scenario(processes=2_000, items=200_000, family="exponential", deaths=0.002),
    Scenario(processes=2_000, items=2_000_000, family="tiny"),
)


# -- how long items take -----------------------------------------------------------------------------


# Each draws durations whose mean is one. In the family "trend" the index decides as well.
FAMILIES: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda source: 1.0,
    "exponential": lambda source: source.expovariate(1.0),
    "lognormal": lambda source: source.lognormvariate(-0.5, 1.0),
    "bimodal": lambda source: 0.5 if source.random() < 0.9 else 5.5,
    "trend": lambda source: source.uniform(0.9, 1.1),
    "tiny": lambda source: source.uniform(0.5, 1.5),
}
USUAL_MEAN = dict.fromkeys(FAMILIES, 1.0) | {"tiny": 10e-6}  # seconds


class Durations:
    """How long each item takes: the same at each attempt, whichever process runs it."""

    def __init__(self, scenario: Scenario) -> None:
        self._drawn = list(scenario.recorded) or self._draw(scenario)
        self._slope = 1.8 / scenario.items if scenario.family == "trend" and not scenario.recorded else 0.0
        self.longest = max(self._drawn) * (1.9 if self._slope else 1.0)

    @staticmethod
    def _draw(scenario: Scenario) -> list[float]:
        source = random.Random(scenario.seed)
        mean = USUAL_MEAN[scenario.family] if scenario.mean is None else scenario.mean
        draw = FAMILIES[scenario.family]
        return [mean * draw(source) for _ in range(min(scenario.items, DRAWN))]

    def __call__(self, index: int) -> float:
        seconds = self._drawn[index % len(self._drawn)]
        if self._slope:  # from a tenth of the mean to almost twice as much
            seconds *= 0.1 + self._slope * index
        return seconds


# -- what came of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario; the same whenever it is played, but for what it cost."""

    scenario: Scenario
    done: int
    failed: int
    abandoned: int
    deaths: int  # attempts that ended so, as the next two
    timeouts: int
    failures: int
    retried: int  # attempts after which the item was tried again
    makespan: float  # seconds of virtual time
    bound: float  # no scheduler could be faster
    events: int
    commands: int
    scheduler_seconds: float = field(compare=False)  # of real time
    wall_seconds: float = field(compare=False)

    @property
    def efficiency(self) -> float:
        """The part of the makespan that could not be avoided."""
        return self.bound / self.makespan if self.makespan else 1.0

    @property
    def load(self) -> float:
        """The part of the makespan for which a real scheduler would be busy."""
        return self.scheduler_seconds / self.makespan if self.makespan else math.inf


def simulate(scenario: Scenario) -> Outcome:
    """Play a scenario; raises when the scheduler breaks a promise."""
    began = time.perf_counter()
    scheduler = Scheduler(
        scenario.processes, scenario.items, retries=scenario.retries, backoff=scenario.backoff
    )
    farm = Farm(
        scheduler,
        scenario.items,
        Durations(scenario),
        Misfortune(scenario),
        start=scenario.start,
        latency=scenario.latency,
    )
    farm.run()
    world, ledger = farm.world, farm.ledger
    if farm.scheduler.error is not None:
        raise farm.scheduler.error
    return Outcome(
        scenario=scenario,
        done=ledger.done,
        failed=ledger.failed,
        abandoned=farm.scheduler.abandoned,
        deaths=ledger.attempts["died"],
        timeouts=ledger.attempts["timeout"],
        failures=ledger.attempts["raised"],
        retried=ledger.retried,
        makespan=ledger.last_end,
        bound=scenario.start + max(world.work / scenario.processes, world.longest),
        events=farm.events,
        commands=farm.commands,
        scheduler_seconds=farm.cost,
        wall_seconds=time.perf_counter() - began,
    )


# -- for people --------------------------------------------------------------------------------------


Columns = Sequence[tuple[str, int, Callable[[Outcome], str]]]  # heading, width, what stands below

WHICH: Columns = (
    ("processes", 9, lambda outcome: f"{outcome.scenario.processes:,}"),
    ("items", 10, lambda outcome: f"{outcome.scenario.items:,}"),
    ("family", 11, lambda outcome: "recorded" if outcome.scenario.recorded else outcome.scenario.family),
)
EVENTFUL: Columns = (
    *WHICH,
    ("deaths", 6, lambda outcome: f"{outcome.deaths:,}"),
    ("timeouts", 8, lambda outcome: f"{outcome.timeouts:,}"),
    ("failed", 6, lambda outcome: f"{outcome.failed:,}"),
    ("retried", 7, lambda outcome: f"{outcome.retried:,}"),
    ("makespan", 11, lambda outcome: f"{outcome.makespan:,.3f} s"),
    ("bound", 11, lambda outcome: f"{outcome.bound:,.3f} s"),
    ("efficiency", 10, lambda outcome: f"{outcome.efficiency:.1%}"),
)
COSTLY: Columns = (
    *WHICH,
    ("events", 9, lambda outcome: f"{outcome.events:,}"),
    ("commands", 9, lambda outcome: f"{outcome.commands:,}"),
    ("per item", 9, lambda outcome: f"{1e6 * outcome.scheduler_seconds / outcome.scenario.items:.2f} µs"),
    ("per event", 9, lambda outcome: f"{1e6 * outcome.scheduler_seconds / outcome.events:.1f} µs"),
    ("load", 7, lambda outcome: f"{outcome.load:.0%}" if outcome.load >= 0.1 else f"{outcome.load:.1%}"),
    ("wall time", 9, lambda outcome: f"{outcome.wall_seconds:.1f} s"),
)
ABOUT_EVENTS = """\
deaths, timeouts, retried: attempts; failed: items. makespan: virtual time until the last item has ended;
bound: no scheduler could be faster; efficiency: the second by the first."""
ABOUT_COSTS = """\
per item, per event: real time in the scheduler; load: all of it as a part of the makespan, so that with more
than 100% the scheduler is what a real run would wait for; wall time: of the simulation."""


def heading(columns: Columns) -> str:
    """The first line of a table."""
    return "  ".join(name.rjust(width) for name, width, _ in columns)


def line(columns: Columns, outcome: Outcome) -> str:
    """Another line of it."""
    return "  ".join(cell(outcome).rjust(width) for _, width, cell in columns)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All numbers, but for recorded durations, which the user has."""
    numbers = asdict(outcome) | {"efficiency": outcome.efficiency}
    numbers["scenario"]["recorded"] = len(outcome.scenario.recorded)
    return numbers


def main() -> None:
    """Play what was asked for, and say what came of each scenario as soon as it has ended."""
    scenarios, path = read_arguments()
    print(heading(EVENTFUL), flush=True)
    outcomes = []
    for scenario in scenarios:
        outcomes.append(simulate(scenario))
        print(line(EVENTFUL, outcomes[-1]), flush=True)
    print(ABOUT_EVENTS, "", heading(COSTLY), sep="\n")
    for outcome in outcomes:
        print(line(COSTLY, outcome))
    print(ABOUT_COSTS)
    if path is not None:
        path.write_text(json.dumps([as_json(outcome) for outcome in outcomes], indent=1) + "\n")


def read_arguments() -> tuple[Sequence[Scenario], Path | None]:
    """The scenarios to play, and where to keep the numbers; ends the program at a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    own = parser.add_argument_group("one scenario of your own")
    own.add_argument("--processes", type=whole(1, MOST_PROCESSES), metavar="N")
    own.add_argument("--items", type=whole(1, MOST_ITEMS), metavar="N")
    durations = own.add_mutually_exclusive_group()
    durations.add_argument("--family", choices=FAMILIES, help="of the items' durations")
    durations.add_argument(
        "--recorded", type=recorded, metavar="FILE", help="durations instead: seconds, a number in each line"
    )
    own.add_argument("--mean", type=number(0.0), metavar="S", help="mean duration (1; tiny: 0.00001)")
    own.add_argument("--start", type=number(0.0), metavar="S", help="until a process is ready (0.1)")
    own.add_argument("--latency", type=number(0.0), metavar="S", help="of each message (0.0005)")
    own.add_argument("--deaths", type=number(0.0, 1.0), metavar="RATE", help="of attempts that kill (0)")
    own.add_argument("--timeouts", type=number(0.0, 1.0), metavar="RATE", help="of those that hang (0)")
    own.add_argument("--failures", type=number(0.0, 1.0), metavar="RATE", help="of those that raise (0)")
    own.add_argument("--retries", type=whole(0, 1000), metavar="N", help="of an item that failed (3)")
    own.add_argument("--backoff", type=number(0.0), metavar="S", help="before the first of these (0.1)")
    parser.add_argument("--seed", type=whole(0, 2**64), default=1, metavar="N", help="of all chance (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    path, seed = given.pop("json", None), given["seed"]
    if path is not None:
        try:
            path.open("a").close()  # not only when all has been played
        except OSError as error:
            parser.error(f"argument --json: {error}")
    if "mean" in given and "recorded" in given:
        parser.error("argument --mean: not allowed with argument --recorded")
    if sum(given.get(name, 0.0) for name in ("deaths", "timeouts", "failures")) > 1.0:
        parser.error("--deaths, --timeouts and --failures together are more than all attempts")
    if given.keys() == {"seed"}:
        return [Scenario(**{**vars(scenario), "seed": seed}) for scenario in STANDARD], path
    return [Scenario(**given)], path


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number between these, as argparse wants it."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return convert


def number(least: float, most: float = 1e6) -> Callable[[str], float]:
    """A number between these, as argparse wants it."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return convert


def recorded(text: str) -> tuple[float, ...]:
    """The durations in a file."""
    try:
        lines = Path(text).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error}") from None
    if not lines:
        raise argparse.ArgumentTypeError(f"{text} is empty")
    try:
        return tuple(map(number(0.0), lines))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
