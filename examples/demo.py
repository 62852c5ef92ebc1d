"""The firing rate of a neuron, simulated by Brian 2 on every CPU you have.

A leaky integrate-and-fire neuron is driven with a constant input k > 1. How often does it fire? Theory says
1 / (tau * log(k / (k - 1))). Here a few hundred values of k are simulated, and the two are compared in a
table and in a picture.

    python demo.py              computes, for about a minute
    python demo.py              again: everything is stored, so nothing is computed
    kill it half-way, in any way you like, and run it again: the rest is computed, and nothing twice
    python demo.py --gui        in a window
    farmhand watch demo-results/rates.db            looks at it from another terminal
    python demo.py --executor dask:tcp://HOST:8786  on the workers of a Dask cluster
"""

import argparse
import shlex
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from farmhand import open_store, run_tasks

TAU = 0.010  # seconds: how fast the neuron forgets
STEP = 0.00001  # seconds: the time step of the simulation


def find_rate(k, neurons, duration, report, rng):
    """The firing rate in Hz of neurons with input k, counted for some seconds. This runs in the workers."""
    from brian2 import NeuronGroup, SpikeMonitor, defaultclock, prefs, run, second, start_scope

    prefs.codegen.target = "numpy"  # needs no compiler
    start_scope()
    defaultclock.dt = STEP * second
    G = NeuronGroup(neurons, "dV/dt = (k-V)/(10*ms) : 1", reset="V=0", threshold="V>1", method="exact")
    G.namespace["k"] = k
    G.V = k * (1 - (1 - 1 / k) ** rng.random(neurons))  # each neuron starts at some point of its cycle
    M = SpikeMonitor(G)
    run(duration * second, report=report)
    return M.num_spikes / neurons / duration


def theory(k):
    return 1 / (TAU * np.log(k / (k - 1)))


def print_table(k, rate):
    print("\n       k      values   measured       theory   difference")
    edges = [1, 1.5, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    for low, high in pairwise(edges):
        here = (low <= k) & (k < high)
        if here.any():
            measured, expected = rate[here].mean(), theory(k[here]).mean()
            print(
                f"{low:4} to {high:<4}{here.sum():7}{measured:10.1f} Hz{expected:10.1f} Hz"
                f"{measured / expected - 1:z11.1%}"
            )
    print("Fast neurons lag a little behind: a simulated spike has to wait for the next time step.\n")


def draw(k, rate, path):
    figure = Figure(figsize=(7, 6), layout="constrained")
    curve, difference = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    points = {"color": "tab:red", "marker": "o", "s": 14, "alpha": 0.6, "linewidths": 0}
    line = np.linspace(1.0001, 20, 2000)
    formula = r"theory: $1\,/\,(\tau\,\log\frac{k}{k-1})$"
    curve.plot(line, theory(line), color="black", linewidth=1, label=formula)
    curve.scatter(k, rate, label="simulated", **points)
    curve.set(ylabel="firing rate (Hz)", ylim=(0, 2000))
    curve.set_title(f"How often a leaky integrate-and-fire neuron fires: {len(k)} simulations")
    curve.legend(frameon=False, loc="upper left")
    late = 1 / (1 + STEP * theory(line)) - 1
    difference.fill_between(line, 100 * late, 0, color="0.9", linewidth=0, label="at most one time step late")
    difference.scatter(k, 100 * (rate / theory(k) - 1), **points)
    difference.axhline(0, color="black", linewidth=1)
    difference.set(xlabel="input k (in units of the threshold)", ylabel="difference (%)", xlim=(0, 20.3))
    difference.set_xticks([1, 5, 10, 15, 20])
    difference.legend(frameon=False, loc="lower left")
    for axes in (curve, difference):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


parser = argparse.ArgumentParser(description="The firing-rate curve of a neuron, on all CPUs.")
parser.add_argument("--results", type=Path, default="demo-results", metavar="DIR", help="(%(default)s)")
parser.add_argument("--items", type=int, default=300, help="how many values of k (%(default)s)")
parser.add_argument("--neurons", type=int, default=1000, help="for each value of k (%(default)s)")
parser.add_argument("--duration", type=float, default=0.04, help="simulated seconds (%(default)s)")
parser.add_argument("--gui", action="store_true", help="show a window (needs farmhand-tk and a display)")
parser.add_argument(
    "--executor", default="local", help="where processes run: dask, dask:ADDRESS (%(default)s)"
)
parser.add_argument("--processes", type=int, default=0, help="0 is one for each CPU (%(default)s)")
options = parser.parse_args()
if find_spec("brian2") is None:
    sys.exit("This demo simulates neurons with Brian 2. Install it: pip install brian2")

# What a result depends on is in its item, so that a run with other settings never takes it for its own. The
# same values in every run: more --items only adds to them.
values = np.random.default_rng(seed=1).uniform(1, 20, options.items)
items = [(k, options.neurons, options.duration) for k in values.tolist()]

options.results.mkdir(parents=True, exist_ok=True)
database = options.results / "rates.db"
picture = options.results / "firing-rates.png"
print(f"The firing rate of {options.neurons} neurons in {options.duration:g} s, at {len(items)} inputs k.")
print(f"Each result goes to {database} at once: stop this whenever you like, and run it again.", flush=True)

with open_store(database) as store:
    try:
        summary = run_tasks(
            store,
            find_rate,
            items,
            gui=options.gui,
            verbose=False,
            poolsize=options.processes,
            executor=options.executor,
            resume=True,
            seed=1,
        )
    except KeyboardInterrupt:
        sys.exit(f"Stopped. {len(store)} results are stored; run it again for the rest.")
    if summary.stopped:  # from the window, or from another terminal
        sys.exit(f"Stopped. {len(store)} results are stored; run it again for the rest.")
    stored = store.pairs()
    lost = sum(record.error.kind == "lost" for record in store.retried())
rates = dict(stored)

k, rate = values, np.array([rates[item] for item in items])
print_table(k, rate)
draw(k, rate, picture)
if lost:
    print(f"{lost} simulation{'s' * (lost > 1)} ran again, since the Dask worker there was lost.")
print(f"{len(stored)} results are stored, {len(stored) - len(rates) or 'none'} of them twice.")
print(f"Computed {summary.done}, skipped {summary.skipped} that {database} had already. The curve: {picture}")
print(f"Run it again, and nothing is computed twice: {shlex.join(['python', *sys.argv])}")
