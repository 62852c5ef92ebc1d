"""Kill farms at random moments, hundreds of times, and look for what they have left, lost or doubled.

``nox -s torture -- --kills 1000 --seed 7``: a farm writes to a store, is ended by SIGKILL at a random moment,
and is started again on the same store with ``resume=True``; after some kills it is left alone, until the
store is full. After each kill

- nothing of that farm is alive within two seconds: no process, nothing that a task has started;
- the store opens, SQLite finds no fault in it, and every record is whole and right;
- what the farm had stored is there, and no item is there twice;
- what was done before is not run again.

A full store holds what a sequential run gives. Of other farms the processes are killed: those farms go on.
With a fault the exit status is 1, and all about it is kept in a folder. The seed, ``--what`` and ``--store``
repeat that store alone; only a kill that comes by the clock, not at an event, comes at another moment.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from farmhand import codec, open_store

sys.path.insert(0, str(Path(__file__).parents[1]))  # as it is when pytest runs this

from tortured import TOKEN, answer, items_of, kind_of_failure, printed
from waiting import grows

FARM = Path(__file__).with_name("tortured.py")
HANG = 120.0  # seconds after which a round hangs for certain
TINY = 1e-4  # seconds that an item takes which does next to nothing
STARTS = ("spawn", "fork")
MOST = {
    "statement": 80,
    "before a start": 3,
    "after a start": 3,
    "after a stop": 2,
    "snapshot": 3,
}  # of some moments in a round
ONCE = ("begun", "before the close", "after the close")
MOMENTS = {  # how often a kill comes at each, of 100
    "delay": 46,
    "statement": 16,
    "before a commit": 4,
    "after a commit": 6,
    "after the log": 8,
    "before a start": 3,
    "after a start": 4,
    "after a stop": 4,
    "snapshot": 4,
    "begun": 2,
    "before the close": 1,
    "after the close": 2,
}


class Fault(Exception):
    """Something that must never happen; ``kind`` is one of the counts of the last line."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


# -- one store and what has become of it -----------------------------------------------------------


def draw_plan(rng: random.Random, folder: Path, workers: bool) -> dict[str, Any]:
    """What one store is tortured with: everything but the moments of the kills.

    Parameters
    ----------
    rng : random.Random
        Decides.
    folder : Path
        Where the store and all that the farm writes shall be.
    workers : bool
        Whether the farm's processes are to be killed, not the farm.
    """
    tiny = not workers and rng.random() < 0.4
    items = rng.randint(300, 3000) if tiny else rng.randint(30, 120)
    retries = rng.choice([0, {"died": 30, "raised": 1}] if workers else [0, 1, 2])
    troubled = rng.sample(range(items), 12)

    def some(most: int) -> list[int]:
        return [troubled.pop() for _ in range(rng.randint(0, most))]

    return {
        "folder": str(folder),
        "round": 0,
        "workers": workers,
        "start method": rng.choice(STARTS),
        "processes": rng.randint(1, 3),
        "items": items,
        "copies": rng.choice([1, 1, 2]),
        "pace": 0.0 if tiny else rng.uniform(0.001, 0.006),
        "class": rng.random() < 0.4,
        "prints": rng.random() < 0.4,
        "raise": some(3),
        "raise once": some(3) if retries else [],
        "exit": some(0 if workers else 1),
        "exit once": some(1) if retries else [],
        "child": some(2),
        "large": some(2),
        "hang": "",
        "options": {"retries": retries, "backoff": rng.choice([0.0, 0.01])},
    }


@dataclass
class Round:
    """One farm that was started, and how it ended."""

    status: int
    seconds: float  # from the end of its imports
    kills: int


