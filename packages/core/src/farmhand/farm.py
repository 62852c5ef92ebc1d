"""``run_tasks`` and its loop: the one place where the scheduler's commands have effects.

The loop: wait for events, take all there are, let the scheduler decide, send new work; as soon as no
more come, store what ended in one transaction; and ten times a second show a snapshot.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from farmhand import arguments, codec, owner, provenance
from farmhand.control import ControlServer
from farmhand.errors import TasksFailed, UsageError
from farmhand.events import (
    Command,
    Control,
    Event,
    ExecutorEvent,
    Finished,
    ItemRejected,
    ItemsEnded,
    ItemsRead,
    ItemsUnreadable,
    KillProcess,
    LimitItems,
    MemoryLow,
    ReadItems,
    RecallItems,
    RecordDone,
    RecordFailed,
    Resize,
    RoomChanged,
    SendItems,
    StartProcess,
    Stop,
    StopProcess,
    Tick,
)
from farmhand.executor import Executor, Job
from farmhand.feed import Feed, Identity, Ledger, Reading, text_block
from farmhand.interrupts import Interrupts
from farmhand.monitor import Display, Monitor
from farmhand.plugins import Plugins
from farmhand.progress import Frontend, Snapshot
from farmhand.provenance import Checkout
from farmhand.replay import earlier_runs
from farmhand.resources import MemoryWatch
from farmhand.resume import done_before
from farmhand.scheduler import Scheduler
from farmhand.shipping import Shipper
from farmhand.store import (
    Block,
    DataManager,
    Record,
    RunInfo,
    Session,
    Turn,
    computer_name,
    record_of,
    records_of,
)
from farmhand.task import Task
from farmhand.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["RunSummary", "run_tasks"]

_SNAPSHOT_INTERVAL = 0.1  # seconds
_SNAPSHOT_REST = 4  # so many times as long as showing one took, before the next: at most a fifth of the time
# Storing has the disk write, for which processes that are about to ask for work should not wait.
_QUIET = 0.001  # seconds without an event after which what has ended is stored,
_TURN = 0.01  # and at the latest after so many, but
_REST = 4  # not before so many times as long has passed as storing took last time,
_MOST_REST = 0.1  # or so many seconds
_SLEEP = 10.0  # seconds that a wait may take longer than it should before something else is the reason
_KEPT_FAILURES = 100  # in the summary; the store has them all
_KEPT_BAGGAGE = 1 << 20  # bytes of what processes are sent; data that a task brings may be much larger
_DETAILS = 30  # lines of a traceback or an output in the text of TasksFailed
_START_METHODS = ("spawn", "fork")
_ERRORS = ("raise", "collect")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run went.

    Parameters
    ----------
    run : str
        The run's name in the store; ``''`` when every item was skipped.
    done, failed, skipped : int
        Items that are stored as done, stored as failed, and that the store had already.
    stopped : bool
        Whether it was stopped before all items had been run.
    reason : str
        Why it stopped by itself: ``'max_failures=10 is reached'``, ...; else ``''``.
    elapsed : float
        Seconds.
    failures : tuple of Record
        The first hundred failures; the store has them all.
    kinds : mapping of str to int
        How many items failed in which way: ``{'raised': 3, 'timeout': 1}``.
    """

    run: str
    done: int
    failed: int
    skipped: int
    stopped: bool
    elapsed: float
    failures: tuple[Record, ...] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


