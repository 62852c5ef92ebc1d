"""Sees what happens and makes snapshots of it; shows them to the frontends and survives these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from farmhand import codec
from farmhand.eta import Durations, estimate
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
from farmhand.progress import Frontend, Output, ProcessView, Snapshot
from farmhand.scheduler import Scheduler

__all__ = ["Display", "Monitor"]

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
    """

    def __init__(self, task: str, total: int | None, began: float) -> None:
        self._task = task
        self._total = total
        self._began = began
        self._last_look = began
        self._paused = 0.0  # seconds
        self._durations = Durations()
        self._pids: dict[int, int | None] = {}
        self._reports: dict[int, Reported] = {}
        self._failures: deque[str] = deque(maxlen=20)
        self._outputs: deque[Output] = deque(maxlen=1000)  # not shown yet
        self._outputs_size = 0
        self.done = self.failed = 0  # committed to the store
        self.skipped = 0

    def saw(self, event: ExecutorEvent) -> None:
        """Something has happened."""
        match event:
            case ItemsDone():
                self._durations.add(event.seconds)
                if event.usage:
                    for index in event.indices:
                        if index in event.usage:
                            self._printed(index, event.usage[index])
            case ItemFailed():
                self._durations.add((event.seconds,))
                self._printed(event.index, event.usage)
            case Reported():
                self._reports[event.number] = event
            case ProcessStarted():
                self._pids[event.number] = event.pid
            case ProcessDied():
                self._pids.pop(event.number, None)
                self._reports.pop(event.number, None)
                if event.index is not None:
                    self._printed(event.index, event.usage)

    def _printed(self, index: int, usage: Usage) -> None:
        if not usage.output:
            return
        if len(self._outputs) == self._outputs.maxlen:
            self._outputs_size -= len(self._outputs[0].text)
        self._outputs.append(Output(index, usage.output))
        self._outputs_size += len(usage.output)
        while self._outputs_size > _MOST_OUTPUT:  # perhaps nobody looks
            self._outputs_size -= len(self._outputs.popleft().text)

    def stored(self, done: int, failed: list[RecordFailed]) -> None:
        """So many results and these failures are in the store."""
        self.done += done
        self.failed += len(failed)
        for record in failed:
            self._failures.append(f"item {record.index} failed: {record.error}".splitlines()[0])

    def snapshot(
        self, now: float, scheduler: Scheduler, executor: Executor, ledger: Ledger, state: str = ""
    ) -> Snapshot:
        """The run as it is now."""
        elapsed = now - self._began
        if scheduler.state == "paused":
            self._paused += now - self._last_look
        self._last_look = now
        views = tuple(
            self._view(number, phase, scheduler, executor, ledger)
            for number, phase in scheduler.processes.items()
        )
        running = [(view.elapsed, view.complete) for view in views if view.index is not None]
        ended = self.done + self.failed
        left = None if self._total is None else max(0, self._total - self.skipped - ended)
        complete = None
        if left is not None:
            inside = sum(view.complete or 0.0 for view in views if view.index is not None)
            behind = self.skipped + ended
            complete = min(1.0, (behind + inside) / (behind + left)) if behind + left else 1.0
        rate = ended / elapsed if elapsed > 0 else 0.0
        working = elapsed - self._paused
        outputs = tuple(self._outputs)
        self._outputs.clear()
        self._outputs_size = 0
        active = sum(phase != "leaving" for phase in scheduler.processes.values())
        return Snapshot(
            task=self._task,
            state=state or scheduler.state,
            total=self._total,
            done=self.done,
            failed=self.failed,
            skipped=self.skipped,
            elapsed=elapsed,
            complete=complete,
            rate=rate,
            remaining=estimate(
                self._durations, left, max(1, active), running, rate=ended / working if working > 0 else 0.0
            ),
            processes=views,
            failures=tuple(self._failures),
            outputs=outputs,
        )

    def _view(
        self, number: int, phase: str, scheduler: Scheduler, executor: Executor, ledger: Ledger
    ) -> ProcessView:
        pid = self._pids.get(number)
        current = executor.current(number)
        held = scheduler.holder(number)
        if current is None or current[0] not in held:  # the latter: it has ended, but not arrived
            state = "starting" if phase == "starting" else "busy" if held else "idle"
            return ProcessView(number, pid, state)
        index, elapsed = current
        report = self._reports.get(number)
        return ProcessView(
            number,
            pid,
            "busy",
            index,
            codec.short(ledger.batch(index).item(index)),
            (report.taskname or "") if report else "",
            elapsed,
            report.complete if report and report.index == index else None,
        )


def _checked(control: object) -> Control:
    """``control``, if the farm can follow it; else the frontend is at fault, and not the run."""
    if not isinstance(control, Control):
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
    """

    def __init__(self, makers: Mapping[str, Callable[[], Frontend]]) -> None:
        self._frontends: dict[str, Frontend] = {}
        for name, make in makers.items():
            try:
                self._frontends[name] = make()
            except Exception:
                self._blame(name)

    def __bool__(self) -> bool:
        return bool(self._frontends)

    def show(self, snapshot: Snapshot) -> list[Control]:
        """Show ``snapshot`` to all and bring back what their users ask for."""
        controls: list[Control] = []
        for name, frontend in list(self._frontends.items()):
            try:
                frontend.show(snapshot)
                controls += [_checked(control) for control in frontend.controls()]
            except Exception:
                self._drop(name)
        return controls

    def close(self) -> None:
        """Let all of them put things back as they were."""
        for name, frontend in list(self._frontends.items()):
            try:
                frontend.close()
            except Exception:
                self._blame(name)
        self._frontends.clear()

    def _drop(self, name: str) -> None:
        self._blame(name)
        frontend = self._frontends.pop(name)
        try:
            frontend.close()
        except Exception:
            return  # it was reported already

    def _blame(self, name: str) -> None:
        import logging  # ten milliseconds that most runs do not need

        logging.getLogger("farmhand").exception(
            "progress frontend %r failed; the run goes on without it", name
        )
