"""farmhand's processes on a Dask cluster: this module only says so, ``farmhand_dask.executor`` does it."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import UsageError, hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.hookspecs import MakeExecutor
    from farmhand_dask.executor import DaskExecutor

__all__ = ["DaskExecutor", "farmhand_executors", "make_executor"]


def make_executor(cluster: Any = "") -> DaskExecutor:
    """What runs processes on a cluster: an address, a ``Client``, a cluster object; ``''`` for one here."""
    try:
        from farmhand_dask.executor import DaskExecutor  # only once it is wanted
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("farmhand"):
            raise
        text = f"executor: Dask is not complete here ({error}); `pip install farmhand-dask` brings it"
        raise UsageError(text) from error
    return DaskExecutor(cluster or None)


@hookimpl
def farmhand_executors() -> Mapping[str, MakeExecutor]:
    """The executor ``'dask'``, and what can be given as ``executor=`` itself."""
    return {
        "dask": make_executor,
        "distributed.client.Client": make_executor,
        "distributed.deploy.cluster.Cluster": make_executor,
    }


def __getattr__(name: str) -> object:
    if name == "DaskExecutor":
        from farmhand_dask.executor import DaskExecutor

        return DaskExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
