"""Sees what happens and makes snapshots of it; shows them to the frontends and survives these."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from farmhand import codec
from farmhand.bars import Bar, History
from farmhand.errors import UsageError
from farmhand.eta import Running, reported
from farmhand.events import (
    Control,
    ExecutorEvent,
    ItemFailed,
    ItemsDone,
    ProcessDied,
    ProcessStarted,
    RecordFailed,
    Reported,
    Resize,
    Usage,
)
from farmhand.executor import Executor
from farmhand.feed import Ledger
from farmhand.kept import join_key
from farmhand.outlook import Outlook, ended_in
from farmhand.progress import OVER, PREPARING, Detach, Failure, Frontend, Output, ProcessView, Snapshot
from farmhand.resources import CpuWatch
from farmhand.scheduler import Scheduler
from farmhand.timeleft import RemainingWords
from farmhand.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farmhand.control import ControlServer

__all__ = ["Display", "Monitor"]

_MOST_FAILURES = 100  # that a snapshot has, and of each of them
_MOST_TEXT = 20_000  # characters of its traceback and of its output: the ends
_PLACELESS = 1.0  # seconds without a place after which a process is said to wait for one
_DOOR = "for other processes"  # how a ControlServer is called in the log
_MOST_OUTPUT = 1 << 20  # characters that items have printed since the last snapshot


class Monitor:
    """What is known about the run beside what the scheduler must know.

    Parameters
    ----------
    task : str
        The task's name.
    total : int or None
        How many items there are, skipped ones included.
    began : float
        The clock at the beginning.
    run : str
        The run's name in the store.
    store : str
        Where that is.
    pid : int
        The number of this process.
    will_report : bool
        The task takes ``report``, so that its items are expected to.

    Attributes
    ----------
    done, failed : int
        Items whose result or failure is committed to the store.
    skipped : int
        Items that ``resume`` skipped.
    to_skip : int
        About how many it will skip yet.
    run : str
        The run's name in the store; ``''`` when there is none.
    """

    def __init__(
        self,
        task: str,
        total: int | None,
        began: float,
        run: str,
        store: str,
        pid: int,
        will_report: bool = False,
    ) -> None:
        self._task = task
        self._total = total
        self._began = began
        self.run = run
        self._store, self._pid = store, pid
        self._has_reported = False
        self._will_report = will_report  # as long as there is no reason to doubt it
        self._cpus = CpuWatch()
        self._history = History()
        self._attempts: dict[int, dict[int, _Attempt]] = {}  # by process, by item: what it was seen to run
        self._outlook = Outlook(began)
        self._words = RemainingWords()
        self._pids: dict[int, int | None] = {}
        self._without: dict[int, float] = {}  # processes that have not begun to start; since when
        self._computers: dict[int, str] = {}  # of processes that are not here
        self._reports: dict[int, tuple[float, Reported]] = {}  # the last one of each process, and when
        # The last one of each that says zero, until somebody looks: a pace begins there, and what came after
        # it has perhaps arrived as well.
        self._zeros: dict[int, tuple[float, Reported]] = {}
        self._failures: deque[Failure] = deque(maxlen=_MOST_FAILURES)
        self._outputs: deque[Output] = deque(maxlen=1000)  # not shown yet
        self._outputs_size = 0
        self.done = self.failed = 0
        self.skipped = self.to_skip = 0

    def learn(self, earlier: Iterable[tuple[Sequence[int], Sequence[float]]]) -> None:
        """Take in how long items of earlier runs of the task took; before the first snapshot."""
        self._outlook.learn(earlier)

    def saw(self, event: ExecutorEvent, now: float) -> None:
        """Something has happened."""
        self._outlook.saw(event)
        match event:
            case ItemsDone():
                self._will_report = self._has_reported
                if event.usage:
                    for index in event.indices:
                        if index in event.usage:
                            self._printed(index, event.usage[index])
            case ItemFailed():
                self._printed(event.index, event.usage)
                self._attempt_ended(event.number)
            case Reported():
                self._reports[event.number] = (now, event)
                if event.complete == 0.0:
                    self._zeros[event.number] = (now, event)
                if event.complete is not None:
                    self._will_report = self._has_reported = True
            case ProcessStarted():
                self._pids[event.number] = event.pid
                self._without.pop(event.number, None)
                if event.computer:
                    self._computers[event.number] = event.computer
            case ProcessDied():
                self._pids.pop(event.number, None)
                self._without.pop(event.number, None)
                self._computers.pop(event.number, None)
                self._reports.pop(event.number, None)
                self._zeros.pop(event.number, None)
                self._attempts.pop(event.number, None)
                if event.index is not None:
                    self._printed(event.index, event.usage)

    def failed_attempt(self, record: RecordFailed) -> None:
        """An attempt at an item has failed; the scheduler has decided whether it is tried again."""
        self._outlook.failed(record)

    def slept(
        self, seconds: float, events: Iterable[ExecutorEvent], scheduler: Scheduler, executor: Executor
    ) -> None:
        """The clock has gone on for so long while the loop waited for ``events``, which :meth:`saw` not yet.

        The computer slept, or only this process was stopped; how long its items took tells.
        """
        running = map(executor.current, scheduler.processes)
        begun = [each[0] for each in running if each is not None and each[1] >= seconds]
        self._outlook.slept(seconds, [*begun, *ended_in(events, seconds)])

    def _attempt_ended(self, number: int) -> None:
        """What was reported of an item says nothing of the next attempt at it; the task's name stays."""
        self._zeros.pop(number, None)
        if number in self._reports:
            at, report = self._reports[number]
            self._reports[number] = at, replace(report, complete=None, phase="")

    def _printed(self, index: int, usage: Usage) -> None:
        if not usage.output:
            return
        if len(self._outputs) == self._outputs.maxlen:
            self._outputs_size -= len(self._outputs[0].text)
        self._outputs.append(Output(index, usage.output))
        self._outputs_size += len(usage.output)
        while self._outputs_size > _MOST_OUTPUT:  # perhaps nobody looks
            self._outputs_size -= len(self._outputs.popleft().text)

    def stored(self, done: int, failed: Sequence[RecordFailed], items: Mapping[int, str]) -> None:
        """So many results and these failures are in the store; what failed items were, in short."""
        self.done += done
        before = self.failed
        self.failed += len(failed)
        first = max(0, len(failed) - _MOST_FAILURES)
        for place, record in enumerate(failed[first:], first):
            error = record.error
            if len(error.traceback) > _MOST_TEXT or len(error.message) > _MOST_TEXT:
                error = replace(
                    error, message=error.message[:_MOST_TEXT], traceback=error.traceback[-_MOST_TEXT:]
                )
            self._failures.append(
                Failure(
                    before + 1 + place,
                    record.index,
                    error,
                    items.get(record.index, ""),
                    join_key(self.run, record.index),
                    record.number,
                    record.attempts,
                    record.seconds,
                    record.usage.output[-_MOST_TEXT:],
                )
            )

    def mark(self, now: float, scheduler: Scheduler) -> None:
        """Remember how far the run is; to be called some times a second, also if nobody looks."""
        self._history.add(now - self._began, self.done + self.failed)
        self._outlook.passed(now, scheduler)

    def snapshot(
        self,
        now: float,
        scheduler: Scheduler,
        executor: Executor,
        ledger: Ledger,
        state: str = "",
        reason: str = "",
        unstored: int = 0,
    ) -> Snapshot:
        """The run as it is now.

        Parameters
        ----------
        unstored : int
            Items that have ended, and are not in the store yet.
        """
        elapsed = now - self._began
        state = state or scheduler.state
        self._outlook.look(now, state, scheduler.target, self._total)
        running: list[Running] = []
        views = tuple(
            self._view(number, phase, scheduler, executor, ledger, now, running)
            for number, phase in scheduler.processes.items()
        )
        # who waits for a place will hardly run here, where there is always one
        elsewhere = bool(self._computers) or any(view.state == "waiting" for view in views)
        ended = self.done + self.failed
        behind = self.skipped + ended + unstored
        left = None if self._total is None else max(0, self._total - behind)
        complete = None
        arriving = sum(self._on_its_way(view.number, view.index, scheduler) for view in views)
        if left is not None:
            inside = arriving + sum(view.complete or 0.0 for view in views if view.index is not None)
            complete = min(1.0, (behind + inside) / (behind + left)) if behind + left else 1.0
        rate = ended / elapsed if elapsed > 0 else 0.0
        if state in OVER:
            self._history.add(elapsed, ended, last=True)
        outputs = tuple(self._outputs)
        self._outputs.clear()
        self._outputs_size = 0
        snapshot = Snapshot(
            task=self._task,
            state=state,
            store=self._store,
            run=self.run,
            pid=self._pid,
            reason=reason or scheduler.reason,
            total=self._total,
            done=self.done,
            failed=self.failed,
            skipped=self.skipped,
            elapsed=elapsed,
            complete=complete,
            rate=rate,
            remaining=self._outlook.remaining(
                now, state, running, *self._work(scheduler, len(running), arriving)
            ),
            cpu=None if elsewhere else self._cpus.busy(now),
            wanted=scheduler.target,
            history=self._history.points,
            processes=views,
            failures=tuple(self._failures),
            outputs=outputs,
        )
        return replace(snapshot, told=self._words.of(snapshot, time.time()))

    def _work(self, scheduler: Scheduler, running: int, arriving: int) -> tuple[int | None, int, int | None]:
        """How many items have not ended, how many processes share them, and the index behind the last one.

        ``arriving`` have ended, but are still on their way.
        """
        seen = self.skipped + scheduler.read
        left = scheduler.items_left
        if left is None:
            return None, scheduler.target, None
        read = scheduler.read - scheduler.done - scheduler.failed - scheduler.abandoned
        everything_is_read, left = left == read, max(read, left - self.to_skip)
        total = seen if everything_is_read else self._total
        return max(running, left - arriving), scheduler.target, total

    def _waits(self, number: int, now: float) -> bool:
        """Whether a process that starts has had no place for so long that it is worth saying."""
        return number not in self._pids and now - self._without.setdefault(number, now) >= _PLACELESS

    def _view(
        self,
        number: int,
        phase: str,
        scheduler: Scheduler,
        executor: Executor,
        ledger: Ledger,
        now: float,
        running: list[Running],
    ) -> ProcessView:
        """A process; what it runs is added to ``running``."""
        pid, computer = self._pids.get(number), self._computers.get(number, "")
        current = executor.current(number)
        held = scheduler.holder(number)
        # one too many is given no more items: it is as good as told to end
        leaving = "leaving" if phase == "leaving" or number >= scheduler.target else ""
        if current is None or current[0] not in held:  # the latter: it has ended, but not arrived
            if phase == "starting":
                state = "waiting" if self._waits(number, now) else "starting"
            else:
                state = "busy" if held else "idle"
            return ProcessView(number, pid, leaving or state, computer=computer)
        index, elapsed = current
        elapsed = elapsed if elapsed > 0.0 else 0.0  # whatever an executor's clock does
        attempt = self._attempt(number, index, scheduler.attempts(index), ledger)
        taskname = part = ""
        for known in (self._zeros.pop(number, None), self._reports.get(number)):
            if known is None:
                continue
            at, report = known
            taskname = report.taskname or ""
            if report.index != index:
                continue
            part = report.phase
            if report is not attempt.report and report.complete is not None:
                attempt.report = report
                attempt.bar.report(report.complete, max(0.0, elapsed - (now - at)))
        bar = attempt.bar
        expected, rest = bar.expected(elapsed), bar.remaining(elapsed)
        item = Running(index, elapsed, expected, rest, self._outlook.is_first(number))
        running.append(item)
        return ProcessView(
            number,
            pid,
            leaving or "busy",
            index,
            attempt.item,
            taskname,
            elapsed,
            bar.complete,
            expected,
            self._rest(attempt, item) if rest is None else rest,
            attempt.number,
            PREPARING if bar.complete is None and self._will_report else part,
            computer,
        )

    def _rest(self, attempt: _Attempt, item: Running) -> float | None:
        """Seconds that an item that does not say how far it is probably still takes.

        It is guessed once, and counts down; what has outlasted that may take any time. A guess that was
        made anew would grow with the item, and waver for as long as it is watched.
        """
        if attempt.end is None and reported(item) is None and self._outlook.has_time():
            rest = self._outlook.rest_of(item)
            attempt.end = None if rest is None else item.elapsed + rest
        if attempt.end is None or attempt.end <= item.elapsed:
            return None
        return attempt.end - item.elapsed

    def _attempt(self, process: int, index: int, number: int, ledger: Ledger) -> _Attempt:
        """What a process runs now: the same as when somebody looked last, or something new."""
        seen = self._attempts.setdefault(process, {})
        known = seen.get(index)
        if known is None or known.number != number:
            known = seen[index] = _Attempt(number, codec.short(ledger.batch(index).item(index)))
        return known

    def _on_its_way(self, process: int, index: int | None, scheduler: Scheduler) -> int:
        """How many items a process was seen to run that have ended since, but not arrived.

        Without these the bar of the run would go back, as what they reported counts no more.
        """
        seen = self._attempts.get(process)
        if not seen:
            return 0
        held = scheduler.holder(process)
        for arrived in [each for each in seen if each not in held]:
            del seen[arrived]
        return len(seen) - (index in seen)


