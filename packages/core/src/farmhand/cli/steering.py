"""The commands that reach a run that goes on: watch, gui, pause, resume, finish, stop, workers."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable, Mapping
from math import isfinite

from farmhand.arguments import in_terminal, named_frontend
from farmhand.cli.stores import (
    find_run,
    listed,
    open_existing,
    open_run_text,
    quoted,
    runs_of,
    short_uids,
    state_of,
)
from farmhand.cli.terminal import Output, plural
from farmhand.control import connect
from farmhand.errors import FarmhandError, UsageError
from farmhand.events import Control, Finish, Pause, Resize, Resume, Stop
from farmhand.messages import MessageError
from farmhand.plugins import Plugins
from farmhand.progress import OVER, Detach, Frontend, Snapshot
from farmhand.remote import RemoteRun
from farmhand.store import DataManager, RunInfo
from farmhand.text import TextFrontend, is_live
from farmhand.wording import printable, when_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

__all__ = ["finish", "gui", "pause", "resume", "stop", "watch", "workers"]

_LOOK = 0.1  # seconds between two looks at the keys of who watches
_SILENCE = 3.0  # seconds without news after which that is said
_ANSWER = 5.0  # seconds in which a farm should answer,
_END = 10.0  # and in which a run that was told to stop should have ended
_DYING = 2.0  # seconds in which a process that has hung up should have ended
_WAIT = 0.5  # seconds between two looks whether a run has begun
_AGAIN = "it reads items, stores results, or was suspended (Ctrl-Z)"  # what keeps a farm from answering


class _Died(FarmhandError):
    """The run has ended without a word; what it has left is in the text."""

    exit_status = 1


class _Nothing(UsageError):
    """There is no such run now."""


# -- watching --------------------------------------------------------------------------------------------


def watch(options: Namespace, out: Output) -> int:
    """Show a run until it ends, or until whoever looks has seen enough; 1 when it did not end well."""
    run = _wait(options) if options.wait else _find(options, newest=True)
    plugins = Plugins()
    if options.json:
        if options.progress is not None:
            raise UsageError("--json and --progress exclude each other")
        return _watch(options, run, _Lines(out))
    name = options.progress or in_terminal(plugins)
    make = named_frontend(plugins, name, run.task, options.verbose, watching=True)
    return _watch(options, run, make())


def gui(options: Namespace, out: Output) -> int:
    """Show a run in the window until that is closed; 1 when the run did not end well."""
    run = _find(options, newest=True)
    make = named_frontend(Plugins(), "tk:wait", run.task, verbose=False, watching=True)
    return _watch(options, run, make())


def _watch(options: Namespace, run: RunInfo, frontend: Frontend) -> int:
    last: Snapshot | None = None
    gone = False  # whoever looked has seen enough
    problem = ""
    try:
        remote = _reach(options, run)
        try:
            for last in _snapshots(options, run, remote, frontend):
                frontend.show(last)
            gone = not remote.closed and (last is None or last.state not in OVER)
        except MessageError as error:
            problem = str(error)
        except KeyboardInterrupt:
            gone = True
        finally:
            remote.close()
    finally:
        frontend.close()
    if problem:
        raise UsageError(f"{options.store}: {problem}")
    if gone:
        _tell(f"the run goes on; farmhand {options.command} {quoted(options.store)} shows it again")
        return 0
    if last is not None and last.state in OVER:
        return 0 if last.state == "finished" and not last.failed else 1
    return _without_a_last_word(options, run)


def _snapshots(options: Namespace, run: RunInfo, remote: RemoteRun, frontend: Frontend) -> Iterable[Snapshot]:
    """What the farm shows, until it ends or hangs up; passes on what the user asks for."""
    remote.watch(outputs=getattr(options, "verbose", False) or getattr(options, "json", False))
    heard = time.monotonic()
    begun = told = False
    while not remote.closed:
        select.select([remote.stream], [], [], _LOOK)
        for snapshot in remote.snapshots():
            heard, begun, told = time.monotonic(), True, False
            yield snapshot
            if snapshot.state in OVER:
                return
        remote.answers.clear()
        for control in frontend.controls() if begun else ():
            if isinstance(control, Detach):
                return
            remote.ask(control)
        if not told and time.monotonic() - heard > _SILENCE:
            told = True
            # a line that is redrawn in place stands there
            newline = "\n" if begun and isinstance(frontend, TextFrontend) and is_live(sys.stderr) else ""
            _tell(f"no news for {_SILENCE:.0f} s: the farm lives, but {_AGAIN}", newline)
        if told and state_of(run) != "running":
            remote.close()  # another process that it had forked still has the connection


def _without_a_last_word(options: Namespace, run: RunInfo) -> int:
    """What has become of a run whose connection has ended; it has left something in any case."""
    deadline = time.monotonic() + _DYING
    with open_existing(options.store) as store:
        while True:
            known = runs_of(store)
            now = find_run(known, run.uid)
            if state_of(now) != "running":
                break
            if time.monotonic() > deadline:
                _tell(f"{options.store}: the farm has hung up; {_how_to_stop(run)}")
                return 1
            time.sleep(_LOOK)
        if now.outcome:
            _tell(f"{options.store}: {_ended(store, known, now)}")
            return 0 if now.outcome == "finished" and not store.counts(now.uid).failed else 1
        raise _Died(_open_text(store, known, now))


class _Lines:
    """A frontend for programs: each snapshot as a line of JSON; failures and outputs that are new."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._failures = 0  # the number of the last one that was printed

    def show(self, snapshot: Snapshot) -> None:
        """Print it at once."""
        told = {name: _jsonable(getattr(snapshot, name)) for name in Snapshot.__match_args__}
        del told["history"]
        told["failures"] = [each for each in told["failures"] if each["number"] > self._failures]
        self._failures = max([self._failures, *(each["number"] for each in told["failures"])])
        self._out.json(told)
        self._out.flush()

    def controls(self) -> Iterable[Control | Detach]:
        """Nothing: there are commands for that."""
        return ()

    def close(self) -> None:
        """Nothing is left to do."""


