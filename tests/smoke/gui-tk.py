"""Core and the window, nothing else, where there is no display. Run by `nox -s build`."""

import os
import warnings
from importlib.metadata import distributions, files, version

from farmhand import MemoryStore, run_tasks


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
assert installed == {"farmhand", "farmhand-tk", "pluggy", "dill"}, f"it brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand-tk")}
assert {"py.typed", "LICENSE", "__main__.py", "app.py"} <= shipped, f"the wheel has only {sorted(shipped)}"

os.environ.pop("DISPLAY", None)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    summary = run_tasks(MemoryStore(), double, range(20))  # gui=True, which is the window
assert summary.done == 20, summary
[warning] = caught
assert "the window cannot open: " in str(warning.message), warning

print(f"farmhand-tk {version('farmhand-tk')} beside core: ok")
