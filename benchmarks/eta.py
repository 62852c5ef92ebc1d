"""How good the time remaining is: farmhand's, beside what others show.

``python benchmarks/eta.py`` replays runs whose durations are known, made up and recorded, through the real
scheduler in virtual time, asks everybody at 5, 10, 25, 50, 75 and 90 % of each run, and compares with how
long the rest took.

An error is the logarithm of the ratio of what was said to what was true, without its sign. In tables it is
a factor: x1.25 is a quarter too much, or a fifth too little. What is off by more than ten times counts as
ten times, and so does silence: who says nothing when asked is as bad as who is far off, and is counted
apart as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import families
import machine
from families import Trace
from peers import AT_CHECKPOINTS, CONTENDERS, Answer, Contender, Farmhand
from replay import CHECKPOINTS, LOOKS, Look, Replay

WORST = math.log(10.0)
SHOWN = (0.1, 0.5)  # the checkpoints in the short table
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
    asked = [name for name in contenders if name != "expert" or trace.family]
    return [row for name in asked for row in _ask(trace, name, seen)]


def _ask(trace: Trace, name: str, looks: Sequence[Look]) -> Iterable[Row]:
    contender: Contender = CONTENDERS[name](trace)
    rows = []
    for look in looks:
        wanted = look.part in CHECKPOINTS
        if wanted or name not in AT_CHECKPOINTS:
            answer = contender.look(look)
            if wanted:
                rows.append((look, answer))
    cost = sum(contender.cost) / len(contender.cost) if isinstance(contender, Farmhand) else 0.0
    return [score(trace, name, look.part, look.truth, answer, cost) for look, answer in rows]


def evaluate(
    splits: Sequence[str] = ("tune",),
    groups: Sequence[str] = (),
    contenders: Sequence[str] = tuple(CONTENDERS),
    *,
    quick: bool = False,
    jobs: int | None = None,
    traces: Iterable[Trace] | None = None,
    say: Callable[[int, int], None] | None = None,
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
    say : callable, optional
        Is told how many traces are done, of how many.
    """
    chosen = (
        list(traces)
        if traces is not None
        else [
            trace
            for split in splits
            for trace in families.all_traces(split, few=quick)
            if not groups or trace.group in groups
        ]
    )
    work = partial(play, contenders=tuple(contenders), looks=QUICK if quick else LOOKS)
    jobs = jobs or os.cpu_count() or 1
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        played = map(work, chosen) if pool is None else pool.map(work, chosen)
        for count, some in enumerate(played, 1):
            rows += some
            if say is not None:
                say(count, len(chosen))
    return rows


# -- what is made of the answers ---------------------------------------------------------------------


def error(rows: Iterable[Row]) -> float | None:
    """The median error; None without any."""
    return median(found) if (found := [row.error for row in rows]) else None


def coverage(rows: Iterable[Row]) -> float | None:
    """How many of the intervals that were given held the truth; None without any."""
    given = [row.inside for row in rows if row.inside is not None]
    return sum(given) / len(given) if given else None


def width(rows: Iterable[Row]) -> float | None:
    """The median of the intervals' widths, as the logarithm of the ratio of their ends."""
    given = [
        math.log(row.high / row.low) if row.low > 0.0 else math.inf
        for row in rows
        if row.low is not None and row.high is not None and row.high > 0.0
    ]
    return median(given) if given else None


def ratio(rows: Sequence[Row], contender: str = "farmhand", at: float = 0.1) -> float | None:
    """The median error of a contender divided by that of elapsed/done; None if one of them was not asked."""
    ours = error(row for row in rows if row.contender == contender and row.at == at)
    theirs = error(row for row in rows if row.contender == "elapsed/done" and row.at == at)
    return None if ours is None or not theirs else ours / theirs


@dataclass(frozen=True)
class Aim:
    """Something aimed at, and what was reached, by the expert as well; None if it was not measured."""

    what: str
    least: float
    most: float
    reached: float | None
    expert: float | None = None

    def __str__(self) -> str:
        if self.reached is None:
            return f"not measured: {self.what}"
        met = "met" if self.least <= self.reached <= self.most else "missed"
        expert = "" if self.expert is None else f" (the expert: {self.expert:.2f})"
        return f"{met}: {self.what}: {self.reached:.2f}{expert}"


def aims(rows: Sequence[Row]) -> list[Aim]:
    """What the estimator is to reach, on traces on which it was never tuned."""
    found = [
        Aim(
            "the 80 % interval holds the truth in 0.75 to 0.90 of all cases",
            0.75,
            0.9,
            coverage(row for row in rows if row.contender == "farmhand"),
            coverage(row for row in rows if row.contender == "expert"),
        )
    ]
    for group, most in (
        ("heavy-tailed", 0.5),
        ("trended", 0.5),
        ("resumed", 0.5),
        ("mixed", 0.5),
        ("uniform", 1.1),
    ):
        some = [row for row in rows if row.group == group]
        what = f"{group}: the error at 10 % is at most {most:g} times that of elapsed/done"
        found.append(Aim(what, 0.0, most, ratio(some), ratio(some, "expert")))
    return found


