"""Getting to a Dask cluster, and who is there: the caller's side."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand.values import dataclass, field

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """One Dask worker, as its scheduler knows it.

    Parameters
    ----------
    address : str
        Where it listens, which is also what identifies it.
    name : str
        What whoever started it calls it; often a number.
    host : str
        The computer's address.
    threads : int
        How many tasks it runs at once.
    resources : mapping of str to float
        What it was said to have, for tasks that need it (``--resources "GPU=2"``).
    memory_limit : int
        Bytes that it may use; 0: no limit.
    nanny : bool
        Whether a nanny watches it, and starts it again when it dies.
    status : str
        ``'running'``; or, for example, ``'paused'`` (it begins no task), ``'closing_gracefully'``.
    """

    address: str
    name: str = ""
    host: str = ""
    threads: int = 1
    resources: Mapping[str, float] = field(default_factory=dict)
    memory_limit: int = 0
    nanny: bool = False
    status: str = "running"
