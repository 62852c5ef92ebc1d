"""What an executor promises: processes by number, blocks of items in, events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from farmhand.chunking import GATHER
from farmhand.events import ExecutorEvent
from farmhand.spool import Spool
from farmhand.task import Task
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

__all__ = ["Executor", "Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that an executor must know about the run.

    Parameters
    ----------
    task : Task
        The task itself, for an executor that shares this process's memory (fork).
    ship : callable
        Returns the task as bytes for :func:`farmhand.shipping.receive`; raises
        ``TaskNotPicklable``. An executor that needs them calls it in ``open``.
    processes : int
        How many processes the run begins with.
    timeout : float or None
        Seconds that one item may run.
    start_method : str
        ``'spawn'`` or ``'fork'``; only the local executor knows the difference.
    memory_limit : int or None
        Bytes that one process, with all it started, may have in use.
    capture : int
        How much of what an item prints is kept, in bytes: its end. With 0 nothing is captured,
        and tasks print to where this process prints.
    spool : Spool or None
        Where a process puts large results itself; where it cannot, they come like all others.
    path : sequence of str
        Where processes look for modules beside where this process does: after all of that.
    argv : sequence of str, optional
        Their ``sys.argv``; by default that of this process.
    gather : float
        Seconds for which a process keeps results of short items, to send them together.
    """

    task: Task
    ship: Callable[[], bytes]
    processes: int
    timeout: float | None = None
    start_method: str = "spawn"
    memory_limit: int | None = None
    capture: int = 64 * 1024
    spool: Spool | None = None
    path: Sequence[str] = ()
    argv: Sequence[str] | None = None
    gather: float = GATHER


class Executor(Protocol):
    """Runs a task in processes. All methods but ``wake`` are called in one thread.

    Numbers are the farm's: from 0 to processes-1. The same number may be started again once
    its ``ProcessDied`` was handed out. What is sent to a number that is not alive is dropped:
    its ``ProcessDied`` says everything. An executor never raises because a process died.
    """

    def room(self) -> int:
        """For how many processes there is room now; called once, before all others.

        When that changes later, ``RoomChanged`` says so.
        """

    def open(self, job: Job) -> None:
        """Get ready to run ``job``; called once, before any process is started.

        Errors here end the call of ``run_tasks`` before any process has started.
        """

    def start(self, number: int) -> None:
        """Begin to start process ``number``.

        Followed by ``ProcessStarted`` and ``ProcessReady``, or by ``SetupFailed``, or by
        ``ProcessDied``.
        """

    def send(self, number: int, indices: Sequence[int], payload: bytes, run: Sequence[int]) -> None:
        """Give process ``number`` a block of items.

        Its ``payload`` holds the items ``indices``, of which it is to run those in ``run``.
        """

    def define(self, definitions: bytes) -> None:
        """Let every process, and every later one, load further names of ``__main__``.

        They do so before the blocks that are sent after this.
        """

    def limit(self, timeout: float) -> None:
        """From now on an item may run for ``timeout`` seconds; those that run now as well."""

    def recall(self, number: int, everything: bool) -> None:
        """Ask for items that ``number`` has not begun: all of them, or about half of them.

        Of half, a process that is on no item keeps at least one. Always followed by one
        ``ItemsReturned`` (perhaps empty), unless the process dies.
        """

    def stop(self, number: int) -> None:
        """Ask ``number`` to hand over what it has finished and to leave at once.

        Even in the middle of an item. Followed by ``ProcessDied``.
        """

    def kill(self, number: int) -> None:
        """Kill ``number`` and all that it started. Followed by ``ProcessDied``."""

    def wait(self, timeout: float | None) -> list[ExecutorEvent]:
        """All that has happened since the last call, in the order in which it happened.

        Waits up to ``timeout`` seconds (None: for ever) when nothing has.
        """

    def wake(self) -> None:
        """Make the current, or the next, ``wait`` return at once.

        Safe in a signal handler and in any thread.
        """

    def current(self, number: int) -> tuple[int, float] | None:
        """The item that ``number`` is running and for how many seconds, as far as is known."""

    def close(self) -> None:
        """Kill what is still alive, and release everything; safe to call twice."""
