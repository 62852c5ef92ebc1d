"""Progress and capture, tiny tasks: what either costs beside a run that has neither, which takes 100 %."""

from typing import Any

import shown

COUNT = 200_000
FULL_COUNT = 1_000_000
ROUNDS = 5
FULL_ROUNDS = 11  # a few percent are little


def square(k: int) -> int:
    return k * k


def neither(count: int, path: str) -> int:
    """progress='none', capture=0"""
    return shown.run(square, range(count), path, progress="none", capture=0)


def capture(count: int, path: str) -> int:
    """progress='none', capture as by default"""
    return shown.run(square, range(count), path, progress="none")


def text(count: int, path: str) -> int:
    """progress='text' into a pipe, capture=0"""
    return shown.run(square, range(count), path, progress="text", capture=0)


def terminal(count: int, path: str) -> int:
    """progress='text' on a terminal, capture=0"""
    with shown.terminal():
        return shown.run(square, range(count), path, progress="text", capture=0)


def check(run: Any) -> None:
    assert run.result == run.count, run.result


figures = shown.figures

CONTENDERS = (neither, capture, text, terminal)
MORE_IS_BETTER = False
BASELINE = neither
RATIOS = shown.RATIOS
AIMS = dict.fromkeys((capture, text, terminal), "103 %")

if __name__ == "__main__":
    from child import main

    main(globals())
