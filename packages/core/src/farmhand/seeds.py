"""Random numbers: each item of a run with a seed has its own, wherever and whenever it runs.

Before an item, everything that draws numbers without being asked for a generator is seeded with the item's
own number: Python's ``random``, NumPy's functions, Brian 2 (whose compiled code draws numbers ahead), and
programs that the task starts, which find the number in their environment.
"""

from __future__ import annotations

import contextlib
import os
import sys

from farmhand import simulators
from farmhand.stdlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["RUN_VARIABLE", "VARIABLE", "item_generator", "item_seed", "refresh", "seeder"]

VARIABLE = "FARMHAND_SEED"  # in the environment, while an item of a run with a seed runs
RUN_VARIABLE = "FARMHAND_RUN_SEED"  # the same, when a class task is made: the run's seed, or nothing
_ROUNDS = 4  # of a Feistel network, which is then as good as a random permutation


def item_seed(seed: int, index: int) -> int:
    """The seed of an item, which depends on nothing else than these.

    Parameters
    ----------
    seed : int
        That of the run, from 0.
    index : int
        Which item of the run, from 0.

    Returns
    -------
    int
        From 0 to 2**32 - 1, as any generator takes it. No two items of a run share one (unless they are four
        thousand million items apart).

    Examples
    --------
    >>> item_seed(7, 0), item_seed(7, 1), item_seed(8, 0)
    (2930287822, 1777733166, 2533583933)
    """
    return _permuted(_key(seed), index)


def _key(seed: int) -> bytes:
    return blake2b(str(seed).encode(), digest_size=32).digest()


def _permuted(key: bytes, index: int) -> int:
    """A permutation of the numbers of 32 bits, so that no two of them become the same."""
    left, right = index >> 16 & 0xFFFF, index & 0xFFFF
    for turn in range(_ROUNDS):
        mixed = blake2b(bytes((turn, right >> 8, right & 0xFF)), digest_size=2, key=key).digest()
        left, right = right, left ^ (mixed[0] << 8 | mixed[1])
    return left << 16 | right


def seeder(seed: int) -> Callable[[int], None]:
    """What seeds this process for an item, given its index.

    NumPy is imported for it, if it is installed: the task may do so only later.
    """
    import random

    key, environment, seed_python = _key(seed), os.environ, random.seed
    seed_numpy: Callable[[int], Any] | None = None
    with contextlib.suppress(ImportError):
        import numpy

        seed_numpy = numpy.random.seed

    def begin(index: int) -> None:
        number = _permuted(key, index)
        environment[VARIABLE] = str(number)
        seed_python(number)
        if seed_numpy is not None:
            seed_numpy(number)
            simulators.forget_random_numbers()

    return begin


def item_generator(seed: int | None, index: int) -> Any:
    """The ``numpy.random.Generator`` of item ``index``: it depends on nothing else than these."""
    import numpy

    return numpy.random.Generator(numpy.random.PCG64(numpy.random.SeedSequence(seed, spawn_key=(index,))))


def refresh() -> None:
    """In a copy of a process: draw other numbers than the original and its other copies do."""
    for name in ("random", "numpy.random"):
        if (module := sys.modules.get(name)) is not None:
            module.seed()
    simulators.forget_random_numbers()
