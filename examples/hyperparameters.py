"""A cross-validated search for hyper-parameters that can be stopped, resumed and extended.

Which C and gamma make a support vector machine read handwritten digits best? Each item is one pair of them.
Results are kept in a file, so that a second run computes only what the first did not: interrupt it, or ask
for a finer grid with --grid 9, and nothing is computed twice.

The data set that the task refers to travels to each process once, like everything else that it uses.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from farmhand import call, open_store, run_tasks

images, digits = load_digits(return_X_y=True)


def accuracy(C, gamma):
    """The accuracy in each of five folds, on images that the classifier was not trained on."""
    return cross_val_score(SVC(C=C, gamma=gamma), images / 16, digits, cv=5)


parser = argparse.ArgumentParser(description="A cross-validated sweep over C and gamma.")
parser.add_argument("--results", type=Path, default="hyperparameters.db", help="a file (%(default)s)")
parser.add_argument("--grid", type=int, default=5, help="values of C, and of gamma (%(default)s)")
options = parser.parse_args()

# Grids of 3, 5, 9, 17, ... values contain each other.
items = [
    call(C=float(C), gamma=float(gamma))
    for C in np.logspace(-1, 3, options.grid)
    for gamma in np.logspace(-3, 1, options.grid)
]

with open_store(options.results) as store:
    summary = run_tasks(store, accuracy, items, gui=False, verbose=False, resume=True)
    results = store.pairs()

print(f"Computed {summary.done}, skipped {summary.skipped} that {options.results} had already. The best:\n")
print("         C       gamma    accuracy")
results.sort(key=lambda pair: pair[1].mean(), reverse=True)
for item, scores in results[:5]:
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    print(f"{item.kwds['C']:10.4g}{item.kwds['gamma']:12.4g}    {scores.mean():.1%} ± {error:.1%}")
