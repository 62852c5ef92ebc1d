"""Large results go into the store's folder only from where that is the very same folder."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest

from farmhand.files import ResultFiles
from farmhand.spool import MARK, Spool
from farmhand_dask.folders import Proof, sees

LOOK = (
    "import pickle, sys; from farmhand_dask.folders import sees; print(sees(pickle.load(sys.stdin.buffer)))"
)


def other_process_sees(proof: Proof, *before: str) -> bool:
    """What a worker says that has got the proof, started by a shell after some commands."""
    command = " && ".join([*before, 'exec "$@"'])
    ran = subprocess.run(
        [*(["unshare", "--mount"] if before else []), "sh", "-c", command, "sh", sys.executable, "-c", LOOK],
        input=pickle.dumps(proof),
        capture_output=True,
        timeout=60,
        check=True,
    )
    return {b"True": True, b"False": False}[ran.stdout.strip()]


def can_mount() -> bool:
    """Whether this test may have mounts of its own, as another computer has."""
    try:
        command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not can_mount(), reason="mounts need rights that this user does not have")


@pytest.fixture
def folder(tmp_path):
    """Of a run, in the folder of a store's large results: neither is there before the first of them."""
    return tmp_path / "rates.files" / "a1b2c3"


@pytest.fixture
def proof(folder):
    proof = Proof(str(folder))
    yield proof
    proof.remove()


def test_the_same_computer_sees_it(proof):
    """A Dask worker beside the program is the most usual one."""
    assert sees(proof)
    assert other_process_sees(proof)


@needs_mounts
def test_another_disk_under_the_same_path_is_not_the_same_folder(proof, folder):
    """``/home`` of two computers, or of a container: large results would be written there, and lost."""
    assert not other_process_sees(proof, f"mount -t tmpfs none {folder.parent.parent}")


@needs_mounts
def test_a_folder_that_can_only_be_read_is_not_enough(proof, folder):
    """Many clusters mount users' homes read-only on their nodes."""
    read_only = f"mount -o bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    assert not other_process_sees(proof, read_only)


def test_a_file_with_another_secret_is_not_the_proof(proof, folder):
    """It is the content that counts."""
    path = folder / proof.name
    path.write_bytes(path.read_bytes()[:-1])
    assert not sees(proof)


def test_what_another_user_would_write_must_be_readable_here(proof, folder):
    """The folder's own rights are those of the files in it, whoever writes them."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    os.chown(folder / proof.name, 12345, -1)
    assert sees(proof), "everybody can read what is in that folder"
    folder.chmod(0o700)
    assert not sees(proof)


def test_looking_leaves_nothing_behind(proof, folder):
    """A worker looks by writing as a process would."""
    before = sorted(os.listdir(folder))
    assert sees(proof)
    assert sorted(os.listdir(folder)) == before == sorted([proof.name, MARK])


def test_a_proof_that_is_taken_away_leaves_nothing(folder):
    """No folder is left beside the store of a run without large results."""
    proof = Proof(str(folder))
    proof.remove()
    proof.remove()
    assert not folder.parent.exists()
    assert not sees(proof)


def test_results_stay_when_a_proof_is_taken_away(proof, folder):
    """And so does the mark: what no record names is swept away later."""
    reference = Spool(str(folder)).put(3, b"large")
    proof.remove()
    assert sorted(os.listdir(folder)) == sorted([reference.name, MARK])


def test_where_no_proof_can_be_written_nobody_sees_it(tmp_path):
    """A full disk, or one that is read-only: results come through the program then."""
    (tmp_path / "file").write_text("no folder")
    proof = Proof(str(tmp_path / "file" / "run"))
    assert not sees(proof)
    proof.remove()


def test_a_proof_that_a_killed_program_has_left_is_swept_away_with_its_run(folder):
    """To a store it is a file that no record names, and nothing else."""
    proof = Proof(str(folder))
    reference = Spool(str(folder)).put(3, b"large")
    files = ResultFiles(str(folder.parent))
    assert files.marked() == [folder.name]
    assert files.sweep(folder.name, [reference.encode()]) == 1
    assert os.listdir(folder) == [reference.name]
    assert not sees(proof)
