"""A command that adds up how long items took."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter

from farmhand.cli.stores import open_existing
from farmhand.errors import UsageError


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = "Say how many hours of computing a store has cost. They are those of all processes."
    parser.add_argument("store", metavar="STORE")
    parser.add_argument("--task", metavar="NAME", help="of this task alone")


def hours(options: Namespace) -> int:
    seconds: Counter[str] = Counter()
    with open_existing(options.store) as store:
        tasks = {run.uid: run.task for run in store.runs()}
        for record in store.records():
            seconds[tasks[record.run]] += record.seconds
    if options.task is not None and options.task not in seconds:
        raise UsageError(f"no run has the task {options.task!r}; there are: {', '.join(seconds)}")
    for task in [options.task] if options.task else sorted(seconds):
        sys.stdout.write(f"{task}: {seconds[task] / 3600:.2f} hours\n")
    return 0
