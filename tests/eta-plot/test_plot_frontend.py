"""``progress='plot:eta.png'``: a figure that is always whole, of a run that never waits for it."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from farmhand import FarmhandError, MemoryStore, UsageError, run_tasks
from farmhand.companion import Companion
from farmhand.progress import Estimate, FrontendOptions, Snapshot
from farmhand.remote import RemoteRun
from farmhand.testing.frontends import FrontendConformance, a_run, play, snapshots
from farmhand_plot.__main__ import draw_until_over
from farmhand_plot.figures import course_figure
from farmhand_plot.files import ENDINGS, clean, save
from farmhand_plot.frontend import PlotFrontend
from farmhand_plot.live import Watched
from waiting import DEADLINE, wait_for, wait_until
from wavering import NOON, told, wavering_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the figure goes, alone in its folder."""
    folder = tmp_path / "figures"
    folder.mkdir()
    return folder / "eta.png"


def frontend_of(path: object, **options: object) -> PlotFrontend:
    return PlotFrontend(FrontendOptions("find_rate", argument=str(path), **options))  # type: ignore[arg-type]


def running(elapsed: float = 60.0, **fields: object) -> Snapshot:
    """A run that has lasted for long enough to be drawn."""
    usual = {"run": "4f1d2a6b", "total": 300, "done": 127, "complete": 0.42, "elapsed": elapsed}
    remaining = Estimate(60.0, 82.0, 120.0)
    return Snapshot(task="find_rate", remaining=remaining, **(usual | fields))  # type: ignore[arg-type]


def show_until(frontend: PlotFrontend, condition: object, what: str) -> None:
    """What a farm does all the time, until something has happened; its clock goes on."""
    elapsed = 5.0

    def look() -> object:
        nonlocal elapsed
        elapsed += 0.1
        frontend.show(running(elapsed))
        assert not any(frontend.controls())
        return condition()  # type: ignore[operator]

    wait_until(look, what)


def drawing_processes(path: Path) -> list[psutil.Process]:
    """The processes that draw a figure."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or ()
        if os.path.realpath(path) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def is_whole(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()  # half a file is an OSError
        return image.width > 500


class DrawnHere(Companion):
    """In a thread of the tests what draws, else in a process, takes half a second less to begin."""

    def __init__(self, path: str) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(0, ours, -1)
        self._words = ""
        self._thread = threading.Thread(target=self._draw, args=(RemoteRun(theirs), path))
        self._thread.start()

    def _draw(self, run: RemoteRun, path: str) -> None:
        try:
            draw_until_over(run, path)
        except BaseException as error:
            self._words = repr(error)
        finally:
            run.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def last_words(self) -> str:
        return self._words

    def kill(self) -> None:
        self._thread.join(DEADLINE)


class PlotFrontendHere(PlotFrontend):
    """What is tested, with that for its process."""

    def _start(self) -> Companion:
        return DrawnHere(self._path)


class Listening(Companion):
    """For a process that draws, what it would be told."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(0, ours, -1)
        self.run = RemoteRun(theirs)

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        self.run.close()


class TestPlotFrontend(FrontendConformance):
    """Nothing that a farm can show keeps it from drawing: a drawing that fails is raised."""

    @pytest.fixture
    def options(self) -> FrontendOptions:
        """It does not care about the others."""
        return FrontendOptions(task="find_rate")

    @pytest.fixture
    def make_frontend(self, target: Path) -> Iterator[object]:
        yield lambda options: PlotFrontendHere(replace(options, argument=str(target)))
        assert os.listdir(target.parent) in ([], ["eta.png"]), "something is left beside the figure"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(snapshots(), min_size=1, max_size=4))
def test_any_history_can_be_drawn(target, history):
    """Whatever numbers and texts come, in whatever order; here without a process between."""
    watched = Watched()
    for snapshot in history:
        watched.add(snapshot)
    save(course_figure(watched.course()), str(target))
    assert is_whole(target)