def run_tasks(
    dataman: DataManager | str | os.PathLike[str],
    task: Callable[..., Any],
    items: Iterable[Any],
    gui: bool | Literal["stay", "close", "wait"] = True,
    poolsize: int = 0,
    initargs: Sequence[Any] | None = None,
    initkwds: Mapping[str, Any] | None = None,
    verbose: bool | None = None,
    numitems: int | None = None,
    *,
    progress: str | Frontend | Sequence[str | Frontend] | None = None,
    executor: str | Executor | object = "local",
    resume: bool | Literal["done"] = False,
    key: Callable[[Any], str] | None = None,
    retries: int | Mapping[str, int] = 0,
    backoff: float = 0.1,
    timeout: float | str | None = None,
    memory_limit: int | str | None = None,
    max_failures: int | None = None,
    max_time: float | None = None,
    stop_when: Callable[[Sequence[Record]], object] | None = None,
    errors: Literal["raise", "collect"] = "raise",
    start_method: Literal["spawn", "fork"] = "spawn",
    recycle: int | None = None,
    seed: int | None = None,
    capture: int = 64 * 1024,
) -> RunSummary:
    """Run a task on many items, on all CPUs, and store every result as it finishes.

    The arguments before the star are those of ``brian.tools.taskfarm.run_tasks`` (Brian 1.4).

    Parameters
    ----------
    dataman : DataManager or path
        Where results go; a path is opened as by :func:`farmhand.open_store`, and closed again.
    task : callable or class
        Called with each item. A class is made once in each process, with ``*initargs, **initkwds``
        and, if it takes it, ``process_number``; its ``__call__`` is then the task. A task that
        takes ``report`` is given a :class:`farmhand.Report`.
    items : iterable
        Read lazily. A tuple becomes the positional arguments, anything else is one argument,
        :func:`farmhand.call` says both kinds.
    gui : bool, or 'stay', 'close' or 'wait'
        Show a window, where farmhand-tk is installed and there is a display; otherwise warn once and
        show text. After the run the window says how it went; it closes when the script ends, but
        for one that its user looks at just then. With ``'stay'`` it always stays until it is
        closed, with ``'close'`` it never does; with ``'wait'`` the call returns when it is closed.
    poolsize : int
        How many processes; 0: one for each CPU that this process may use, or on a cluster for each place
        that it has; -1: all but one, ... Zero and below follow a cluster that grows, until somebody
        changes the number during the run.
    initargs, initkwds
        For a class, the arguments of its ``__init__``.
    verbose : bool, optional
        Print every progress message; by default only without a window.
    numitems : int, optional
        The length of ``items``, where it has none, so that the time remaining can be estimated.
    progress : str, Frontend or a sequence of these, optional
        Frontends instead of ``gui``, by name (``'text'``, ``'none'``, or what plugins bring) or as
        objects (:class:`farmhand.progress.Frontend`).
    executor : str, Executor or object
        Where processes run: ``'local'``, a name that a plugin brings, perhaps with an argument
        (``'dask:tcp://host:8786'``), an :class:`farmhand.executor.Executor`, or what a plugin makes one
        of, such as a ``Client`` or a cluster of Dask (needs farmhand-dask).
    resume : bool or 'done'
        Skip the items for which the store already has a result of a task of this name. Equal
        items are counted: of three, two results skip two. Items that failed run again; with
        ``'done'`` they are done with and skipped, too.
    key : callable, optional
        Item to str: the identity that ``resume`` goes by, instead of the item's content.
    retries : int or mapping
        How many more times an item that failed is tried; by kind of failure,
        ``{'died': 3, 'timeout': 1}``, other kinds are not. What cannot be pickled is never tried
        again. An item whose computer was lost (of a cluster) is tried again by itself, three times
        beside all others unless ``{'lost': ...}`` says how often. The store has every attempt that
        failed (``store.retried()``).
    backoff : float
        Seconds before an item is tried again; twice as long before each further attempt, up to a
        minute.
    timeout : float or str, optional
        Seconds that one item may run, or ``'5x'``: five times the median of those that have ended
        (from the fifth on, and at least a second). Its process is killed, with all it started;
        the item fails.
    memory_limit : int or str, optional
        Bytes, or ``'2 GB'``, that a process, with all it started, may have in use (resident).
        Beyond that it is killed, and the item fails. Linux only. Whatever this says, while the
        computer has less than 5 % of its memory free (and less than 1 GiB), items are begun one
        at a time.
    max_failures : int, optional
        Stop, as if asked to, when so many items have failed.
    max_time : float, optional
        Stop after so many seconds.
    stop_when : callable, optional
        Is given the newest records each time some are stored; the run stops when it returns
        something true. What is stored can be read: ``store[record.key]``.
    errors : {'raise', 'collect'}
        Whether failed items raise ``TasksFailed`` once everything has run and is stored.
    start_method : {'spawn', 'fork'}
        A fresh interpreter for each process, or a copy of this process.
    recycle : int, optional
        Items that a process may run before it is replaced.
    seed : int, optional
        Each item has random numbers that depend on the seed and on the item's index alone: before
        it runs, Python's ``random``, NumPy's functions and Brian 2 are seeded with the number that
        its record has as ``seed``, and programs that it starts find that in the environment as
        ``FARMHAND_SEED``. (The ``__init__`` of a class task is seeded by nothing.) A task that takes
        ``rng`` is given a ``numpy.random.Generator``; for it, a seed is drawn where none is given.
    capture : int
        Of what an item prints (or a program that it starts, or ``logging``), the last so many
        bytes are kept with it: ``store.output(key)``. What a process prints while it gets ready
        goes to its first item. With 0 tasks print to where this process prints.

    Returns
    -------
    RunSummary

    Raises
    ------
    UsageError
        The call cannot mean anything (a ValueError); no process was started.
    TaskNotPicklable
        The task cannot travel to another process; names the part at fault; none was started.
    SetupError
        The task could not be made in a process.
    TasksFailed
        Some items failed, and ``errors='raise'``. Everything else was run and stored.
    StoreError
        The store cannot be written. What was committed is intact.
    KeyboardInterrupt
        Ctrl-C. Everything that had finished is stored, and no process is left.
    SystemExit
        SIGTERM or SIGHUP, which by default end a process: the same, with status 143 or 129.
    """
    arguments.choice("errors", errors, _ERRORS)
    arguments.choice("start method", start_method, _START_METHODS if hasattr(os, "fork") else ("spawn",))
    if resume not in (False, True, "done"):
        raise UsageError(f"resume is True, False or 'done', not {codec.short(resume)}")
    retries = arguments.retries_by_kind(retries)
    backoff = 0.0 if backoff == 0 else arguments.duration("backoff", backoff)
    seconds, factor = arguments.time_limit(timeout)
    memory_limit = None if memory_limit is None else arguments.size("memory_limit", memory_limit)
    max_failures = None if max_failures is None else arguments.whole("max_failures", max_failures, least=1)
    max_time = None if max_time is None else arguments.duration("max_time", max_time)
    capture = arguments.whole("capture", capture, least=0)
    recycle = None if recycle is None else arguments.whole("recycle", recycle, least=1)
    seed = None if seed is None else arguments.whole("seed", seed, least=0)
    total = arguments.length(items) if numitems is None else arguments.whole("numitems", numitems, least=0)
    poolsize = arguments.whole("poolsize", poolsize)
    arguments.function("key", key, "from an item to a str")
    arguments.function("stop_when", stop_when, "of a list of records")
    checked = Task.check(task, initargs, initkwds, seed)
    if seed is None and checked.takes_rng:
        checked = replace(checked, seed=_drawn_seed())
    identity = Identity(key)
    feed = Feed(items, identity)  # says at once when items are not iterable
    plugins = Plugins()
    makers = arguments.frontends(plugins, progress, gui, verbose, checked.name)
    engine = plugins.executor(executor)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.close)
        processes = arguments.pool_size(poolsize, engine.room())
        if isinstance(dataman, DataManager):
            store = dataman
        else:
            store = stack.enter_context(plugins.open_store(dataman))
        uid = os.urandom(8).hex()
        shipper = Shipper() if start_method == "spawn" else None
        baggage = _Baggage(shipper or Shipper())
        spool = None if store.files is None else store.files.spool(uid)
        engine.open(
            Job(
                checked,
                partial(baggage.ship, checked),
                processes,
                seconds,
                start_method,
                memory_limit,
                capture,
                spool,
            )
        )
        if resume:
            feed.skip(done_before(store, checked.name, identity, failed_too=resume == "done"))
        scheduler = Scheduler(
            processes,
            total,
            retries=retries,
            backoff=backoff,
            recycle=recycle,
            timeout_factor=factor,
            max_failures=max_failures,
            max_time=max_time,
        )
        kept = baggage if shipper else None
        farm = _Farm(uid, store, checked, feed, engine, kept, total, scheduler, stop_when, poolsize)
        summary = farm.run(makers)
        if summary.failed and errors == "raise":
            raise _tasks_failed(summary, store)
    return summary


