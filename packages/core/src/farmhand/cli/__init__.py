"""The command ``farmhand``: what its words mean, and what it exits with."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from farmhand.cli.terminal import Output
from farmhand.errors import FarmhandError, PluginError
from farmhand.plugins import Plugins

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from farmhand.hookspecs import MakeCommand

    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

__all__ = ["main"]

_EXITS = """\
exit status:
  0    all is well
  1    there is something to report: failures of `failures`, problems of `check`,
       pairs that `merge` found with two values, an item that fails again or
       returns something else (`rerun`), a run that did not end well (`watch`,
       `gui`), was killed, or does not answer
  2    the command means nothing here, or a store cannot be read or written
  130  it was interrupted (Ctrl-C)
  141  whoever read the output has stopped to
"""
_STORE = "a store that is there, such as results.db"
_ITEM = "a key; RUN-INDEX with the beginning of the run's name; an index, where there is one run"
_RUN = "of this run alone, by the beginning of its name"
_STEERING = ("watch", "gui", "pause", "resume", "finish", "stop", "workers")
_WHICH = "the run, by the beginning of its name"
_TRUST = "This runs code that is in the store: only for a store that you trust."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns what the process exits with.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``farmhand``; by default those of this process.
    """
    import warnings

    words = sys.argv[1:] if argv is None else list(argv)
    out = Output()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            status = _run(words, out)
        out.flush()
        return status
    except SystemExit as leaving:  # --help, --version, or a mistake, which is on stderr already
        return leaving.code if isinstance(leaving.code, int) else 2
    except FarmhandError as error:
        return _fail(out, str(error), getattr(error, "exit_status", 2))
    except KeyboardInterrupt:
        return _fail(out, "interrupted", 130)
    except BrokenPipeError:
        # nobody reads on, as after `| head`; what is left in the buffer must not say so at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.stream.fileno())
        return 141
    except OSError as error:
        return _fail(out, f"{error.filename or 'output'}: {error.strerror or error}")


def _run(words: Sequence[str], out: Output) -> int:
    """Parse the words and do what they say; plugins are searched only for a word that is not our own."""
    parser, commands = _parser()
    first = words[0] if words else ""
    if first.startswith("-"):
        if first in ("-h", "--help"):
            _add_to_help(commands)
    elif first and first not in commands.choices:
        theirs = Plugins().commands(commands.choices)
        if first in theirs:
            return _run_plugins(first, theirs[first], words[1:])
        missing = Plugins().missing("farmhand_commands", "command", first, [*commands.choices, *theirs])
        if missing.args[-1]:  # it is known what to install
            raise missing
        for name in theirs:  # so that the error names them
            commands.add_parser(name)
    options = parser.parse_args(words)
    return _command(options.command)(options, out)


def _run_plugins(name: str, make: MakeCommand, words: Sequence[str]) -> int:
    """Run a command that a plugin has made."""
    import argparse

    parser = argparse.ArgumentParser(prog=f"farmhand {name}")
    run = make(parser)
    return run(parser.parse_args(words))


def _add_to_help(commands: Commands) -> None:
    """Add what plugins bring; those that fail are named, and the help does without them."""
    import argparse

    def blame(error: FarmhandError) -> None:
        sys.stderr.write(f"farmhand: {error}\n")

    for name, make in Plugins().commands(commands.choices, blame).items():
        parser = argparse.ArgumentParser()
        try:
            make(parser)
        except PluginError as error:
            blame(error)
            continue
        text = " ".join((parser.description or "").split()).partition(". ")[0].rstrip(".")
        commands.add_parser(name, help=(text[:1].lower() + text[1:]).replace("%", "%%"))


def _fail(out: Output, text: str, status: int = 2) -> int:
    try:
        out.flush()
    except OSError:
        pass
    sys.stderr.write(f"farmhand: {text}\n")
    return status


def _warn(message: Warning | str, *about: Any, **more: Any) -> None:
    sys.stderr.write(f"farmhand: {message}\n")


def _command(name: str) -> Callable[[argparse.Namespace, Output], int]:
    """What does it; imported only now, as each needs other rooms of the house."""
    command: Callable[[argparse.Namespace, Output], int]
    if name == "rerun":
        from farmhand.cli.rerunning import rerun

        return rerun
    if name in _STEERING:
        from farmhand.cli import steering

        command = getattr(steering, name)
        return command
    if name in ("merge", "forget", "vacuum"):
        from farmhand.cli import writing

        command = getattr(writing, "merge_stores" if name == "merge" else name)
        return command
    from farmhand.cli import reading

    command = getattr(reading, name)
    return command


