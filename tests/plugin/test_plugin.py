"""A plugin as somebody else would write it: its store passes the contract, its frontend is shown a run."""

import ast
import json
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import farmhand_test_plugin
import pytest
from farmhand_test_plugin.frontend import Recorder
from farmhand_test_plugin.store import CsvStore

from farmhand.cli import main
from farmhand.errors import StoreError
from farmhand.progress import FrontendOptions
from farmhand.store import Turn
from farmhand.testing.frontends import FrontendConformance
from farmhand.testing.frontends import a_run as a_shown_run
from farmhand.testing.stores import StoreConformance, a_run, block, done


class TestCsvStore(StoreConformance):
    shelves = False

    @pytest.fixture
    def location(self, tmp_path):
        return tmp_path / "rates.csvs"

    @pytest.fixture
    def open_store(self):
        return CsvStore

    def test_of_an_interrupted_turn_nothing_counts(self, location):
        """Wherever the file ends, it holds the turns before; no byte of the one that was cut is read."""
        with CsvStore(location) as store:
            session = store.begin(a_run())
            session.record(Turn([block(range(2), "ab")], [done([0], ["A"])]))
            [file] = location.iterdir()
            whole = file.stat().st_size
            session.record(Turn([], [done([1], ["B"])]))
            content = file.read_bytes()
            for size in range(whole, len(content) - len("turn,1,,,,,\r\n")):
                file.write_bytes(content[:size])
                assert store.pairs() == [("a", "A")]
            file.write_bytes(content)
            assert store.pairs() == [("a", "A"), ("b", "B")]

    def test_a_file_is_no_folder(self, tmp_path):
        """And it is left as it is."""
        path = tmp_path / "x.csvs"
        path.write_text("k,rate\n")
        with pytest.raises(StoreError, match="not a folder"):
            CsvStore(path)
        assert path.read_text() == "k,rate\n"


class TestRecorder(FrontendConformance):
    @pytest.fixture
    def options(self):
        """It does not care about the others."""
        return FrontendOptions(task="find_rate")

    @pytest.fixture
    def make_frontend(self, tmp_path):
        return lambda options: Recorder(
            FrontendOptions(options.task, options.verbose, str(tmp_path / "seen"))
        )


def test_the_recorder_writes_each_snapshot_as_a_line(tmp_path):
    """So a test of the whole farm can read what a frontend was shown."""
    path = tmp_path / "seen.jsonl"
    recorder = Recorder(FrontendOptions(argument=str(path)))
    shown = list(a_shown_run())
    for snapshot in shown:
        recorder.show(snapshot)
        assert list(recorder.controls()) == []
    recorder.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["done"] for line in lines] == [snapshot.done for snapshot in shown]


def test_the_recorder_asks_for_a_file():
    """The farm reports it by name and goes on without it."""
    with pytest.raises(ValueError, match="record:FILE"):
        Recorder(FrontendOptions())


@pytest.fixture
def farmhand(monkeypatch, capsys):
    """Types a command where the plugin is installed; gives its exit status and what it printed."""
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [("mine", "farmhand_test_plugin")])

    def type_it(*words):
        return main([str(word) for word in words]), *capsys.readouterr()

    return type_it


def test_the_command_is_one_of_farmhands(farmhand, tmp_path):
    """With its own arguments, its own help, and a line in the help of farmhand."""
    path = tmp_path / "rates.csvs"
    with CsvStore(path) as store:
        session = store.begin(a_run())
        session.record(Turn([block(range(2), "ab")], [done([0, 1], ["A", "B"])]))
        task = store.runs()[0].task
    assert farmhand("hours", path) == (0, f"{task}: 0.00 hours\n", "")
    assert farmhand("hours", path, "--task", "x") == (
        2,
        "",
        f"farmhand: no run has the task 'x'; there are: {task}\n",
    )
    assert "usage: farmhand hours [-h] [--task NAME] STORE" in farmhand("hours", "--help")[1]
    assert "hours     say how many hours of computing a store has cost" in farmhand("--help")[1]


def test_the_plugin_uses_documented_names_only():
    """What it needs, everybody may use; what it does not import, farmhand may change."""
    allowed = {"farmhand", "farmhand.store", "farmhand.progress", "farmhand.events", "farmhand.errors"}
    allowed |= {"farmhand.cli.stores"}
    for path in Path(farmhand_test_plugin.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name for name in names if name.split(".")[0] == "farmhand"}
            assert ours <= allowed, f"{path.name} imports {sorted(ours - allowed)}"


def test_the_installed_plugin_names_itself_in_the_group_farmhand():
    """That is all that a user does: install it."""
    try:
        version("farmhand-test-plugin")
    except PackageNotFoundError:
        pytest.skip("it is on the path, but not installed")
    [point] = entry_points(group="farmhand", name="test-plugin")
    assert point.load() is farmhand_test_plugin
