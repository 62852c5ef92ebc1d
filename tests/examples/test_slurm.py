"""Farms under Slurm: the job script in examples/, and the five lines of docs/cluster.md with dask-jobqueue.

There is no Slurm here. Stand-ins for its commands do on this computer what Slurm does on many: ``sbatch``
runs a script, ``srun`` a command for each node, ``scontrol requeue`` notes that it was called. The script,
Dask, dask-jobqueue and farmhand are real.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from farmhand import open_store
from waiting import DEADLINE, wait_until

pytest.importorskip("farmhand_dask", reason="a job has a Dask cluster")
pytest.importorskip("farmhand_sqlite", reason="the stores are databases")

ROOT = Path(__file__).parents[2]
JOB = ROOT / "examples" / "slurm.sbatch"
NODES = 2
PORTS = range(20_000, 40_000)  # of which the job script takes one, by the number of the job

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("bash") is None, reason="job scripts are run by bash"),
]

SRUN = """
import os, signal, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words.pop(0)
steps = [subprocess.Popen(words) for _ in range(int(os.environ["SLURM_NNODES"]))]
signal.signal(signal.SIGTERM, lambda *_: [step.terminate() for step in steps])
sys.exit(max([step.wait() for step in steps]))
"""

SBATCH = """
import os, subprocess, sys
with open(sys.argv[-1]) as script, open(os.environ["JOBS"], "a") as jobs:
    nowhere = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL)
    job = subprocess.Popen(["bash", "-c", script.read()], process_group=0, **nowhere)
    print(job.pid, file=jobs)
    print("Submitted batch job", job.pid)
"""

SCANCEL = """
import os, signal, sys
for job in sys.argv[1:]:
    os.killpg(int(job), signal.SIGTERM)
"""

SCONTROL = """
import os, sys
with open("requeued", "w") as file:
    print(*sys.argv[1:], file=file)
"""

# What somebody submits: if there is a file, some of its items never end.
PROGRAM = """
import os, signal
from farmhand import open_store, run_tasks

SLOW = os.path.abspath("slow")

def square(k):
    while k >= 5 and os.path.exists(SLOW):
        signal.pause()
    return k * k

with open_store("squares.db") as store:
    run_tasks(store, square, range(20), executor="dask", resume=True, gui=False)
    print("all is done")
"""


@pytest.fixture
def commands(tmp_path):
    """Stand-ins for Slurm's commands, to be found first; and a name of this computer that leads to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "srun": SRUN,
        "sbatch": SBATCH,
        "scancel": SCANCEL,
        "scontrol": SCONTROL,
        "hostname": 'print("127.0.0.1")',
    }.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def submit(tmp_path, commands):
    """Run the job script with a program, as Slurm would on the first node of a job."""
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"export PATH={commands}:{Path(sys.executable).parent}:$PATH\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    jobs = []

    def run():
        number = free_port() - PORTS.start + 3 * len(PORTS)
        with open(tmp_path / "printed", "w") as printed:
            job = subprocess.Popen(
                ["bash", JOB, "program.py"],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "SLURM_JOB_ID": str(number),
                    "SLURM_NNODES": str(NODES),
                    "SLURM_CPUS_PER_TASK": "1",
                    "TMPDIR": str(tmp_path),
                },
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        jobs.append(job)
        return job

    yield run
    for job in jobs:
        end(job)


def finished(job, folder):
    """What a job has printed when its script has ended; Slurm then ends whatever is left of it."""
    job.wait(4 * DEADLINE)
    end(job)
    return (folder / "printed").read_text()


def end(job):
    """Kill all that a job has started."""
    try:
        os.killpg(job.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    job.wait(DEADLINE)


def free_port():
    """One of those that the job script may choose."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as attempt:
            try:
                attempt.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def stored(folder):
    if not (folder / "squares.db").exists():
        return []
    with open_store(folder / "squares.db") as store:
        return sorted(store.values())


def test_a_job_computes_everything_and_ends(submit, tmp_path):
    """Soon after its program, or the time of its nodes would be paid for nothing."""
    job = submit()
    printed = finished(job, tmp_path)

    assert job.returncode == 0, printed
    assert "all is done" in printed
    assert stored(tmp_path) == [k * k for k in range(20)]
    assert not (tmp_path / "requeued").exists()


def test_a_job_whose_time_is_over_stops_the_farm_and_the_next_one_does_the_rest(submit, tmp_path):
    """What was finished is stored, and not computed again: nobody has to look after it."""
    (tmp_path / "slow").touch()
    job = submit()
    wait_until(lambda: len(stored(tmp_path)) == 5, "the items that do not wait", 4 * DEADLINE)
    job.send_signal(signal.SIGUSR1)  # as by --signal=B:USR1@120
    printed = finished(job, tmp_path)

    assert job.returncode == 143, printed
    number = job_number(tmp_path)
    assert number is not None, "it was not submitted again"
    assert len(stored(tmp_path)) == 5

    (tmp_path / "slow").unlink()
    job = submit()
    printed = finished(job, tmp_path)
    assert job.returncode == 0, printed
    assert stored(tmp_path) == [k * k for k in range(20)]


def test_a_job_that_is_cancelled_stops_the_farm_and_is_not_submitted_again(submit, tmp_path):
    """Whoever says scancel means it."""
    (tmp_path / "slow").touch()
    job = submit()
    wait_until(lambda: len(stored(tmp_path)) == 5, "the items that do not wait", 4 * DEADLINE)
    job.send_signal(signal.SIGTERM)
    printed = finished(job, tmp_path)

    assert job.returncode == 143, printed
    assert job_number(tmp_path) is None
    assert len(stored(tmp_path)) == 5


def job_number(folder):
    """Of the job that was submitted again, if any was."""
    if not (folder / "requeued").exists():
        return None
    return re.fullmatch(r"requeue (\d+)\n", (folder / "requeued").read_text()).group(1)


@pytest.mark.skipif(find_spec("dask_jobqueue") is None, reason="it writes and submits the jobs")
def test_the_five_lines_of_the_page_submit_jobs_and_run_in_them(commands, tmp_path):
    """As they are printed there, but for the size of a job.

    Nothing is imported here: dask-jobqueue takes Ctrl-C for itself, in any process that loads all of it.
    """
    page = (ROOT / "docs" / "cluster.md").read_text()
    (block,) = re.findall(r"^```python on-slurm\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    script = tmp_path / "page.py"
    small = block.replace("cores=32", "cores=1").replace("96GB", "1GB")
    assert small != block
    script.write_text(small)
    ran = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "JOBS": str(tmp_path / "jobs"),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    with open_store(tmp_path / "energies.db") as store:
        assert len(store) == 100
    assert len((tmp_path / "jobs").read_text().split()) == 4