@dataclass
class Torture:
    """Farms that write to one store, one after another, and the check after each."""

    plan: dict[str, Any]
    rng: random.Random
    grace: float
    slowest: float = 0.0  # seconds until everything of a killed farm was gone
    done_before: Counter[int] = field(default_factory=Counter)  # by item, when the last round began
    stored: dict[str, set[tuple[str, int, int]]] = field(default_factory=dict)  # what farms said

    @property
    def folder(self) -> Path:
        return Path(self.plan["folder"])

    def start(
        self, kill: str = "", number: int = 0, hang: str = ""
    ) -> tuple[subprocess.Popen[bytes], str, float]:
        """Start a farm that kills itself at that moment; return once it has made its imports."""
        self.plan["round"] += 1
        token = str(time.time_ns())
        ready, end = os.pipe()
        plan = {**self.plan, "kill": kill, "kill number": number, "hang": hang, "ready": end}
        (self.folder / f"plan-{self.plan['round']}").write_text(json.dumps(plan))
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with open(self.folder / f"printed-{self.plan['round']}", "wb") as output:
            farm = subprocess.Popen(
                [sys.executable, FARM, json.dumps(plan)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[end],
                env={**os.environ, TOKEN: token, "TMPDIR": str(temporary)},
            )
        os.close(end)
        os.read(ready, 1)  # it closes its end, or is dead
        os.close(ready)
        return farm, token, time.monotonic()

    def kill_farm(self, start_up: float) -> Round:
        """One round with a kill, at a random event or at a random moment of what it will take."""
        rng, plan = self.rng, self.plan
        kill = rng.choices(list(MOMENTS), weights=list(MOMENTS.values()))[0]
        number = 1 if kill in ONCE else rng.randint(1, MOST.get(kill, 12))
        delay, hang = HANG, ""
        if kill == "delay":
            left = plan["items"] * plan["copies"] - self.done_before.total()
            delay = rng.uniform(0.0, start_up + left * (plan["pace"] / plan["processes"] or TINY))
            hang = rng.choices(["", "deaf", "stopped"], weights=[4, 1, 1])[0]
        farm, token, began = self.start(kill, number, hang)
        return self.end(farm, token, began, delay)

    def run(self) -> Round:
        """One round that nobody disturbs."""
        return self.end(*self.start(), HANG)

    def end(self, farm: subprocess.Popen[bytes], token: str, began: float, delay: float) -> Round:
        """Wait for the farm, and after ``delay`` seconds kill it; then nothing of it may be left."""
        try:
            status = farm.wait(delay)
        except subprocess.TimeoutExpired:
            farm.kill()
            status = farm.wait()
            if delay == HANG:
                end_all(token)
                raise Fault("wrong", f"the farm of round {self.plan['round']} hangs") from None
        except BaseException:
            farm.kill()
            farm.wait()
            raise
        seconds = time.monotonic() - began
        self.nothing_left(token)
        return Round(status, seconds, kills=int(status == -9))

    def kill_workers(self, most: int) -> Round:
        """One round in which processes of the farm are killed, each time after some progress.

        Without it the farm may give up, and rightly so: its processes die before they do anything.
        """
        farm, token, began = self.start()
        kills = 0
        try:
            while kills < most and self.goes_on(farm) and self.goes_on(farm):
                with suppress(subprocess.TimeoutExpired):
                    farm.wait(self.rng.uniform(0.0, 0.04))
                workers = children(farm.pid) if farm.poll() is None else []
                if workers:
                    victim = self.rng.choice(workers)
                    try:
                        victim.kill()  # psutil makes sure that its number is not another's by now
                        victim.wait(HANG)
                        kills += 1
                    except psutil.NoSuchProcess:
                        pass
        except BaseException:
            farm.kill()
            farm.wait()
            raise
        return replace(self.end(farm, token, began, HANG), kills=kills)

    def goes_on(self, farm: subprocess.Popen[bytes]) -> bool:
        """Wait until the farm has stored something; False when it has ended or hangs instead.

        What it stores first may have come to it before; what it stores after that has not.
        """
        stored = self.folder / f"stored-{self.plan['round']}"
        before = stored.stat().st_size if stored.exists() else 0
        return grows(stored, before, farm, HANG)

    # -- what must be true after each round ----------------------------------------------------------

    def nothing_left(self, token: str) -> None:
        """Nothing with the token is alive after the grace, and no temporary file is left."""
        began = time.monotonic()
        while left := alive(token):
            if time.monotonic() > began + self.grace:
                names = "; ".join(described(process) for process in left)
                end_all(token)
                raise Fault("left alive", f"after {self.grace:g} s: {names}")
            psutil.wait_procs(left, timeout=0.05)  # what has ended and waits to be asked is not left
        self.slowest = max(self.slowest, time.monotonic() - began)
        files = [
            path for path in (self.folder / "tmp").iterdir() if not (is_probe(path) or has_dead_doors(path))
        ]
        if files:
            raise Fault("wrong", f"temporary files are left: {', '.join(path.name for path in files)}")

    def check(self, last: Round) -> bool:
        """Look at the store after a round; return whether it is full."""
        if last.status not in (0, -9):
            text = (self.folder / f"printed-{self.plan['round']}").read_text(errors="replace")
            raise Fault("wrong", f"the farm ended with status {last.status}:\n{text[-2000:]}")
        self.read_log()
        path = self.folder / "results.db"
        if self.rng.random() < 0.5:  # and so the next farm is the first to see what the killed one left
            path = self.copy(path)
        if not path.exists():
            if self.stored:
                raise Fault("lost", "the store itself")
            return False
        try:
            seen = Seen(self.plan, path)
        except Fault:
            raise
        except Exception as error:
            raise Fault("damaged", f"{type(error).__name__}: {error}") from error
        self.nothing_lost(seen)
        self.nothing_doubled(seen)
        done_before, self.done_before = self.done_before, seen.done
        if last.status == 0:
            self.complete(seen, done_before)
        return last.status == 0 and not any(not kind_of_failure(self.plan, item) for item in seen.failed_last)

    def copy(self, path: Path) -> Path:
        """The store as a kill has left it, to be looked at elsewhere."""
        elsewhere = self.folder / "copy"
        shutil.rmtree(elsewhere, ignore_errors=True)
        elsewhere.mkdir()
        for ending in ("", "-wal", "-journal"):
            if os.path.exists(f"{path}{ending}"):
                shutil.copy(f"{path}{ending}", elsewhere)
        return elsewhere / path.name

    def read_log(self) -> None:
        """What the farm of this round said, after each commit, that it had stored."""
        path = self.folder / f"stored-{self.plan['round']}"
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if line.endswith("\n"):  # else the kill came in the middle of it
                status, run, index, attempt = line.split()
                self.stored.setdefault(run, set()).add((status, int(index), int(attempt)))

    def nothing_lost(self, seen: Seen) -> None:
        for run, said in self.stored.items():
            if lost := said - seen.records.get(run, set()):
                raise Fault("lost", f"of run {run}, although it was stored: {sorted(lost)[:10]}")

    def nothing_doubled(self, seen: Seen) -> None:
        copies = self.plan["copies"]
        if doubled := [item for item, count in seen.done.items() if count > copies]:
            raise Fault("doubled", f"results of items {doubled[:10]}")
        path = self.folder / f"ran-{self.plan['round']}"
        ran = Counter(map(int, path.read_text().split())) if path.exists() else Counter()
        if again := [item for item in ran if self.done_before[item] >= copies]:
            raise Fault("doubled", f"items {again[:10]} were done, and were run again")
        if not (self.plan["exit"] or self.plan["exit once"] or self.plan["workers"]):
            # a process that dies may take unsent results with it; of others each item runs once
            attempts = 1 + self.plan["options"]["retries"]  # a number, where no process is killed
            fails = {*self.plan["raise"], *self.plan["raise once"]}
            for item, count in ran.items():
                if count > (copies - self.done_before[item]) * (attempts if item in fails else 1):
                    raise Fault("doubled", f"item {item} was run {count} times in one round")

    def complete(self, seen: Seen, done_before: Counter[int]) -> None:
        """A round that ended by itself has done the rest: what a sequential run would give."""
        text = (self.folder / f"summary-{self.plan['round']}").read_text()
        done, failed, skipped = json.loads(text)
        total = self.plan["items"] * self.plan["copies"]
        if skipped != done_before.total():
            raise Fault("wrong", f"{skipped} items were skipped, but {done_before.total()} were done")
        if done + failed + skipped != total or done + skipped != seen.done.total():
            raise Fault("wrong", f"{done} done, {failed} failed, {skipped} skipped of {total} items")
        expected = Counter(items_of(self.plan))
        missing = expected - seen.done - seen.failed_last
        if missing or seen.done + seen.failed_last != expected:
            raise Fault("lost", f"the run has ended without items {sorted(missing)[:10]}")
        killed = {"died"} if self.plan["workers"] and not self.plan["options"]["retries"] else set()
        for item, kinds in seen.kinds_last.items():
            if not kinds <= {kind_of_failure(self.plan, item), *killed}:
                raise Fault("wrong", f"item {item} has failed: {', '.join(kinds)}")


class Seen:
    """Everything that is in a store, each record looked at.

    Attributes
    ----------
    records : dict
        By run: status, index and, for an attempt that was followed by another, its number.
    done : Counter
        Items that are done, over all runs.
    failed_last : Counter
        Items that have failed in the last run.
    kinds_last : dict
        By item: how it has failed there.
    """

    def __init__(self, plan: dict[str, Any], path: Path) -> None:
        self.records: dict[str, set[tuple[str, int, int]]] = {}
        self.done: Counter[int] = Counter()
        self.failed_last: Counter[int] = Counter()
        self.kinds_last: dict[int, set[str]] = {}
        with open_store(path) as store:
            runs = store.runs()
            for info in runs:
                self._look_at(plan, store, info.uid, last=info is runs[-1])
            keys = store.keys()
            records = list(store.records())
            done = [record.key for record in records if record.status == "done"]
            if not len(store) == len(keys) == len(done) or keys != done:
                counts = f"{len(store)} results, {len(keys)} keys, {len(done)} records"
                raise Fault("damaged", f"the store does not agree with itself: {counts}")
        connection = sqlite3.connect(path)
        try:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        finally:
            connection.close()
        if verdict != "ok":
            raise Fault("damaged", f"SQLite says: {verdict}")

    def _look_at(self, plan: dict[str, Any], store: Any, run: str, last: bool) -> None:
        items = {
            index: item
            for block in store.blocks(run)
            for index, item in zip(block.indices, codec.decode_items(block.payload), strict=True)
        }
        values = {index: codec.decode(data) for index, data in store.encoded(run)}
        seen = self.records[run] = set()
        for record in store.records(run):
            item = items[record.index]
            if ("done", record.index, 0) in seen or ("failed", record.index, 0) in seen:
                raise Fault("doubled", f"records of item {item} in run {run}")
            seen.add((record.status, record.index, 0))
            if record.status == "done":
                self.done[item] += 1
                if values.pop(record.index) != answer(plan, item) or kind_of_failure(plan, item):
                    raise Fault("damaged", f"the result of item {item} in run {run} is another's")
            elif record.status != "failed" or record.error is None:
                raise Fault("damaged", f"item {item} of run {run} is {record.status!r}")
            elif last:
                self.failed_last[item] += 1
                self.kinds_last.setdefault(item, set()).add(record.error.kind)
            if plan["prints"] and (record.status == "done" or record.error.kind == "raised"):
                text = store.output(record.key)
                if not text.endswith(printed(item)):
                    raise Fault("damaged", f"item {item} of run {run} has printed {text!r}")
        if values:
            raise Fault("damaged", f"results {sorted(values)} of run {run} have no records")
        for record in store.retried(run):
            seen.add(("retried", record.index, record.attempts))


def is_probe(path: Path) -> bool:
    """Whether tempfile made it, to see if it can write there; dill's import asks it, in each process."""
    return re.fullmatch("[a-z0-9_]{8}", path.name) is not None and path.stat().st_size in (0, 4)


def has_dead_doors(path: Path) -> bool:
    """Whether it is the folder of the doors of farms, and all were killed; the next farm sweeps there."""
    if path.name != f"farmhand-{os.geteuid()}":
        return False
    doors = list(path.iterdir())
    for door in doors:
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(door)) != errno.ECONNREFUSED:
                return False
    return bool(doors)


