"""A sweep over two parameters: the results as a table, and as a picture.

Oscillators that pull at each other, each with a frequency of its own, begin to swing together once they pull
hard enough (the model of Kuramoto). How hard is that? Here the coupling K and the spread of the frequencies
are varied over a grid. Theory says that nothing happens below K = 2 * spread, and that above it the order is
sqrt(1 - 2 * spread / K).

    python sweep.py             computes, for some seconds
    python sweep.py             again: everything is stored, so only the picture is drawn anew
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a picture in a file needs no display

import numpy as np
from matplotlib.figure import Figure

from farmhand import grid, open_store, run_tasks


def synchrony(K, spread, oscillators=400, duration=80.0, step=0.05):
    """How far the oscillators agree in the end, from 0 to 1, and how that changes with time."""
    places = (np.arange(oscillators) + 0.5) / oscillators
    frequencies = spread * np.tan(np.pi * (places - 0.5))  # a Lorentz distribution, evenly sampled
    phases = 4 * (np.arange(oscillators) * 0.618034 % 1)  # a little order to begin with
    order = np.empty(round(duration / step))
    for now in range(len(order)):
        mean = np.exp(1j * phases).mean()
        order[now] = abs(mean)
        phases += step * (frequencies + K * abs(mean) * np.sin(np.angle(mean) - phases))
    return {"order": order[len(order) // 2 :].mean(), "trace": order[:: round(1 / step)]}


def theory(K, spread):
    return np.sqrt(np.clip(1 - 2 * spread / K, 0, None))


def draw(data, path):
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    map_, curves = figure.subplots(1, 2)
    data.order.plot(ax=map_, x="K", y="spread", cmap="viridis", vmin=0, vmax=1)
    map_.plot(2 * data.spread, data.spread, color="white", linestyle="dashed", label="theory: K = 2 spread")
    map_.set_xlim(data.K.min(), data.K.max())
    map_.legend(loc="upper left", frameon=False, labelcolor="white")
    line = np.linspace(float(data.K.min()), float(data.K.max()), 500)
    for spread, colour in zip((0.25, 0.5, 1.0), ("tab:blue", "tab:orange", "tab:green"), strict=True):
        curve = data.order.sel(spread=spread, method="nearest")
        here = float(curve.spread)
        curves.plot(curve.K, curve, "o", markersize=4, color=colour, label=f"spread = {here:.2f}")
        curves.plot(line, theory(line, here), color=colour, linewidth=1)
    curves.set(xlabel="K", ylabel="order", ylim=(0, 1), title="points: simulated, lines: theory")
    curves.legend(frameon=False, loc="lower right")
    curves.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


parser = argparse.ArgumentParser(description="Coupled oscillators: a sweep over two parameters.")
parser.add_argument("--results", type=Path, default="sweep.db", help="a file (%(default)s)")
parser.add_argument("--picture", type=Path, default="sweep.png", help="a file (%(default)s)")
parser.add_argument("--points", type=int, default=18, help="values of each parameter (%(default)s)")
options = parser.parse_args()

items = grid(
    K=np.linspace(0.2, 4, options.points).round(3), spread=np.linspace(0.1, 1.2, options.points).round(3)
)
with open_store(options.results) as store:
    summary = run_tasks(store, synchrony, items, gui=False, verbose=False, resume=True)
    frame = store.to_dataframe()
    data = store.to_xarray()

print(frame[["K", "spread", "order"]].to_string(max_rows=8))
draw(data, options.picture)
difference = abs(data.order - theory(data.K, data.spread)).mean()
print(f"Computed {summary.done}, skipped {summary.skipped} that {options.results} had already.")
print(f"Simulation and theory differ by {float(difference):.3f} on average.")
print(f"The picture: {options.picture}")
