"""A display of their own for the tests of the window; with pytest-xdist, one for each of its processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtual_display import VirtualDisplay, missing


@pytest.fixture(scope="session")
def virtual_display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualDisplay]:
    """An X server that all tests share, with a window manager."""
    need_programs()
    display = VirtualDisplay(tmp_path_factory.mktemp("display"))
    yield display
    display.close()


@pytest.fixture(scope="session")
def display(virtual_display: VirtualDisplay) -> str:
    """The shared X server's name, ``':99'``."""
    return virtual_display.name


@pytest.fixture
def on_display(virtual_display: VirtualDisplay, monkeypatch: pytest.MonkeyPatch) -> VirtualDisplay:
    """The shared X server, on which whatever this test starts is shown, in the light theme."""
    use(virtual_display, monkeypatch)
    return virtual_display


@pytest.fixture
def new_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., VirtualDisplay]]:
    """Start an X server for this test alone, which may then kill it; takes what VirtualDisplay does."""
    need_programs()
    started: list[VirtualDisplay] = []

    def start(**options: object) -> VirtualDisplay:
        started.append(VirtualDisplay(tmp_path, **options))  # type: ignore[arg-type]
        use(started[-1], monkeypatch)
        return started[-1]

    yield start
    for each in started:
        each.close()


def use(display: VirtualDisplay, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XAUTHORITY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", display.name)
    monkeypatch.setenv("FARMHAND_THEME", "light")  # whatever the desktop of this computer says


def need_programs() -> None:
    lacking = missing()
    if not lacking:
        return
    text = f"not installed: {', '.join(lacking)} (Debian: apt install xvfb xdotool openbox)"
    if os.environ.get("CI"):
        pytest.fail(text)  # there it would never be noticed
    pytest.skip(text)