# -- for people --------------------------------------------------------------------------------------

TOTALS: dict[str, Callable[[Row], bool]] = {
    "all that are made up": lambda row: not row.group.startswith("recorded"),
    "all recorded": lambda row: row.group.startswith("recorded"),
    "all": lambda row: True,
}


def by_group(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each group, and of several together where there are several."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    for name, belongs in TOTALS.items():
        some = [row for row in rows if belongs(row)]
        if some and some not in groups.values():
            groups[name] = some
    return groups


def short_table(rows: Sequence[Row]) -> str:
    """Everybody's errors at two checkpoints, and how often farmhand's intervals hold the truth, by group."""
    names = [name for name in dict.fromkeys(row.contender for row in rows) if name not in AT_CHECKPOINTS]
    lines = [[f"error at {' and '.join(f'{at:.0%}' for at in SHOWN)}", *names, "in range"]]
    for group, some in by_group(rows).items():
        line = [group]
        for name in names:
            theirs = [row for row in some if row.contender == name]
            line.append(", ".join(number(error(row for row in theirs if row.at == at)) for at in SHOWN))
        line.append(percent(coverage(row for row in some if row.contender == "farmhand")))
        lines.append(line)
    return markdown(lines)


def errors_table(rows: Sequence[Row]) -> str:
    """farmhand's errors, by group."""
    lines = [["error", "traces", *(f"{at:.0%}" for at in CHECKPOINTS), "to elapsed/done", "silent"]]
    for group, some in by_group(rows).items():
        ours = [row for row in some if row.contender == "farmhand"]
        parts = [[row for row in ours if row.at == at] for at in CHECKPOINTS]
        compared = ratio(some)
        line = [group, str(len(parts[0])), *(factor(error(part)) for part in parts)]
        line += ["" if compared is None else f"{compared:.2f}", str(sum(row.silent for row in ours))]
        lines.append(line)
    return markdown(lines)


def intervals_table(rows: Sequence[Row]) -> str:
    """How often farmhand's intervals hold the truth, by group."""
    compared = any(row.contender == "expert" for row in rows)
    lines = [["truth in interval", *(f"{at:.0%}" for at in CHECKPOINTS), "all", "high/low"]]
    lines[0] += ["expert's", "high/low"] * compared
    for group, some in by_group(rows).items():
        ours = [row for row in some if row.contender == "farmhand"]
        parts = [[row for row in ours if row.at == at] for at in CHECKPOINTS]
        line = [group, *(percent(coverage(part)) for part in parts)]
        for name in ("farmhand", "expert")[: 1 + compared]:
            theirs = [row for row in some if row.contender == name]
            line += [percent(coverage(theirs)), factor(width(theirs))]
        lines.append(line)
    return markdown(lines)


def peers_table(rows: Sequence[Row], at: float) -> str:
    """Everybody's errors at one checkpoint, by group."""
    names = list(dict.fromkeys(row.contender for row in rows))
    lines = [[f"error at {at:.0%}", *names]]
    for group, some in by_group(rows).items():
        here = [row for row in some if row.at == at]
        lines.append(
            [group, *(factor(error(row for row in here if row.contender == name)) for name in names)]
        )
    return markdown(lines)


def course_table(rows: Sequence[Row]) -> str:
    """Everybody's errors at all checkpoints, of all groups together."""
    lines = [["all groups", *(f"{at:.0%}" for at in CHECKPOINTS), "silent"]]
    for name in dict.fromkeys(row.contender for row in rows):
        ours = [row for row in rows if row.contender == name]
        errors = [factor(error(row for row in ours if row.at == at)) for at in CHECKPOINTS]
        lines.append([name, *errors, str(sum(row.silent for row in ours))])
    return markdown(lines)


def traces_table(rows: Sequence[Row]) -> str:
    """A line for each trace and contender: what was said, divided by what was true."""
    lines = [["said / true", "trace", "", *(f"{at:.0%}" for at in CHECKPOINTS)]]
    answers: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        answers.setdefault((row.group, row.trace, row.contender), []).append(row)
    lines += [[*of, *map(said, some)] for of, some in answers.items()]
    return markdown(lines, names=3)


def said(row: Row) -> str:
    """An answer as a part of the truth, with its interval; an exclamation mark if the truth is outside."""
    if row.median is None:
        return "silent"
    middle = f"{row.median / row.truth:.2f}"
    if row.low is None or row.high is None:
        return middle
    missed = "" if row.inside else "!"
    return f"{middle} ({row.low / row.truth:.2f} - {row.high / row.truth:.2f}){missed}"


def number(logarithm: float | None) -> str:
    """An error where there is little room."""
    if logarithm is None:
        return ""
    return "10" if logarithm >= WORST else f"{math.exp(logarithm):.2f}"


def factor(logarithm: float | None) -> str:
    """An error as it is read."""
    return "" if logarithm is None else f"x{math.exp(logarithm):.2f}" if logarithm < 700 else "x∞"


def percent(part: float | None) -> str:
    """A part of one."""
    return "" if part is None else f"{part:.0%}"


def markdown(lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table that can be read as it is: so many columns of names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * size if place < names else "-" * (size - 1) + ":" for place, size in enumerate(widths)]
    padded = []
    for line in (lines[0], rule, *lines[1:]):
        cells = [
            cell.ljust(size) if place < names else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(line, widths, strict=True))
        ]
        padded.append("| " + " | ".join(cells) + " |")
    return "\n".join(padded)