class _Attempt:
    """One attempt at one item, as long as it runs.

    The item's short text is kept, since the repr of what a user made may take its time.
    """

    __slots__ = ("bar", "end", "item", "number", "report")

    def __init__(self, number: int, item: str) -> None:
        self.number = number
        self.item = item
        self.bar = Bar()
        self.report: Reported | None = None  # the last one that the bar knows
        self.end: float | None = None  # when it will probably have ended, in seconds since it began


def _checked(control: object) -> Control | Detach:
    """``control``, if the farm can follow it; else the frontend is at fault, and not the run."""
    if not isinstance(control, Control | Detach):
        raise TypeError(f"{control!r} is not a control (farmhand.events.Control)")
    if isinstance(control, Resize) and control.processes < 1:
        raise ValueError(f"a farm needs at least one process, not {control.processes!r}")
    return control


class Display:
    """The frontends of one run. One that raises is reported once, by name, and dropped.

    Parameters
    ----------
    makers : mapping
        What makes each frontend, by name.
    server : ControlServer, optional
        Through which other processes look at the run, and steer it.

    Raises
    ------
    UsageError
        A frontend was asked for something that it does not have (``'tk:shut'``): a mistake in the call.
    """

    def __init__(
        self, makers: Mapping[str, Callable[[], Frontend]], server: ControlServer | None = None
    ) -> None:
        self._frontends: dict[str, Frontend] = {}
        self._server = server
        for name, make in makers.items():
            try:
                self._frontends[name] = make()
            except UsageError:
                self.close()
                raise
            except Exception:
                self._blame(name)

    def __bool__(self) -> bool:
        """Whether somebody looks, or might begin to."""
        return bool(self._frontends) or self._server is not None

    def is_watched(self) -> bool:
        """Whether somebody looks now."""
        if self._server is not None and not self._frontends:
            try:
                return self._server.is_watched()
            except Exception:
                self._close_door()
        return bool(self._frontends)

    def show(self, snapshot: Snapshot) -> list[Control]:
        """Show ``snapshot`` to all and bring back what their users ask for."""
        controls: list[Control] = []
        for name, frontend in list(self._frontends.items()):
            try:
                frontend.show(snapshot)
                for control in map(_checked, frontend.controls()):
                    if isinstance(control, Detach):
                        del self._frontends[name]
                        frontend.close()
                        break
                    controls.append(control)
            except Exception:
                self._drop(name)
        if self._server is not None:
            try:
                self._server.show(snapshot)
                controls += self._server.controls()
            except Exception:
                self._close_door()
        return controls

    def close(self) -> None:
        """Let all of them put things back as they were."""
        server, self._server = self._server, None
        if server is not None:  # first, since a frontend may wait for its user
            try:
                server.close()
            except Exception:
                self._blame(_DOOR)
        for name, frontend in list(self._frontends.items()):
            try:
                frontend.close()
            except Exception:
                self._blame(name)
        self._frontends.clear()

    def _close_door(self) -> None:
        """Whatever is wrong with it, the run goes on without; called in an ``except``."""
        self._blame(_DOOR)
        server, self._server = self._server, None
        try:
            if server is not None:
                server.close()
        except Exception:
            return  # it was reported already

    def _drop(self, name: str) -> None:
        self._blame(name)
        frontend = self._frontends.pop(name, None)
        try:
            if frontend is not None:
                frontend.close()
        except Exception:
            return  # it was reported already

    def _blame(self, name: str) -> None:
        import logging  # ten milliseconds that most runs do not need

        logging.getLogger("farmhand").exception(
            "progress frontend %r failed; the run goes on without it", name
        )
