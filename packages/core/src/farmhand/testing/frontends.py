"""For those who write a progress frontend, or test a farm through one.

`FrontendConformance` is what every frontend passes; a plugin inherits it::

    class TestMine(FrontendConformance):
        @pytest.fixture
        def make_frontend(self):
            return MyFrontend  # called with FrontendOptions

`RecordingFrontend` keeps what it is shown and hands out the orders that a test scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farmhand.events import Control, ItemError
from farmhand.progress import (
    PREPARING,
    Detach,
    Estimate,
    Failure,
    Frontend,
    FrontendOptions,
    Output,
    ProcessView,
    Snapshot,
    TimeLeft,
)

__all__ = [
    "NASTY_TEXTS",
    "FrontendConformance",
    "RecordingFrontend",
    "a_failure",
    "a_run",
    "play",
    "snapshots",
]

MakeFrontend: TypeAlias = Callable[[FrontendOptions], Frontend]
Script: TypeAlias = (
    Mapping[int, Iterable[Control | Detach]] | Callable[[Snapshot], Iterable[Control | Detach]]
)

#: Texts that a task's name or an item may hold and that must not disturb a display.
NASTY_TEXTS = (
    "",
    "two\nlines\r\nand\ta tab",
    "\x1b[2J\x1b[31mred\x07\x08\x7f\x9b1A",
    "right\u202eto left, line\u2028and\u2029paragraph",
    "ünïcödé 漢字 🐄👩‍🌾 e\u0301",
    "a lone surrogate \udc80",
    "\0",
    "x" * 100_000,
)


class RecordingFrontend:
    """Keeps every snapshot and says what its script says.

    Parameters
    ----------
    script : mapping or callable, optional
        Either the controls to hand out after the n-th `show` (counted from 0), or a function
        that is called with each snapshot and returns the controls to hand out after it.

    Attributes
    ----------
    snapshots : list of Snapshot
        All that were shown, in order.
    closed : bool
        Whether `close` was called. A `show` after that, or a second `close`, is an
        AssertionError: it would be the farm's mistake.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.snapshots: list[Snapshot] = []
        self.closed = False
        self._script: Script = {} if script is None else script
        self._waiting: list[Control | Detach] = []

    @property
    def last(self) -> Snapshot:
        """The newest snapshot."""
        return self.snapshots[-1]

    def show(self, snapshot: Snapshot) -> None:
        """Keep `snapshot`."""
        assert not self.closed, "a frontend was shown a snapshot after it was closed"
        if callable(self._script):
            self._waiting += self._script(snapshot)
        else:
            self._waiting += self._script.get(len(self.snapshots), ())
        self.snapshots.append(snapshot)

    def controls(self) -> Iterable[Control | Detach]:
        """What the script said since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def close(self) -> None:
        """Note that the farm has closed this frontend."""
        assert not self.closed, "a frontend was closed twice"
        self.closed = True


def play(frontend: Frontend, history: Iterable[Snapshot]) -> list[Control | Detach]:
    """Show `history` as a farm would, close the frontend and return all that it asked for.

    After a ``Detach``, which is then the last of these, nothing more is shown.
    """
    asked: list[Control | Detach] = []
    for snapshot in history:
        frontend.show(snapshot)
        for control in frontend.controls():
            assert isinstance(control, Control | Detach), f"{control!r} is not a control"
            asked.append(control)
            if isinstance(control, Detach):
                frontend.close()
                return asked
    frontend.close()
    return asked


def a_run(
    items: int = 20,
    processes: int = 4,
    steps: int = 50,
    task: str = "find_rate",
    *,
    interval: float = 0.1,
    failures: int = 0,
    computers: Sequence[str] = ("",),
) -> list[Snapshot]:
    """A plausible run from its first snapshot to its last.

    Everything in it fits together, as it does in a real one: items take five snapshots, report
    after each, and end one after the other; what failed is among what ended.

    Parameters
    ----------
    items, processes : int
        How many of each.
    steps : int
        How many snapshots there are before the last one.
    task : str
        The task's name.
    interval : float
        Seconds between two snapshots.
    failures : int
        How many of the items fail, at even distances.
    computers : sequence of str
        Where the processes are, in turn; ``''`` is here.
    """
    started = tuple(
        ProcessView(number, pid=1000 + number, computer=computers[number % len(computers)])
        for number in range(processes)
    )
    first = Snapshot(
        task=task,
        store="/home/ada/rates.db",
        run="4f1d2a6b9c3e5870",
        pid=999,
        total=items,
        complete=0.0 if items else 1.0,
        wanted=processes,
        history=((0.0, 0),),
        processes=started,
    )
    run = [first]
    for step in range(1, steps):
        ended = items * step // steps
        failed = failures * step // steps
        elapsed = step * interval
        inside = step % 5
        busy = tuple(
            replace(
                view,
                state="busy",
                index=min(ended + view.number, items - 1),
                item=f"k={ended + view.number}",
                taskname="simulating",
                elapsed=inside * interval,
                complete=inside / 5,
                expected=min(0.99, inside / 5 + 0.02),
                remaining=(5 - inside) * interval,
                attempts=2 if view.number == 1 else 1,
            )
            for view in started
        )
        left = (steps - step) * interval
        run.append(
            replace(
                first,
                done=ended - failed,
                failed=failed,
                elapsed=elapsed,
                complete=step / steps,
                rate=ended / elapsed,
                remaining=Estimate(left * 0.8, left, left * 1.5),
                cpu=min(1.0, 0.9 + inside / 50),
                history=_thinned((*run[-1].history, (elapsed, ended))),
                processes=busy if items else started,
                failures=_last_failures(failed, items, failures),
            )
        )
    run.append(
        replace(
            run[-1],
            state="finished",
            done=items - failures,
            failed=failures,
            complete=1.0,
            elapsed=steps * interval,
            rate=items / (steps * interval),
            remaining=Estimate(0.0, 0.0, 0.0),
            history=_thinned((*run[-1].history, (steps * interval, items))),
            processes=(),
            failures=_last_failures(failures, items, failures),
        )
    )
    return run


def _thinned(history: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """As a farm keeps it: never more than a few hundred points."""
    return history if len(history) <= 240 else history[::2]


def _last_failures(failed: int, items: int, failures: int) -> tuple[Failure, ...]:
    numbers = range(max(1, failed - 99), failed + 1)
    return tuple(_numbered(number, index=number * items // failures - 1) for number in numbers)


@cache
def _numbered(number: int, index: int) -> Failure:
    # the same object in each snapshot, as it is in a farm
    return a_failure(number, f"no rate for k={index}", index)


def a_failure(number: int, message: str = "no", index: int | None = None) -> Failure:
    """The ``number``-th failure of a run: a ValueError with a traceback and some output."""
    item = number if index is None else index
    traceback = (
        "Traceback (most recent call last):\n"
        f'  File "rates.py", line {number}, in find_rate\n'
        "    raise ValueError(message)\n"
        f"ValueError: {message}\n"
    )
    error = ItemError("raised", "ValueError", message, traceback)
    key = f"4f1d2a6b9c3e5870-{item}"
    return Failure(number, item, error, f"k={item}", key, 0, 1, 0.5, f"printed by {item}\n")


class FrontendConformance:
    """What every progress frontend must stand: nothing that a farm can show makes it raise.

    A subclass gives a fixture `make_frontend` that returns a function from
    :class:`farmhand.progress.FrontendOptions` to a frontend, and is given all tests below.
    What is drawn is for the subclass to look at.
    """

    @pytest.fixture(params=[False, True], ids=["quiet", "verbose"])
    def options(self, request: pytest.FixtureRequest) -> FrontendOptions:
        """The options that the tests make frontends with."""
        return FrontendOptions(task="find_rate", verbose=request.param)

    @pytest.fixture
    def make_frontend(self) -> MakeFrontend:
        """To be given by the subclass."""
        raise NotImplementedError("give a fixture make_frontend: from FrontendOptions to a frontend")

    @pytest.fixture
    def frontend(self, make_frontend: MakeFrontend, options: FrontendOptions) -> Frontend:
        """A new frontend."""
        return make_frontend(options)

    def test_a_whole_run_is_shown(self, frontend: Frontend) -> None:
        """The plain case: some items on some processes, from the first to the last."""
        play(frontend, a_run())

    def test_closing_without_a_snapshot_is_fine(self, frontend: Frontend) -> None:
        """A run may fail before it has begun; the frontend is closed all the same."""
        play(frontend, [])

    def test_closing_in_the_middle_is_fine(self, frontend: Frontend) -> None:
        """An error in the store ends the run without a last word."""
        play(frontend, a_run()[:10])

    def test_a_frontend_asks_for_nothing_on_its_own(self, frontend: Frontend) -> None:
        """Orders come from a user, and here there is none."""
        assert play(frontend, a_run()) == []

    def test_an_unknown_length_is_no_obstacle(self, frontend: Frontend) -> None:
        """A generator has no length: there is no total, no fraction and no time remaining."""
        play(frontend, [replace(s, total=None, complete=None, remaining=None) for s in a_run()])

    def test_a_run_of_another_process_is_shown(
        self, make_frontend: MakeFrontend, options: FrontendOptions
    ) -> None:
        """As for ``farmhand watch``; only its user takes a frontend away from a run, not the run's end."""
        assert play(make_frontend(replace(options, watching=True)), a_run()) == []

    def test_a_run_that_somebody_joins_late_is_shown(self, frontend: Frontend) -> None:
        """Who begins to watch in the middle finds items that ended, and failures that nobody has shown."""
        play(frontend, a_run(items=100, failures=50)[30:])

    def test_a_run_without_items_is_shown(self, frontend: Frontend) -> None:
        """An empty list of items must not end in a division by zero."""
        play(frontend, a_run(items=0))

    @pytest.mark.parametrize("complete", [None, 0.0, 1.0])
    def test_a_run_that_is_over_at_once_is_shown(self, frontend: Frontend, complete: float | None) -> None:
        """The first snapshot may be the last one, in which no time has passed."""
        play(frontend, [Snapshot(task="find_rate", state="finished", total=0, complete=complete)])

    def test_a_run_that_skips_everything_is_shown(self, frontend: Frontend) -> None:
        """Resuming a complete run skips all its items: none is left to run."""
        skipped = Snapshot(task="find_rate", total=9, skipped=9, complete=None)
        play(frontend, [skipped, replace(skipped, state="finished", elapsed=0.01)])

    def test_a_run_with_failures_is_shown(self, frontend: Frontend) -> None:
        """They come one by one, with tracebacks, outputs and keys, among items that are done."""
        play(frontend, a_run(items=60, failures=12))

    def test_failures_that_nobody_can_see_are_no_obstacle(self, frontend: Frontend) -> None:
        """Only the last ones are in a snapshot; more may fail between two snapshots than fit."""
        failed = [a_failure(n, f"bad {n}") for n in range(1, 41)]
        run = a_run(items=60)
        history = [
            replace(s, failed=n, failures=tuple(failed[max(0, n - 5) : n]))
            for s, n in zip(run, (0, 1, 1, 2, 3, 20, 21, 40), strict=False)
        ]
        play(frontend, [*history, replace(history[-1], state="finished")])

    def test_every_kind_of_failure_is_shown(self, frontend: Frontend) -> None:
        """Some never got into a process, some have no traceback, and some a long one."""
        raised = a_failure(1)
        long = replace(raised.error, traceback="  File x, line 1\n" * 1000 + "ValueError: no")
        failures = (
            raised,
            replace(raised, number=2, index=1, error=long, output="printed\n" * 2000, attempts=4),
            replace(raised, number=3, index=2, error=ItemError("died", "", "process died: signal 9"), key=""),
            Failure(4, 3, ItemError("unpicklable item", "TypeError", "cannot pickle a lock")),
            Failure(5, 4, ItemError("timeout", "", "took more than 5 s"), process=63, seconds=5.0),
        )
        history = [
            replace(s, failed=n, failures=failures[:n]) for n, s in enumerate(a_run()[: len(failures) + 1])
        ]
        play(frontend, [*history, replace(history[-1], state="finished")])

    def test_what_tasks_print_is_shown_or_left_out(self, frontend: Frontend) -> None:
        """However much it is, and whatever is in it."""
        texts = ["one line\n", "no end", "\x1b[2J\r\a", "many\n" * 1000]
        shown = [
            replace(s, outputs=(Output(n, texts[n % len(texts)]),)) for n, s in enumerate(a_run(items=10))
        ]
        play(frontend, shown)

    def test_a_process_that_is_replaced_keeps_its_place(self, frontend: Frontend) -> None:
        """The number is the same, the pid is another, and in between there is none."""
        old = ProcessView(0, pid=10, state="busy", index=3, item="3", elapsed=1.0, complete=0.5)
        leaving = replace(old, state="leaving")
        again = replace(old, pid=11, complete=None, attempts=2)  # the same item, from its beginning
        views = [old, leaving, ProcessView(0), ProcessView(0, pid=11), ProcessView(0, 11, "idle"), again]
        play(frontend, [Snapshot(total=9, elapsed=n * 0.1, processes=(v,)) for n, v in enumerate(views)])

    def test_the_number_of_processes_may_change(self, frontend: Frontend) -> None:
        """A user resizes a running farm; for a moment there may be none at all."""
        sizes = (4, 8, 1, 0, 3)
        views = [tuple(ProcessView(n, pid=n + 1, state="idle") for n in range(size)) for size in sizes]
        leaving = tuple(replace(v, state="leaving" if v.number else "busy", index=v.number) for v in views[1])
        gap = (ProcessView(2, pid=7, state="busy", complete=0.2), ProcessView(5))
        play(
            frontend,
            [
                # what is wanted changes at once, the processes follow
                Snapshot(total=9, elapsed=n * 0.1, processes=shown, wanted=sizes[min(n + 1, 4)])
                for n, shown in enumerate([*views, leaving, gap])
            ],
        )

    def test_processes_of_several_computers_are_shown(self, frontend: Frontend) -> None:
        """One after the other comes, each with a name of its own length, and one is lost again."""
        run = a_run(processes=6, computers=("", "node17", "gpu-node-with-a-long-name.cluster.example", "::1"))
        waiting = tuple(ProcessView(number) for number in range(6))
        growing = [
            replace(snapshot, processes=(*snapshot.processes[:n], *waiting[n:]), elapsed=20.0 + n, cpu=None)
            for n, snapshot in enumerate(run[:7])
        ]
        play(frontend, [*growing, *run[7:20], growing[3], *run[20:]])

    def test_sixty_four_processes_are_shown(self, frontend: Frontend) -> None:
        """As many as a large machine has, and more than most displays have lines."""
        play(frontend, a_run(items=1000, processes=64, steps=20))

    def test_thousands_of_snapshots_are_shown(self, frontend: Frontend) -> None:
        """Ten a second make thousands in a few minutes, each with a chart and a hundred failures."""
        play(frontend, a_run(items=5000, processes=2, steps=2000, failures=500))

    def test_pausing_resuming_and_finishing_are_shown(self, frontend: Frontend) -> None:
        """Every state of a run that goes on, and back again."""
        run = a_run()
        states = ("running", "paused", "paused", "running", "finishing")
        history = [replace(s, state=state) for s, state in zip(run, states, strict=False)]
        play(frontend, [*history, replace(run[5], state="stopped")])

    @pytest.mark.parametrize("end", ["finished", "stopped", "broken"])
    def test_every_end_is_shown(self, frontend: Frontend, end: str) -> None:
        """A run that was stopped, or broke off, has processes and items left over."""
        run = a_run()[:20]
        play(frontend, [*run, replace(run[-1], state="stopping"), replace(run[-1], state=end)])

    @pytest.mark.parametrize("reason", ["max_failures=10 is reached", "StoreError: rates.db: disk full"])
    def test_an_end_for_a_reason_is_shown(self, frontend: Frontend, reason: str) -> None:
        """A run may stop by itself, as it was told to, or because something broke."""
        run = a_run()[:20]
        play(
            frontend, [*run, replace(run[-1], state="broken" if ":" in reason else "stopped", reason=reason)]
        )

    @pytest.mark.parametrize("complete", [None, 0.0, 0.5, 1.0])
    @pytest.mark.parametrize("expected", [None, 0.5, 1.0])
    @pytest.mark.parametrize("phase", [PREPARING, "warm-up"])
    def test_any_report_of_a_process_is_shown(
        self, frontend: Frontend, complete: float | None, expected: float | None, phase: str
    ) -> None:
        """A task may not report, or say at once that it is done; what is expected may lag behind."""
        view = ProcessView(
            0, pid=1, state="busy", index=0, item="0", complete=complete, expected=expected, phase=phase
        )
        views = [replace(view, elapsed=t, remaining=r) for t, r in ((0.0, None), (3.0, 0.0), (3.1, 1e6))]
        play(frontend, [Snapshot(total=2, elapsed=v.elapsed, processes=(v,)) for v in views])

    @pytest.mark.parametrize("cpu", [None, 0.0, 1.0])
    def test_any_use_of_the_cpus_is_shown(self, frontend: Frontend, cpu: float | None) -> None:
        """Not every system tells."""
        play(frontend, [replace(snapshot, cpu=cpu) for snapshot in a_run(steps=5)])

    @pytest.mark.parametrize("text", NASTY_TEXTS, ids=lambda text: ascii(text[:12]))
    def test_any_text_is_shown(self, frontend: Frontend, text: str) -> None:
        """Names, items and errors come from the user's code and may hold anything."""
        view = ProcessView(
            0, 1, "busy", index=0, item=text, taskname=text, complete=0.5, phase=text, computer=text
        )
        failure = replace(a_failure(1, text), item=text, output=text)
        failure = replace(failure, error=replace(failure.error, type=text, traceback=text))
        shown = Snapshot(
            task=text,
            store=text,
            reason=text,
            total=2,
            failed=1,
            elapsed=2.0,
            processes=(view,),
            failures=(failure,),
            outputs=(Output(0, text),),
        )
        play(frontend, [shown, replace(shown, elapsed=9.0), replace(shown, state="stopped")])

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.data())
    def test_any_history_is_shown(
        self, make_frontend: MakeFrontend, options: FrontendOptions, data: st.DataObject
    ) -> None:
        """Whatever numbers come, in whatever order: progress must never cost a run."""
        play(make_frontend(options), data.draw(st.lists(snapshots(), max_size=4)))


