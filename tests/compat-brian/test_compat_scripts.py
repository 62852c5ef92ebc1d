"""Scripts of 2011, run as scripts: only their simulations are replaced."""

import dbm.dumb
import os
import shelve
import subprocess
import sys
from math import ceil, log
from pathlib import Path

import pytest

from farmhand import open_store
from waiting import DEADLINE

EXAMPLE = Path(__file__).parents[2] / "examples" / "brian1_rates.py"

# As people wrote them, with Euler's method by hand where the simulation was.
SCRIPT = '''
import sys
from brian.tools.datamanager import *
from brian.tools.taskfarm import *


class FindThreshold(object):
    """Made once in each process."""

    def __init__(self, tau, dt=0.1, process_number=0):
        self.tau, self.dt = tau, dt
        self.taskname = 'process number %d' % process_number

    def __call__(self, current, noise, report):
        V, spikes, steps = 0.0, 0, 2000
        for i in range(steps):
            V += self.dt * (current - V) / self.tau
            if V > 1:
                V, spikes = 0.0, spikes + 1
            if i % 100 == 0:
                report(i * 0.001, i / float(steps))
        return current, spikes


if __name__ == '__main__':
    dataman = DataManager('thresholds/first')
    items = [(0.5 + 0.1 * i, 0.0) for i in range(20)]
    if dataman.itemcount() < len(items):
        run_tasks(dataman, FindThreshold, items[dataman.itemcount():], gui=False, poolsize=2,
                  initargs=(10.0,), initkwds={'dt': 0.2}, verbose=False)
    session = dataman.computer_session()
    session['threshold'] = min(I for I, n in dataman.get_flat_matching(lambda key: key != 'threshold') if n)
    session.close()
    sys.stdout.write('%d stored, threshold %.1f\\n' % (dataman.itemcount(), session['threshold']))
'''


def run(folder, *command, **environment):
    """What a script prints, started in ``folder``."""
    ran = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if "DISPLAY" not in k}, **environment},
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_a_script_of_that_time_runs_and_the_second_time_has_nothing_to_do(tmp_path):
    """Guard, class, tuples, folders in the name, what is written by hand between the results: all of it."""
    (tmp_path / "thresholds.py").write_text(SCRIPT)
    first = run(tmp_path, "thresholds.py")
    assert first[-2:] == ["Finished.", "21 stored, threshold 1.1"]
    assert first[-3].startswith("Overall, 20 done of 20: 100% complete")
    assert run(tmp_path, "thresholds.py") == ["21 stored, threshold 1.1"]


def test_results_that_brian_1_has_left_count_and_new_ones_come_beside_them(tmp_path):
    """The folder of a script of 2011 opens by its name, and its script goes on where it was."""
    folder = tmp_path / "thresholds" / "first.data"
    folder.mkdir(parents=True)
    with shelve.Shelf(dbm.dumb.open(str(folder / "user.host")), protocol=2) as shelf:
        for n in range(15):
            shelf[f"4f6c4d9e-{n}"] = (0.5 + 0.1 * n, int(n > 5))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    (tmp_path / "thresholds.py").write_text(SCRIPT)
    printed = run(tmp_path, "thresholds.py")
    assert printed[0].startswith("Overall, 0 done of 5")
    assert printed[-1] == "21 stored, threshold 1.1"
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.timeout(300)
def test_the_example_of_the_manual_runs_and_finds_what_theory_predicts(tmp_path, brian2_settings):
    """A spike each tau * log(k / (k - 1)), up to the next step; and what is stored is not computed again."""
    settings = {"MPLBACKEND": "Agg", **brian2_settings}
    assert run(tmp_path, EXAMPLE, 0.1, **settings)[-1] == "Finished."
    with open_store(tmp_path / "taskfarmexample.data") as store:
        first = store.values()
    assert len(first) == 20
    for k, rate in first:
        assert 1 <= k <= 20
        steps = ceil(0.010 * log(k / (k - 1)) / 0.0001)
        assert rate == pytest.approx(1 / (steps * 0.0001), abs=10)  # of whole spikes in a tenth of a second

    assert run(tmp_path, EXAMPLE, 0.1, **settings) == []
    with open_store(tmp_path / "taskfarmexample.data") as store:
        assert store.values() == first


@pytest.fixture
def brian2_settings(tmp_path):
    """A home folder in whose preferences Brian 2 is told to compile nothing."""
    pytest.importorskip("brian2", reason="the example simulates with Brian 2")
    pytest.importorskip("matplotlib", reason="the example plots")
    home = tmp_path / "home"
    (home / ".brian").mkdir(parents=True)
    (home / ".brian" / "user_preferences").write_text("codegen.target = 'numpy'\n")
    return {"HOME": str(home)}
