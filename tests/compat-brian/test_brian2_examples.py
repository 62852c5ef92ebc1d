"""The programs in examples/brian2 do what they say, run as a user would run them, and once more."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from farmhand import open_store

pytest.importorskip("Cython", reason="Brian 2 compiles with it")
pytest.importorskip("matplotlib", reason="the examples draw")
pytestmark = [
    pytest.mark.brian,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler"),
]

EXAMPLES = Path(__file__).parents[2] / "examples" / "brian2"
STEP = 0.1  # ms, of all simulations


@pytest.fixture
def example(tmp_path):
    """Runs an example; gives how many items it has computed and skipped."""
    environment = {**os.environ, "CYTHON_CACHE_DIR": str(tmp_path / "cython"), "MPLBACKEND": "Agg"}

    def run(name):
        ran = subprocess.run(
            [sys.executable, EXAMPLES / name],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=280,
        )
        assert ran.returncode == 0, ran.stderr
        picture = re.search(r"\S+\.png", ran.stdout)[0]
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        (tmp_path / picture).unlink()
        return tuple(map(int, re.search(r"Computed (\d+), skipped (\d+)", ran.stdout).groups()))

    return run


def pairs(store):
    with open_store(store) as opened:
        return opened.pairs()


@pytest.mark.parametrize(
    ("name", "store", "decay"),
    [
        ("01_cython.py", "cython.db", lambda t, tau: np.exp(-t / tau)),
        ("02_standalone.py", "standalone.db", lambda t, tau: (1 - STEP / tau) ** (t / STEP)),  # Euler
    ],
)
def test_the_voltages_decay_as_theory_says_and_the_second_run_computes_nothing(
    example, tmp_path, name, store, decay
):
    """With Cython, and as C++ programs: the same curves, the second to the error of Euler's method."""
    from brian2 import ms

    assert example(name) == (10, 0)
    results = pairs(tmp_path / store)
    assert sorted(tau / ms for tau, _ in results) == pytest.approx(range(5, 15))
    for tau, (t, v) in results:
        assert t == pytest.approx(np.arange(0, 100, STEP))
        assert v == pytest.approx(decay(t, tau / ms), abs=1e-9)

    assert example(name) == (0, 10)


def test_the_neuron_fires_as_often_as_in_a_simulation_by_hand(example, tmp_path):
    """One program for all time constants, each of which reaches it."""
    from brian2 import Hz, ms

    assert example("03_build_once.py") == (15, 0)
    results = sorted(pairs(tmp_path / "build-once.db"))
    assert [tau / ms for tau, _ in results] == pytest.approx(range(1, 16))
    rates = np.array([rate / Hz for _, rate in results])
    assert rates[:3].max() < 5 < 30 < rates[-3:].min()
    expected, spread = firing_by_hand(np.arange(1, 16), trials=50)
    assert abs(rates.sum() - expected) < 5 * spread

    assert example("03_build_once.py") == (0, 15)


def firing_by_hand(taus, trials):
    """The number of spikes in a second, of neurons with all these time constants: its mean and deviation."""
    rng = np.random.default_rng(1)
    v, spikes = np.zeros((2, trials, len(taus)))
    for _ in range(round(1000 / STEP)):
        v *= 1 - STEP / taus
        fires = v > 1
        v += 0.1 * rng.binomial(100, 10 * STEP / 1000, v.shape)  # of 100 inputs with 10 Hz
        v[fires] = 0
        spikes += fires
    total = spikes.sum(axis=1)
    return total.mean(), total.std()


def test_no_brian_example_needs_a_main_guard():
    """With Pool and joblib each of them needs one."""
    programs = sorted(EXAMPLES.glob("*.py"))
    assert len(programs) == 3
    for program in programs:
        assert "__main__" not in program.read_text(encoding="utf-8")