# -- what is asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", r"name the file .*progress='plot:eta.png'"),
        ("eta", r"'eta' cannot be written: .*an ending; use .png, .svg or .pdf"),
        ("eta.xyz", r"'eta.xyz' cannot be written: .*ends with '.xyz'; use .png, .svg or .pdf"),
        ("rates.db", "use .png"),
        ("nowhere/eta.png", r"there is no folder '.*nowhere'; create it first"),
        ("folder.png", "it is a folder; name a file in it"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path, monkeypatch, argument, said):
    """A mistake in the call: nothing has run, and nothing was stored."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    store = MemoryStore()
    with pytest.raises(UsageError, match=said):
        run_tasks(store, abs, [1], progress=f"plot:{argument}")
    assert not store.runs() or not len(store)


@pytest.mark.skipif(not os.geteuid(), reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_refused_before_the_run(target):
    """And not after a night of work."""
    target.parent.chmod(0o500)
    with pytest.raises(UsageError, match=r"the folder '.*figures' is read-only; choose another"):
        frontend_of(target)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_that_is_promised_can_be_written(target, ending):
    """Matplotlib, and pillow with it, know them all."""
    path = target.with_suffix(ending)
    save(course_figure(watched_run(a_run())), str(path))
    assert path.stat().st_size > 1000


def watched_run(history):
    watched = Watched()
    for snapshot in history:
        watched.add(snapshot)
    return watched.course()


# -- what is drawn ---------------------------------------------------------------------------------


def test_the_course_of_a_run_is_what_was_shown_of_it():
    """Counts, points and the estimates at their moments, up to the newest."""
    history = a_run(items=20, failures=4)
    course = watched_run(history)
    assert (course.done, course.failed, course.total, course.state) == (16, 4, 20, "finished")
    assert list(zip(course.times, course.ended, strict=True)) == [
        *history[-1].history,
        (history[-1].elapsed, 20),
    ]
    assert [at for at, _ in course.estimates] == [each.elapsed for each in history[:-1]] + [5.0]
    assert course.estimates[10][1] == history[10].remaining
    assert len(course.failures) == 4


@pytest.mark.parametrize("begin", [0.0, 5000.0], ids=["from the start", "after an hour"])
def test_the_figure_says_the_time_remaining_in_the_words_of_the_terminal(target, monkeypatch, begin):
    """Of a long run what draws is told every ten seconds, but of new words at once."""
    monkeypatch.setattr("time.time", lambda: NOON)
    history = [replace(snapshot, elapsed=snapshot.elapsed + begin) for snapshot in wavering_run()]
    listening, watched = Listening(), Watched()
    frontend = frontend_of(target)
    frontend._start = lambda: listening
    heard = 0
    for snapshot, left in zip(history, told(history, NOON), strict=True):
        frontend.show(snapshot)
        for each in listening.run.snapshots():
            watched.add(each)
            heard += 1
        assert not heard or watched.course().left == left
    frontend.close()
    assert begin == 0.0 or heard < len(history) / 3


def test_a_long_run_takes_no_more_room_than_a_short_one():
    """A week of snapshots: the moments that are remembered are thinned, first and last are there."""
    watched = Watched()
    for second in range(20_000):
        watched.add(running(float(second), failed=second))
    course = watched.course()
    assert len(course.estimates) < 500
    assert len(course.failures) < 500
    assert course.estimates[0][0] == 0.0
    assert course.estimates[-1][0] == 19_999.0
    gaps = [b[0] - a[0] for a, b in zip(course.estimates[:-1], course.estimates[1:-1], strict=False)]
    assert max(gaps) < 3 * min(gaps), "the moments are not at about even distances"


def test_who_joins_late_does_not_take_old_failures_for_new_ones():
    """``farmhand watch`` in the middle: when they were is not known."""
    course = watched_run([running(60.0, failed=7), running(61.0, failed=8)])
    assert course.failures == (61.0,)
    assert course.failed == 8


# -- while it runs ---------------------------------------------------------------------------------

SCRIPT = f"""
import os, sys, time
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
from farmhand import MemoryStore, run_tasks
from waiting import wait_for

