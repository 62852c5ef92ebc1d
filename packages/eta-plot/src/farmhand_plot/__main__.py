"""The process that draws a run: its standard input is a socket that is connected to the farm."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from farmhand import UsageError
from farmhand.messages import MessageError, encoded
from farmhand.progress import OVER
from farmhand.remote import RemoteRun
from farmhand.stdlib import socket
from farmhand_plot.files import checked, clean, save
from farmhand_plot.live import Watched

__all__ = ["draw_until_over", "main"]

_LOOK = 1.0  # seconds between two looks at whether the farm still lives
_PAUSE = 2.0  # seconds between two figures at least,
_REST = 50.0  # so many times as long as drawing one took (two parts in a hundred of one CPU),
_LONGEST = 20  # seconds that drawing one may take
_SHARE = 0.2  # or this part of the run's time so far, if that is less


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the run at the other end of standard input; returns the exit status."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m farmhand_plot",
        description="Draws a run for the farm that starts this; `farmhand plot STORE` draws what is stored.",
    )
    parser.add_argument("file", help="where to")
    options = parser.parse_args(arguments)
    try:
        sock = socket.socket(fileno=os.dup(0))
        sock.getpeername()
    except OSError:
        parser.error("standard input is no connection to a farm; `farmhand plot STORE` draws what is stored")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the farm
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = RemoteRun(sock)
    try:
        draw_until_over(run, checked(options.file))
    except ImportError as error:
        return _tell(run, f"matplotlib cannot be imported ({error}); install it: pip install matplotlib")
    except (MessageError, UsageError) as error:
        return _tell(run, str(error))
    except OSError as error:
        gone = not os.path.isdir(os.path.dirname(options.file))
        return _tell(run, "its folder is not there any more" if gone else error.strerror or str(error))
    return 0


def draw_until_over(run: RemoteRun, path: str) -> None:
    """Draw again and again, until the run is over or the farm is gone."""
    farm = os.getppid()
    clean(path)
    from farmhand_plot.figures import course_figure  # half a second, in which the run goes on

    watched = Watched()
    due = 0.0
    stale = False  # there is something to draw
    while True:
        left = due - time.monotonic() if stale else _LOOK
        select.select([run.stream], [], [], min(max(0.0, left), _LOOK))
        for snapshot in run.snapshots():
            watched.add(snapshot)
            stale = True
        over = watched.last is not None and watched.last.state in OVER
        if not over and (run.closed or os.getppid() != farm):
            return  # it hangs up without a last word when it is killed, or its store fails
        if stale and (over or time.monotonic() >= due):
            began = time.process_time()
            course = watched.course()
            # nobody looks at the farm meanwhile: a drawing without an end must not outlive it
            with _time_limit(_LONGEST):
                save(course_figure(course), path)
            took = time.process_time() - began
            due = time.monotonic() + max(_PAUSE, min(_REST * took, _SHARE * course.now))
            stale = False
        if over:
            return


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """End this process if what is inside takes longer; the system does it, whatever runs."""
    if threading.current_thread() is not threading.main_thread():  # where this is no process of its own
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _tell(run: RemoteRun, reason: str) -> int:
    """Tell the farm why there are no more figures, in words for its user."""
    run.stream.send(encoded({"request": "failed", "reason": reason}))
    run.stream.close()
    return 3


if __name__ == "__main__":
    sys.exit(main())
