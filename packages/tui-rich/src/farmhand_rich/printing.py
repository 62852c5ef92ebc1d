"""What the script itself prints while lines are drawn on its terminal: it goes above them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["Redirection"]

_LONGEST = 10_000  # characters of a line that has no end; more is a line of its own


class _Redirected:
    """In the place of ``sys.stdout`` or ``sys.stderr``; when it is over, the same as these."""

    def __init__(self, stream: TextIO, show: Callable[[str], object]) -> None:
        self._stream = stream
        self._show: Callable[[str], object] | None = show
        self._process = os.getpid()
        self.unfinished = ""  # the line that has no end yet

    def write(self, text: str) -> int:
        # a fork has no display, and its descriptors may lead elsewhere
        if self._show is None or os.getpid() != self._process or not isinstance(text, str):
            return self._stream.write(text)
        whole, newline, rest = (self.unfinished + text).rpartition("\n")
        if len(rest) > _LONGEST:
            whole, newline, rest = whole + newline + rest, "\n", ""
        self.unfinished = rest
        if newline:
            self._show(whole + newline)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._show is None or os.getpid() != self._process:
            self._stream.flush()
        elif self.unfinished:
            self._show("")

    def end(self) -> str:
        """Let everything through from now on; what was printed last, if it has no end."""
        self._show = None
        rest, self.unfinished = self.unfinished, ""
        return rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Redirection:
    """Takes ``sys.stdout``, ``sys.stderr`` and handlers of ``logging`` as long as they print on a terminal.

    Parameters
    ----------
    show : callable
        Is given whole lines; and ``''`` when the line that has no end yet is to be seen.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        self._taken: dict[str, _Redirected] = {}
        self._handlers: list[tuple[Any, Any, _Redirected]] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_terminal(stream):  # what goes into a file goes there
                self._taken[name] = _Redirected(stream, show)
                setattr(sys, name, self._taken[name])
        logging = sys.modules.get("logging")  # nobody logs who has not imported it
        if logging is None:
            return
        loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
        for handler in {each for logger in loggers for each in getattr(logger, "handlers", ())}:
            stream = getattr(handler, "stream", None)
            for redirected in self._taken.values():
                if stream is redirected._stream and hasattr(handler, "setStream"):
                    handler.setStream(redirected)
                    self._handlers.append((handler, stream, redirected))

    @property
    def unfinished(self) -> str:
        """The line that was begun and has no end yet, for the display to show."""
        texts = [redirected.unfinished for redirected in self._taken.values()]
        return next((text for text in texts if text), "")

    def end(self) -> str:
        """Put everything back as it was; what was begun and is to be printed now."""
        for handler, stream, redirected in self._handlers:
            if handler.stream is redirected:
                handler.setStream(stream)
        for name, redirected in self._taken.items():
            if getattr(sys, name) is redirected:
                setattr(sys, name, redirected._stream)
        return "".join(redirected.end() for redirected in self._taken.values())


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False
