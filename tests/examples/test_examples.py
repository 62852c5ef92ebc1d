"""The programs in examples/ do what they say, run as a user would run them."""

import os
import re
import subprocess
import sys
from math import log
from pathlib import Path

import psutil
import pytest

from farmhand import open_store
from waiting import wait_until

pytest.importorskip("numpy", reason="the examples compute with numpy")

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL_DEMO = ("--neurons", "20", "--duration", "0.02", "--processes", "2")

pytestmark = pytest.mark.timeout(300)


def command(example, *arguments):
    return [sys.executable, str(EXAMPLES / example), *map(str, arguments)]


def run(folder, example, *arguments):
    """What the example prints to stdout, started in ``folder``."""
    ran = subprocess.run(
        command(example, *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=250,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def pairs(database):
    with open_store(database) as store:
        return store.pairs()


def counts(printed):
    """How many items an example says that it has computed and skipped."""
    computed, skipped = re.search(r"Computed (\d+), skipped (\d+)", printed).groups()
    return int(computed), int(skipped)


def processes_in(folder):
    """Everything alive that was started in ``folder``: a program, its workers, and what these started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                found.append(process)
        except (psutil.Error, OSError):  # it has ended meanwhile, or is somebody else's
            pass
    return found


# -- the demo --------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path):
    pytest.importorskip("brian2", reason="the demo simulates neurons with Brian 2")
    pytest.importorskip("matplotlib", reason="the demo draws a curve with matplotlib")

    def run_demo(*arguments):
        return run(tmp_path, "demo.py", *SMALL_DEMO, *arguments)

    return run_demo


def test_the_demo_computes_every_value_and_the_second_time_none(demo, tmp_path):
    database = tmp_path / "demo-results" / "rates.db"

    first = demo("--items", 10)
    assert counts(first) == (10, 0)
    before = pairs(database)
    assert len(before) == 10

    second = demo("--items", 10)
    assert counts(second) == (0, 10)
    assert pairs(database) == before


def test_the_demo_finds_the_rates_that_theory_predicts(demo, tmp_path):
    printed = demo("--items", 10, "--results", "elsewhere")

    for (k, _neurons, duration), rate in pairs(tmp_path / "elsewhere" / "rates.db"):
        theory = 1 / (0.010 * log(k / (k - 1)))
        assert rate == pytest.approx(theory, rel=0.02, abs=0.5 / duration)
    assert re.search(r"\d to \d+ +\d+ +[\d.]+ Hz +[\d.]+ Hz +-?[\d.]+%", printed)
    assert (tmp_path / "elsewhere" / "firing-rates.png").read_bytes().startswith(b"\x89PNG")


def test_more_values_are_added_to_the_demo_and_other_settings_are_not_mixed_up(demo):
    demo("--items", 4)
    assert counts(demo("--items", 6)) == (2, 4)
    assert counts(demo("--items", 6, "--neurons", 10)) == (6, 0)


def test_the_demo_killed_half_way_computes_the_rest_and_nothing_twice(demo, tmp_path):
    items, enough = 40, 5
    database = tmp_path / "demo-results" / "rates.db"
    program = subprocess.Popen(
        command("demo.py", *SMALL_DEMO, "--items", items),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(database.exists)
        with open_store(database) as store:
            wait_until(lambda: len(store) >= enough)
        assert len(processes_in(tmp_path)) >= 3  # the demo and its two workers
    finally:
        program.kill()
        program.wait()

    wait_until(lambda: not processes_in(tmp_path), seconds=5)
    stored = len(pairs(database))
    assert enough <= stored < items

    assert counts(demo("--items", items)) == (items - stored, stored)
    assert not processes_in(tmp_path)
    resumed = pairs(database)
    assert len(resumed) == items

    demo("--items", items, "--results", "undisturbed")
    assert sorted(resumed) == sorted(pairs(tmp_path / "undisturbed" / "rates.db"))


# -- the others ------------------------------------------------------------------------------------


def test_the_monte_carlo_prints_the_same_digits_for_any_number_of_processes(tmp_path):
    small = ("--batches", 12, "--populations", 3000)
    one = run(tmp_path, "monte_carlo.py", *small, "--processes", 1)
    three = run(tmp_path, "monte_carlo.py", *small, "--processes", 3)
    other_seed = run(tmp_path, "monte_carlo.py", *small, "--seed", 2)

    assert one == three != other_seed
    estimate, error = map(float, re.search(r"([\d.]+) ± ([\d.]+)", one).groups())
    assert 0 < error < 0.003
    assert estimate == pytest.approx(0.039, abs=5 * error)


def test_the_sweep_prints_the_best_and_a_finer_grid_reuses_the_coarse_one(tmp_path):
    pytest.importorskip("sklearn", reason="the sweep is over a classifier of scikit-learn")

    assert counts(run(tmp_path, "hyperparameters.py", "--grid", 2)) == (4, 0)
    printed = run(tmp_path, "hyperparameters.py", "--grid", 3)
    assert counts(printed) == (5, 4)

    results = [(item.kwds, scores.mean()) for item, scores in pairs(tmp_path / "hyperparameters.db")]
    best, accuracy = max(results, key=lambda result: result[1])
    first_row = printed.splitlines()[3].split()
    assert (float(first_row[0]), float(first_row[1])) == (best["C"], best["gamma"])
    assert first_row[2] == f"{accuracy:.1%}"
    assert accuracy > 0.9


def test_the_sweep_over_two_parameters_draws_what_theory_predicts_and_resumes(tmp_path):
    for package in ("matplotlib", "pandas", "xarray"):
        pytest.importorskip(package, reason="the sweep shows its results as a table and as a picture")

    printed = run(tmp_path, "sweep.py", "--points", 4)
    assert counts(printed) == (16, 0)
    assert float(re.search(r"differ by ([\d.]+)", printed).group(1)) < 0.05
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert counts(run(tmp_path, "sweep.py", "--points", 4)) == (0, 16)


def test_the_class_task_fits_its_model_once_in_each_process(tmp_path):
    printed = run(tmp_path, "class_task.py", "--stations", 200, "--rows", 30).splitlines()

    assert [len(line) for line in printed[:30]] == [72] * 30
    models = int(re.search(r"models fitted: (\d+)", printed[-1]).group(1))
    assert 1 <= models <= (os.cpu_count() or 1)


def test_no_example_needs_a_main_guard():
    programs = sorted({*EXAMPLES.glob("*.py")} - {EXAMPLES / "brian1_rates.py"})  # which has one, as in 2011
    assert len(programs) == 5
    for program in programs:
        assert "__main__" not in program.read_text(encoding="utf-8")
