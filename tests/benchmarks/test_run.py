"""The benchmarks: every workload describes itself, and what is made of the numbers is right."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = BENCHMARKS / "run.py"


@pytest.fixture
def modules(monkeypatch):
    """The benchmarks' own modules, imported as they import each other, and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "workloads"))
    before = dict(sys.modules)
    import cluster
    import run
    import running
    import tables

    yield SimpleNamespace(WORKLOADS=(*run.WORKLOADS, *cluster.WORKLOADS)), running, tables
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def outcome(modules, contenders, **options):
    _, running, _ = modules
    made = {
        name: running.Contender(name.replace("_", " "), figures) if isinstance(figures, dict) else figures
        for name, figures in contenders.items()
    }
    facts = {"more_is_better": True, "ratios": None, "baseline": "pool", "floor": None, "aims": {}}
    return running.Outcome("made_up", "A title.", 1_000, contenders=made, **facts | options)


def rows(text):
    """The table's cells, by the first one in each row."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0].strip("*"): row[1:] for row in cells if len(row) > 1}


def test_every_workload_says_what_it_is(modules):
    """Their titles and names are what the tables say of them; none may be without."""
    run, running, _ = modules
    for name in run.WORKLOADS:
        module = running.workload(name)
        contenders = [*module.CONTENDERS, *getattr(module, "FULL_CONTENDERS", ())]
        assert module.__doc__, name
        assert contenders, name
        labels = [contender.__doc__ for contender in contenders]
        assert all(labels), name
        assert len(set(labels)) == len(labels), name
        # a fresh process looks for them by their names
        assert all(getattr(module, contender.__name__) is contender for contender in contenders), name
        known = {None, *contenders}
        assert {module.BASELINE, getattr(module, "FLOOR", None)} <= known, name
        assert {*getattr(module, "AIMS", {}), *getattr(module, "SLOW", {})} <= known, name


def test_every_workload_is_in_the_list(modules):
    """One that is a program but not listed would never run."""
    run, _, _ = modules
    programs = {path.stem for path in BENCHMARKS.glob("workloads/*.py") if "CONTENDERS" in path.read_text()}
    assert programs == set(run.WORKLOADS)


def test_workloads_of_a_cluster_say_how_large_it_is(modules):
    """It is started for them."""
    _, running, _ = modules
    import cluster

    for name in cluster.WORKLOADS:
        workers, threads = running.workload(name).CLUSTER
        assert workers >= 1, name
        assert threads >= 1, name


def test_contenders_take_what_they_are_called_with(modules):
    """Count and path if there are items, and what was prepared."""
    run, running, _ = modules
    for name in run.WORKLOADS:
        module = running.workload(name)
        wanted = ["count", "path"] if hasattr(module, "COUNT") else []
        wanted += ["per_ms"] if hasattr(module, "prepare") else []
        for contender in module.CONTENDERS:
            assert list(inspect.signature(contender).parameters) == wanted, (name, contender.__name__)


def test_a_ratio_is_the_median_of_the_ratios_of_rounds(modules):
    """Not the ratio of medians, which a disturbance of some rounds would bend."""
    made = outcome(
        modules, {"pool": {"tasks/s": [100.0, 200.0, 400.0]}, "farmhand": {"tasks/s": [300.0, 400.0, 400.0]}}
    )
    table = rows(modules[2].table(made))
    assert table["farmhand"] == ["400 (300 - 400)", "2.00"]
    assert table["pool"] == ["200 (100 - 400)", "1.00"]


def test_a_ratio_may_have_a_name_and_be_in_percent(modules):
    """As of what bare processes give."""
    made = outcome(
        modules,
        {"pool": {"s": [2.0, 2.0], "CPU": [1.0, 1.0]}, "farmhand": {"s": [1.0, 1.9], "CPU": [3.0, 4.0]}},
        ratios={"% of pool": "s", "CPU, ratio": "CPU"},
        aims={"farmhand": "95 %"},
    )
    table = rows(modules[2].table(made))
    assert table[""] == ["s", "% of pool", "CPU, ratio", "CPU", "aim"]
    assert table["farmhand"] == ["1.45 (1.00 - 1.90)", "72.5", "3.50", "3.50", "95 %"]
    assert table["pool"][-1] == ""


def test_what_anybody_waits_for_is_subtracted(modules):
    """From the figure of the same round."""
    made = outcome(
        modules,
        {"bare": {"ms": [20.0, 40.0]}, "pool": {"ms": [120.0, 140.0]}},
        floor="bare",
        more_is_better=False,
    )
    assert rows(modules[2].table(made))["pool"] == ["130 (120 - 140)", "100", "1.00"]


def test_a_failure_is_told_and_nothing_is_compared_with_it(modules):
    """Neither the one that failed nor, if that is the baseline, the others have a ratio."""
    failed = modules[1].Contender("pool", {"tasks/s": [1.0]}, failure="failed: no space")
    table = rows(modules[2].table(outcome(modules, {"pool": failed, "farmhand": {"tasks/s": [1.0, 3.0]}})))
    assert table["pool"][0] == "failed: no space"
    assert table["farmhand"] == ["2.00 (1.00 - 3.00)", ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.123, "0.12"), (9.999, "10.0"), (16, "16"), (16.04, "16.0"), (131_461.3, "131 000")],
)
def test_three_digits_count(modules, value, text):
    """More would pretend to a precision that no benchmark has."""
    assert modules[2].grouped(value) == text


def test_two_runs_are_compared(modules):
    """Medians now by medians then; only ranges apart from each other mean better or worse."""
    tables = modules[2]
    now = outcome(modules, {"pool": {"tasks/s": [100.0, 120.0]}, "farmhand": {"tasks/s": [400.0, 600.0]}})
    then = outcome(modules, {"pool": {"tasks/s": [90.0, 110.0]}, "farmhand": {"tasks/s": [200.0, 300.0]}})
    text = tables.compare(tables.as_json([now]), json.loads(json.dumps(tables.as_json([then]))))
    assert rows(text)["pool"] == ["tasks/s", "110 (100 - 120)", "100 (90.0 - 110)", "1.10", "ranges overlap"]
    assert rows(text)["farmhand"][-2:] == ["2.00", "better"]
    now.more_is_better = False
    assert rows(tables.compare(tables.as_json([now]), tables.as_json([then])))["farmhand"][-1] == "worse"
    then.count = 7
    assert "not comparable" in tables.compare(tables.as_json([now]), tables.as_json([then]))


def test_the_program_measures_and_keeps_and_compares(tmp_path):
    """From the command line, with the workload that takes the least."""
    kept, docs = tmp_path / "numbers.json", tmp_path / "page.md"
    docs.write_text(
        "before\n<!-- written by benchmarks/run.py --docs -->\n<!-- end of what it wrote -->\nafter\n"
    )
    command = [sys.executable, str(PROGRAM), "--only", "imports", "--rounds", "1"]
    for more in (["--json", str(kept)], ["--docs", str(docs), "--compare", str(kept)]):
        done = subprocess.run(
            [*command, *more], capture_output=True, encoding="utf-8", timeout=100, check=True
        )
    (imports,) = json.loads(kept.read_text())["outcomes"]
    assert imports["contenders"]["farmhand"]["figures"]["ms"][0] > 0
    assert "| now / then |" in done.stdout
    written = docs.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "### imports" in written
