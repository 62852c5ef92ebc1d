"""Core alone: what its wheel brings, and a run with the store in memory. Run by `nox -s build`."""

import subprocess
import sys
from importlib.metadata import distributions, files, version
from pathlib import Path

from farmhand import open_store, run_tasks


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
assert installed == {"farmhand", "pluggy", "dill"}, f"core alone brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

with open_store(":memory:") as store:
    summary = run_tasks(store, double, range(20), gui=False, progress="none")
    assert summary.done == 20, summary
    assert sorted(store.values()) == [2 * x for x in range(20)]

for command in ([sys.executable, "-m", "farmhand"], [Path(sys.executable).with_name("farmhand")]):
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"farmhand {version('farmhand')}\n", said

print(f"farmhand {version('farmhand')} alone: ok")
