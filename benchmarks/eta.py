"""How good the time remaining is: farmhand's, beside what others show.

``python benchmarks/eta.py`` replays runs whose durations are known, made up and recorded, through the real scheduler
in virtual time, asks everybody at 5, 10, 25, 50, 75 and 90 % of each run, and compares with how long the rest took.

An error is the logarithm of the ratio of what was said to what was true, without its sign. In tables it is a
factor: x1.25 is a quarter too much, or a fifth too little. What is off by more than ten times counts as ten times, and
so does silence: who says nothing when asked is as bad as who is far off, and is counted apart as well.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import families
from families import Trace
from peers import CONTENDERS, Answer, Contender, Farmhand
from replay import LOOKS, Look, Replay

CHECKPOINTS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
WORST = math.log(10.0)
QUICK = 20  # looks


@dataclass(frozen=True)
class Row:
    """One answer of one contender."""

    trace: str
    group: str
    split: str
    contender: str
    at: float  # the checkpoint
    truth: float  # seconds
    low: float | None
    median: float | None  # None where it was silent
    high: float | None
    error: float
    inside: bool | None  # whether the truth was in the interval; None without one
    cost: float = 0.0  # seconds of CPU for an estimate, on average, where that is measured

    @property
    def silent(self) -> bool:
        """It said nothing, or nothing that is a time."""
        return self.median is None


def score(trace: Trace, name: str, at: float, truth: float, answer: Answer, cost: float = 0.0) -> Row:
    """What an answer is worth."""
    low, middle, high = answer if isinstance(answer, tuple) else (None, answer, None)
    if middle is None or not math.isfinite(middle):
        return Row(trace.name, trace.group, trace.split, name, at, truth, None, None, None, WORST, None, cost)
    error = min(WORST, abs(math.log(middle / truth))) if middle > 0.0 else WORST
    inside = None if low is None or high is None else low <= truth <= high
    return Row(trace.name, trace.group, trace.split, name, at, truth, low, middle, high, error, inside, cost)


def play(trace: Trace, contenders: Sequence[str], looks: int = LOOKS) -> list[Row]:
    """All answers of these contenders on one trace."""
    seen = Replay(trace).looks(looks)
    return [row for name in contenders for row in _ask(trace, name, seen)]


def _ask(trace: Trace, name: str, looks: Sequence[Look]) -> Iterable[Row]:
    contender: Contender = CONTENDERS[name](trace)
    rows = []
    for look in looks:
        wanted = round(look.part, 9) in CHECKPOINTS
        if name == "oracle" and not wanted:
            continue
        answer = contender.look(look)
        if wanted:
            rows.append((look, answer))
    cost = sum(contender.cost) / len(contender.cost) if isinstance(contender, Farmhand) else 0.0
    return [score(trace, name, round(look.part, 9), look.truth, answer, cost) for look, answer in rows]


def evaluate(
    splits: Sequence[str] = ("tune",),
    groups: Sequence[str] = (),
    contenders: Sequence[str] = tuple(CONTENDERS),
    *,
    quick: bool = False,
    jobs: int | None = None,
    traces: Iterable[Trace] | None = None,
) -> list[Row]:
    """Replay traces and ask everybody.

    Parameters
    ----------
    splits, groups : sequences of str
        Which traces; of all groups if none is named.
    contenders : sequence of str
        Whom to ask.
    quick : bool
        Look only at every twentieth of a run, and of synthetic traces take those of one seed.
    jobs : int, optional
        How many processes to use; as many as there are CPUs by default.
    traces : iterable of Trace, optional
        These instead.
    """
    chosen = (
        list(traces)
        if traces is not None
        else [
            trace
            for split in splits
            for trace in families.all_traces(split, seeds=1 if quick else None)
            if not groups or trace.group in groups
        ]
    )
    work = partial(play, contenders=tuple(contenders), looks=QUICK if quick else LOOKS)
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        return [row for trace in chosen for row in work(trace)]
    with ProcessPoolExecutor(jobs) as pool:
        return [row for rows in pool.map(work, chosen, chunksize=1) for row in rows]


def table(rows: Sequence[Row]) -> str:
    groups = list(dict.fromkeys(row.group for row in rows))
    lines = []
    for group in groups:
        for name in dict.fromkeys(row.contender for row in rows):
            cells = []
            for at in CHECKPOINTS:
                some = [row for row in rows if (row.group, row.contender, row.at) == (group, name, at)]
                known = [row.inside for row in some if row.inside is not None]
                cover = f" {sum(known) / len(known):4.0%}" if known else ""
                silent = sum(row.silent for row in some)
                cells.append(f"x{math.exp(median(row.error for row in some)):5.2f}{cover} {silent or ''}")
            lines.append(f"{group:13} {name:13}" + " | ".join(f"{cell:14}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    import time

    for split in ("tune", "report"):
        t = time.time()
        rows = evaluate((split,))
        print(split)
        print(table(rows))
        print(time.time() - t, max(row.cost for row in rows))
