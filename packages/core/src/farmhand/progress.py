"""What a frontend is shown: frozen values, the same for the terminal, a window and a plot."""

from __future__ import annotations

from collections.abc import Iterable

from farmhand.events import Control
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

__all__ = ["Estimate", "Frontend", "FrontendOptions", "Output", "ProcessView", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time remaining, in seconds, with its uncertainty.

    ``low`` and ``high`` enclose the truth four times out of five; ``low <= median <= high``.
    """

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process as it is now.

    Parameters
    ----------
    number : int
        From 0 to processes-1; a process that is replaced keeps its number.
    pid : int or None
        The system's number for it, None before it has started.
    state : str
        ``'starting'``, ``'idle'`` or ``'busy'``.
    index : int or None
        The item that it runs.
    item : str
        That item, in short.
    taskname : str
        What the task calls itself (``taskname``), or ``''``.
    elapsed : float
        Seconds since that item started.
    complete : float or None
        The fraction of that item which is done, None when the task does not report.
    """

    number: int
    pid: int | None = None
    state: str = "starting"
    index: int | None = None
    item: str = ""
    taskname: str = ""
    elapsed: float = 0.0
    complete: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What an item printed, shown once it has ended."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole run as it is now.

    Parameters
    ----------
    task : str
        The task's name.
    state : str
        ``'running'``, ``'paused'``, ``'finishing'``, ``'stopping'``, or at the very end
        ``'finished'``, ``'stopped'`` or ``'broken'``.
    total : int or None
        How many items there are, skipped ones included; None when nobody knows.
    done, failed, skipped : int
        Items that are stored as done, stored as failed, and skipped by ``resume``.
    elapsed : float
        Seconds since the run began.
    complete : float or None
        The fraction of the items that has ended or was skipped, the running ones counted by
        what they report; None when the total is unknown.
    rate : float
        Items that ended in one second, over the whole run.
    remaining : Estimate or None
        Seconds until the end; None when nothing can be said.
    processes : tuple of ProcessView
        One for each process, by number.
    failures : tuple of str
        The last few failures, one line each, the newest last.
    outputs : tuple of Output
        What the items printed that ended since the snapshot before, in that order: the last
        thousand of them, and the last million characters.
    """

    task: str = ""
    state: str = "running"
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    elapsed: float = 0.0
    complete: float | None = None
    rate: float = 0.0
    remaining: Estimate | None = None
    processes: tuple[ProcessView, ...] = ()
    failures: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class FrontendOptions:
    """What a frontend is made with.

    Parameters
    ----------
    task : str
        The task's name.
    verbose : bool
        Print every progress message, as Brian did.
    argument : str
        What followed the colon in ``progress='plot:eta.png'``, else ``''``.
    """

    task: str = ""
    verbose: bool = False
    argument: str = ""


class Frontend(Protocol):
    """Shows snapshots and may hand back what its user wants.

    All methods are called in the thread that called ``run_tasks``, and should return within
    milliseconds. A frontend that raises is reported once, by name, and dropped; the run goes on.
    """

    def show(self, snapshot: Snapshot) -> None:
        """Draw ``snapshot``; called about ten times a second and once at the very end."""

    def controls(self) -> Iterable[Control]:
        """What the user asked for since the last call; called after each ``show``."""

    def close(self) -> None:
        """Put everything back as it was (cursor, window); called once, after the last ``show``."""
