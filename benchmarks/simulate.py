"""The scheduler with thousands of processes and millions of items, in virtual time.

Without arguments some standard scenarios are played, which takes less than a minute; with ``--cluster`` those
of docs/cluster-numbers.md, up to ten million items in ten thousand processes that are far away, which takes
some ten minutes, and with ``--docs`` their table is written into that page; with others one of your own:
``python benchmarks/simulate.py --processes 500 --items 100000 --family bimodal --deaths 0.001``.

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
import gc
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tables import put_between
from virtual import GATHER, Agenda, Farm, Ledger, Misfortune, Process, Traffic, World

from farmhand.scheduler import Scheduler

__all__ = [
    "Agenda",
    "Ledger",
    "Misfortune",
    "Process",
    "Traffic",
    "World",
    "simulate",
]  # the tests look at each part

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
    gather: float = GATHER  # seconds for which a process keeps results, to send them together
    slots: int = 1  # processes of one computer
    item_size: int = 20  # bytes
    result_size: int = 20
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


SLOTS = 50  # processes of one computer of a cluster
SIZE = 100  # bytes of an item, or of a tiny one's result; other results have ten times as many
LATENCIES = (0.001, 0.005, 0.02, 0.05)  # seconds of a message
DEPTHS = {1.0: 50, 0.1: 100, 0.01: 1_000}  # by the items' mean duration in seconds, how many for each process
TEN_MILLION = 10_000_000
SPOKEN_A_SECOND, MOST_GATHER = 8_000, 0.2  # by which farmhand-dask lets many processes gather for longer


def gather_of(processes: int) -> float:
    """Seconds for which each of so many processes keeps results, as farmhand-dask says it."""
    return max(GATHER, min(MOST_GATHER, processes / SPOKEN_A_SECOND))


def _cluster() -> tuple[Scenario, ...]:
    about: Any = {"slots": SLOTS, "item_size": SIZE, "gather": gather_of(1_000)}
    many: Any = {"latency": 0.02, "gather": gather_of(10_000)}
    usual: Any = {**about, "result_size": 10 * SIZE, "family": "uniform"}
    tiny: Any = {**about, "result_size": SIZE, "family": "tiny"}
    return (
        *(
            Scenario(1_000, 1_000 * depth, mean=mean, latency=latency, **usual)
            for mean, depth in DEPTHS.items()
            for latency in LATENCIES
        ),
        *(Scenario(1_000, TEN_MILLION, latency=latency, **tiny) for latency in LATENCIES),
        *(Scenario(10_000, 10_000 * DEPTHS[mean], mean=mean, **{**usual, **many}) for mean in DEPTHS),
        Scenario(10_000, TEN_MILLION, **{**tiny, **many}),
    )


CLUSTER = _cluster()
PAGE = Path(__file__).parents[1] / "docs" / "cluster-numbers.md"
BEGIN, END = "<!-- written by benchmarks/simulate.py --docs -->", "<!-- end of what it wrote -->"


# -- how long items take -----------------------------------------------------------------------------


# Each draws durations whose mean is one. In the family "trend" the index decides as well.
FAMILIES: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda source: 1.0,
    "exponential": lambda source: source.expovariate(1.0),
    "lognormal": lambda source: source.lognormvariate(-0.5, 1.0),
    "bimodal": lambda source: 0.5 if source.random() < 0.9 else 5.5,
    "trend": lambda source: source.uniform(0.9, 1.1),
    "uniform": lambda source: source.uniform(0.5, 1.5),
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
    messages_in: int  # that reach the farm, as the next two
    bytes_in: int
    messages_out: int  # that leave it
    bytes_out: int
    in_hand: int  # items that processes hold when half of all have been read
    memory: int = field(compare=False)  # bytes of the scheduler then
    scheduler_seconds: float = field(compare=False)  # of CPU time
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
        gather=scenario.gather,
        slots=scenario.slots,
        item_size=scenario.item_size,
        result_size=scenario.result_size,
    )
    gc.collect()
    gc.disable()  # what there is of this program would count as the scheduler's
    try:
        farm.run()
    finally:
        gc.enable()
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
        messages_in=farm.received.messages,
        bytes_in=farm.received.bytes,
        messages_out=farm.sent.messages,
        bytes_out=farm.sent.bytes,
        in_hand=farm.in_hand,
        memory=farm.memory,
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
CLUSTER_COLUMNS: Columns = (
    ("processes", 9, lambda outcome: f"{outcome.scenario.processes:,}"),
    ("items", 10, lambda outcome: f"{outcome.scenario.items:,}"),
    ("of", 7, lambda outcome: length(outcome.scenario)),
    ("message", 7, lambda outcome: f"{1e3 * outcome.scenario.latency:g} ms"),
    ("gathered", 8, lambda outcome: f"{1e3 * outcome.scenario.gather:g} ms"),
    ("used", 7, lambda outcome: f"{outcome.efficiency:.1%}"),
    ("items/s", 10, lambda outcome: f"{round(outcome.scenario.items / outcome.makespan, -2):,.0f}"),
    (
        "messages/s",
        10,
        lambda outcome: f"{(outcome.messages_in + outcome.messages_out) / outcome.makespan:,.0f}",
    ),
    ("MB/s in", 8, lambda outcome: f"{1e-6 * outcome.bytes_in / outcome.makespan:,.1f}"),
    ("MB/s out", 8, lambda outcome: f"{1e-6 * outcome.bytes_out / outcome.makespan:,.1f}"),
    ("per item", 8, lambda outcome: f"{1e6 * outcome.scheduler_seconds / outcome.scenario.items:.2f} µs"),
    ("load", 7, lambda outcome: f"{outcome.load:.0%}" if outcome.load >= 0.1 else f"{outcome.load:.1%}"),
    ("in hand", 9, lambda outcome: f"{outcome.in_hand:,}"),
    ("memory", 8, lambda outcome: f"{1e-6 * outcome.memory:.1f} MB"),
)
ABOUT_EVENTS = """\
deaths, timeouts, retried: attempts; failed: items. makespan: virtual time until the last item has ended;
bound: no scheduler could be faster; efficiency: the second by the first."""
ABOUT_COSTS = """\
per item, per event: real time in the scheduler; load: all of it as a part of the makespan, so that with more
than 100% the scheduler is what a real run would wait for; wall time: of the simulation."""


ABOUT_CLUSTER = """\
message: how long one is on its way; gathered: for how long a process keeps results, to send them together;
used: the part of the makespan that could not be avoided; MB/s: at the caller; per item: CPU time in the
scheduler; load: all of it as a part of the makespan; in hand, memory: items that processes hold, and what the
scheduler has, when half of the items have been read."""


def length(scenario: Scenario) -> str:
    """How long items take, in words."""
    mean = USUAL_MEAN[scenario.family] if scenario.mean is None else scenario.mean
    return f"{mean:g} s" if mean >= 1 else f"{1e3 * mean:g} ms" if mean >= 1e-3 else f"{1e6 * mean:g} µs"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table of docs/cluster-numbers.md."""
    names = [name for name, _, _ in CLUSTER_COLUMNS]
    rows = [names, ["---:"] * len(names)]
    rows += [[cell(outcome) for _, _, cell in CLUSTER_COLUMNS] for outcome in outcomes]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


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
    scenarios, path, for_docs = read_arguments()
    columns, about = (CLUSTER_COLUMNS, ABOUT_CLUSTER) if scenarios is CLUSTER else (EVENTFUL, ABOUT_EVENTS)
    print(heading(columns), flush=True)
    outcomes = []
    for scenario in scenarios:
        outcomes.append(simulate(scenario))
        print(line(columns, outcomes[-1]), flush=True)
    print(about, "", heading(COSTLY), sep="\n")
    for outcome in outcomes:
        print(line(COSTLY, outcome))
    print(ABOUT_COSTS)
    if path is not None:
        path.write_text(json.dumps([as_json(outcome) for outcome in outcomes], indent=1) + "\n")
    if for_docs:
        put_between(PAGE, BEGIN, END, markdown(outcomes))


