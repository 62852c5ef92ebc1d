"""numpy and SciPy: linear algebra, sorting and differential equations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from farmhand import grid
from programs import Program


def eigenvalues(n: int, rng: np.random.Generator) -> float:
    """The largest eigenvalue of a random matrix."""
    return float(np.abs(np.linalg.eigvals(rng.standard_normal((n, n)))).max())


def in_order() -> Iterable[Any]:
    return range(50, 500, 3)


def shuffled() -> Iterable[Any]:
    return np.random.default_rng(1).permutation(np.arange(50, 500, 3)).tolist()


def decreasing() -> Iterable[Any]:
    return np.linspace(1200, 100, 100).astype(int).tolist()


def singular(n: int, rng: np.random.Generator) -> float:
    """The condition of a random matrix."""
    return float(np.linalg.cond(rng.standard_normal((n, n))))


def ordered(count: int, kind: str, rng: np.random.Generator) -> float:
    """The median of so many numbers, sorted by some algorithm."""
    return float(np.sort(rng.random(count), kind=kind)[count // 2])


def sorting() -> Iterable[Any]:
    rng = np.random.default_rng(3)
    counts = 10 ** rng.uniform(5, 6.7, 160)
    return [(int(n), ("quicksort", "heapsort", "stable")[k % 3]) for k, n in enumerate(counts)]


def oscillate(mu: float, method: str) -> int:
    """Van der Pol's oscillator, which is stiff where mu is large; how often its equation was evaluated."""
    solution = solve_ivp(
        lambda t, y: (y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]),
        (0, 3 * mu + 20),
        (2.0, 0.0),
        method,
        rtol=1e-5,
    )
    return int(solution.nfev)


def stiffness() -> Iterable[Any]:
    return grid(mu=np.geomspace(0.1, 200, 40).tolist(), method=["RK45", "DOP853", "LSODA", "Radau"])


PROGRAMS = [
    Program(
        "eigenvalues",
        "numpy",
        "tune",
        "The eigenvalues of 150 random matrices of 50 to 497 rows, in order: a cubic trend.",
        eigenvalues,
        in_order,
        {"seed": 1},
    ),
    Program(
        "eigenvalues-shuffled",
        "numpy",
        "tune",
        "The same matrices in any order.",
        eigenvalues,
        shuffled,
        {"seed": 1},
    ),
    Program(
        "condition",
        "numpy",
        "report",
        "The condition of 100 random matrices of 1200 down to 100 rows: a falling trend.",
        singular,
        decreasing,
        {"seed": 1},
    ),
    Program(
        "sorting",
        "numpy",
        "report",
        "160 arrays of 100 000 to 5 000 000 numbers, sorted by three algorithms in turn.",
        ordered,
        sorting,
        {"seed": 1},
    ),
    Program(
        "stiff",
        "ode",
        "report",
        "Van der Pol's oscillator at 40 values of mu (0.1 to 200) by four methods in turn (RK45, "
        "DOP853, LSODA, "
        "Radau): a trend that differs by kind.",
        oscillate,
        stiffness,
    ),
]
