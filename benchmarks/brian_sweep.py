"""One sweep of Brian 2 simulations through farmhand, multiprocessing.Pool and joblib: ``--help``.

The programs are in ``sweep/``, as a user would write them. Each runs to its end a few times, in turns with
the others; then it is killed half-way, and started once more.
"""

from __future__ import annotations

import argparse
import ast
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import machine
import tables

PROGRAMS = Path(__file__).parent / "sweep"
PATIENCE = 10.0  # seconds that what was started may live on after its program was killed
BEGIN, END = "<!-- written by benchmarks/brian_sweep.py -->", "<!-- end of what it wrote -->"

SWEEPS: Mapping[str, Mapping[str, str]] = {
    "numpy": {"farmhand": "with_farmhand", "multiprocessing.Pool": "with_pool", "joblib": "with_joblib"},
    "standalone": {"farmhand, built once": "built_once", "multiprocessing.Pool": "built_by_pool"},
}
TITLES = {
    "numpy": "{items} simulations of half a second each, with the numpy target",
    "standalone": "{items} simulations in C++ standalone mode",
}


@dataclass
class Contender:
    """A program, and what came of it."""

    name: str
    program: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds, of all its processes
    begun: int = 0  # simulations when it was killed,
    kept: int = 0  # of which the results are still there
    left: int = 0  # processes that were alive after a while
    again: int = 0  # simulations that the next start had to do

    @property
    def lines(self) -> int:
        """How many lines have code in them."""
        return lines_of_code(PROGRAMS / f"{self.program}.py")


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    noise = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    with tokenize.open(path) as file:
        tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type not in noise]
    lines = {line for token in tokens if token.string for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            text = node.body[0]
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(lines)


def start(contender: Contender, folder: Path, items: int | None) -> subprocess.Popen[bytes]:
    """The program, in a folder of its own."""
    environment = {**os.environ, "SWEEP_LOG": str(folder / "begun"), "MPLBACKEND": "Agg"}
    if items:
        environment["SWEEP_ITEMS"] = str(items)
    return subprocess.Popen(
        [sys.executable, PROGRAMS / f"{contender.program}.py"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def begun(folder: Path) -> int:
    """How many simulations have begun there."""
    try:
        return len((folder / "begun").read_text().splitlines())
    except FileNotFoundError:
        return 0


def kept(folder: Path) -> int:
    """How many results can be read there."""
    if (folder / "rates.db").exists():
        from farmhand import open_store

        with open_store(folder / "rates.db") as store:
            return len(store.values())
    if (folder / "rates.pickle").exists():
        return len(pickle.loads((folder / "rates.pickle").read_bytes()))
    return 0


def alive(folder: Path) -> list[int]:
    """The processes that were started there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                zombie = b"\nState:\tZ" in (entry / "status").read_bytes()
            except OSError:  # it has ended, or is another user's
                continue
            if f"SWEEP_LOG={folder / 'begun'}".encode() in environment.split(b"\0") and not zombie:
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Until it is so, or that long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def run_whole(contender: Contender, folder: Path, items: int | None, expected: int) -> None:
    """Once from beginning to end."""
    began = time.perf_counter()
    program = start(contender, folder, items)
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    contender.seconds.append(time.perf_counter() - began)
    contender.cpu.append(usage.ru_utime + usage.ru_stime)
    if status or kept(folder) != expected:
        raise SystemExit(f"{contender.program}.py: status {status}, {kept(folder)} of {expected} results")


def run_killed(contender: Contender, folder: Path, items: int | None, expected: int) -> None:
    """Once until half of the simulations have begun; then look what is there, and start it again."""
    program = start(contender, folder, items)
    wait_until(lambda: begun(folder) > expected // 2 or program.poll() is not None, 600)
    program.send_signal(signal.SIGKILL)
    program.wait()
    contender.begun, contender.kept = begun(folder), kept(folder)
    wait_until(lambda: not alive(folder), PATIENCE)
    left = alive(folder)
    contender.left = len(left)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    before = begun(folder)
    start(contender, folder, items).wait()
    contender.again = begun(folder) - before
    if kept(folder) != expected:
        raise SystemExit(f"{contender.program}.py: {kept(folder)} of {expected} results after a second start")


def measure(sweep: str, rounds: int, items: int | None) -> str:
    """The table of one sweep."""
    sys.path.insert(0, str(PROGRAMS))
    import firing

    if items:
        os.environ["SWEEP_ITEMS"] = str(items)
    expected = len(firing.inputs() if sweep == "numpy" else firing.taus())
    contenders = [Contender(*each) for each in SWEEPS[sweep].items()]
    for turn in range(rounds + 1):
        for contender in contenders:
            print(f"{sweep}: {contender.name}, round {turn + 1}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                run = run_whole if turn < rounds else run_killed
                run(contender, Path(folder).resolve(), items, expected)
    title = TITLES[sweep].format(items=expected)
    return f"{title}:\n\n{table(contenders)}\n"


def table(contenders: list[Contender]) -> str:
    """In Markdown."""
    first = median(contenders[0].seconds)
    rows = [
        (
            "",
            "lines",
            "seconds",
            "ratio",
            "seconds of CPU",
            "killed half-way: begun",
            "kept",
            "processes left",
            "begun at the second start",
        )
    ]
    for each in contenders:
        seconds = median(each.seconds)
        numbers = (each.begun, each.kept, each.left, each.again)
        times = (f"{seconds:.1f}", f"{seconds / first:.2f}", f"{median(each.cpu):.1f}")
        rows.append((each.name, str(each.lines), *times, *map(str, numbers)))
    rows.insert(1, ("---", *["---:"] * (len(rows[0]) - 1)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SWEEPS, help="this sweep")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs to its end (%(default)s)")
    parser.add_argument("--items", type=int, help="how many simulations (default: as the programs say)")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    options = parser.parse_args()
    facts = ", ".join(f"{name} {value}" for name, value in machine.about().items())
    texts = [f"Measured with {facts}.\n"]
    print(texts[0], flush=True)
    for sweep in [options.only] if options.only else SWEEPS:
        texts.append(measure(sweep, options.rounds, options.items))
        print(texts[-1], flush=True)
    if options.docs:
        tables.put_between(options.docs, BEGIN, END, "\n".join(texts))


if __name__ == "__main__":
    main()
