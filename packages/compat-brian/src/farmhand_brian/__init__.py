"""Sweeps of Brian 2 simulations: C++ standalone mode under farmhand.

In the runtime mode (numpy, Cython) nothing of this is needed: a task that takes ``report`` passes it on,
``run(duration, report=report)``.
"""

from __future__ import annotations

__all__: list[str] = []
