"""The farm on a Dask cluster, beside what Dask's users write: ``python benchmarks/cluster.py --help``.

A scheduler and workers are started as commands on this computer, for each workload as many as it says. They
are there before any contender begins, and serve all of them, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import machine
import running
import tables

WORKLOADS = ("dask_tiny", "dask_steady", "dask_waiting", "dask_second")
BEGIN, END = "<!-- written by benchmarks/cluster.py --docs -->", "<!-- end of what it wrote -->"
PATIENCE = 60  # seconds, for the cluster to be there and to be gone


@contextmanager
def a_cluster(workers: int, threads: int) -> Iterator[str]:
    """A scheduler and workers, by the commands that a user would type; its address."""
    from distributed import Client

    environment = {**os.environ, "PYTHONPATH": str(running.WORKLOADS)}  # the tasks are in modules there
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        written = folder / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        place = ["--scheduler-file", str(written), "--no-dashboard"]
        worker = [*dask, "worker", *place, "--nthreads", str(threads), "--local-directory", str(folder)]
        for command in [
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *place],
            *[worker] * workers,
        ]:
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stderr=subprocess.DEVNULL, process_group=0
            )
            stack.callback(_end, process)
        with Client(scheduler_file=str(written), timeout=PATIENCE) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)
            address = client.scheduler.address
        yield address


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more items, which takes longer")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="this workload (may be repeated)")
    parser.add_argument("--rounds", type=int, help="how often each contender runs (default: as it says)")
    parser.add_argument("--folder", help="where to put stores: a folder on the disk in question")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    options = parser.parse_args()
    facts = ", ".join(f"{name} {value}" for name, value in machine.about().items())
    texts = [f"Measured with {facts}.\n"]
    print(texts[0], flush=True)
    outcomes = []
    for name in options.only or WORKLOADS:
        module = running.workload(name)
        with a_cluster(*module.CLUSTER) as address:
            os.environ["DASK_SCHEDULER_ADDRESS"] = address  # where the contenders look
            outcome = running.measure(module, full=options.full, rounds=options.rounds, folder=options.folder)
        outcomes.append(outcome)
        texts.append(tables.table(outcome))
        print(texts[-1], flush=True)
        if options.json:
            options.json.write_text(json.dumps(tables.as_json(outcomes), indent=1) + "\n")
    if options.docs:
        tables.put_between(options.docs, BEGIN, END, "\n".join(texts))
    contenders = [each for outcome in outcomes for each in outcome.contenders.values()]
    if any(each.failure.startswith("failed") for each in contenders):
        sys.exit("some contenders failed: see the tables")


if __name__ == "__main__":
    main()