def _parser() -> tuple[argparse.ArgumentParser, Commands]:
    import argparse

    from farmhand import __version__

    parser = argparse.ArgumentParser(
        prog="farmhand",
        description="Look into stores of results, merge them, run an item again; watch and steer what runs.",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"farmhand {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(
        name: str, help: str, more: str = "", store: bool = True, json: bool = True, run: bool = False
    ) -> argparse.ArgumentParser:
        description = f"{help[0].upper()}{help[1:]}.{f' {more}' if more else ''}"
        command = commands.add_parser(name, help=help, description=description)
        if store:
            command.add_argument("store", metavar="STORE", help=_STORE)
        if run:
            command.add_argument("--run", metavar="RUN", help=_WHICH)
        if json:
            command.add_argument("--json", action="store_true", help="for programs; see docs/cli.md")
        return command

    add("status", "what a store has, and what happens in it now", "Nothing is unpickled.")

    command = add(
        "watch",
        "show the run that goes on in a store",
        "Ctrl-C ends the watching, not the run. Exits with 1 when the run was stopped, broke off or had "
        "failures.",
        run=True,
    )
    command.add_argument(
        "--progress", metavar="NAME", help="how: text, rich, tk, ...; by default as a farm would"
    )
    command.add_argument("--verbose", action="store_true", help="with what items print and report")
    command.add_argument("--wait", action="store_true", help="wait until a run begins")

    add(
        "gui",
        "show the run that goes on in a store in a window",
        "Closing the window ends the watching, not the run.",
        json=False,
        run=True,
    )
    add("pause", "begin no further item of a run; those that run go on to their end", run=True)
    add("resume", "go on after a pause", run=True)
    add("finish", "let the running items of a run end, begin no others, then end it", run=True)
    add("stop", "end a run now; what has finished is stored, running items are given up", run=True)
    command = add("workers", "change the number of processes of a run", store=False, run=True)
    command.add_argument("processes", metavar="N", type=_processes, help="how many, from now on")
    command.add_argument("store", metavar="STORE", help=_STORE)

    command = add("runs", "every run, or all that is known of one", "Nothing is unpickled.")
    command.add_argument("run", metavar="RUN", nargs="?", help="the beginning of its name")

    command = add("ls", "how each item ended, when, and how long it took", "Nothing is unpickled.")
    command.add_argument("--run", metavar="RUN", help=_RUN)
    command.add_argument("--task", metavar="NAME", help="of the runs of this task")
    command.add_argument("--status", choices=("done", "failed"), help="only these")
    command.add_argument("--limit", metavar="N", type=_count, help="only the first N")
    command.add_argument("--slowest", metavar="N", type=_count, help="the N that took longest, by that")
    command.add_argument(
        "--since",
        metavar="CURSOR",
        help="only what was stored since the reading that ended with this cursor, which --json prints last",
    )

    command = add("failures", "the items that failed, and why", "Nothing is unpickled but plain arguments.")
    command.add_argument("--run", metavar="RUN", help=_RUN)
    command.add_argument("--traceback", action="store_true", help="with the traceback of each")

    command = add("show", "everything about one item: its result, its tracebacks, what it printed")
    command.add_argument("item", metavar="ITEM", help=_ITEM)
    command.add_argument("--run", metavar="RUN", help="the run, by the beginning of its name")
    command.add_argument(
        "--value", action="store_true", help=f"the whole result, and arguments that are not plain. {_TRUST}"
    )

    command = add("export", "results, with the arguments that they are of, as a table", _TRUST, json=False)
    command.add_argument("out", metavar="FILE", nargs="?", help="where to; standard output by default")
    command.add_argument(
        "--format", choices=("csv", "jsonl", "parquet"), help="by default what FILE ends with, else csv"
    )
    command.add_argument("--run", metavar="RUN", help=_RUN)
    command.add_argument("--task", metavar="NAME", help="of the runs of this task")
    command.add_argument("--records", action="store_true", help="with status, times, process, memory")
    command.add_argument("--failures", action="store_true", help="with the items that failed")

    add("check", "whether a store is as it was written", "Reads all of it. Nothing is unpickled.")

    command = add("rerun", "run one stored item again, alone, in this process", _TRUST, json=False)
    command.add_argument("item", metavar="ITEM", help=_ITEM)
    command.add_argument("--run", metavar="RUN", help="the run, by the beginning of its name")
    command.add_argument("--pdb", action="store_true", help="when it fails, debug it where it did")
    command.add_argument(
        "--task",
        metavar="TASK",
        help="FILE.py:NAME or module:NAME, to run this instead of the task that was stored",
    )

    command = add(
        "merge",
        "add what other stores have to a store",
        "They may be of any kinds. Nothing is unpickled.",
        store=False,
    )
    command.add_argument("sources", metavar="SOURCE", nargs="+", help="a store that stays as it is")
    command.add_argument("target", metavar="TARGET", help="the store that grows; made when it is not there")

    command = add("forget", "take away how items ended, so that a run with resume=True runs them again")
    command.add_argument("items", metavar="ITEM", nargs="+", help=_ITEM)
    command.add_argument("--run", metavar="RUN", help="the run, by the beginning of its name")

    add("vacuum", "give back room that nothing needs", "Not while a farm on another computer writes to it.")
    return parser, commands


def _processes(text: str) -> int:
    from argparse import ArgumentTypeError

    from farmhand.messages import MOST_PROCESSES

    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise ArgumentTypeError(f"{text!r} is no number of processes from 1 to {MOST_PROCESSES:,}")
    return int(text)


def _count(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no number of items")
    return int(text)
