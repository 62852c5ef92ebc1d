"""The pictures in docs/pictures: real runs, in real windows, on a display without a screen.

    python docs/screenshots.py              all of them
    python docs/screenshots.py dark many    these

The window is moved, clicked and looked at as by a user; the plots need no display. Look at them before you
commit them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "gui-tk")]

from virtual_display import VirtualDisplay, missing  # noqa: E402
from waiting import DEADLINE, wait_until  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
COLOURS = 128  # of a picture; a window has few, and each picture should be small

XTERM = (
    *("-T", "terminal", "-fa", "DejaVu Sans Mono", "-fs", "10", "-geometry", "100x20"),
    *("-bg", "#14181d", "-fg", "#d7dce2", "-b", "10", "+sb"),
)

# A worker of a Dask cluster under another name of this computer, as if it were another one (needs root).
NODE = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"')

# What says here how far a run is.
TELLER = """

class Teller:
    def show(self, snapshot):
        print(json.dumps(dict(state=snapshot.state, ended=snapshot.done + snapshot.failed)), flush=True)

    def controls(self):
        return ()

    def close(self):
        pass


"""

# The simulations sleep, so that this can be done on any computer; all else is as it would be.
SCRIPT = (
    """
import json, random, sys, time
from farmhand import open_store, run_tasks

PROCESSES, ITEMS, SECONDS, FRONTEND, *EXECUTOR = json.loads(sys.argv[1])


class find_rate:
    def __init__(self, process_number):
        self.taskname = ""

    def __call__(self, current, tau, report):
        shape = random.Random(f"{current} {tau}")
        steps = 20
        for step in range(steps):
            self.taskname = f"current {current}: " + ("calibrating" if step < 4 else "simulating")
            report(step / steps)
            time.sleep(SECONDS * shape.lognormvariate(0, 0.5) / steps)
        if shape.random() < 0.03:
            print(f"tau = {tau}: membrane potential diverged at t = {shape.randrange(900)} ms")
            raise ValueError(f"no spike within 1000 ms at a current of {current}")
        return 1000 * current / tau

"""
    + TELLER
    + """