def snapshots() -> st.SearchStrategy[Snapshot]:
    """Any snapshot, possible or not: a frontend may not trust arithmetic done elsewhere."""
    count = st.integers(0, 10**7)
    seconds = st.floats(0, 1e9) | st.floats()
    fraction = st.none() | st.floats(0, 1) | st.floats()
    # of the long one a beginning will do: Hypothesis warns of failures that take pages to print
    text = st.text(max_size=20) | st.sampled_from([text[:200] for text in NASTY_TEXTS])
    state = st.sampled_from(["running", "paused", "finishing", "stopping", "finished", "stopped", "broken"])
    process = st.builds(
        ProcessView,
        number=st.integers(0, 99),
        pid=st.none() | count,
        state=st.sampled_from(["waiting", "starting", "idle", "busy", "leaving"]),
        index=st.none() | count,
        item=text,
        taskname=text,
        elapsed=seconds,
        complete=fraction,
        expected=fraction,
        remaining=st.none() | seconds,
        attempts=count,
        phase=text | st.just(PREPARING),
        computer=text,
    )
    failure = st.builds(
        Failure,
        number=count,
        index=count,
        error=st.builds(ItemError, kind=text, type=text, message=text, traceback=text),
        item=text,
        key=text,
        process=st.none() | count,
        attempts=count,
        seconds=seconds,
        output=text,
    )
    return st.builds(
        Snapshot,
        task=text,
        state=state,
        store=text,
        run=text,
        pid=st.none() | count,
        reason=text,
        total=st.none() | count,
        done=count,
        failed=count,
        skipped=count,
        elapsed=seconds,
        complete=fraction,
        rate=seconds,
        remaining=st.none() | st.builds(Estimate, low=seconds, median=seconds, high=seconds),
        told=st.none() | st.builds(TimeLeft, span=text, end=text, latest=st.booleans()),
        cpu=fraction,
        wanted=count,
        history=st.lists(st.tuples(seconds, count), max_size=4).map(tuple),
        processes=st.lists(process, max_size=3).map(tuple),
        failures=st.lists(failure, max_size=2).map(tuple),
        outputs=st.lists(st.builds(Output, st.integers(0), text), max_size=2).map(tuple),
    )
