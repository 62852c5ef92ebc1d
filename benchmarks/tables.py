"""Says what was found: tables of one run, and of one run beside an older one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import machine
from running import Contender, Outcome


def table(outcome: Outcome) -> str:
    """The outcome in Markdown: medians, least to greatest in brackets, and ratios round by round."""
    units = list(dict.fromkeys(unit for each in outcome.contenders.values() for unit in each.figures))
    if not units:
        units = [""]  # all have failed
    first, *others = units
    ratios = (outcome.ratios or {"ratio": first}) if outcome.baseline is not None else {}
    head = ["", first]
    if outcome.floor is not None:
        head.append(f"{first} over {outcome.contenders[outcome.floor].label}")
    head += [*ratios, *others]
    aims, notes = bool(outcome.aims), any(each.note for each in outcome.contenders.values())
    head += ["aim"] * aims + [""] * notes
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, contender in outcome.contenders.items():
        row = [f"**{contender.label}**" if name.startswith("farmhand") else contender.label]
        if contender.failure:
            rows.append([*row, contender.failure] + [""] * (len(head) - 2))
            continue
        row.append(spread(contender.figures[first]))
        if outcome.floor is not None:
            over = _pairwise(contender, outcome.contenders[outcome.floor], first)
            row.append(grouped(median(ours - floor for ours, floor in over)) if over else "")
        for ratio, unit in ratios.items():
            assert outcome.baseline is not None
            pairs = _pairwise(contender, outcome.contenders[outcome.baseline], unit)
            middle = median(ours / base for ours, base in pairs) if pairs else None
            row.append("" if middle is None else f"{100 * middle:.1f}" if "%" in ratio else f"{middle:.2f}")
        row += [
            grouped(median(contender.figures[unit])) if unit in contender.figures else "" for unit in others
        ]
        row += [outcome.aims.get(name, "")] * aims + [contender.note] * notes
        rows.append(row)
    what = f"{outcome.title} ({grouped(outcome.count)} items)" if outcome.count else outcome.title
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"### {outcome.name}", "", what, "", *lines, "", _about(outcome, first), ""])


def _about(outcome: Outcome, first: str) -> str:
    rounds = max((len(each.figures.get(first, ())) for each in outcome.contenders.values()), default=0)
    better = "more is better" if outcome.more_is_better else "less is better"
    about = f"Medians of {rounds} rounds (least - greatest); {better}"
    if outcome.baseline is None:
        return f"{about}."
    names = ", ".join(f"*{name}*" for name in outcome.ratios or ["ratio"])
    return f"{about}; {names}: to {outcome.contenders[outcome.baseline].label!r}."


def _pairwise(ours: Contender, theirs: Contender, unit: str) -> list[tuple[float, float]]:
    """The figures of both, round by round; nothing if one has failed."""
    if ours.failure or theirs.failure:
        return []
    return list(zip(ours.figures[unit], theirs.figures[unit], strict=True))


def spread(values: Sequence[float]) -> str:
    """The median, and in brackets the least and the greatest."""
    if len(values) == 1:
        return grouped(values[0])
    return f"{grouped(median(values))} ({grouped(min(values))} - {grouped(max(values))})"


def grouped(value: float) -> str:
    """A number with spaces between thousands and three digits that count."""
    size = abs(value)
    if size >= 1000:
        value = round(value, -int(len(str(int(size))) - 3))
    decimals = 0 if isinstance(value, int) or not 0 < size < 99.95 else 1 if size >= 9.995 else 2
    return f"{value:,.{decimals}f}".replace(",", " ")


# -- two runs ------------------------------------------------------------------------------------------


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All numbers, so that two commits can be compared."""
    return {
        "commit": machine.commit(),
        "machine": machine.about(),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def compare(now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    """Two runs as ``as_json`` gave them: for each contender the first figure now, then, and their ratio."""
    lines = [f"now: {now['commit'] or 'no commit'}; then: {then['commit'] or 'no commit'}"]
    for name in sorted({**now["machine"], **then["machine"]}):
        here, there = now["machine"].get(name, "none"), then["machine"].get(name, "none")
        if here != there:
            lines.append(f"{name}: {here}; then {there}")
    older = {outcome["name"]: outcome for outcome in then["outcomes"]}
    for outcome in now["outcomes"]:
        old = older.get(outcome["name"])
        if old is not None:
            lines += ["", *_compared(outcome, old)]
    return "\n".join(lines) + "\n"


def _compared(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    lines = [f"### {now['name']}", ""]
    if now["count"] != then["count"]:
        return [*lines, f"not comparable: {now['count']} items now, {then['count']} then"]
    lines += ["|  | unit | now | then | now / then |  |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for name, contender in now["contenders"].items():
        old = then["contenders"].get(name, {"figures": {}})
        unit = next(iter(contender["figures"]), None)
        if unit is None or unit not in old["figures"]:
            continue
        ours, theirs = contender["figures"][unit], old["figures"][unit]
        cells = [contender["label"], unit, spread(ours), spread(theirs)]
        cells += [f"{median(ours) / median(theirs):.2f}", _verdict(ours, theirs, now["more_is_better"])]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _verdict(ours: Sequence[float], theirs: Sequence[float], more_is_better: bool) -> str:
    if len(ours) < 2 or len(theirs) < 2:
        return "one round"
    if min(ours) <= max(theirs) and min(theirs) <= max(ours):
        return "ranges overlap"
    return "better" if (min(ours) > max(theirs)) == more_is_better else "worse"


def put_between(path: Path, begin: str, end: str, text: str) -> None:
    """Put a text into a page, between two lines that stay."""
    before, found, rest = path.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise SystemExit(f"{path} lacks the lines {begin!r} and {end!r}")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
