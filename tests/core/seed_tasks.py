"""Tasks that draw random numbers, for ``test_seeds``."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def draw(item: object = None) -> tuple[Any, ...]:
    """What each of the usual sources gives next."""
    import numpy

    return random.random(), numpy.random.rand(), float(numpy.random.randn()), os.environ.get("FARMHAND_SEED")


def tiny(item: object) -> float:
    return random.random()


def draw_some(count: int) -> tuple[Any, ...]:
    """Leaves the generators further on for each item."""
    for _ in range(count % 3):
        draw()
    return draw()


def draw_and_rng(item: object, rng: Any) -> tuple[Any, ...]:
    return (*draw(), float(rng.random()))


def draw_in_a_program(item: object) -> str:
    """A program that the task starts, as a compiled simulation is."""
    code = "import os; print(os.environ['FARMHAND_SEED'])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def die_once(item: int, folder: str) -> tuple[Any, ...]:
    """Item 3 kills its process the first time, when it has drawn already."""
    found = draw()
    if item == 3 and not (mark := Path(folder) / "died").exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return found


def fail_once(item: int, folder: str) -> tuple[Any, ...]:
    """Each item fails the first time."""
    found = draw()
    mark = Path(folder) / str(item)
    if not mark.exists():
        mark.touch()
        raise ValueError(found[0])
    return found


def wait_at(item: int, folder: str) -> tuple[Any, ...]:
    """Item 4 stays for ever, unless it is told not to."""
    found = draw()
    if item == 4 and not (Path(folder) / "go").exists():
        (Path(folder) / "there").touch()
        signal.pause()
    return found


class Drawing:
    """Draws when it is made, as much as its process number says."""

    def __init__(self, process_number: int) -> None:
        for _ in range(process_number + 1):
            self.made = draw()

    def __call__(self, item: object) -> tuple[Any, ...]:
        return draw()


class Made(Drawing):
    def __call__(self, item: object) -> tuple[Any, ...]:
        return self.made


def nested(item: object) -> list[Any]:
    """Runs a farm of its own, without a seed."""
    from farmhand import open_store, run_tasks

    with open_store(":memory:") as store:
        run_tasks(store, look, [1], gui=False, progress="none", poolsize=1)
        return store.values()


def look(item: object) -> str | None:
    return os.environ.get("FARMHAND_SEED")


def simulate(item: int) -> tuple[Any, ...]:
    """Brian 2, imported by the first item; NumPy target."""
    import brian2 as b

    b.prefs.codegen.target = "numpy"
    b.start_scope()
    group = b.NeuronGroup(3, "dv/dt = -v/(10*ms) + xi/sqrt(10*ms) : 1", method="euler")
    group.v = "rand()"
    net = b.Network(group)
    net.run(1 * b.ms)
    buffers = b.get_device().rand_buffer_index
    before, buffers[:] = int(buffers[0]), 5  # as compiled code leaves it
    return [float(v) for v in group.v], float(b.rand()), before


if __name__ == "__main__":  # a farm that somebody is going to kill
    from functools import partial

    from farmhand import run_tasks

    path, folder = sys.argv[1:]
    task = partial(wait_at, folder=folder)
    run_tasks(path, task, range(6), gui=False, progress="none", poolsize=1, seed=7)
