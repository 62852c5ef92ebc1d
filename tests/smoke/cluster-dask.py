"""Core and farmhand-dask with what that needs, nothing else. Run by `nox -s build`."""

import sys
from importlib.metadata import distributions, files, version

import farmhand
from farmhand import MemoryStore, run_tasks


def double(x):
    return 2 * x


installed = {dist.name.lower().replace("_", "-") for dist in distributions()} - {"pip", "setuptools", "wheel"}
needed = {"farmhand", "farmhand-dask", "pluggy", "dill", "dask", "distributed"}
needed |= {
    "click",
    "cloudpickle",
    "fsspec",
    "jinja2",
    "locket",
    "markupsafe",
    "msgpack",
    "packaging",
    "partd",
}
needed |= {"psutil", "pyyaml", "sortedcontainers", "tblib", "toolz", "tornado", "zict"}
if sys.version_info < (3, 12):
    needed |= {"importlib-metadata", "lazy-importer", "zipp"}
assert installed == needed, f"it brought {sorted(installed ^ needed)}, or did not"

shipped = {path.name for path in files("farmhand-dask")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

run_tasks(MemoryStore(), double, range(2), gui=False, progress="none")
assert "distributed" not in sys.modules, "Dask is imported where nobody asked for it"

store = MemoryStore()
summary = run_tasks(store, double, range(20), gui=False, progress="none", executor="dask")
assert summary.done == 20, summary
assert sorted(store.values()) == [2 * x for x in range(20)]

print(f"farmhand-dask {version('farmhand-dask')} beside core {farmhand.__version__}: ok")
