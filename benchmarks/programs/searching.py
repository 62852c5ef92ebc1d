"""Backtracking: nobody knows beforehand how long a search takes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from programs import Program

LIMIT = 10_000_000  # steps


def queens(n: int, seed: int) -> int:
    """Steps until n queens that do not attack each other are placed, rows in order, columns at random."""
    rng = random.Random(seed)
    order = [rng.sample(range(n), n) for _ in range(n)]
    columns, up, down = set(), set(), set()
    placed: list[int] = []
    tried = [0] * n
    steps = row = 0
    while row < n and steps < LIMIT:
        steps += 1
        if tried[row] == n:
            tried[row] = 0
            row -= 1
            column = placed.pop()
            columns.discard(column)
            up.discard(row + column)
            down.discard(row - column)
            continue
        column = order[row][tried[row]]
        tried[row] += 1
        if column not in columns and row + column not in up and row - column not in down:
            columns.add(column)
            up.add(row + column)
            down.add(row - column)
            placed.append(column)
            row += 1
    return steps


def boards() -> Iterable[Any]:
    return [(64, seed) for seed in range(250)]


def sudoku(given: int, seed: int) -> int:
    """Steps to solve a puzzle with so many numbers given, cell after cell."""
    rng = random.Random(seed)
    digits, rows, columns = (rng.sample(range(n), n) for n in (9, 9, 9))
    rows = [3 * band + row for band in rng.sample(range(3), 3) for row in rng.sample(range(3), 3)]
    columns = [3 * band + column for band in rng.sample(range(3), 3) for column in rng.sample(range(3), 3)]
    kept = set(rng.sample(range(81), given))
    in_row, in_column, in_box = [0] * 9, [0] * 9, [0] * 9
    empty = []
    for k in range(81):
        r, c = divmod(k, 9)
        if k in kept:
            bit = 1 << digits[(rows[r] * 3 + rows[r] // 3 + columns[c]) % 9]
            in_row[r] |= bit
            in_column[c] |= bit
            in_box[r // 3 * 3 + c // 3] |= bit
        else:
            empty.append((r, c, r // 3 * 3 + c // 3))
    steps = 0

    def solve(k: int) -> bool:
        nonlocal steps
        steps += 1
        if k == len(empty) or steps > LIMIT // 4:
            return True
        r, c, b = empty[k]
        free = 511 & ~(in_row[r] | in_column[c] | in_box[b])
        while free:
            bit = free & -free
            free ^= bit
            in_row[r] |= bit
            in_column[c] |= bit
            in_box[b] |= bit
            if solve(k + 1):
                return True
            in_row[r] ^= bit
            in_column[c] ^= bit
            in_box[b] ^= bit
        return False

    solve(0)
    return steps


def puzzles() -> Iterable[Any]:
    return [(23, seed) for seed in range(250)]


def tour(towns: int, seed: int) -> float:
    """The shortest tour by branch and bound."""
    rng = random.Random(seed)
    places = [(rng.random(), rng.random()) for _ in range(towns)]
    apart = [[((a - c) ** 2 + (b - d) ** 2) ** 0.5 for c, d in places] for a, b in places]
    nearest = [min(row[:k] + row[k + 1 :]) for k, row in enumerate(apart)]
    order = [sorted(range(towns), key=row.__getitem__)[1:] for row in apart]
    best = 1e9

    def go(town: int, seen: int, length: float, rest: float) -> None:
        nonlocal best
        if seen == (1 << towns) - 1:
            best = min(best, length + apart[town][0])
            return
        for other in order[town]:
            if not seen >> other & 1:
                further = length + apart[town][other]
                if further + rest < best:
                    go(other, seen | 1 << other, further, rest - nearest[other])

    go(0, 1, 0.0, sum(nearest))
    return best


def maps() -> Iterable[Any]:
    return [(13, seed) for seed in range(150)]


PROGRAMS = [
    Program(
        "queens",
        "search",
        "report",
        "64 queens by backtracking with columns in any order, on 250 boards, given up after 10 000 000 "
        "steps: a very "
        "heavy tail.",
        queens,
        boards,
    ),
    Program(
        "sudoku",
        "search",
        "report",
        "250 sudokus with 23 numbers given, solved cell after cell, given up after 2 500 000 steps: a "
        "very heavy tail.",
        sudoku,
        puzzles,
    ),
    Program(
        "tours",
        "search",
        "report",
        "The shortest tour through 13 towns by branch and bound, on 150 maps.",
        tour,
        maps,
    ),
]