def report(split: str, rows: Sequence[Row], *, verbose: bool = False, each: bool = False) -> str:
    """The table of one part, more of them if ``verbose``, a line for ``each`` trace, and what was reached."""
    title = {"tune": "Traces to tune on", "report": "Traces never tuned on"}[split]
    parts = [f"### {title}", "", short_table(rows)]
    ours = any(row.contender == "farmhand" for row in rows)
    if ours and verbose:
        parts += ["", "farmhand:", "", errors_table(rows), "", intervals_table(rows)]
    if verbose and len({row.contender for row in rows}) > 1:
        parts += ["", *(f"{peers_table(rows, at)}\n" for at in SHOWN), course_table(rows)]
    if each:
        parts += ["", traces_table(rows)]
    if ours:
        parts += ["", "Aims" if split == "report" else "Aims (which are about the others)", ""]
        parts += [f"- {aim}" for aim in aims(rows)]
    costs = [row.cost for row in rows if row.cost]
    if costs:
        usual, slowest = 1e3 * median(costs), 1e3 * max(costs)
        parts += ["", f"An estimate took {usual:.1f} ms of CPU, in the slowest trace {slowest:.1f} ms."]
    return "\n".join([*parts, ""])


ABOUT = """\
An error is how far off the middle estimate was at so much of a run: 1.25 is a quarter too much, or a fifth
too little. Each number is the median of a group's runs. Silence, and what is off by more than ten times,
count as 10. in range: how often the time that was left was in the range that farmhand gave, when it gave
one; it should be 80 %. elapsed/done counts what a resumed run skips as done; elapsed/own leaves it out. The
expert knows from which family durations were drawn, as if it had run such items very often."""
MORE = """\
to elapsed/done: farmhand's error at 10 % divided by that of elapsed/done, both as logarithms. high/low: how
wide the range is. The oracle knows how long all items take, but neither their order nor which attempts fail.
Where there is no family, the expert isn't asked."""
HINT = "All checkpoints, how wide the ranges are, and the best that anybody could do: --verbose."


def main() -> None:
    """Evaluate what was asked for, and print tables; the traces never tuned on come last."""
    options = read_arguments()
    kept: list[Row] = []
    for split in families.SPLITS if options.split == "both" else (options.split,):
        rows = evaluate(
            (split,), options.group, options.only, quick=options.quick, jobs=options.jobs, say=say_progress
        )
        kept += rows
        if rows:
            print(report(split, rows, verbose=options.verbose, each=options.traces), flush=True)
    print(ABOUT)
    print(MORE if options.verbose else HINT)
    if options.json is not None:
        about = {
            "commit": machine.commit(),
            "machine": machine.about(),
            "rows": [asdict(row) for row in kept],
        }
        options.json.write_text(json.dumps(about, indent=1) + "\n")


def say_progress(count: int, total: int) -> None:
    """For those who wait."""
    if sys.stderr.isatty():
        print(f"{count} of {total} traces", end="\r" if count < total else "\n", file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    """What to evaluate; ends the program at a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--split", choices=[*families.SPLITS, "both"], default="both", help="which traces (both)"
    )
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="of this group alone")
    parser.add_argument("--only", action="append", default=[], choices=CONTENDERS, help="ask these alone")
    parser.add_argument("--quick", action="store_true", help="fewer traces, and fewer looks at each")
    parser.add_argument("--verbose", action="store_true", help="more tables: all checkpoints, ranges, limits")
    parser.add_argument("--traces", action="store_true", help="a line for each trace, too")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes to use (as many as there are CPUs)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every answer")
    options = parser.parse_args()
    options.only = options.only or list(CONTENDERS)
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"argument --jobs: {options.jobs} is less than one process")
    if options.json is not None:
        try:
            options.json.open("a").close()  # not only when all has been replayed
        except OSError as error:
            parser.error(f"argument --json: {error}")
    try:
        for split in families.SPLITS:
            list(families.recorded(split))
    except families.BadTrace as error:
        parser.error(str(error))
    if options.group:
        groups = {trace.group for split in families.SPLITS for trace in families.all_traces(split, few=True)}
        for group in options.group:
            if group not in groups:
                known = ", ".join(sorted(groups))
                parser.error(f"argument --group: there is no {group!r}; choose from: {known}")
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
