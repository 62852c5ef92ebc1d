"""Run one task over many items on all CPUs, and store every result as it finishes.

>>> from farmhand import open_store, run_tasks
>>> def square(k):
...     return k * k
>>> store = open_store(":memory:")
>>> summary = run_tasks(store, square, range(5), gui=False, progress="none")
>>> store.values()
[0, 1, 4, 9, 16]
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.errors import (
        FarmhandError,
        PluginError,
        ProcessesKeepDying,
        SetupError,
        StoppedEarly,
        StoreError,
        TaskNotPicklable,
        TasksFailed,
        UnknownName,
        UsageError,
    )
    from farmhand.events import ItemError, Usage
    from farmhand.exports import export
    from farmhand.farm import RunSummary, run_tasks
    from farmhand.hookspecs import hookimpl
    from farmhand.memory import MemoryStore
    from farmhand.plugins import open_store
    from farmhand.report import Report
    from farmhand.scratch import scratch_directory
    from farmhand.store import DataManager, Record, Result, RunInfo
    from farmhand.sweeps import Grid, Sample, grid, sample
    from farmhand.task import Call, call

__version__ = "0.1.0"

# Where each public name lives. A worker imports farmhand for a handful of modules alone, and a
# script that only reads a store starts no farm, so that nothing is imported before it is used.
_HOMES = {
    "Call": "task",
    "DataManager": "store",
    "FarmhandError": "errors",
    "Grid": "sweeps",
    "ItemError": "events",
    "MemoryStore": "memory",
    "PluginError": "errors",
    "ProcessesKeepDying": "errors",
    "Record": "store",
    "Report": "report",
    "Result": "store",
    "RunInfo": "store",
    "RunSummary": "farm",
    "Sample": "sweeps",
    "SetupError": "errors",
    "StoppedEarly": "errors",
    "StoreError": "errors",
    "TaskNotPicklable": "errors",
    "TasksFailed": "errors",
    "UnknownName": "errors",
    "Usage": "events",
    "UsageError": "errors",
    "call": "task",
    "export": "exports",
    "grid": "sweeps",
    "hookimpl": "hookspecs",
    "open_store": "plugins",
    "run_tasks": "farm",
    "sample": "sweeps",
    "scratch_directory": "scratch",
}

__all__ = [
    "Call",
    "DataManager",
    "FarmhandError",
    "Grid",
    "ItemError",
    "MemoryStore",
    "PluginError",
    "ProcessesKeepDying",
    "Record",
    "Report",
    "Result",
    "RunInfo",
    "RunSummary",
    "Sample",
    "SetupError",
    "StoppedEarly",
    "StoreError",
    "TaskNotPicklable",
    "TasksFailed",
    "UnknownName",
    "Usage",
    "UsageError",
    "call",
    "export",
    "grid",
    "hookimpl",
    "open_store",
    "run_tasks",
    "sample",
    "scratch_directory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
