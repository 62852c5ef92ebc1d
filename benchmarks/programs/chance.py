"""Monte Carlo: chance decides how long it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from programs import Program


def throw_until(close: float, rng: np.random.Generator) -> int:
    """How many darts it takes until they say what pi is, so closely."""
    thrown = hit = 0
    while thrown < 60_000_000:
        x, y = rng.random((2, 20_000))
        hit += int(np.count_nonzero(x * x + y * y < 1))
        thrown += len(x)
        if thrown >= 200_000 and abs(4 * hit / thrown - np.pi) < close:
            break
    return thrown


def find_target(radius: float, rng: np.random.Generator) -> int:
    """How many steps a random walker in a square needs to find a small target in it."""
    place = rng.random(2)
    for turn in range(3_000):
        path = place + np.cumsum(rng.normal(0, 0.001, (20_000, 2)), axis=0)
        folded = 1 - np.abs(1 - path % 2)  # walls reflect
        near = ((folded - 0.3) ** 2).sum(axis=1) < radius**2
        if near.any():
            return turn * 20_000 + int(near.argmax())
        place = path[-1]
    return -1


def ruin(start: int, most: int, rng: np.random.Generator) -> int:
    """How many fair bets until a gambler has lost all, or has won as much as there is."""
    purse, bets = start, 0
    while True:
        path = purse + np.cumsum(2 * rng.integers(0, 2, 100_000) - 1)
        ended = (path <= 0) | (path >= most)
        if ended.any():
            return bets + int(ended.argmax())
        purse, bets = int(path[-1]), bets + 100_000


def decide(effect: float, rng: np.random.Generator) -> int:
    """How many samples a sequential test needs to tell whether there is an effect."""
    evidence, samples = 0.0, 0
    while samples < 80_000_000:
        x = rng.normal(effect, 1, 20_000)
        path = evidence + np.cumsum(0.002 * x - 0.002**2 / 2)
        decided = np.abs(path) > 7
        if decided.any():
            return samples + int(decided.argmax())
        evidence, samples = float(path[-1]), samples + len(x)
    return samples


def effects() -> Iterable[Any]:
    return np.random.default_rng(1).choice([0.0, 0.001, 0.002, 0.003], 240).tolist()


STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def avoid_itself(length: int, rng: np.random.Generator) -> int:
    """How many walks are begun until one of that length never crosses itself."""
    begun = 0
    while True:
        begun += 1
        turns = rng.integers(-1, 2, length).tolist()
        x = y = heading = 0
        seen = {(0, 0)}
        for turn in turns:
            heading = (heading + turn) % 4
            x, y = x + STEPS[heading][0], y + STEPS[heading][1]
            if (x, y) in seen:
                break
            seen.add((x, y))
        else:
            return begun


def lengths() -> Iterable[Any]:
    return [40 + k // 4 for k in range(200)]


def grow(clusters: int, rng: np.random.Generator) -> int:
    """Clusters of a percolation near the critical point, grown from their seeds; the size of the largest."""
    largest = 0
    for _ in range(clusters):
        chance = iter(())
        seen = {(0, 0)}
        border = [(0, 0)]
        size = 0
        while border and size < 400_000:
            x, y = border.pop()
            size += 1
            for dx, dy in STEPS:
                place = (x + dx, y + dy)
                if place not in seen:
                    seen.add(place)
                    draw = next(chance, None)
                    if draw is None:
                        chance = iter(rng.random(1000).tolist())
                        draw = next(chance)
                    if draw < 0.58:
                        border.append(place)
        largest = max(largest, size)
    return largest


def accept(dimensions: int, wanted: int, rng: np.random.Generator) -> int:
    """Points of a ball, drawn from the cube around it until there are enough."""
    accepted = drawn = 0
    while accepted < wanted:
        points = rng.uniform(-1, 1, (5_000, dimensions))
        accepted += int(np.count_nonzero((points**2).sum(axis=1) < 1))
        drawn += len(points)
    return drawn


def dimensions() -> Iterable[Any]:
    return [(d, 20) for d in np.random.default_rng(4).permutation(np.repeat(np.arange(9, 17), 25)).tolist()]


PROGRAMS = [
    Program(
        "pi",
        "monte-carlo",
        "tune",
        "Darts until they give pi to 3e-5, 300 times: chance says when, with a heavy tail.",
        throw_until,
        lambda: [3e-5] * 300,
        {"seed": 1},
    ),
    Program(
        "first-passage",
        "monte-carlo",
        "tune",
        "The steps of 250 random walkers in a square until they find a target: exponential waiting times.",
        find_target,
        lambda: [0.005] * 250,
        {"seed": 1},
    ),
    Program(
        "ruin",
        "monte-carlo",
        "tune",
        "The fair bets of 200 gamblers from a purse of 1000 until it is empty or 15 000: a very heavy tail.",
        ruin,
        lambda: [(1000, 15_000)] * 200,
        {"seed": 1},
    ),
    Program(
        "sequential-tests",
        "monte-carlo",
        "tune",
        "240 sequential tests whether samples have a mean of 0 or 0.002, where it is 0 to 0.003.",
        decide,
        effects,
        {"seed": 1},
    ),
    Program(
        "self-avoiding",
        "lattices",
        "report",
        "Attempts until a random walk of 40 to 89 steps, in order, never crosses itself, 200 times: "
        "chance on top "
        "of an exponential trend.",
        avoid_itself,
        lengths,
        {"seed": 1},
    ),
    Program(
        "percolation",
        "lattices",
        "report",
        "250 times five clusters of a percolation just below the critical point: sizes follow a power law up "
        "to some ten thousand sites.",
        grow,
        lambda: [5] * 250,
        {"seed": 1},
    ),
    Program(
        "rejection",
        "rejection",
        "report",
        "20 points of a ball in 9 to 16 dimensions by rejection, 25 times each, in any order: eight kinds.",
        accept,
        dimensions,
        {"seed": 1},
    ),
]
