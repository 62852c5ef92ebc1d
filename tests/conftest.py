"""After all tests nothing that they started may be left: no process, no temporary file, no shared memory.

What is left fails the whole session, although each test has passed, and is named; where pytest-xdist runs the
tests in several processes, each of these looks, and says it to the first one. A process is known as a
descendant; by its environment, where it is a program that was started; by a list, where it is a forked copy
of pytest. Temporary files go to a new folder, which must be empty again in the end; pytest's own ``tmp_path``
stays where it always is.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from waiting import wait_until

RUNS = "FARMHAND_TEST_RUNS"  # in the environment: this session, after those within which it was started
GRACE = float(os.environ.get("FARMHAND_TEST_GRACE", "10"))  # seconds in which what ends may end
SHARED = Path("/dev/shm")
OF_OURS = ("farmhand", "joblib_", "psm_", "sem.")


# No test measures time, and how long an example takes says how busy the computer is.
hypothesis.settings.register_profile("farmhand", deadline=None)
hypothesis.settings.load_profile("farmhand")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Leftovers(config), "leftovers")


@pytest.fixture(autouse=True)
def ctrl_c() -> None:
    """Ctrl-C is Python's own when a test begins: Brian 2 takes it, when whichever test first imports it."""
    if type(signal.getsignal(signal.SIGINT)).__module__.partition(".")[0] == "brian2":
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def another_process(tmp_path: Path, prelude: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process on the prelude and some code; all are ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object, **options: Any) -> subprocess.Popen[str]:
        script = tmp_path / f"other{len(started)}.py"
        script.write_text(prelude + code)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | options
        started.append(subprocess.Popen([sys.executable, script, *map(str, args)], text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Leftovers:
    """The check, which is also a plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self.me = psutil.Process()
        self.processes_before = set(self.me.children(recursive=True))
        self.shared_before = shared_memory()
        self.found: list[str] = []
        place = tempfile.gettempdir()
        if hasattr(config, "workerinput"):  # beside the folder of the process that started this one
            place = os.environ["PYTEST_DEBUG_TEMPROOT"]
        self.folder = Path(tempfile.mkdtemp(prefix="farmhand-tests-", dir=place))
        self.folder.chmod(0o711)  # tests that become another user must get through
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.forks = self.folder / "forks"
        self.variables = {
            RUNS: f"{os.environ.get(RUNS, '')} {self.folder.name}",
            "TMPDIR": str(self.temporary),
            "PYTEST_DEBUG_TEMPROOT": os.environ.get("PYTEST_DEBUG_TEMPROOT", place),  # where tmp_path is
        }
        self.variables_before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        tempfile.tempdir = None  # to be found out anew
        os.register_at_fork(after_in_child=self.note_fork)
        atexit.register(self.remove_folder)

    def note_fork(self) -> None:
        """A forked copy has the environment with which pytest was started, so it writes down its number."""
        try:
            forks = os.open(self.forks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(forks, f"{os.getpid()}\n".encode())
            os.close(forks)
        except OSError:
            pass  # the session is over, or this process has no descriptor left

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        with suppress(AssertionError):  # what is left then is named below
            wait_until(
                lambda: not (self.processes() or shared_memory() - self.shared_before or self.files()),
                seconds=GRACE,
            )
        processes, shared = self.processes(), shared_memory() - self.shared_before
        self.found += [f"process {described(process)}" for process in processes]
        for process in processes:
            try:
                process.kill()
            except psutil.Error:
                pass
        self.found += [f"temporary file {path}" for path in self.files()]
        self.found += [f"shared memory {path}" for path in sorted(unused(shared))]
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["left behind"] = self.found
        if self.found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """One of the processes that run tests for this one has ended."""
        self.found += getattr(node, "workeroutput", {}).get("left behind", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("left behind by the tests", red=True)
            for line in self.found:
                terminalreporter.line(line, red=True)

    def pytest_unconfigure(self) -> None:
        for name, value in self.variables_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None

    def remove_folder(self) -> None:
        """When pytest exits, after the libraries that were imported later have removed their files."""
        if os.getpid() == self.me.pid and not self.files():  # else they may be looked at
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- what is left --------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this session started, by whatever way."""
        descendants = set(self.me.children(recursive=True)) - self.processes_before
        forks = set(self.forks.read_text().split()) if self.forks.exists() else set()
        command = self.me.cmdline()
        found = []
        for process in psutil.process_iter():
            if process in self.processes_before or process == self.me:
                continue
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue  # it has ended; whoever started it has only not asked how
                ours = process in descendants or (
                    # a copy has our command line; who has the number of one that has ended does not
                    process.cmdline() == command
                    if str(process.pid) in forks
                    else self.folder.name in process.environ().get(RUNS, "").split()
                )
            except psutil.Error:  # it has just ended, or is another user's
                continue
            if ours:
                found.append(process)
        return found

    def files(self) -> list[Path]:
        return sorted(path for path in self.temporary.iterdir() if not is_of_others(path))


def is_of_others(path: Path) -> bool:
    """Whether it is none of our files, but one that another library could not remove when it was killed.

    Brian has its log there, and tempfile looks, with a file of four bytes, if it can write there. The
    sockets of farms that were killed are swept by the next farm, if there is one.
    """
    if path.name == f"farmhand-{os.getuid()}":
        return all(map(is_dead_socket, path.iterdir()))
    probe = re.fullmatch("[a-z0-9_]{8}", path.name) and path.stat().st_size in (0, 4)
    return bool(probe) or path.name.startswith(("brian_debug_", "brian_script_"))


def is_dead_socket(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def described(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:300]} (in {process.cwd()})"
    except psutil.Error:
        return f"{process.pid}"


def shared_memory() -> set[Path]:
    """Our user's shared memory and semaphores, by the names that multiprocessing and our code give them."""
    found = set()
    if SHARED.is_dir():
        for path in SHARED.iterdir():
            try:
                if path.name.startswith(OF_OURS) and path.lstat().st_uid == os.getuid():
                    found.add(path)
            except FileNotFoundError:
                pass
    return found


def unused(entries: set[Path]) -> set[Path]:
    """Those of the entries that no process has: our own are gone, so others are of other programs."""
    used: set[str] = set()
    for process in psutil.process_iter() if entries else ():
        try:
            used |= {mapped.path for mapped in process.memory_maps()}
            used |= {opened.path for opened in process.open_files()}
        except psutil.Error:
            pass
    return {path for path in entries if not any(name.startswith(str(path)) for name in used)}
