"""Core and farmhand-rich with what that needs, nothing else. Run by `nox -s build`."""

import io
import os
from importlib.metadata import distributions, files, version

from rich.console import Console

from farmhand import MemoryStore, run_tasks
from farmhand.progress import FrontendOptions
from farmhand_rich.frontend import RichFrontend


def double(x):
    return 2 * x


installed = {dist.name.lower() for dist in distributions()} - {"pip", "setuptools", "wheel"}
needed = {"farmhand", "farmhand-rich", "pluggy", "dill", "rich", "markdown-it-py", "mdurl", "pygments"}
assert installed == needed, f"it brought {sorted(installed)}"

shipped = {path.name for path in files("farmhand-rich")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

os.environ["TERM"] = "xterm"
screen = io.StringIO()
console = Console(file=screen, force_terminal=True, width=80, height=24)
frontend = RichFrontend(FrontendOptions("double"), console)
summary = run_tasks(MemoryStore(), double, range(20), progress=frontend)
assert summary.done == 20, summary
assert "20 done" in screen.getvalue(), screen.getvalue()

store = MemoryStore()
run_tasks(store, double, range(20), progress="rich")  # by its name, and plain text where nobody looks
assert sorted(store.values()) == [2 * x for x in range(20)]

print(f"farmhand-rich {version('farmhand-rich')} beside core: ok")
