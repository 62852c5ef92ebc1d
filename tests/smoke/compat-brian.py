"""Core and farmhand-brian with what that needs, nothing else. Run by `nox -s build`."""

from importlib.metadata import distributions, files, version

from brian.tools.datamanager import DataManager
from brian.tools.taskfarm import run_tasks


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
needed = {"farmhand", "farmhand-brian", "farmhand-shelve", "pluggy", "dill"}
assert installed == needed, f"it brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand-brian")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

dataman = DataManager("doubles")
assert run_tasks(dataman, double, range(20), gui=False, verbose=False) is None
assert sorted(dataman.values()) == [2 * x for x in range(20)]

print(f"farmhand-brian {version('farmhand-brian')} beside core: ok")
