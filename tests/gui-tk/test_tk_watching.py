"""``farmhand gui``: the window of a run that goes on in another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from farmhand import open_store
from virtual_display import VirtualDisplay
from waiting import DEADLINE, wait_for, wait_until

pytest.importorskip("farmhand_sqlite", reason="another process finds a run by its store")

SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from farmhand import run_tasks
from waiting import wait_for

def work(k):
    Path(f"{{k}}.begun").touch()
    wait_for("gate")
    return k

run_tasks("rates.db", work, range(4), poolsize=2, gui=False, progress="none")
"""


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A farm without a window, which runs until there is a file called gate."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path)
    wait_for(tmp_path / "0.begun")
    wait_for(tmp_path / "rates.db")
    wait_until(lambda: is_running(tmp_path / "rates.db"))
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def gui(tmp_path: Path, on_display: VirtualDisplay) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Types ``farmhand gui rates.db`` in another terminal."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "farmhand", "gui", "rates.db"]
        started.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for window in on_display.processes():
        try:
            window.kill()
        except psutil.NoSuchProcess:
            pass


def is_running(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with open_store(path) as store:
        return bool(store.runs())


def test_closing_the_window_of_a_watcher_leaves_the_run_alone(
    farm: subprocess.Popen[bytes],
    gui: Callable[[], subprocess.Popen[str]],
    on_display: VirtualDisplay,
    tmp_path: Path,
) -> None:
    """The command ends, says how to open the window again, and that works."""
    for _ in range(2):
        watching = gui()
        on_display.press(on_display.wait_for_window("^work "), "ctrl+w")
        assert watching.wait(DEADLINE) == 0
        assert watching.stderr is not None
        told = watching.stderr.read()
        assert "the run goes on" in told
        assert "farmhand gui rates.db" in told
        wait_until(lambda: on_display.window("^work ") is None)
    (tmp_path / "gate").touch()
    assert farm.wait(DEADLINE) == 0
    with open_store(tmp_path / "rates.db") as store:
        assert sorted(store.values()) == [0, 1, 2, 3]


def test_the_window_of_a_watcher_stays_after_the_run_until_it_is_closed(
    farm: subprocess.Popen[bytes],
    gui: Callable[[], subprocess.Popen[str]],
    on_display: VirtualDisplay,
    tmp_path: Path,
) -> None:
    """Whoever has asked for a window wants to read in it how the run went."""
    watching = gui()
    on_display.wait_for_window("^work ")
    (tmp_path / "gate").touch()
    assert farm.wait(DEADLINE) == 0
    window = on_display.wait_for_window("^work .*finished|^work .*100|^work .*done")
    assert watching.poll() is None
    on_display.press(window, "ctrl+w")
    assert watching.wait(DEADLINE) == 0
