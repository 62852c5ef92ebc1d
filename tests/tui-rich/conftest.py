"""A terminal for each test that asks for one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from farmhand.progress import Frontend, FrontendOptions
from farmhand_rich.frontend import RichFrontend
from terminals import Terminal


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say themselves what is set; the machine they run on doesn't."""
    for name in ("CI", "NO_COLOR", "LINES", "COLUMNS", "COLORTERM", "FORCE_COLOR", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("XTERM_VERSION", "XTerm(1)")  # pyte does not break lines anew either


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Make a terminal; all are taken away after the test, with what runs on them."""
    made: list[Terminal] = []

    def make(columns: int = 80, rows: int = 24, term: str = "xterm-256color") -> Terminal:
        made.append(Terminal(columns, rows, term))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def frontend_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Frontend]]:
    """Make a frontend whose standard error is a terminal."""
    streams = []

    def make(terminal: Terminal, encoding: str = "utf-8", **options: object) -> Frontend:
        stream = os.fdopen(os.dup(terminal.slave), "w", encoding=encoding)
        streams.append(stream)
        monkeypatch.setattr("sys.stderr", stream)
        return RichFrontend(FrontendOptions("find_rate", **options))  # type: ignore[arg-type]

    yield make
    for stream in streams:
        stream.close()


@pytest.fixture
def looked_at() -> Iterator[Callable[[Terminal], None]]:
    """Have somebody look at a terminal all the time, so that it never takes too long to show something."""
    ended = threading.Event()
    threads = []

    def look(terminal: Terminal) -> None:
        def watch() -> None:
            while not ended.is_set():
                terminal.read(0.01)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()

    yield look
    ended.set()
    for thread in threads:
        thread.join()
