"""Runs in which some items fail, are tried again, or take too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from programs import Program
from programs.chance import ruin


def descend(dimensions: int, most: int) -> float:
    """Minimize Rosenbrock's function from somewhere; another attempt begins elsewhere."""
    start = np.random.default_rng().uniform(-2, 2, dimensions)
    found = minimize(
        lambda x: float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()),
        start,
        method="Nelder-Mead",
        options={"maxiter": most, "maxfev": most, "xatol": 1e-4, "fatol": 1e-4},
    )
    if not found.success:
        raise RuntimeError(found.message)
    return float(found.fun)


def starts() -> Iterable[Any]:
    return [(d, 6000) for d in np.random.default_rng(1).integers(3, 14, 200).tolist()]


PROGRAMS = [
    Program(
        "timeouts",
        "faults",
        "tune",
        "150 gamblers as in ruin with a purse of 1500, who are stopped after 1 s; a new process then "
        "takes the next.",
        ruin,
        lambda: [(1500, 40_000)] * 150,
        {"seed": 2, "timeout": 1.0},
        fails=True,
    ),
    Program(
        "retries",
        "faults",
        "report",
        "200 minimizations in 3 to 13 dimensions that fail after 6000 evaluations, and are tried up to "
        "twice more from "
        "elsewhere.",
        descend,
        starts,
        {"retries": 2},
        fails=True,
    ),
]