def work(k):
    if k == 150:
        wait_for("gate")
    return k

if __name__ == "__main__":
    store = MemoryStore()
    summary = run_tasks(store, work, range(200), poolsize=2, {{options}})
    print(summary.done, len(store), flush=True)
"""


@pytest.fixture
def farm(tmp_path):
    """Start a script that runs a farm, whose 151st item waits for a file."""
    started = []

    def start(target: Path, **options: object) -> subprocess.Popen[str]:
        options = {"progress": f"plot:{target}", **options}
        script = tmp_path / "script.py"
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        script.write_text(SCRIPT.replace("{options}", words))
        with open(tmp_path / "errors", "w") as errors:
            command = [sys.executable, script]
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def open_gate(tmp_path: Path) -> None:
    (tmp_path / "gate").touch()


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_the_figure_of_a_run_is_there_during_it_and_at_its_end(farm, tmp_path, target, start_method):
    """Nobody has to wait for the end; and when the call returns the last one is there."""
    process = farm(target, start_method=start_method)
    wait_for(target)
    assert is_whole(target)
    during = target.read_bytes()
    open_gate(tmp_path)
    assert process.stdout.readline() == "200 200\n"
    assert is_whole(target)
    assert target.read_bytes() != during
    assert os.listdir(target.parent) == ["eta.png"]
    assert process.wait(DEADLINE) == 0
    assert (tmp_path / "errors").read_text() == ""


def test_a_run_of_a_moment_leaves_its_figure(target):
    """It is over before matplotlib could have been imported."""
    run_tasks(MemoryStore(), abs, range(4), progress=f"plot:{target}", poolsize=1)
    assert is_whole(target)
    assert not drawing_processes(target)


def test_a_reader_never_sees_half_a_figure(target):
    """Who opens the file again and again, as a viewer does, always finds a whole picture."""
    seen: list[BaseException | tuple[int, int]] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                status = os.stat(target)
                is_whole(target)
                seen.append((status.st_mtime_ns, status.st_ino))
            except FileNotFoundError:
                pass
            except BaseException as error:
                seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    frontend = frontend_of(target)
    try:
        show_until(frontend, lambda: len(set(seen)) > 1, "two figures")
        frontend.show(running(99.0, state="finished"))
    finally:
        frontend.close()
        ended.set()
        reader.join()
    assert all(isinstance(each, tuple) for each in seen), seen


def test_a_resumed_run_with_nothing_to_do_leaves_the_figure_of_the_run_before(target):
    """That has more to say than an empty one."""
    store = MemoryStore()
    for _ in range(2):
        summary = run_tasks(store, abs, range(4), progress=f"plot:{target}", poolsize=1, resume=True)
        before = target.stat().st_mtime_ns
    assert summary.skipped == 4
    assert target.stat().st_mtime_ns == before


def test_a_link_is_followed_and_stays_a_link(target, tmp_path):
    """As somebody has who publishes a folder of figures."""
    link = tmp_path / "link.png"
    link.symlink_to(target)
    play(frontend_of(link), a_run())
    assert link.is_symlink()
    assert is_whole(target)


# -- what goes wrong -------------------------------------------------------------------------------


def shown_until_it_raises(frontend: PlotFrontend) -> str:
    with pytest.raises(FarmhandError) as raised:
        show_until(frontend, lambda: False, "an error")
    frontend.close()
    return str(raised.value)


def test_a_folder_that_is_removed_is_the_end_of_the_figure_alone(farm, tmp_path, target):
    """It is reported once, by name, and the run goes on to its end."""
    process = farm(target)
    wait_for(target)
    shutil.rmtree(target.parent)
    wait_until(lambda: "goes on without it" in (tmp_path / "errors").read_text(), "a word about it")
    open_gate(tmp_path)
    assert process.stdout.readline() == "200 200\n"
    assert process.wait(DEADLINE) == 0
    said = (tmp_path / "errors").read_text()
    assert said.count("goes on without it") == 1
    assert f"{str(target)!r} is not written any more: its folder is not there any more" in said


def test_a_full_disk_leaves_the_figure_before_and_is_reported(target):
    """What is there stays whole; nothing is left beside it."""
    save(course_figure(watched_run(a_run())), str(target))
    before = target.read_bytes()
    frontend = frontend_of(target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # what the process inherits: a file may have so many bytes, as on a disk that has no room for more
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        frontend.show(running())
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        said = shown_until_it_raises(frontend)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is not written any more: File too large" in said
    assert target.read_bytes() == before
    assert os.listdir(target.parent) == ["eta.png"]


def test_without_matplotlib_it_says_what_to_install(target, tmp_path, monkeypatch):
    """And the run goes on without a figure."""
    (tmp_path / "matplotlib.py").write_text("raise ImportError('it is broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    said = shown_until_it_raises(frontend_of(target))
    assert "matplotlib cannot be imported (it is broken); install it: pip install matplotlib" in said


def test_a_process_that_is_killed_is_the_end_of_the_figure_alone(target, caplog):
    """Reported once; what it drew before is there."""
    gate = target.parent.parent / "gate"

    def work(k):
        if k == 19:
            wait_for(gate)
        return k

    class Killer:
        """Kills what draws once there is a figure, and opens the gate when that was noticed."""

        def show(self, snapshot: Snapshot) -> None:
            if caplog.records:
                gate.touch()
            elif target.exists():
                for process in drawing_processes(target):
                    process.kill()

        def controls(self) -> tuple[()]:
            return ()

        def close(self) -> None:
            pass

    store = MemoryStore()
    with caplog.at_level(logging.ERROR, "farmhand"):
        progress = [f"plot:{target}", Killer()]
        run_tasks(store, work, range(20), progress=progress, poolsize=2, start_method="fork")
    assert len(store) == 20
    [record] = caplog.records
    assert "'plot:" in record.getMessage()
    assert "signal 9, SIGKILL" in str(record.exc_info[1])
    assert is_whole(target)


def test_a_farm_that_is_killed_leaves_no_process_behind(farm, target):
    """What draws for it ends with it, however it ends."""
    process = farm(target, start_method="fork")
    wait_for(target)
    [drawing] = drawing_processes(target)
    process.kill()
    process.wait()
    drawing.wait(DEADLINE)
    assert os.listdir(target.parent) == ["eta.png"]


def test_a_farm_that_is_interrupted_leaves_its_last_figure(farm, target, tmp_path):
    """Ctrl-C is for the farm: what draws is told of the end, and draws it."""
    process = farm(target)
    wait_for(target)
    before = target.stat().st_ino
    process.send_signal(2)
    process.wait(DEADLINE)
    assert "KeyboardInterrupt" in (tmp_path / "errors").read_text()
    assert not drawing_processes(target)
    assert is_whole(target)
    assert target.stat().st_ino != before


def test_what_a_killed_process_has_left_is_deleted_by_the_next(target):
    """It was between writing and renaming; of processes that live nothing is deleted."""
    save(course_figure(watched_run(a_run())), str(target))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    host = os.uname().nodename
    left = [target.parent / f".eta.png.{host}-{pid}.part" for pid in (gone.pid, os.getpid())]
    others = [target.parent / name for name in (f".other.png.{host}-{gone.pid}.part", ".eta.png.part")]
    for path in [*left, *others]:
        path.touch()
    clean(str(target))
    assert sorted(target.parent.iterdir()) == sorted([target, left[1], *others])
