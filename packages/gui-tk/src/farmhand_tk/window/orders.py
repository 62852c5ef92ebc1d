"""What the user has asked for, and whether the farm has followed; pure."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand.events import Control, Finish, Pause, Resize, Resume, Stop
from farmhand.progress import OVER, Snapshot
from farmhand.wording import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Run(Protocol):
        """What takes orders: a RemoteRun."""

        answers: dict[Any, Mapping[str, Any]]

        def ask(self, control: Control) -> int:
            """Ask the farm to do something."""


__all__ = ["Orders"]


class Orders:
    """The orders that the farm has not answered yet, by what they are.

    Parameters
    ----------
    run : RemoteRun
        What takes them.

    Attributes
    ----------
    error : str
        Why the last order was not followed; ``''`` when it was.
    wanted : int or None
        The number of processes that was asked for and is not there yet.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: dict[type[Control], int] = {}
        self.error = ""
        self.wanted: int | None = None

    def ask(self, control: Control) -> None:
        """Ask the farm to do something."""
        self.error = ""
        if isinstance(control, Resize):
            self.wanted = control.processes
        self._waiting[type(control)] = self._run.ask(control)

    def is_waiting(self, kind: type[Control]) -> bool:
        """Whether the farm has been asked for this and has not answered."""
        return kind in self._waiting

    def look(self) -> None:
        """Take the answers that have come."""
        for kind, number in list(self._waiting.items()):
            answer = self._run.answers.get(number)
            if answer is not None:
                del self._waiting[kind]
                if kind is Resize:
                    self.wanted = None
                if "error" in answer:
                    self.error = printable(str(answer["error"]))
        self._run.answers.clear()

    def forget(self) -> None:
        """Nobody will answer any more, or it is another run."""
        self._waiting.clear()
        self.error = ""
        self.wanted = None

    def label(self, kind: type[Control], snapshot: Snapshot | None) -> str:
        """What the button for an order says."""
        waiting = kind in self._waiting
        state = snapshot.state if snapshot is not None else ""
        if kind is Pause or kind is Resume:
            if Pause in self._waiting:
                return "Pausing..."
            if Resume in self._waiting:
                return "Resuming..."
            return "Resume" if state == "paused" else "Pause"
        if kind is Finish:
            return "Finishing..." if waiting or state == "finishing" else "Finish running items"
        return "Terminating..." if waiting or state == "stopping" else "Terminate..."

    def is_possible(self, kind: type[Control], snapshot: Snapshot | None, connected: bool) -> bool:
        """Whether an order would be followed now."""
        if snapshot is None or not connected or snapshot.state in OVER or snapshot.state == "stopping":
            return False
        if Stop in self._waiting:
            return False
        if kind is Pause or kind is Resume:
            return snapshot.state != "finishing" and not {Pause, Resume} & self._waiting.keys()
        if kind is Finish:
            return snapshot.state != "finishing" and Finish not in self._waiting
        if kind is Resize:
            return snapshot.state != "finishing"
        return True
