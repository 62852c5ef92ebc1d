"""What the figures of a run need to know, as values: made from a store's records, or from live snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from farmhand.progress import OVER, Estimate
from farmhand.values import dataclass
from farmhand.wording import TimeLeft

__all__ = ["Course"]


@dataclass(frozen=True, slots=True)
class Course:
    """How one run has gone so far, and where it leads. All times are seconds since it began.

    Parameters
    ----------
    task : str
        The task's name.
    run : str
        The run's name in the store, perhaps only its beginning; ``''`` when it has none.
    state : str
        As a snapshot has it (``'running'``, ``'paused'``, ``'finished'``, ...), or ``'killed'``, or
        ``'unknown'``: it runs, or was killed, on another computer.
    began : float or None
        When it began, in seconds since the epoch; None when nobody knows.
    now : float
        The moment that all this tells of; of a run that is over, its end.
    total : int or None
        How many items there are, skipped ones included; None when nobody knows.
    done, failed, skipped : int
        Items that are done, have failed, and were skipped by ``resume``.
    times : sequence of float
        Ascending: when items had ended ...
    ended : sequence of int
        ... and how many of them, done or failed, by then. A few hundred points will do.
    failures : sequence of float
        When items failed, some of them if there are many.
    remaining : Estimate or None
        The time remaining at ``now``; None when nothing can be said.
    left : TimeLeft
        That in words, as all frontends say it.
    estimates : sequence of (float, Estimate or None)
        Ascending: what the time remaining was thought to be at some moments.
    """

    task: str = ""
    run: str = ""
    state: str = "running"
    began: float | None = None
    now: float = 0.0
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    times: Sequence[float] = ()
    ended: Sequence[int] = ()
    failures: Sequence[float] = ()
    remaining: Estimate | None = None
    left: TimeLeft = TimeLeft()  # it is frozen
    estimates: Sequence[tuple[float, Estimate | None]] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in OVER or self.state == "killed"

    @property
    def is_complete(self) -> bool:
        """Whether it has come to its end, so that the time it took is the true one."""
        return self.state == "finished"
