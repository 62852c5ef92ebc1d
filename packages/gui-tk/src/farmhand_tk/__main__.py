"""The process of the window: its standard input is a socket that is connected to the farm."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from farmhand.messages import encoded
from farmhand.remote import RemoteRun
from farmhand.stdlib import socket

__all__ = ["main"]

_NO_TK = (
    "this Python has no Tk ({error}); install it with what Python came from: "
    "apt install python3-tk, dnf install python3-tkinter, brew install python-tk, conda install tk; "
    "a Python that was built by hand needs Tk's headers when it is built"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the run at the other end of standard input; returns the exit status."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m farmhand_tk",
        description="The window of a farm, which starts this; open one with `farmhand gui STORE`.",
    )
    parser.add_argument(
        "--after",
        choices=("auto", "stay", "close"),
        default="auto",
        help="what it does when the script has ended",
    )
    parser.add_argument("--watching", action="store_true", help="the run is that of another process")
    options = parser.parse_args(arguments)
    try:
        sock = socket.socket(fileno=os.dup(0))
        sock.getpeername()
    except OSError:
        parser.error("standard input is no connection to a farm; `farmhand gui STORE` opens a window")
    if hasattr(os, "nice"):
        os.nice(5)  # items come first; what is drawn ten times a second may come a little later
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the farm
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = RemoteRun(sock)
    try:
        import tkinter
    except ImportError as error:
        return _failed(run, _NO_TK.format(error=error))
    try:
        from farmhand_tk.window.app import App
        from farmhand_tk.window.looks import prepare

        app = App(prepare(), run, options.after, options.watching)
        app.open()
    except tkinter.TclError as error:
        return _failed(run, _reason(str(error)))
    app.loop()
    sys.stderr.flush()
    os._exit(0)  # at once: the farm sees the connection end when the process has ended, and not before


def _failed(run: RemoteRun, reason: str) -> int:
    """Tell the farm why there is no window, in words for its user."""
    run.stream.send(encoded({"request": "failed", "reason": reason}))
    run.stream.close()
    return 3


def _reason(error: str) -> str:
    display = os.environ.get("DISPLAY", "")
    if "display" in error and sys.platform not in ("darwin", "win32"):
        if not display:
            return "there is no display: DISPLAY is not set (over ssh, use ssh -X)"
        return f"the display {display} cannot be reached"
    return f"Tk cannot open a window: {error}"


if __name__ == "__main__":
    sys.exit(main())
