"""Simulations for which Brian 2 compiles Cython modules; imported by the processes of a farm."""

from __future__ import annotations

from typing import Any


def decay(tau: float, cache: str) -> float:
    """What is left after 1 ms of a quantity that decays with ``tau`` milliseconds; one module is compiled."""
    from brian2 import Network, NeuronGroup, ms, prefs

    prefs.codegen.target = "cython"
    prefs.codegen.runtime.cython.cache_dir = cache
    group: Any = NeuronGroup(1, "dv/dt = -v / tau : 1", namespace={"tau": tau * ms}, method="exact")
    group.v[:] = 1  # by numpy: a string would be compiled
    Network(group).run(1 * ms)
    return float(group.v[0])
