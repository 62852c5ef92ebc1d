"""Core and the store of shelves, nothing else. Run by `nox -s build`."""

import os
import tempfile
from importlib.metadata import distributions, files, version

from farmhand import open_store, run_tasks


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
assert installed == {"farmhand", "farmhand-shelve", "pluggy", "dill"}, f"it brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand-shelve")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    with open_store("x.data") as store:
        summary = run_tasks(store, double, range(20), gui=False, progress="none")
        assert summary.done == 20, summary
    with open_store("x.data") as store:  # another opening of the same folder
        assert sorted(store.values()) == [2 * x for x in range(20)]
    os.chdir(os.path.dirname(folder))

print(f"farmhand-shelve {version('farmhand-shelve')} beside core: ok")
