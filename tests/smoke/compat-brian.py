"""Core and farmhand-brian with what that needs, nothing else. Run by `nox -s build`."""

from importlib.metadata import distributions, files, version

from brian.tools.datamanager import DataManager
from brian.tools.taskfarm import run_tasks


class Scale:
    def __init__(self, factor, process_number):
        self.factor = factor
        self.taskname = f"process {process_number}"

    def __call__(self, x, report):
        report(0.1, 0.5)
        return self.factor * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
needed = {"farmhand", "farmhand-brian", "farmhand-shelve", "pluggy", "dill"}
assert installed == needed, f"it brought {sorted(installed)}"

shipped = {path.as_posix() for path in files("farmhand-brian")}
wanted = {"brian/py.typed", "brian/tools/taskfarm.py", "farmhand_brian/py.typed"}
assert wanted <= shipped, f"the wheel lacks {sorted(wanted - shipped)}"
assert any(path.endswith("/LICENSE") for path in shipped), "the wheel lacks the licence"

dataman = DataManager("doubles")
assert run_tasks(dataman, Scale, range(20), gui=False, verbose=False, initargs=(2,)) is None
assert sorted(dataman.values()) == [2 * x for x in range(20)]
assert DataManager("doubles").itemcount() == 20

refusal = ""
try:
    from brian import NeuronGroup  # noqa: F401
except ImportError as error:
    refusal = str(error)
assert "from brian2 import *" in refusal, f"it passes for the simulator: {refusal!r}"

import farmhand_brian  # noqa: E402, F401 - without brian2, which is imported when it is needed

print(f"farmhand-brian {version('farmhand-brian')} beside core: ok")