# -- processes -------------------------------------------------------------------------------------


def alive(token: str) -> list[psutil.Process]:
    """Everything that runs and belongs to the farm of that token."""
    return [process for process in psutil.process_iter() if belongs(process, token)]


def belongs(process: psutil.Process, token: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        marked = process.environ().get(TOKEN) == token
        return marked or process.cmdline() == ["sleep", f"600.{token}"]
    except psutil.Error:  # it has ended, or is another user's
        return False


def described(process: psutil.Process) -> str:
    with process.oneshot():
        try:
            return f"{process.pid} ({process.status()}) {' '.join(process.cmdline())[:200]}"
        except psutil.Error:
            return f"{process.pid}, which ended just now"


def end_all(token: str) -> None:
    """End what a faulty farm has left."""
    for process in alive(token):
        try:
            process.kill()
        except psutil.Error:
            pass


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


# -- the program -----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    stores: int = 0
    slowest: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        faults = self.faults
        text = (
            f"{self.stores} stores: {faults['lost']} lost, {faults['doubled']} doubled, "
            f"{faults['left alive']} left alive, {faults['damaged']} stores damaged"
        )
        return text + (f", {faults['wrong']} times otherwise wrong" if faults["wrong"] else "")


class Program:
    """The loop over stores."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder = Path(arguments.folder or tempfile.mkdtemp(prefix="farmhand-torture-")).resolve()
        self.start_ups: dict[str, float] = {}
        self.began = time.monotonic()

    def main(self) -> int:
        arguments, whole = self.arguments, True
        print(f"seed {arguments.seed}", flush=True)
        if arguments.what != "workers":
            tally = self.torture("farm", arguments.kills)
            print(f"{tally.kills} kills on {tally}")
            print(f"(the last process of a killed farm was gone after {tally.slowest:.2f} s at most)")
            whole = not tally.faults
        if arguments.what != "parent":
            tally = self.torture("workers", max(1, arguments.kills // 4))
            print(f"{tally.kills} kills of workers on {tally}")
            whole = whole and not tally.faults
        if whole:
            if not arguments.folder:
                shutil.rmtree(self.folder)
            return 0
        print(f"with seed {arguments.seed}; what was found is kept in {self.folder}")
        return 1

    def torture(self, what: str, kills: int) -> Tally:
        """Torture stores, each with some kills, until there were as many as wanted."""
        tally = Tally()
        told = 0
        for number in self.numbers():
            if tally.kills >= kills or tally.faults.total() >= 10:
                break
            tally.stores += 1
            for _ in self.store(what, number, kills, tally):
                if tally.kills >= told + 25:
                    told = tally.kills
                    seconds = time.monotonic() - self.began
                    print(f"  {tally.kills:4} kills on {tally.stores} stores, {seconds:.0f} s", flush=True)
        return tally

    def numbers(self) -> Iterator[int]:
        if self.arguments.store:
            yield self.arguments.store
        else:
            yield from range(1, 10**9)

    def store(self, what: str, number: int, kills: int, tally: Tally) -> Iterator[None]:
        """All rounds on one store."""
        rng = random.Random(f"{self.arguments.seed} {what} {number}")
        folder = self.folder / f"{what}-{number}"
        folder.mkdir()
        torture = Torture(draw_plan(rng, folder, what == "workers"), rng, self.arguments.grace)
        try:
            rounds = self.farm_rounds if what == "farm" else self.worker_rounds
            yield from rounds(torture, kills, tally)
            shutil.rmtree(folder)
        except Fault as fault:
            tally.faults[fault.kind] += 1
            where = f"{what} {number}, round {torture.plan['round']} ({torture.plan['start method']})"
            (folder / "fault").write_text(f"{where}\n{fault}\n")
            print(f"FAULT in {where}: {fault}", flush=True)
        tally.slowest = max(tally.slowest, torture.slowest)

    def farm_rounds(self, torture: Torture, kills: int, tally: Tally) -> Iterator[None]:
        """Kill the farm some times, then let it finish what is left."""
        for _ in range(torture.rng.randint(1, self.arguments.per_store)):
            if tally.kills >= kills:
                break
            last = torture.kill_farm(self.start_up(torture.plan["start method"]))
            tally.kills += last.kills
            if torture.check(last):
                break
            yield
        self.finish(torture)
        yield

    def worker_rounds(self, torture: Torture, kills: int, tally: Tally) -> Iterator[None]:
        """Kill processes while the farm runs; without retries another round does what they were on."""
        last = torture.kill_workers(torture.rng.randint(1, min(12, max(1, kills - tally.kills))))
        tally.kills += last.kills
        full = torture.check(last)
        if last.status or (torture.plan["options"]["retries"] and not full):
            raise Fault("wrong", f"a farm whose processes were killed ended with status {last.status}")
        yield
        self.finish(torture)
        yield

    def finish(self, torture: Torture) -> None:
        """Let a farm do the rest; where there is none, it must find out so."""
        if not torture.check(torture.run()):
            raise Fault("wrong", "a run that nobody has disturbed did not do all items")

    def start_up(self, method: str) -> float:
        """How long a run with hardly an item takes, measured once."""
        if method not in self.start_ups:
            folder = self.folder / "measured"
            folder.mkdir()
            plan = draw_plan(random.Random(0), folder, workers=True)
            plan |= {"start method": method, "items": 1, "copies": 1, "raise once": [], "exit once": []}
            self.start_ups[method] = Torture(plan, random.Random(0), self.arguments.grace).run().seconds
            shutil.rmtree(folder)
        return self.start_ups[method]


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="torture", description="Kill farms at random moments, and see that nothing is lost or left."
    )
    parser.add_argument("--kills", type=int, default=300, help="of the farm; a quarter as many of workers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--what", choices=["parent", "workers", "both"], default="both")
    parser.add_argument(
        "--store", type=int, help="torture only the store of this number, to see a fault again"
    )
    parser.add_argument("--per-store", type=int, default=12, help="the most kills on one store")
    parser.add_argument(
        "--grace", type=float, default=2.0, help="seconds until nothing of a farm may be left"
    )
    parser.add_argument("--folder", help="where to work; by default a temporary folder, kept after a fault")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(Program(parsed(sys.argv[1:])).main())
