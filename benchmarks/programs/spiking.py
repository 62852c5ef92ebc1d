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


def channels(neurons: int, seconds: float, report: Any) -> Any:
    """Neurons of Hodgkin and Huxley, whose channels open and close with the voltage."""
    from brian2 import NeuronGroup, defaultclock, ms, prefs, run, second, start_scope

    course = Course(report)
    prefs.codegen.target = "numpy"
    start_scope()
    defaultclock.dt = 0.00005 * second
    equations = """
        dv/dt = (I - 36*n**4*(v + 77) - 120*m**3*h*(v - 50) - 0.3*(v + 54.4)) / ms : 1
        dm/dt = (0.1*(v + 40)/(1 - exp(-(v + 40)/10))*(1 - m) - 4*exp(-(v + 65)/18)*m) / ms : 1
        dn/dt = (0.01*(v + 55)/(1 - exp(-(v + 55)/10))*(1 - n) - 0.125*exp(-(v + 65)/80)*n) / ms : 1
        dh/dt = (0.07*exp(-(v + 65)/20)*(1 - h) - h/(1 + exp(-(v + 35)/10))) / ms : 1
        I : 1
    """
    G = NeuronGroup(neurons, equations, method="exponential_euler")
    G.v, G.n, G.m, G.h = -64.9, 0.3, 0.05, 0.6
    G.I = "20*i/N"
    run(seconds * second, report=course, report_period=50 * ms)
    assert -100 < G.v[0] < 100
    return course.points


def sizes() -> Iterable[Any]:
    return [(n, 0.005) for n in range(1_000, 81_000, 1_000)]


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
        "1000 to 80 000 neurons of Hodgkin and Huxley, in order, for 5 ms (numpy target): a linear trend.",
        channels,
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
