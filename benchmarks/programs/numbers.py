"""Number theory in plain Python."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from programs import Program


def factors(n: int) -> list[int]:
    """The prime factors of n by trial division."""
    found = []
    for divisor in (2, 3, 5):
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
    divisor, step = 7, 0
    gaps = (4, 2, 4, 2, 4, 6, 2, 6)
    while divisor * divisor <= n:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += gaps[step]
        step = (step + 1) % 8
    return [*found, n] if n > 1 else found


def random_numbers() -> Iterable[Any]:
    rng = random.Random(1)
    return [rng.randrange(10**14, 4 * 10**15) for _ in range(250)]


def collatz(first: int, count: int) -> int:
    """The longest way to 1 of the numbers of a block."""
    longest = 0
    for n in range(first, first + count):
        steps = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        longest = max(longest, steps)
    return longest


def blocks() -> Iterable[Any]:
    return [(1 + k * 10_000, 10_000) for k in range(250)]


PROGRAMS = [
    Program(
        "factors",
        "numbers",
        "tune",
        "250 random numbers of 15 or 16 digits, factored by trial division: a very heavy tail with an end.",
        factors,
        random_numbers,
    ),
    Program(
        "collatz",
        "numbers",
        "tune",
        "The longest way to 1 in each of 250 blocks of 10 000 numbers: nearly even, after a rise.",
        collatz,
        blocks,
    ),
]
