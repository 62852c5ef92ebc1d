"""A run whose time remaining wavers, jumps and changes its kind: what every frontend has to say alike."""

from __future__ import annotations

import random

from farmhand.progress import Estimate, ProcessView, Snapshot, TimeLeft
from farmhand.values import replace
from farmhand.wording import RemainingWords

NOON = 1_772_625_600.0  # a time of day


def wavering_run() -> list[Snapshot]:
    """Two snapshots a second, with an estimate that is a little different in each."""
    chance = random.Random(7)
    busy = ProcessView(0, 77, "busy", 12, "k=3", elapsed=12.0, remaining=18.0)
    first = Snapshot(task="find_rate", total=213, done=84, complete=0.42, rate=3.4, processes=(busy,))
    history = [first]

    def go_on(low: float, median: float, high: float, steps: int, state: str = "running") -> None:
        for _ in range(steps):
            at = history[-1].elapsed + 0.5
            ends = sorted(max(0.0, each - at) * chance.uniform(0.97, 1.03) for each in (low, median, high))
            history.append(replace(first, state=state, elapsed=at, remaining=Estimate(*ends)))

    go_on(720.0, 900.0, 1140.0, 60)
    go_on(2000.0, 4000.0, 12000.0, 40)  # a wide range
    history.append(replace(history[-1], elapsed=history[-1].elapsed + 2.0, remaining=Estimate(3.0, 2.0, 1.0)))
    go_on(2000.0, 4000.0, 12000.0, 10)
    go_on(2000.0, 4000.0, 12000.0, 10, "paused")
    history.append(replace(history[-1], state="finishing", elapsed=history[-1].elapsed + 0.5, remaining=None))
    at = history[-1].elapsed
    go_on(at + 10.0, at + 14.0, at + 21.0, 30, "finishing")
    return history


def told(history: list[Snapshot], now: float) -> list[TimeLeft]:
    """What is to be said of each, where it is some time of day all the time."""
    words = RemainingWords()
    said = [words.of(snapshot, now) for snapshot in history]
    assert 8 < len(set(said)) < 30, said  # it does change, and does not flicker
    return said
