"""Random numbers of an item in compiled simulations, which draw thousands of numbers ahead."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from waiting import DEADLINE

pytestmark = pytest.mark.brian


def test_cythons_random_numbers_depend_on_the_item_alone(tmp_path):
    """Two processes, one process, and by hand with the seed of the record: the same spikes to the last digit.

    Items draw different amounts, so that what one has drawn ahead would show in the next.
    """
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from brian2 import *
        from farmhand import open_store, run_tasks

        prefs.codegen.target = "cython"
        prefs.codegen.runtime.cython.cache_dir = "cache"

        def task(steps):
            start_scope()
            G = NeuronGroup(3, "dv/dt = (rand() - v)/ms + xi/sqrt(ms) : 1", method="euler", name="drawing")
            net = Network(G)
            net.run(steps*defaultclock.dt)
            return [float(v) for v in G.v], float(rand())

        def farm(poolsize):
            with open_store(":memory:") as store:
                run_tasks(store, task, [1, 3, 2, 4], gui=False, progress="none", poolsize=poolsize, seed=7)
                return {record.index: (store[record.key], record.seed) for record in store.records()}

        one = farm(1)
        steps = [1, 3, 2, 4]
        by_hand = {}
        for index in (2, 0, 3, 1):
            seed(one[index][1])
            by_hand[index] = task(steps[index]), one[index][1]
        print(one == farm(2), one == by_hand, len({str(value) for value, _ in one.values()}))
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=4 * DEADLINE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True True 4"
