"""Brian 2: networks of spiking neurons. It is imported by the first item of each process, as in the demo."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from programs import Course, Program


def find_rate(k: float, neurons: int, duration: float, report: Any, rng: np.random.Generator) -> Any:
    """The task of examples/demo.py."""
    from brian2 import NeuronGroup, SpikeMonitor, defaultclock, ms, prefs, run, second, start_scope

    course = Course(report)
    prefs.codegen.target = "numpy"
    start_scope()
    defaultclock.dt = 0.00001 * second
    G = NeuronGroup(neurons, "dV/dt = (k-V)/(10*ms) : 1", reset="V=0", threshold="V>1", method="exact")
    G.namespace["k"] = k
    G.V = k * (1 - (1 - 1 / k) ** rng.random(neurons))
    M = SpikeMonitor(G)
    run(duration * second, report=course, report_period=50 * ms)
    assert M.num_spikes > 0
    return course.points


def inputs() -> Iterable[Any]:
    return [(float(k), 1000, 0.04) for k in np.random.default_rng(1).uniform(1, 20, 200)]


def balanced(neurons: int, probability: float, seconds: float, report: Any) -> Any:
    """A random network of neurons that excite and inhibit each other."""
    from brian2 import NeuronGroup, SpikeMonitor, Synapses, ms, prefs, run, second, start_scope
    from brian2 import seed as set_seed

    course = Course(report)
    prefs.codegen.target = "numpy"
    start_scope()
    set_seed(1)
    equations = """dv/dt = (ge + gi - (v + 49*mV)) / (20*ms) : volt (unless refractory)
                   dge/dt = -ge / (5*ms) : volt
                   dgi/dt = -gi / (10*ms) : volt"""
    P = NeuronGroup(
        neurons, equations, threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * ms, method="exact"
    )
    P.v = "-60*mV + rand()*10*mV"
    excite = Synapses(P[: neurons * 4 // 5], P, on_pre="ge += 1.62*mV")
    inhibit = Synapses(P[neurons * 4 // 5 :], P, on_pre="gi -= 9*mV")
    excite.connect(p=probability)
    inhibit.connect(p=probability)
    M = SpikeMonitor(P)
    run(seconds * second, report=course, report_period=50 * ms)
    assert M.num_spikes > 0
    return course.points


def sizes() -> Iterable[Any]:
    return [(round(n), 0.02, 0.05) for n in np.geomspace(200, 9_000, 80)]


MODELS = {
    "integrate-and-fire": ("dv/dt = (I - v)/(10*ms) : 1", "v > 1", "v = 0", "exact"),
    "quadratic": ("dv/dt = (v*v + I)/(10*ms) : 1", "v > 10", "v = -10", "euler"),
    "exponential": ("dv/dt = (exp(v - 1) - v + I)/(10*ms) : 1", "v > 5", "v = 0", "rk4"),
    "adapting": (
        "dv/dt = (I - v - w)/(10*ms) : 1\ndw/dt = (0.2*v - w)/(100*ms) : 1",
        "v > 1",
        "v = 0; w += 0.1",
        "rk4",
    ),
}


def compiled(model: str, current: float, neurons: int, folder: str, report: Any) -> Any:
    """A model neuron with an input current; Brian compiles its equations the first time it sees them."""
    from brian2 import NeuronGroup, SpikeMonitor, ms, prefs, run, second, start_scope

    course = Course(report)
    prefs.codegen.target = "cython"
    prefs.codegen.runtime.cython.cache_dir = str(Path(folder).resolve())
    start_scope()
    equations, threshold, reset, method = MODELS[model]
    G = NeuronGroup(neurons, equations + "\nI : 1", threshold=threshold, reset=reset, method=method)
    G.I = f"{current} * (0.9 + 0.2*rand())"
    M = SpikeMonitor(G)
    run(1 * second, report=course, report_period=50 * ms)
    assert M.num_spikes >= 0
    return course.points


def models() -> Iterable[Any]:
    # the recorder runs it in an empty folder: there is no compiled code of an earlier run
    return [(model, i, 2000, "compiled") for model in MODELS for i in np.linspace(1.1, 6, 30).tolist()]


PROGRAMS = [
    Program(
        "brian2-rates",
        "brian2",
        "tune",
        "The firing rate of 1000 neurons in 0.04 s at 200 random inputs k, as in examples/demo.py "
        "(numpy target).",
        find_rate,
        inputs,
        reports=True,
    ),
    Program(
        "brian2-sizes",
        "brian2",
        "tune",
        "A balanced random network of 200 to 9000 neurons, in order, for 0.05 s (numpy target): a trend.",
        balanced,
        sizes,
        reports=True,
    ),
    Program(
        "brian2-compiled",
        "brian2",
        "report",
        "2000 neurons of four models in turn, each at 30 currents, for 1 s (Cython target, nothing compiled "
        "before): the first items of each model compile it.",
        compiled,
        models,
        reports=True,
    ),
]