def _drawn_seed() -> int:
    return int.from_bytes(os.urandom(8), "big")


class _Baggage:
    """What processes are sent to make the task and the script's classes, and what of it is to be kept.

    The store keeps it with the run, so that an item can be run again; but no large data that the task
    brings along.
    """

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self._room = _KEPT_BAGGAGE
        self.unkept: list[bytes] = []  # what the store has not got yet

    def ship(self, task: Task) -> bytes:
        """The task."""
        return self._keep(self._shipper.ship(task))

    def definitions(self, data: bytes) -> bytes | None:
        """What processes must know to decode some items, if there is anything."""
        definitions = self._shipper.definitions(data)
        return None if definitions is None else self._keep(definitions)

    def _keep(self, data: bytes) -> bytes:
        if len(data) <= self._room:
            self._room -= len(data)
            self.unkept.append(data)
        else:
            self._room = 0  # what comes later may need it
        return data


class _Farm:
    """One run."""

    def __init__(
        self,
        uid: str,
        store: DataManager,
        task: Task,
        feed: Feed,
        executor: Executor,
        baggage: _Baggage | None,
        total: int | None,
        scheduler: Scheduler,
        stop_when: Callable[[Sequence[Record]], object] | None,
        poolsize: int,
    ) -> None:
        self._store = store
        self._task = task
        self._feed = feed
        self._executor = executor
        self._baggage = baggage
        self._checkout: Checkout | None = None
        self._total = total
        self._scheduler = scheduler
        self._stop_when = stop_when
        self._poolsize = poolsize if poolsize <= 0 else None  # by which it grows, until somebody says how far
        self._reason = ""
        self._users_error: BaseException | None = None  # what stop_when raised
        self._ledger = Ledger()
        self._interrupts = Interrupts(executor.wake)
        self._began = time.monotonic()
        self._monitor = Monitor(
            task.name, total, self._began, uid, store.basepath, os.getpid(), task.names_report
        )
        self._uid = uid
        self._server: ControlServer | None = None
        self._elapsed = 0.0  # seconds, in the end
        self._broke = ""  # what ended the run that was no decision of anybody
        self._failures: list[Record] = []
        self._kinds: Counter[str] = Counter()
        self._memory = MemoryWatch(self._began)
        self._finished = False
        # what the current turn has to store
        self._blocks: list[Block] = []
        self._done: list[RecordDone] = []
        self._failed: list[RecordFailed] = []
        self._names: dict[int, str] = {}  # what the failed items were, in short

    def run(self, makers: Mapping[str, Callable[[], Any]]) -> RunSummary:
        """Run all items, whatever happens, then say how it went or raise why not."""
        feed, scheduler = self._feed, self._scheduler
        with self._interrupts as interrupts:
            with interrupts.users_code():
                feed.peek()
            if feed.is_empty and feed.error is not None:
                raise feed.error
            if feed.is_empty and feed.skipped:
                return self._nothing_to_do(makers)
            # first the processes, which take long to start; run_tasks ends them, whatever happens here
            scheduler.learn(self._left())
            if feed.is_empty:
                self._handle(ItemsEnded())
            self._perform(scheduler.begin(time.monotonic()))
            self._server = ControlServer.open(self._uid, self._store.basepath)
            display = Display(makers, self._server)
            try:
                info = self._info()
                session = self._store.begin(info)
            except BaseException:
                display.close()
                raise
            outcome = "broken"
            try:
                self._checkout = Checkout(self._task)
                self._loop(info, session, display, interrupts)
                outcome = "stopped" if scheduler.stopped else "finished"
                broken = bool(scheduler.error or feed.error or self._users_error)
                if broken and not interrupts.asked:
                    outcome = "broken"
                    self._broke = _line(scheduler.error or self._users_error or feed.error)
            except BaseException as fault:
                self._broke = _line(fault)
                raise
            finally:
                # first the processes, so that nobody waits for them if the store is slow to close
                self._executor.close()
                try:
                    session.close(outcome, time.time())
                    self._store.sweep()
                finally:
                    if self._checkout is not None:
                        self._checkout.close()
                    self._show_last(display, outcome)
        if interrupts.asked:
            raise interrupts.exception()
        for error in (scheduler.error, self._users_error, feed.error):
            if error is not None:
                raise error
        return self._summary()

    def _info(self) -> RunInfo:
        task = self._task
        found = provenance.collect(task, len(self._scheduler.processes))
        if self._server is not None:
            found["control"] = self._server.address
        about = (self._total, task.seed, None, "", task.parameters, owner.here(), found)
        return RunInfo(self._uid, task.name, computer_name(), time.time(), *about)

    # -- the loop ----------------------------------------------------------------------------------

    def _loop(self, info: RunInfo, session: Session, display: Display, interrupts: Interrupts) -> None:
        scheduler, executor, monitor = self._scheduler, self._executor, self._monitor
        clock = time.monotonic
        next_look = self._began
        stop_told = watched = False
        events: Sequence[ExecutorEvent] = ()
        store_from, store_by = 0.0, math.inf
        while True:
            now = clock()
            if self._done or self._failed:
                store_by = min(store_by, max(now, store_from) + _TURN)
                if self._finished or now >= (store_by if events else store_from):
                    self._commit(session)
                    ended = clock()
                    store_from, store_by = ended + min(_REST * (ended - now), _MOST_REST), math.inf
                    now = ended
            if self._finished:
                return
            if now >= self._memory.look_at and self._memory.look(now):
                self._handle(MemoryLow(self._memory.low))
            if display and now >= next_look:
                next_look = now + _SNAPSHOT_INTERVAL
                monitor.mark(now, scheduler)
                if display.is_watched():
                    if not watched:  # the processes have been told to start, which takes them longer
                        watched = True
                        monitor.learn(earlier_runs(self._store, info))
                    snapshot = self._look(now, reason=self._reason)
                    for control in display.show(snapshot):
                        if isinstance(control, Resize):
                            self._poolsize = None
                        self._handle(control)
                    ended = clock()
                    next_look = max(next_look, ended + _SNAPSHOT_REST * (ended - now))
            wake = scheduler.next_wake()
            due = math.inf if wake is None else wake
            if display:
                due = min(due, next_look)
            if self._memory.low:  # else it is enough to look when there is something to do
                due = min(due, self._memory.look_at)
            if store_by < math.inf:
                due = min(due, max(clock() + _QUIET, store_from))
            before = clock()
            limit = None if due == math.inf else max(0.0, due - before)
            events = executor.wait(limit)
            if interrupts.asked and not stop_told:
                stop_told = True
                self._handle(Stop())
            now = clock()
            if limit is not None and now - before > limit + _SLEEP:
                monitor.slept(now - before - limit, events, scheduler, executor)
            for event in events:
                if display:  # else nobody will ever ask
                    monitor.saw(event, now)
                if isinstance(event, ItemsUnreadable):
                    self._send_apart(event)
                else:
                    self._handle(event)
                    if isinstance(event, RoomChanged):
                        self._use_room(event.processes)
            if wake is not None and clock() >= wake:
                self._handle(Tick())

    def _look(self, now: float, outcome: str = "", reason: str = "") -> Snapshot:
        self._monitor.skipped = self._feed.skipped
        unstored = 0  # in the end, what was not stored is lost
        if not outcome:
            self._monitor.to_skip = self._feed.to_skip
            unstored = sum(len(done.done.indices) for done in self._done)
            unstored += sum(not failure.again for failure in self._failed)
        parts = (self._scheduler, self._executor, self._ledger)
        return self._monitor.snapshot(now, *parts, outcome, reason, unstored)

    def _use_room(self, room: int) -> None:
        """Have as many processes as there is room for, as long as nobody has said how many.

        Where room is lost, nothing is done: what was there waits for a place.
        """
        if self._poolsize is not None and room + self._poolsize > self._scheduler.target:
            self._handle(Resize(room + self._poolsize))

    def _handle(self, event: Event | Control) -> None:
        if not self._finished:
            self._perform(self._scheduler.handle(event, time.monotonic()))

    def _perform(self, commands: list[Command]) -> None:
        executor = self._executor
        for command in commands:
            match command:
                case RecordDone():
                    self._done.append(command)
                    self._end(command.done.indices)
                case SendItems():
                    self._send(command.number, command.indices)
                case ReadItems():
                    self._read(command)
                case RecordFailed():
                    self._record_failed(command)
                case StartProcess():
                    executor.start(command.number)
                case RecallItems():
                    executor.recall(command.number, command.everything)
                case StopProcess():
                    executor.stop(command.number)
                case KillProcess():
                    executor.kill(command.number)
                case LimitItems():
                    executor.limit(command.seconds)
                case Finished():
                    self._finished = True

    def _commit(self, session: Session) -> None:
        shipped: Sequence[bytes] = ()
        if self._baggage is not None and self._baggage.unkept:
            shipped, self._baggage.unkept = self._baggage.unkept, []
        said = self._checkout.ask(last=self._finished) if self._checkout is not None else {}
        turn = Turn(self._blocks, self._done, self._failed, shipped, said)
        self._blocks, self._done, self._failed = [], [], []
        session.record(turn)
        failed = [failure for failure in turn.failed if not failure.again]
        self._monitor.stored(sum(len(done.done.indices) for done in turn.done), failed, self._names)
        self._names.clear()
        if self._stop_when is not None and self._scheduler.state != "stopping" and not self._finished:
            self._ask_to_stop(self._stop_when, turn)

    def _ask_to_stop(self, stop_when: Callable[[Sequence[Record]], object], turn: Turn) -> None:
        """Show the newest records to the user's function; what it raises ends the run, too."""
        records = records_of(self._uid, turn, self._task.seed)
        try:
            with self._interrupts.users_code():
                if records and stop_when(records):
                    self._reason = "stop_when said so"
        except BaseException as error:
            if self._interrupts.insisted:
                raise
            self._users_error = None if self._interrupts.asked else error
        if self._reason or self._users_error:
            self._handle(Stop())

    # -- items -------------------------------------------------------------------------------------

    def _read(self, command: ReadItems) -> None:
        feed = self._feed
        if self._scheduler.state in ("finishing", "stopping"):  # since this was decided
            self._handle(ItemsRead(command.number, ()))
            return
        skipped = feed.skipped
        try:
            with self._interrupts.users_code():
                reading = feed.read(command.count)
        except (KeyboardInterrupt, SystemExit):
            if self._interrupts.insisted or not self._interrupts.asked:
                raise
            reading = Reading(None)  # the loop is about to stop, and stores what has finished
        if feed.skipped != skipped:
            self._scheduler.learn(self._left())
        for index, item, error in reading.rejected:
            self._blocks.append(text_block(index, item))
            self._names[index] = codec.short(item)
            self._handle(ItemRejected(index, error))
        if feed.ended:
            self._handle(ItemsEnded())
        batch = reading.batch
        if batch is not None:
            self._ledger.add(batch)
            if self._baggage is not None:
                for data in codec.split_each(batch.payload) or [batch.payload]:
                    definitions = self._baggage.definitions(data)
                    if definitions is not None:
                        self._executor.define(definitions)
        self._handle(ItemsRead(command.number, batch.indices if batch is not None else ()))

    def _send(self, number: int, indices: Sequence[int]) -> None:
        for batch, members in self._ledger.group(indices):
            self._executor.send(number, batch.indices, batch.payload, members)

    def _send_apart(self, event: ItemsUnreadable) -> None:
        """A process could not decode a batch; send what it still holds of it, item by item."""
        held = self._scheduler.holder(event.number)
        for batch, members in self._ledger.group([index for index in event.indices if index in held]):
            batch.encode_apart()
            self._executor.send(event.number, batch.indices, batch.payload, members)

    def _record_failed(self, command: RecordFailed) -> None:
        self._failed.append(command)
        self._monitor.failed_attempt(command)
        if command.again:
            return
        if command.number is not None:  # else it was never in a batch
            self._names[command.index] = codec.short(self._ledger.batch(command.index).item(command.index))
            self._end((command.index,))
        self._kinds[command.error.kind] += 1
        if len(self._failures) < _KEPT_FAILURES:
            self._failures.append(record_of(self._uid, command, self._task.seed))

    def _end(self, indices: Sequence[int]) -> None:
        for batch in self._ledger.end(indices):
            self._blocks += batch.blocks()

    def _left(self) -> int | None:
        """Items to run, as far as is known."""
        return None if self._total is None else max(0, self._total - self._feed.skipped)

    # -- the end -----------------------------------------------------------------------------------

    def _nothing_to_do(self, makers: Mapping[str, Callable[[], Any]]) -> RunSummary:
        """Everything is in the store already: no process, and no run to remember."""
        self._uid = self._monitor.run = ""
        self._show_last(Display(makers), "finished")
        return self._summary()

    def _show_last(self, display: Display, outcome: str) -> None:
        now, reason = time.monotonic(), self._broke or self._reason
        self._elapsed = now - self._began
        try:
            display.show(self._look(now, outcome, reason))
        finally:  # also at a second Ctrl-C: terminals are put back, and nobody can knock any more
            display.close()

    def _summary(self) -> RunSummary:
        monitor = self._monitor
        return RunSummary(
            self._uid,
            monitor.done,
            monitor.failed,
            self._feed.skipped,
            self._scheduler.stopped,
            self._elapsed,
            tuple(sorted(self._failures, key=lambda record: record.index)),
            dict(self._kinds),
            self._reason or self._scheduler.reason,
        )


def _line(error: BaseException | None) -> str:
    """An error in one line; ``''`` for none."""
    if error is None:
        return ""
    return f"{type(error).__name__}: {error}".rstrip(": ").partition("\n")[0]


def _tasks_failed(summary: RunSummary, store: DataManager) -> TasksFailed:
    examples = []
    for record in summary.failures[:3]:
        assert record.error is not None
        text = f"item {record.index}: {record.error}"
        # of a process that died, its last words say more than anything else
        details = record.error.traceback or (store.output(record.key) if record.process is not None else "")
        for line in details.rstrip().splitlines()[-_DETAILS:]:
            text += f"\n    {line}"
        examples.append(text)
    error = TasksFailed(summary.failed, summary.done, examples, summary.kinds, store.basepath)
    error.summary = summary
    return error
