"""Core and farmhand-dask with what that needs, nothing else. Run by `nox -s build`."""

from importlib.metadata import files, version

shipped = {path.name for path in files("farmhand-dask")}
assert {"py.typed", "LICENSE"} <= shipped, f"the wheel has only {sorted(shipped)}"

print(f"farmhand-dask {version('farmhand-dask')} beside core: ok")
