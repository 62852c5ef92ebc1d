"""Progress and capture, tasks of 5 ms: what either costs beside a run that has neither, which takes 100 %."""

from typing import Any

import shown
import work

COUNT = 400
FULL_COUNT = 4_000
ROUNDS = 5
EACH = 5  # ms


def neither(count: int, path: str, per_ms: int) -> int:
    """progress='none', capture=0"""
    return shown.run(work.spin, [EACH * per_ms] * count, path, progress="none", capture=0)


def capture(count: int, path: str, per_ms: int) -> int:
    """progress='none', capture as by default"""
    return shown.run(work.spin, [EACH * per_ms] * count, path, progress="none")


def terminal(count: int, path: str, per_ms: int) -> int:
    """progress='text' on a terminal, capture=0"""
    with shown.terminal():
        return shown.run(work.spin, [EACH * per_ms] * count, path, progress="text", capture=0)


def prepare(count: int) -> int:
    return work.calibrate()


def check(run: Any) -> None:
    assert run.result == run.count, run.result


figures = shown.figures

CONTENDERS = (neither, capture, terminal)
MORE_IS_BETTER = False
BASELINE = neither
RATIOS = shown.RATIOS
AIMS = dict.fromkeys((capture, terminal), "103 %")

if __name__ == "__main__":
    from child import main

    main(globals())
