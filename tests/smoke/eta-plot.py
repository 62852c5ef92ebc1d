"""Core and farmhand-plot with what that needs, nothing else. Run by `nox -s build`."""

import os
import sys
from importlib.metadata import distributions, files, version

from farmhand import MemoryStore, run_tasks
from farmhand_plot import KINDS, plot


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
needed = {"farmhand", "farmhand-plot", "pluggy", "dill", "matplotlib", "numpy", "tzdata", "python-dateutil"}
needed |= {"contourpy", "cycler", "fonttools", "kiwisolver", "packaging", "pillow", "pyparsing"}
assert installed == needed, f"it brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand-plot")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

store = MemoryStore()
summary = run_tasks(store, double, range(20), progress="none")
assert summary.done == 20, summary
for kind in KINDS:
    for ending in ("png", "svg", "pdf"):
        name = f"double-{kind}.{ending}"
        plot(store, kind).savefig(name)
        assert os.path.getsize(name) > 1000, name
assert "matplotlib.pyplot" not in sys.modules
assert "tkinter" not in sys.modules

print(f"farmhand-plot {version('farmhand-plot')} beside core: ok")
