"""The check in tests/conftest.py, which fails a session that leaves something behind, can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from farmhand.testing.executors import eventually, is_alive

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts processes as POSIX does")


@pytest.fixture
def session(tmp_path):
    """Run pytest, with our conftest, on a file with one test; what its exit status is, and what it prints."""
    for name in ("conftest.py", "waiting.py"):
        shutil.copy(TESTS / name, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(body, grace="0.5", options=()):
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        imports = "import os, signal, subprocess, sys, tempfile, time"
        (tmp_path / "test_it.py").write_text(f"{imports}\ndef test_it(tmp_path):\n{lines}")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, tmp_path / "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "FARMHAND_TEST_GRACE": grace},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return ran.returncode, ran.stdout

    return run


def left(printed):
    """What the session says that was left."""
    lines = printed.partition("left behind by the tests")[2].splitlines()[1:]
    return [line for line in lines if line.startswith(("process", "temporary", "shared"))]


def test_a_session_that_leaves_nothing_passes(session):
    """What a test cleans up, and what it has in tmp_path, is nobody's business."""
    body = """
tempfile.NamedTemporaryFile().close()
subprocess.run(["true"], check=True)
(tmp_path / "kept").touch()
"""
    status, printed = session(body)
    assert (status, left(printed)) == (0, [])


@pytest.mark.parametrize(
    "start",
    [
        'subprocess.Popen(["sleep", "601"])',
        'subprocess.run("sleep 601 > /dev/null 2>&1 &", shell=True, start_new_session=True)',
    ],
    ids=["child", "orphan"],
)
def test_a_program_that_is_left_fails_the_session(session, start):
    """It is named and ended, be it a child or one that has lost its parent and its session."""
    status, printed = session(start)
    (line,) = left(printed)
    assert status == 1
    assert "1 passed" in printed
    assert "sleep 601" in line
    eventually(lambda: not is_alive(int(line.split()[1].rstrip(":"))))


def test_what_tests_leave_that_run_side_by_side_is_found_too(session):
    """Each of pytest-xdist's processes has a look of its own, and its own folder for temporary files."""
    pytest.importorskip("xdist")
    body = """
subprocess.Popen(["sleep", "601"])
os.close(tempfile.mkstemp(prefix="of-python-")[0])
"""
    status, printed = session(body, options=["-n", "2"])
    process, file = left(printed)
    path = Path(file.removeprefix("temporary file "))
    try:
        assert (status, path.exists()) == (1, True)
        assert "1 passed" in printed
        assert "sleep 601" in process
    finally:
        shutil.rmtree(path.parents[1], ignore_errors=True)


def test_a_forked_copy_that_is_left_fails_the_session(session):
    """It never loads a program, so that its environment says nothing; and it has lost its parent, too."""
    body = """
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 100)
        signal.pause()
    os._exit(0)
os.wait()
"""
    status, printed = session(body)
    (line,) = left(printed)
    assert status == 1
    assert line.startswith("process")


def test_a_temporary_file_that_is_left_fails_the_session(session):
    """Wherever tempfile and other programs put it; it is named, and still there."""
    body = """
os.close(tempfile.mkstemp(prefix="of-python-")[0])
subprocess.run("touch $TMPDIR/of-a-shell", shell=True, check=True)
"""
    status, printed = session(body)
    lines = left(printed)
    paths = [Path(line.removeprefix("temporary file ")) for line in lines]
    try:
        assert status == 1
        assert [path.name.rpartition("-")[0] for path in paths] == ["of-a", "of-python"]
        assert all(path.exists() for path in paths)
    finally:
        for path in paths:
            shutil.rmtree(path.parents[1], ignore_errors=True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_shared_memory_that_is_left_fails_the_session(session):
    """A semaphore or an array of a process that was killed would be there until the next boot."""
    name = f"/dev/shm/farmhand-test-{os.getpid()}"
    try:
        status, printed = session(f"open({name!r}, 'w').close()")
        assert (status, left(printed)) == (1, [f"shared memory {name}"])
    finally:
        os.unlink(name)


def test_what_is_about_to_end_is_given_time(session):
    """A process that was told to end needs its milliseconds; the check waits for it, then says nothing."""
    status, printed = session('subprocess.Popen(["sleep", "0.3"])', grace="60")
    assert (status, left(printed)) == (0, [])


def test_a_failing_session_stays_failed(session):
    """The check adds what is left to what has failed."""
    status, printed = session('subprocess.Popen(["sleep", "601"])\nassert False')
    assert status == 1
    assert "1 failed" in printed
    assert len(left(printed)) == 1


def test_the_folder_of_tmp_path_stays_pytests_choice(session, tmp_path):
    """People look for it where pytest puts it, after the session as well."""
    status, printed = session("print(tmp_path)", options=["-s", "--basetemp", str(tmp_path / "base")])
    assert status == 0
    assert str(tmp_path / "base" / "test_it0") in printed
