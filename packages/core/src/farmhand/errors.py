"""What farmhand raises, split by who must act.

Every class keeps its constructor's arguments in ``args``, so that it can be pickled and
cross a process boundary, and composes its text in ``__str__``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "FarmhandError",
    "PluginError",
    "ProcessesKeepDying",
    "SetupError",
    "StoppedEarly",
    "StoreError",
    "TaskNotPicklable",
    "TasksFailed",
    "UnknownName",
    "UsageError",
]


class FarmhandError(Exception):
    """The base of everything that farmhand raises on purpose."""


class UsageError(FarmhandError, ValueError):
    """The call cannot mean anything; the caller changes the call.

    Parameters
    ----------
    message : str
        What is wrong and what to write instead.
    """


class UnknownName(UsageError):
    """A store, frontend, executor or start method that nobody provides.

    Parameters
    ----------
    kind : str
        What was asked for, for example ``'progress frontend'``.
    asked : str
        The name as the user wrote it.
    known : sequence of str
        The names that would have worked.
    hint : str, optional
        A further sentence, for example which package to install.
    """

    def __init__(self, kind: str, asked: str, known: Sequence[str], hint: str = "") -> None:
        super().__init__(kind, asked, tuple(known), hint)

    def __str__(self) -> str:
        kind, asked, known, hint = self.args
        text = f"no {kind} is called {asked!r}; known: {', '.join(known) or 'none'}"
        return f"{text}. {hint}" if hint else text


class PluginError(FarmhandError):
    """Plugins disagree or break their contract; their authors, or pip, must act.

    Parameters
    ----------
    message : str
        Names every plugin concerned.
    """


class TaskNotPicklable(FarmhandError, TypeError):
    """The task cannot travel to another process; the caller changes the task.

    Parameters
    ----------
    culprit : str
        The attribute, global or closure variable at fault, as a path.
    reason : str
        What the pickler said.
    """

    def __init__(self, culprit: str, reason: str) -> None:
        super().__init__(culprit, reason)

    def __str__(self) -> str:
        culprit, reason = self.args
        return (
            f"the task cannot be sent to another process because of {culprit}: {reason}. "
            "Create it inside the task instead (or once for each process, in the __init__ of a "
            "class task), or use start_method='fork', which copies the whole process"
        )


class SetupError(FarmhandError):
    """A process could not make its task; the task's author must act.

    Parameters
    ----------
    process : int
        The number of the process that said so.
    message : str
        Type and text of the error.
    traceback : str
        The whole traceback in that process, as text.
    computer : str
        Where that process was, if not here.
    """

    def __init__(self, process: int, message: str, traceback: str, computer: str = "") -> None:
        super().__init__(process, message, traceback, computer)

    def __str__(self) -> str:
        process, message, traceback, computer = self.args
        where = f" on {computer}" if computer else ""
        text = f"process {process}{where} could not set up the task: {message}"
        return f"{text}\n\n{traceback.rstrip()}" if traceback else text


class ProcessesKeepDying(FarmhandError):
    """Processes end before they are ready, again and again.

    Parameters
    ----------
    times : int
        How many starts in a row have failed.
    reason : str
        How the last one ended.
    output : str
        The end of what it printed.
    kind : str
        ``'died'``, or ``'lost'`` when it was their computers or workers that were gone; whoever keeps
        those must act then.
    """

    def __init__(self, times: int, reason: str, output: str = "", kind: str = "died") -> None:
        super().__init__(times, reason, output, kind)

    def __str__(self) -> str:
        times, reason, output, kind = self.args
        if kind == "lost":
            return (
                f"{times} processes in a row were lost before they could take an item, with the computers "
                f"or workers that they were to run on; the last one: {reason}. The logs of those say why"
            )
        text = (
            f"{times} processes in a row ended before they could take an item; the last one: "
            f"{reason}. Something in the task or its modules, or a limit of the system, ends them"
        )
        return f"{text}. It printed:\n\n{output.rstrip()}" if output.strip() else text


class StoppedEarly(FarmhandError):
    """A simulation that reports to farmhand has not come to its end; the task's author must act.

    Parameters
    ----------
    reached, duration : float
        How far it came, and how long all of it is, in seconds of simulated time.
    """

    def __init__(self, reached: float, duration: float) -> None:
        super().__init__(reached, duration)

    def __str__(self) -> str:
        reached, duration = self.args
        return (
            f"a simulation was stopped after {reached:.10g} s of its {duration:.10g} s (by stop(), by "
            "maximum_run_time, or by an error that the task has caught), so that the result is not stored. "
            "Where that is meant, the task calls report(1.0) after it"
        )


class TasksFailed(FarmhandError):
    """Some items failed. Everything that finished is stored.

    Parameters
    ----------
    failed, done : int
        How many items failed and how many succeeded.
    examples : sequence of str
        The first few failures in full.
    kinds : mapping of str to int
        How many failed in which way.
    location : str
        The store that has them all; ``':memory:'`` for none on disk.

    Attributes
    ----------
    summary : RunSummary or None
        What :func:`farmhand.run_tasks` would have returned.
    """

    summary: object = None

    def __init__(
        self,
        failed: int,
        done: int,
        examples: Sequence[str] = (),
        kinds: Mapping[str, int] | None = None,
        location: str = ":memory:",
    ) -> None:
        super().__init__(failed, done, tuple(examples), dict(kinds or {}), location)

    def __str__(self) -> str:
        failed, done, examples, kinds, location = self.args
        lines = [f"{failed} of {failed + done} items failed; the {done} others are stored."]
        if kinds:
            counted = sorted(kinds.items(), key=lambda pair: -pair[1])
            lines.append("By kind: " + ", ".join(f"{count} {kind}" for kind, count in counted) + ".")
        lines += examples
        if failed > len(examples):
            lines.append(f"... and {failed - len(examples)} more.")
        store = "store" if location == ":memory:" else f"open_store({location!r})"
        lines.append(
            f"{store}.failures() lists them all; errors='collect' returns them instead of raising; "
            "resume=True runs them again."
        )
        return "\n".join(lines)


class StoreError(FarmhandError):
    """A store cannot be opened, read or written; whoever keeps the files must act.

    Parameters
    ----------
    location : str
        The file or folder.
    problem : str
        What is wrong with it.
    advice : str
        What to do.
    """

    def __init__(self, location: str, problem: str, advice: str = "") -> None:
        super().__init__(location, problem, advice)

    def __str__(self) -> str:
        location, problem, advice = self.args
        text = f"{location}: {problem}"
        return f"{text}. {advice}" if advice else text