items = [(round(10 + k * 0.2, 1), tau) for k in range(ITEMS // 4) for tau in (0.5, 1.0, 2.0, 5.0)]
progress = [FRONTEND] if FRONTEND == "rich" else [FRONTEND, Teller()]
with open_store("rates.db") as store:
    options = dict(executor=EXECUTOR[0]) if EXECUTOR else dict(start_method="fork")
    run_tasks(store, find_rate, items, poolsize=PROCESSES, progress=progress, errors="collect", **options)
"""
)

# A sweep whose items take longer with the current, some of them much longer.
SWEEP = (
    """
import json, random, sys, time
from farmhand import open_store, run_tasks

PROGRESS = sys.argv[1]

"""
    + TELLER
    + """
def find_rate(current, tau):
    shape = random.Random(f"{current} {tau}")
    time.sleep(0.02 * current * shape.lognormvariate(0, 0.4) * (8 if shape.random() < 0.02 else 1))
    if shape.random() < 0.03:
        raise ValueError(f"no spike within 1000 ms at a current of {current}")
    return 1000 * current / tau


items = [(round(10 + k * 0.5, 1), tau) for k in range(120) for tau in (0.5, 1.0, 2.0, 5.0)]
with open_store("rates.db") as store:
    options = dict(poolsize=8, progress=[PROGRESS, Teller()], errors="collect", start_method="fork")
    run_tasks(store, find_rate, items, **options)
"""
)


# Simulations of Brian 2: each makes a network, which takes a while, warms it up, and measures.
BRIAN2 = """
import os, sys
from brian2 import *
from farmhand import open_store, run_tasks

FRONTEND = sys.argv[1]
prefs.codegen.target = "numpy"


def find_rate(weight, report):
    report.taskname = f"weight {weight}"
    eqs = "dv/dt = (1.1 - v) / (10*ms) : 1 (unless refractory)"
    G = NeuronGroup(6000, eqs, threshold="v > 1", reset="v = 0", refractory=2 * ms, method="exact")
    G.v = "rand()"
    S = Synapses(G, G, on_pre="v += weight / 6000", namespace={"weight": weight})
    S.connect(p=0.2)
    report.stage("warm-up", 0, 0.25)
    run(100 * ms, report=report)
    M = SpikeMonitor(G)
    report.stage("measurement", 0.25, 1)
    run(300 * ms, report=report)
    return M.num_spikes / len(G) / (300 * ms)


class Phases:  # of its processes, in a file
    def show(self, snapshot):
        with open("phases.new", "w") as file:
            phases = (process.phase for process in snapshot.processes if process.elapsed > 1)
            print(snapshot.done, *phases, file=file)
        os.replace("phases.new", "phases")

    def controls(self):
        return ()

    def close(self):
        pass


items = [float(weight) for weight in linspace(-1, 1, 41).round(2)]
with open_store("rates.db") as store:
    run_tasks(store, find_rate, items, poolsize=4, progress=[FRONTEND, Phases()], seed=1)
"""


class Run:
    """A run with a window on a display.

    Parameters
    ----------
    display : VirtualDisplay
        Where.
    folder : Path
        Where its store is.
    processes, items : int
        How many.
    seconds : float
        That an item takes, about.
    theme : str
        The window's.
    """

    def __init__(
        self,
        display: VirtualDisplay,
        folder: Path,
        processes: int = 8,
        items: int = 160,
        seconds: float = 2.5,
        theme: str = "light",
    ) -> None:
        self.display = display
        arguments = json.dumps([processes, items, seconds, "tk:stay"])
        Path(folder, "rates.py").write_text(SCRIPT)
        self.process = subprocess.Popen(
            [sys.executable, "rates.py", arguments],
            cwd=folder,
            env={**display.environment, "FARMHAND_THEME": theme},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.window = display.wait_for_window("^find_rate ")

    def until(self, condition: Callable[[Mapping[str, Any]], object]) -> None:
        """Wait until what a frontend is shown is such."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if condition(json.loads(line)):
                return
        raise SystemExit("the run has ended before there was what is to be seen")

    def until_ended(self, items: int) -> None:
        """Wait until so many items have ended."""
        self.until(lambda told: told["ended"] >= items)

    def press(self, *keys: str) -> None:
        """Press keys in the window, and give it the time to follow."""
        self.display.press(self.window, *keys)
        settle()

    def end(self) -> None:
        """End it, and its window."""
        self.process.kill()
        self.process.communicate()
        for process in self.display.processes():
            process.kill()
            process.wait(DEADLINE)


def settle() -> None:
    """Let a window draw what it was told last."""
    time.sleep(0.6)


@contextmanager
def a_run(display: VirtualDisplay, **options: Any) -> Iterator[Run]:
    with a_folder() as folder:
        run = Run(display, folder, **options)
        try:
            yield run
        finally:
            run.end()


@contextmanager
def a_folder() -> Iterator[Path]:
    """One whose name may be seen."""
    folder = Path(tempfile.gettempdir(), "neurons")
    try:
        folder.mkdir()
    except FileExistsError:
        raise SystemExit(f"{folder} is needed for a while, and there already") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def keep(name: str, display: VirtualDisplay, window: str) -> None:
    """Keep what a window looks like as a small file."""
    keep_picture(name, display.picture(window))


def keep_picture(name: str, image: Image.Image) -> None:
    picture = image.quantize(COLOURS, dither=0)
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name}.png"
    picture.save(path, optimize=True)
    print(
        f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB"
    )


def running(display: VirtualDisplay) -> None:
    """Running, paused, its failures, the question before it is terminated, and done."""
    with a_run(display) as run:
        run.until_ended(64)
        keep("running", display, run.window)
        run.press("alt+p")
        run.until(lambda told: told["state"] == "paused")
        settle()
        keep("paused", display, run.window)
        run.press("alt+r")
        run.press("alt+t")
        keep("terminate", display, run.window)
        run.press("Escape")
        _, _, width, height = display.place(run.window)
        display.do("windowsize", "--sync", run.window, width, height + 160)
        run.press("alt+a", "Down")
        keep("failures", display, run.window)
        display.do("windowsize", "--sync", run.window, width, height)
        run.press("alt+h")
        run.until(lambda told: told["state"] == "finished")
        run.process.wait(DEADLINE)
        settle()
        keep("done", display, run.window)


def dark(display: VirtualDisplay) -> None:
    """In the dark theme."""
    with a_run(display, theme="dark") as run:
        run.until_ended(64)
        keep("dark", display, run.window)


def many(display: VirtualDisplay) -> None:
    """With as many processes as a large computer has."""
    with a_run(display, processes=64, items=2000, seconds=3.0) as run:
        run.until_ended(300)
        keep("many", display, run.window)


def terminal(display: VirtualDisplay) -> None:
    """In a terminal, with rich."""
    with a_folder() as folder:
        arguments = json.dumps([8, 160, 2.5, "rich"])
        Path(folder, "rates.py").write_text(SCRIPT)
        Path(folder, "run").write_text(f"#!/bin/sh\nexec {sys.executable} rates.py '{arguments}'\n")
        Path(folder, "run").chmod(0o755)
        process = subprocess.Popen(
            ["xterm", *XTERM, "-e", "./run"],
            cwd=folder,
            env={name: value for name, value in display.environment.items() if name != "CI"},
        )
        try:
            window = display.wait_for_window("^terminal$")
            wait_until(lambda: ended(Path(folder, "rates.db")) > 60, "the run to come so far")
            keep("terminal", display, window)
        finally:
            process.terminate()
            process.wait(DEADLINE)


def cluster(display: VirtualDisplay) -> None:
    """On a Dask cluster of three computers, in a terminal, after one of them is lost."""
    with a_folder() as folder, ExitStack() as stack:
        address = "tcp://127.0.0.1:8786"
        dask = [sys.executable, "-m", "dask"]
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--no-dashboard"]]
        worker = [*dask, "worker", address, "--nthreads", "3", "--no-dashboard", "--no-nanny"]
        commands += [[*NODE, f"node{number}", *worker] for number in (1, 2, 3)]
        processes = [stack.enter_context(subprocess.Popen(command, **quiet)) for command in commands]
        for process in processes:
            stack.callback(process.kill)
        arguments = json.dumps([0, 160, 3.0, "rich", f"dask:{address}"])
        Path(folder, "rates.py").write_text(SCRIPT)
        Path(folder, "run").write_text(
            f"#!/bin/sh\necho $$ > pid\nexec {sys.executable} rates.py '{arguments}'\n"
        )
        Path(folder, "run").chmod(0o755)
        terminal = subprocess.Popen(
            ["xterm", *XTERM, "-e", "./run"],
            cwd=folder,
            env={name: value for name, value in display.environment.items() if name != "CI"},
        )
        stack.callback(terminal.wait, DEADLINE)  # it ends with the run
        stack.callback(lambda: os.kill(int((folder / "pid").read_text()), signal.SIGTERM))
        window = display.wait_for_window("^terminal$")
        wait_until(lambda: ended(folder / "rates.db") > 30, "the run to come so far")
        processes[-1].kill()
        wait_until(lambda: ended(folder / "rates.db") > 45, "the run to come so far")
        keep("cluster", display, window)


def brian1(display: VirtualDisplay) -> None:
    """The example of Brian 1's manual, with the old imports; each simulation is of ten seconds."""
    with a_folder() as folder:
        shutil.copy(ROOT / "examples" / "brian1_rates.py", folder)
        process = subprocess.Popen(
            [sys.executable, "brian1_rates.py", "10"],
            cwd=folder,
            env={**display.environment, "FARMHAND_THEME": "light", "MPLBACKEND": "Agg"},
        )
        try:
            window = display.wait_for_window("^find_rate ")
            wait_until(lambda: ended(folder / "taskfarmexample.data") >= 7, "the run to come so far", 1800.0)
            keep("brian1", display, window)
        finally:
            process.terminate()
            process.wait(DEADLINE)


def brian2(display: VirtualDisplay) -> None:
    """Simulations of Brian 2, in a window and in a terminal: one prepares, others are at a stage."""

    def is_mixed() -> bool:
        try:
            done, *phases = (folder / "phases").read_text().split()
        except FileNotFoundError:
            return False
        return int(done) >= 6 and phases.count("preparing") == 1 and "measurement" in phases

    for name, frontend in (("brian2", "tk:stay"), ("brian2-terminal", "rich")):
        with a_folder() as folder:
            Path(folder, "rates.py").write_text(BRIAN2)
            command, title = [sys.executable, "rates.py", frontend], "^find_rate "
            if frontend == "rich":
                command, title = ["xterm", *XTERM, "-e", *command], "^terminal$"
            environment = {**display.environment, "FARMHAND_THEME": "light", "MPLBACKEND": "Agg"}
            environment.pop("CI", None)
            process = subprocess.Popen(command, cwd=folder, env=environment)
            try:
                window = display.wait_for_window(title)
                wait_until(is_mixed, "one that prepares, and one that measures", 900.0)
                time.sleep(0.3)  # until it is drawn; it changes slowly
                keep(name, display, window)
            finally:
                process.terminate()
                process.wait(DEADLINE)


def plots(display: VirtualDisplay | None = None) -> None:
    """As figures: one that a run writes of itself, and all that can be drawn of it afterwards."""
    with a_folder() as folder:
        live, whole = folder / "eta.png", folder / "all.png"
        Path(folder, "rates.py").write_text(SWEEP)
        script = [sys.executable, "rates.py", f"plot:{live}"]
        with subprocess.Popen(script, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["ended"] >= 260:
                    keep_picture("plot-running", Image.open(live))
                    break
            process.stdout.read()
        plot = [sys.executable, "-m", "farmhand", "plot", "rates.db", "--kind", "all", "-o", whole]
        subprocess.run(plot, cwd=folder, check=True)
        keep_picture("plot-all", Image.open(whole).resize((1400, 933), Image.Resampling.LANCZOS))


def ended(path: Path) -> int:
    """How many items of a run have ended."""
    from farmhand import open_store

    settle()
    if not path.exists():
        return 0
    with open_store(path) as store:
        return sum(1 for _ in store.records())


SUBJECTS: Mapping[str, Callable[[VirtualDisplay], None]] = {
    "running": running,
    "dark": dark,
    "many": many,
    "terminal": terminal,
    "cluster": cluster,
    "brian1": brian1,
    "brian2": brian2,
    "plots": plots,
}


def main() -> None:
    """Take the pictures that are asked for."""
    asked = sys.argv[1:] or list(SUBJECTS)
    unknown = sorted(set(asked) - SUBJECTS.keys())
    if asked == ["plots"]:  # for which no display is needed
        plots()
        return
    lacking = missing() + [name for name in ("xterm",) if "terminal" in asked and not shutil.which(name)]
    if unknown:
        raise SystemExit(f"no pictures are called {', '.join(unknown)}; known: {', '.join(SUBJECTS)}")
    if lacking:
        raise SystemExit(
            f"not installed: {', '.join(lacking)} (Debian: apt install {' '.join(lacking).lower()})"
        )
    with tempfile.TemporaryDirectory() as folder:
        display = VirtualDisplay(Path(folder))
        try:
            for name in asked:
                SUBJECTS[name](display)
        finally:
            display.close()


if __name__ == "__main__":
    main()
