"""Sweeps of Brian 2 simulations: C++ standalone mode under farmhand.

In the runtime mode (numpy, Cython) nothing of this is needed: a task that takes ``report`` passes it on,
``run(duration, report=report)``. In C++ standalone mode there are three ways:

- :func:`standalone`, where each item has another model: it is built and run for each item;
- :class:`StandaloneTask`, where one model is run with many parameters: it is built once;
- :func:`standalone_report`, the progress alone, for those who do everything else by hand.
"""

from __future__ import annotations

from farmhand_brian.errors import CompilationFailed, SimulationFailed
from farmhand_brian.standalone import standalone, standalone_report
from farmhand_brian.task import StandaloneTask

__all__ = ["CompilationFailed", "SimulationFailed", "StandaloneTask", "standalone", "standalone_report"]
