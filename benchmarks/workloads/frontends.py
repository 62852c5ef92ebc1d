"""Frontends, tiny tasks: what each costs beside a run that nobody is shown, which takes 100 %."""

import sys
from typing import Any

import shown

COUNT = 1_000_000
FULL_COUNT = 10_000_000
ROUNDS = 7  # a few percent are little
FULL_ROUNDS = 11


def square(k: int) -> int:
    return k * k


def none(count: int, path: str) -> int:
    """progress='none'"""
    return shown.run(square, range(count), path, progress="none")


def text(count: int, path: str) -> int:
    """progress='text' on a terminal"""
    with shown.terminal():
        return shown.run(square, range(count), path, progress="text")


def rich(count: int, path: str) -> int:
    """progress='rich' on a terminal"""
    shown.need("farmhand_rich.frontend")
    with shown.terminal():
        return shown.run(square, range(count), path, progress="rich")


def tk(count: int, path: str) -> int:
    """progress='tk', on a display without a screen"""
    return shown.run(square, range(count), path, progress="tk:close")


def warm(count: int, path: str) -> None:
    if sys.argv[1] == "tk":
        shown.need("farmhand_tk.frontend")
        shown.need("tkinter")
        shown.display()


def check(run: Any) -> None:
    assert run.result == run.count, run.result


figures = shown.figures

CONTENDERS = (none, text, rich, tk)
MORE_IS_BETTER = False
BASELINE = none
RATIOS = shown.RATIOS
AIMS = dict.fromkeys((text, rich, tk), "105 %")

if __name__ == "__main__":
    from child import main

    main(globals())
