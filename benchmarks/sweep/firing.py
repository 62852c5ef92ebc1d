"""What the programs here have in common: the simulations, and what each is given."""

from __future__ import annotations

import os
from typing import Any


def inputs() -> list[float]:
    """Currents."""
    return _spread(1.2, 20, 60)


def taus() -> list[float]:
    """Time constants, in milliseconds."""
    return _spread(1, 15, 16)


def find_rate(k: float) -> float:
    """The firing rate of 2000 neurons with input ``k``; some half a second with numpy."""
    from brian2 import NeuronGroup, SpikeMonitor, ms, prefs, run

    note()
    prefs.codegen.target = "numpy"
    G: Any = NeuronGroup(
        2000,
        "dv/dt = (k - v) / (10*ms) : 1",
        threshold="v > 1",
        reset="v = 0",
        method="exact",
        namespace={"k": k},
    )
    G.v = "rand()"
    M = SpikeMonitor(G)
    run(500 * ms)
    return float(M.num_spikes / len(G) / 0.5)


def note() -> None:
    """Write down that a simulation begins, for whoever counts how many are begun."""
    log = os.environ.get("SWEEP_LOG")
    if log:
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")


def _spread(low: float, high: float, count: int) -> list[float]:
    count = int(os.environ.get("SWEEP_ITEMS", count))
    return [low + (high - low) * k / max(1, count - 1) for k in range(count)]
