"""The farm and its peers on the same work, side by side: ``python benchmarks/run.py --help``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import machine
import running
import tables

WORKLOADS = (
    "tiny",
    "many",
    "steady",
    "skewed",
    "start",
    "again",
    "imports",
    "stream",
    "large",
    "progress",
    "progress_steady",
    "frontends",
    "frontends_idle",
    "resume",
    "reading",
    "growth",
    "parent",
)
BEGIN, END = "<!-- written by benchmarks/run.py --docs -->", "<!-- end of what it wrote -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more items and contenders, which takes longer")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="this workload (may be repeated)")
    parser.add_argument("--list", action="store_true", help="say what each workload is about, and no more")
    parser.add_argument("--rounds", type=int, help="how often each contender runs (default: as it says)")
    parser.add_argument("--folder", help="where to put stores: a folder on the disk in question")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="beside what an older run has kept so")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    options = parser.parse_args()
    modules = [running.workload(name) for name in options.only or WORKLOADS]
    if options.list:
        for module in modules:
            print(f"{module.__name__:16} {(module.__doc__ or '').strip().partition(': ')[0]}")
        return
    older = json.loads(options.compare.read_text()) if options.compare else None
    facts = ", ".join(f"{name} {value}" for name, value in machine.about().items())
    texts = [f"Measured with {facts}.\n"]
    print(texts[0], flush=True)
    outcomes = []
    for module in modules:
        outcome = running.measure(module, full=options.full, rounds=options.rounds, folder=options.folder)
        outcomes.append(outcome)
        texts.append(tables.table(outcome))
        print(texts[-1], flush=True)
        if options.json:  # each time, for whoever loses patience
            options.json.write_text(json.dumps(tables.as_json(outcomes), indent=1) + "\n")
    if options.docs:
        tables.put_between(options.docs, BEGIN, END, "\n".join(texts))
    if older is not None:
        print(tables.compare(tables.as_json(outcomes), older))
    contenders = [each for outcome in outcomes for each in outcome.contenders.values()]
    if any(each.failure.startswith("failed") for each in contenders):
        sys.exit("some contenders failed: see the tables")


if __name__ == "__main__":
    main()
