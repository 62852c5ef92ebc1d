"""A task that is a class: what is expensive to make is made once in each process, not once for each item.

A thousand weather stations have measured the temperature. A Gaussian process is fitted to them, which takes
a while, and then predicts a map of the country, row by row. `Emulator` is made once in each process, whose
number it is told; calling it is the task. What it sets as `self.taskname` is shown beside the progress.
"""

import argparse
from time import time

import numpy as np

from farmhand import open_store, run_tasks

NOISE = 0.1  # degrees
SHADES = " .:-=+*#%@"  # cold to warm


def covariance(here, there):
    """Places that are close have nearly the same temperature."""
    squared = ((here[:, None, :] - there[None, :, :]) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * 0.15**2))


class Emulator:
    def __init__(self, stations, process_number):
        self.taskname = f"process {process_number} fits the model"
        rng = np.random.default_rng(seed=1)
        self.places = rng.random((stations, 2))
        x, y = self.places.T
        measured = np.sin(5 * x) + np.cos(7 * y * x) + NOISE * rng.standard_normal(stations)
        self.inverse = np.linalg.inv(covariance(self.places, self.places) + NOISE**2 * np.eye(stations))
        self.weights = self.inverse @ measured
        self.name = (process_number, time())

    def __call__(self, y, columns):
        """The temperature in a row of the map, and the mean of its uncertainty."""
        self.taskname = f"the row at {y:.2f}"
        row = np.column_stack([np.linspace(0, 1, columns), np.full(columns, y)])
        near = covariance(row, self.places)
        variance = 1 - np.einsum("ij,jk,ik->i", near, self.inverse, near, optimize=True)
        return near @ self.weights, np.sqrt(variance.mean()), self.name


parser = argparse.ArgumentParser(description="A map from scattered measurements.")
parser.add_argument("--stations", type=int, default=1000, help="(%(default)s)")
parser.add_argument("--rows", type=int, default=24, help="of the map (%(default)s)")
options = parser.parse_args()

store = open_store(":memory:")
items = [(y, 72) for y in np.linspace(1, 0, options.rows).tolist()]
run_tasks(store, Emulator, items, gui=False, verbose=False, initkwds={"stations": options.stations})

rows, uncertainty, models = zip(*store.values(), strict=True)
temperature = np.array(rows)
shade = (temperature - temperature.min()) / np.ptp(temperature) * (len(SHADES) - 1)
for row in shade.round().astype(int):
    print("".join(SHADES[level] for level in row))
print(f"{options.stations} stations, {len(rows)} rows; uncertainty {np.mean(uncertainty):.2f} degrees")
print(f"models fitted: {len(set(models))}, one in each process that ran")
