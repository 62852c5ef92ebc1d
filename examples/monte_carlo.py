"""A Monte Carlo estimate with an error bar: the same for any number of processes.

How likely is a new mutation with a small advantage to take over a whole population? Most are lost by chance
in their first generations. Here batches of populations are simulated (in the model of Wright and Fisher) and
counted, and the result is compared with Kimura's formula.

A task that takes `rng` is given random numbers that depend on the seed and on the place of its item among the
items, and on nothing else. So this prints the same digits with --processes 1 and with --processes 8.
"""

import argparse
from math import exp

import numpy as np

from farmhand import open_store, run_tasks

INDIVIDUALS = 200
ADVANTAGE = 0.02


def count_fixed(populations, rng):
    """In how many of the populations one mutant came to have only descendants of its own around it."""
    mutants = np.ones(populations, dtype=int)
    fixed = 0
    while len(mutants):
        share = mutants * (1 + ADVANTAGE) / (INDIVIDUALS + mutants * ADVANTAGE)
        mutants = rng.binomial(INDIVIDUALS, share)  # the next generation
        fixed += np.count_nonzero(mutants == INDIVIDUALS)
        mutants = mutants[(mutants > 0) & (mutants < INDIVIDUALS)]
    return fixed


parser = argparse.ArgumentParser(description="The fixation probability of a mutation.")
parser.add_argument("--batches", type=int, default=200, help="(%(default)s)")
parser.add_argument("--populations", type=int, default=20_000, help="in each batch (%(default)s)")
parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
parser.add_argument("--processes", type=int, default=0, help="0 is one for each CPU (%(default)s)")
options = parser.parse_args()

store = open_store(":memory:")
batches = [options.populations] * options.batches
run_tasks(
    store, count_fixed, batches, gui=False, verbose=False, poolsize=options.processes, seed=options.seed
)

fractions = np.array(store.values()) / options.populations
estimate, error = fractions.mean(), fractions.std(ddof=1) / np.sqrt(len(fractions))
kimura = (1 - exp(-2 * ADVANTAGE)) / (1 - exp(-2 * ADVANTAGE * INDIVIDUALS))
print(
    f"A mutant with an advantage of {ADVANTAGE:.0%} takes over a population of {INDIVIDUALS} with probability"
)
print(f"  {estimate:.5f} ± {error:.5f}   in {options.batches * options.populations} simulated populations")
print(f"  {kimura:.5f}             by Kimura's formula, an approximation for weak selection")
