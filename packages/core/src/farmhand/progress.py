"""What a frontend is shown: frozen values, the same for the terminal, a window and a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from farmhand.events import Control, ItemError
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

__all__ = [
    "OVER",
    "PREPARING",
    "Detach",
    "Estimate",
    "Failure",
    "Frontend",
    "FrontendOptions",
    "Output",
    "ProcessView",
    "Snapshot",
    "TimeLeft",
]

#: The states of the last snapshot of a run.
OVER = frozenset({"finished", "stopped", "broken"})
#: The phase of an item that has not reported yet, but will: it imports, compiles, reads.
PREPARING = "preparing"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time remaining, in seconds, with its uncertainty.

    ``low`` and ``high`` enclose the truth four times out of five; ``low <= median <= high``.
    """

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """A time remaining in words; false where there is nothing to say.

    Parameters
    ----------
    span : str
        How long: ``'12-20 min'``, ``'5 min to 3 h'``, ``'under 30 s'``, or ``'unknown'``.
    end : str
        When: ``'about 14:35'``, of a wide range the latest time that is likely (``'by 17:30'``), of a
        run that is paused ``'when it goes on'``; or ``''``.
    latest : bool
        ``end`` is such a latest time.
    """

    span: str = ""
    end: str = ""
    latest: bool = False

    def __bool__(self) -> bool:
        return bool(self.span)

    def __str__(self) -> str:
        return f"{self.span}, {self.end}" if self.end else self.span

    @property
    def left(self) -> str:
        """The span within a line: ``'12-20 min left'``."""
        return "time left unknown" if self.span == "unknown" else f"{self.span} left"

    @property
    def whole(self) -> str:
        """All within a line: ``'12-20 min left, about 14:35'``."""
        return f"{self.left}, {self.end}" if self.end else self.left


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process as it is now.

    Parameters
    ----------
    number : int
        From 0 to processes-1; a process that is replaced keeps its number.
    pid : int or None
        The system's number for it, None before it has started, as while it waits for a place.
    state : str
        ``'waiting'`` (for a place, as long as all of a cluster are taken, or there is none), ``'starting'``,
        ``'idle'``, ``'busy'`` or ``'leaving'`` (it is to end, perhaps after the item that it runs).
    index : int or None
        The item that it runs.
    item : str
        That item, in short.
    taskname : str
        What the task calls itself (``taskname``), or ``''``.
    elapsed : float
        Seconds since that item started.
    complete : float or None
        The fraction of that item which is done, as it last reported; None when it does not.
    expected : float or None
        Where it probably is by now, between two reports: what a bar shows.
    remaining : float or None
        Seconds that the item probably still takes, as it reports; of one that does not (``complete`` is
        None, or as good as zero), going by how long others took, which is guessed once. None when nobody
        can say: before anything is known, and when it has outlasted that guess.
    attempts : int
        Which attempt at the item this is, from 1.
    phase : str
        ``'preparing'`` before the first report of an item whose task takes ``report``; then what the part
        is called that it is at: the name of a stage (``report.stage``), ``'run 2'`` of several simulations;
        else ``''``.
    computer : str
        The name of the computer that it is on, and that ``pid`` is a number of; ``''`` for this one.
    """

    number: int
    pid: int | None = None
    state: str = "starting"
    index: int | None = None
    item: str = ""
    taskname: str = ""
    elapsed: float = 0.0
    complete: float | None = None
    expected: float | None = None
    remaining: float | None = None
    attempts: int = 1
    phase: str = ""
    computer: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that has failed for good.

    Parameters
    ----------
    number : int
        Which failure of this run it is, from 1; those between two that are shown went by unseen.
    index : int
        The item.
    error : ItemError
        Why, with the (end of the) traceback.
    item : str
        The item, in short.
    key : str
        Its key in the store, for ``farmhand show STORE KEY``; ``''`` when there is none.
    process : int or None
        The number of the process that it failed in, None when it never got into one.
    attempts : int
        How often it was tried.
    seconds : float
        How long the last attempt took.
    output : str
        What it printed, or the end of that.
    """

    number: int
    index: int
    error: ItemError
    item: str = ""
    key: str = ""
    process: int | None = None
    attempts: int = 1
    seconds: float = 0.0
    output: str = ""

    def __str__(self) -> str:
        return f"item {self.index} failed: {self.error}".partition("\n")[0]


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
        ``'finished'``, ``'stopped'`` or ``'broken'`` (``OVER``).
    store : str
        Where results go.
    run : str
        The run's name in the store; ``''`` before it has one.
    pid : int or None
        The process that called ``run_tasks``.
    reason : str
        Why the run stopped by itself, or what broke it; else ``''``.
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
        Seconds until the end, of what will really run: what ``resume`` will skip is left out. It counts down
        between two estimates. While the run is paused, it is as if it went on now; while it finishes, it is
        what its running items still take. None when nothing can be said: before anything is known, while
        the run is being stopped, and where nobody knows how many items there are. Zero at the very end.
    told : TimeLeft or None
        ``remaining`` in words, which stay for as long as they are nearly true; None where they are to be
        made by who shows them (:class:`farmhand.wording.RemainingWords` knows both).
    cpu : float or None
        The fraction of the CPUs that the run may use which was busy lately, whoever used them;
        None when nobody knows, as of other computers.
    wanted : int
        How many processes the run is to have; while that has just changed, there are others.
    history : tuple of (float, int)
        How many items had ended (done or failed) after how many seconds: at most a few hundred
        points, at about even distances, for a chart; in the last snapshot the last is the end.
    processes : tuple of ProcessView
        One for each process, by number.
    failures : tuple of Failure
        The last hundred of them, the newest last.
    outputs : tuple of Output
        What the items printed that ended since the snapshot before, in that order: the last
        thousand of them, and the last million characters.
    """

    task: str = ""
    state: str = "running"
    store: str = ""
    run: str = ""
    pid: int | None = None
    reason: str = ""
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    elapsed: float = 0.0
    complete: float | None = None
    rate: float = 0.0
    remaining: Estimate | None = None
    told: TimeLeft | None = None
    cpu: float | None = None
    wanted: int = 0
    history: tuple[tuple[float, int], ...] = ()
    processes: tuple[ProcessView, ...] = ()
    failures: tuple[Failure, ...] = ()
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Detach:
    """What a frontend's user asks for who wants to see no more of a run, which goes on."""


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
    watching : bool
        The run is that of another process, at which somebody looks (``farmhand watch``). A
        frontend that its user closes then asks for :class:`Detach`.
    instead : callable or None
        Makes what shows progress where this frontend cannot, such as text where there is no
        display; None where there is nothing else.
    """

    task: str = ""
    verbose: bool = False
    argument: str = ""
    watching: bool = False
    instead: Callable[[], Frontend] | None = None


class Frontend(Protocol):
    """Shows snapshots and may hand back what its user wants.

    All methods are called in the thread that called ``run_tasks``, and should return within
    milliseconds. A frontend that raises is reported once, by name, and dropped; the run goes on.
    """

    def show(self, snapshot: Snapshot) -> None:
        """Draw ``snapshot``; called about ten times a second and once at the very end."""

    def controls(self) -> Iterable[Control | Detach]:
        """What the user asked for since the last call; called after each ``show``.

        After a ``Detach`` the frontend is closed, and not shown anything any more.
        """

    def close(self) -> None:
        """Put everything back as it was (cursor, window); called once, after the last ``show``."""
