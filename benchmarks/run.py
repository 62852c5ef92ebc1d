"""The farm and its peers on the same work, side by side: ``python benchmarks/run.py --help``."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

import harness

WORKLOADS = ("tiny", "start", "imports")
BEGIN, END = "<!-- written by benchmarks/run.py --docs -->", "<!-- end of what it wrote -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more tasks, which takes longer")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="this workload (may be repeated)")
    parser.add_argument("--rounds", type=int, help="how often each contender runs (default: at least 5)")
    parser.add_argument("--folder", help="where to put stores: a folder on the disk in question")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    options = parser.parse_args()
    machine = ", ".join(f"{name} {value}" for name, value in harness.about_this_machine().items())
    texts = [f"Measured with {machine}.\n"]
    print(texts[0], flush=True)
    outcomes = []
    for name in options.only or WORKLOADS:
        module = import_module(f"workloads.{name}")
        outcome = harness.measure(module, full=options.full, rounds=options.rounds, folder=options.folder)
        outcomes.append(outcome)
        texts.append(harness.table(outcome))
        print(texts[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(harness.as_json(outcomes), indent=1) + "\n")
    if options.docs:
        _put_between(options.docs, "\n".join(texts))
    if any(timings.failure for outcome in outcomes for timings in outcome.contenders.values()):
        sys.exit("some contenders failed: see the tables")


def _put_between(path: Path, text: str) -> None:
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{path} lacks the lines {BEGIN!r} and {END!r}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