def _jsonable(value: Any) -> Any:
    """A part of a snapshot as JSON has it; what is no number is null."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, tuple):
        return list(map(_jsonable, value))
    if hasattr(value, "__match_args__"):
        return {name: _jsonable(getattr(value, name)) for name in value.__match_args__}
    return value


# -- steering --------------------------------------------------------------------------------------------


def pause(options: Namespace, out: Output) -> int:
    """Begin no further item until it is resumed."""
    return _steer(options, out, Pause(), "paused", "paused")


def resume(options: Namespace, out: Output) -> int:
    """Go on after a pause."""
    return _steer(options, out, Resume(), "running", "goes on")


def finish(options: Namespace, out: Output) -> int:
    """Let the running items end, and begin no others."""
    return _steer(options, out, Finish(), "finishing", "finishing")


def stop(options: Namespace, out: Output) -> int:
    """End the run now; returns when it has ended."""
    run = _find(options)
    remote = _reach(options, run)
    try:
        remote.watch()
        answer = _ask(options, run, remote, Stop())
        if answer is None:
            return 1
        deadline = time.monotonic() + _END
        over = False
        while not (over or remote.closed or time.monotonic() > deadline):
            select.select([remote.stream], [], [], _LOOK)
            over = any(snapshot.state in OVER for snapshot in remote.snapshots())
    except MessageError as error:
        raise UsageError(f"{options.store}: {error}") from None
    finally:
        remote.close()
    with open_existing(options.store) as store:
        known = runs_of(store)
        now = find_run(known, run.uid)
        if options.json:
            counts = store.counts(run.uid)
            about = {"done": counts.done, "failed": counts.failed, "running": 0 if now.outcome else None}
            out.json(_as_json(options, run, {**answer, **about, "state": now.outcome or "stopping"}))
        elif now.outcome:
            out.line(f"{options.store}: {_ended(store, known, now)}")
        elif state_of(now) == "running":
            out.line(
                f"{options.store}: still stopping; farmhand status {quoted(options.store)} says when it has"
            )
        else:
            raise _Died(_open_text(store, known, now))
    return 0 if now.outcome else 1


def workers(options: Namespace, out: Output) -> int:
    """Change the number of processes."""
    run = _find(options)
    remote = _reach(options, run)
    try:
        answer = _ask(options, run, remote, Resize(options.processes))
        before = _number(remote.hello or {}, "wanted")
    finally:
        remote.close()
    if answer is None:
        return 1
    if options.json:
        out.json(_as_json(options, run, answer))
        return 0
    wanted = _number(answer, "wanted")
    state = printable(str(answer.get("state")), 20)
    if before == wanted:
        text = f"it has {plural(wanted, 'process', 'es')} already"
    else:
        text = f"{plural(wanted, 'process', 'es')} from now on, {before:,} before"
        if wanted < before:
            text += "; those that leave end their items first"
    if state != "running":
        text += f"; it is {state}" if state not in OVER else f"; but it has {_has(state)}"
    out.line(f"{options.store}: {text}")
    return 0


def _steer(options: Namespace, out: Output, control: Control, wanted: str, word: str) -> int:
    """Ask for something and say what is true now; 1 when that is something else."""
    run = _find(options)
    remote = _reach(options, run)
    try:
        answer = _ask(options, run, remote, control)
        before = (remote.hello or {}).get("state")
    finally:
        remote.close()
    if answer is None:
        return 1
    state = printable(str(answer.get("state")), 20)
    ended = state in OVER and (wanted == "finishing" or (wanted == "running" and before == "paused"))
    reached = state == wanted or ended  # what is asked of it may have been the last thing that it waited for
    if options.json:
        out.json(_as_json(options, run, answer))
    elif not reached:
        now = f"has {_has(state)}" if state in OVER else f"is {state}"
        asked = {"paused": "paused", "running": "resumed"}.get(wanted, "told to finish")
        out.line(f"{options.store}: it {now}, and cannot be {asked}")
    else:
        text = word if before != state else f"it was {state} already"
        if ended:
            text = f"it has {_has(state)}"
        running = _number(answer, "running")
        if state in ("paused", "finishing") and running:
            text += f"; {plural(running, 'running item')} {'goes' if running == 1 else 'go'} on to "
            text += "its end" if running == 1 else "their end"
        out.line(f"{options.store}: {text}{',' if running and state != 'running' else ';'} {_far(answer)}")
    return 0 if reached else 1


def _ask(options: Namespace, run: RunInfo, remote: RemoteRun, control: Control) -> Mapping[str, Any] | None:
    """Ask the farm for something; its answer, or None when that does not come, which is then said."""
    number = remote.ask(control)
    deadline = time.monotonic() + _ANSWER
    try:
        while number not in remote.answers:
            remote.snapshots()
            if number in remote.answers:
                break
            if remote.closed:
                _without_a_last_word(options, run)
                return None
            left = deadline - time.monotonic()
            if left <= 0:
                then = "it will follow when it comes round" if remote.has_sent else "try again later"
                _tell(
                    f"{options.store}: the farm has not answered for {_ANSWER:.0f} s, since {_AGAIN}; {then}"
                )
                return None
            select.select([remote.stream], [], [], left)
    except MessageError as error:
        raise UsageError(f"{options.store}: {error}") from None
    answer = remote.answers.pop(number)
    if "error" in answer:
        raise UsageError(f"{options.store}: {printable(str(answer['error']))}")
    return answer


def _as_json(options: Namespace, run: RunInfo, answer: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: answer.get(name) for name in ("state", "total", "done", "failed", "skipped", "running")}
    return {"store": options.store, "run": run.uid, **told, "processes": answer.get("wanted")}


def _far(answer: Mapping[str, Any]) -> str:
    done = f"{_number(answer, 'done'):,}"
    text = (
        f"{done} of {_number(answer, 'total'):,} done" if answer.get("total") is not None else f"{done} done"
    )
    failed = _number(answer, "failed")
    return f"{text}, {failed:,} failed" if failed else text


def _number(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    return value if isinstance(value, int) else 0


def _has(state: str) -> str:
    """A state of ``OVER`` behind 'it has'."""
    return {"finished": "finished", "stopped": "stopped"}.get(state, "broken off")


# -- finding a run, and getting at it -----------------------------------------------------------------------


def _find(options: Namespace, newest: bool = False) -> RunInfo:
    """The run that is meant.

    Parameters
    ----------
    newest : bool
        Of several that run take the last, and say so.

    Raises
    ------
    UsageError
        It does not run here, or it is not clear which one is meant.
    _Died
        It was killed.
    """
    with open_existing(options.store) as store:
        known = runs_of(store)
        if options.run is not None:
            run = find_run(known, options.run)
            if state_of(run) != "running":
                raise _no_run(options, store, known, run)
            return run
        running = [run for run in known if state_of(run) == "running"]
        if not running:
            raise _no_run(options, store, known, known[-1] if known else None)
        if len(running) > 1:
            which = f"{len(running)} runs go on in {options.store}: there {listed(running, known)}"
            if not newest:
                raise UsageError(f"{which}; say with --run which one is meant")
            _tell(f"{which}; this is the last. --run chooses")
        return running[-1]


def _wait(options: Namespace) -> RunInfo:
    """The run that is meant, as soon as there is one."""
    told = False
    while True:
        path = options.store
        if path == ":memory:" or (os.path.exists(path) and (os.path.isdir(path) or os.path.getsize(path))):
            try:
                return _find(options, newest=True)
            except (_Nothing, _Died):
                if options.run is not None:  # it has ended
                    raise
        if not told:
            told = True
            _tell(f"waiting for a run to begin in {path} (Ctrl-C ends this)")
        time.sleep(_WAIT)


def _no_run(
    options: Namespace, store: DataManager, known: list[RunInfo], run: RunInfo | None
) -> FarmhandError:
    """Why there is nothing to be seen: what the run did that was meant, or the last one."""
    asked = options.run is not None
    if run is None:
        return _Nothing(f"nothing runs in {options.store}: it has no runs yet")
    state = state_of(run)
    if state == "killed":
        return _Died(
            f"{'' if asked else f'nothing runs in {options.store}: '}{_open_text(store, known, run)}"
        )
    if state == "unknown":
        return _Nothing(f"{_open_text(store, known, run)} It can be reached from there alone")
    text = _ended(store, known, run)
    return _Nothing(text if asked else f"nothing runs in {options.store}; the last run: {text}")


def _open_text(store: DataManager, known: list[RunInfo], run: RunInfo) -> str:
    return open_run_text(store, run, store.counts(run.uid), short_uids(known), time.time())


def _ended(store: DataManager, known: list[RunInfo], run: RunInfo) -> str:
    """How a run has ended, in a sentence."""
    counts = store.counts(run.uid)
    now = time.time()
    how = {"finished": "finished", "stopped": "was stopped"}.get(run.outcome, "broke off")
    when = "" if run.ended is None else f" at {when_text(run.ended, now)}"
    text = f"{short_uids(known)[run.uid]} ({printable(run.task, 40)}) {how}{when}: {counts.done:,} done"
    if run.numitems is not None and run.outcome != "finished":
        text = text.replace(" done", f" of {run.numitems:,} done")
    if counts.failed:
        text += f", {counts.failed:,} failed"
    return text if run.outcome == "finished" else f"{text}; resume=True runs the rest"


def _reach(options: Namespace, run: RunInfo) -> RemoteRun:
    """Connect to a run.

    Raises
    ------
    UsageError
        It cannot be reached, or has ended meanwhile.
    _Died
        It was killed.
    """
    address = run.provenance.get("control")
    who = f"{options.store}: the run {run.uid[:6]} goes on in process {_pid(run)}"
    if not isinstance(address, str):
        raise UsageError(
            f"{who}, but cannot be reached: when it began there was no place for its socket, or its farmhand "
            f"was older ($XDG_RUNTIME_DIR, $TMPDIR or /tmp must have a folder that is this user's alone). "
            f"{_how_to_stop(run)}"
        )
    try:
        return connect(address)
    except PermissionError:
        raise UsageError(f"{who}, which is another user's; only its user can watch and steer it") from None
    except OSError as error:
        with open_existing(options.store) as store:
            known = runs_of(store)
            now = find_run(known, run.uid)
            if state_of(now) != "running":
                raise _no_run(options, store, known, now) from None
        why = error.strerror or str(error)
        raise UsageError(f"{who}, but cannot be reached at {address} ({why}). {_how_to_stop(run)}") from None


def _how_to_stop(run: RunInfo) -> str:
    return f"kill -TERM {_pid(run)} stops it in order, with all that has finished stored"


def _pid(run: RunInfo) -> str:
    return "".join(run.owner.split("/")[-2:-1])


def _tell(text: str, before: str = "") -> None:
    sys.stderr.write(f"{before}farmhand: {text}\n")
    sys.stderr.flush()
