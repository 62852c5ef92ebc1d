"""The torture of farms in short, and that it would notice what it looks for."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("farmhand_sqlite", reason="the farms need a store on a disk")

import torture
from tortured import TOKEN

TORTURE = Path(__file__).with_name("torture.py")

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="farms are found by /proc"),
    pytest.mark.timeout(300),
]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["parent", "workers"])
def test_kills_at_random_moments_lose_and_leave_nothing(tmp_path, what):
    """A few of the kills of ``nox -s torture``, on as many stores as they allow."""
    kills = {"parent": 8, "workers": 24}[what]  # of workers a quarter
    options = ["--kills", str(kills), "--per-store", "2", "--seed", "5", "--grace", "60"]
    ran = subprocess.run(
        [sys.executable, TORTURE, "--what", what, "--folder", tmp_path, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 lost, 0 doubled, 0 left alive, 0 stores damaged\n" in ran.stdout


# -- it would notice -------------------------------------------------------------------------------


@pytest.fixture
def tortured(tmp_path):
    """A farm that was killed after its second commit, and its store, which was found in good order."""
    plan = torture.draw_plan(random.Random(1), tmp_path, workers=False)
    plan |= {"start method": "fork", "items": 40, "copies": 1, "pace": 0.001, "large": [], "prints": False}
    plan |= {"raise": [], "raise once": [], "exit": [], "exit once": [], "child": []}
    it = torture.Torture(plan, random.Random(1), grace=60)
    farm, token, began = it.start("after the log", 2)
    assert not it.check(it.end(farm, token, began, torture.HANG))
    return it


def execute(it, statement):
    database = sqlite3.connect(it.folder / "results.db")
    with database:
        database.execute(statement)
    database.close()


def kind_of_fault(it, status=-9):
    with pytest.raises(torture.Fault) as caught:
        it.check(torture.Round(status, 0.1, 1))
    return caught.value.kind


def test_a_result_that_is_gone_is_noticed(tortured):
    """The farm has said that it was stored."""
    execute(tortured, "UPDATE runs SET done = done - (SELECT count FROM packs ORDER BY id DESC LIMIT 1)")
    execute(tortured, "DELETE FROM packs WHERE id = (SELECT max(id) FROM packs)")
    assert kind_of_fault(tortured) == "lost"


def test_a_store_that_is_gone_is_noticed(tortured):
    """Nothing can be wrong in a store that is not there."""
    for path in tortured.folder.glob("results.db*"):
        path.unlink()
    assert kind_of_fault(tortured) == "lost"


def test_a_count_that_is_wrong_is_noticed(tortured):
    """It is written beside the results, in the same transaction."""
    execute(tortured, "UPDATE runs SET done = done + 1")
    assert kind_of_fault(tortured) == "damaged"


def test_a_wrong_result_is_noticed(tortured):
    """Another item's, for example."""
    execute(tortured, "UPDATE packs SET payload = (SELECT payload FROM packs ORDER BY id DESC LIMIT 1)")
    assert kind_of_fault(tortured) == "damaged"


def test_half_a_result_is_noticed(tortured):
    """It cannot be decoded."""
    execute(tortured, "UPDATE packs SET payload = substr(payload, 1, 3)")
    assert kind_of_fault(tortured) == "damaged"


def test_a_file_that_was_cut_off_is_noticed(tortured):
    """SQLite's own check, or the store itself, says so."""
    execute(tortured, "PRAGMA wal_checkpoint(TRUNCATE)")
    path = tortured.folder / "results.db"
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert kind_of_fault(tortured) == "damaged"


def test_an_item_that_is_done_twice_is_noticed(tortured):
    """Resume has not found it in the store: here, because the run has another name by then."""
    execute(tortured, "UPDATE runs SET task = 'another'")
    assert not tortured.run().status
    assert kind_of_fault(tortured, status=0) == "doubled"


def test_an_item_that_is_run_again_is_noticed(tortured):
    """Although its second result was stored nowhere: it was done."""
    tortured.plan["round"] += 1
    (tortured.folder / f"ran-{tortured.plan['round']}").write_text(f"{min(tortured.done_before)}\n")
    assert kind_of_fault(tortured) == "doubled"


def test_an_item_that_was_left_out_is_noticed(tortured):
    """The farm has ended by itself, as if it had done everything."""
    tortured.plan["items"] -= 1
    last = tortured.run()
    tortured.plan["items"] += 1
    assert not last.status
    assert kind_of_fault(tortured, status=0) == "wrong"


@pytest.mark.parametrize("environment", [{TOKEN: "1234567"}, {}], ids=["marked", "bare"])
def test_a_process_that_is_left_is_noticed(tmp_path, environment):
    """By its environment, or by the number with which a task started it; it is ended then."""
    plan = torture.draw_plan(random.Random(1), tmp_path, workers=False)
    it = torture.Torture(plan, random.Random(1), grace=0.1)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(["sleep", "600.1234567"], env=environment)
    try:
        with pytest.raises(torture.Fault, match=f"left alive: .*{process.pid}"):
            it.nothing_left("1234567")
        assert process.wait() == -9
    finally:
        process.kill()
        process.wait()


def test_a_temporary_file_that_is_left_is_noticed(tmp_path):
    """Each kill would leave one more."""
    plan = torture.draw_plan(random.Random(1), tmp_path, workers=False)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "page").touch()
    with pytest.raises(torture.Fault, match="page"):
        torture.Torture(plan, random.Random(1), grace=0).nothing_left("1234567")


def test_a_farm_that_ends_with_an_error_is_noticed(tortured):
    """The fault says what it has printed."""
    printed = tortured.folder / f"printed-{tortured.plan['round']}"
    printed.write_text("StoreError: oh")
    with pytest.raises(torture.Fault, match="status 1:\nStoreError: oh"):
        tortured.check(torture.Round(1, 0.1, 0))
