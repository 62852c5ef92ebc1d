"""Core alone: what its wheel brings, and a run with the store in memory. Run by `nox -s build`."""

from importlib.metadata import distributions, files, version

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

print(f"farmhand {version('farmhand')} alone: ok")