def read_arguments() -> tuple[Sequence[Scenario], Path | None, bool]:
    """What to play, where to keep the numbers, whether it is for the page; ends the program at a mistake."""
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
    own.add_argument("--gather", type=number(0.0), metavar="S", help="for which results are kept (0.02)")
    own.add_argument("--slots", type=whole(1, MOST_PROCESSES), metavar="N", help="of one computer (1)")
    own.add_argument("--item-size", type=whole(0, 10**9), metavar="BYTES", help="of an item (20)")
    own.add_argument("--result-size", type=whole(0, 10**9), metavar="BYTES", help="of a result (20)")
    own.add_argument("--deaths", type=number(0.0, 1.0), metavar="RATE", help="of attempts that kill (0)")
    own.add_argument("--timeouts", type=number(0.0, 1.0), metavar="RATE", help="of those that hang (0)")
    own.add_argument("--failures", type=number(0.0, 1.0), metavar="RATE", help="of those that raise (0)")
    own.add_argument("--retries", type=whole(0, 1000), metavar="N", help="of an item that failed (3)")
    own.add_argument("--backoff", type=number(0.0), metavar="S", help="before the first of these (0.1)")
    parser.add_argument("--seed", type=whole(0, 2**64), default=1, metavar="N", help="of all chance (1)")
    parser.add_argument(
        "--cluster", action="store_true", default=None, help="what docs/cluster-numbers.md shows"
    )
    parser.add_argument(
        "--docs", action="store_true", default=None, help="the same, and write its table there"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    path, seed = given.pop("json", None), given["seed"]
    for_docs, for_cluster = given.pop("docs", False), given.pop("cluster", False)
    if path is not None:
        try:
            path.open("a").close()  # not only when all has been played
        except OSError as error:
            parser.error(f"argument --json: {error}")
    if "mean" in given and "recorded" in given:
        parser.error("argument --mean: not allowed with argument --recorded")
    if sum(given.get(name, 0.0) for name in ("deaths", "timeouts", "failures")) > 1.0:
        parser.error("--deaths, --timeouts and --failures together are more than all attempts")
    if for_docs or for_cluster:
        if given != {"seed": 1}:
            parser.error("--cluster and --docs play what is on the page: no scenario of your own")
        return CLUSTER, path, for_docs
    if given.keys() == {"seed"}:
        return [Scenario(**{**vars(scenario), "seed": seed}) for scenario in STANDARD], path, False
    return [Scenario(**given)], path, False


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
