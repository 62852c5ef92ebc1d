"""``farmhand plot``: what a user types, reads and gets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from farmhand import open_store, run_tasks
from farmhand.cli import main
from farmhand_plot import KINDS
from waiting import DEADLINE, wait_for, wait_until

pytest.importorskip("farmhand_sqlite", reason="the command line needs a store that stays")


def half(k, tau=1.0):
    if k == 7:
        raise ValueError("seven")
    return k / 2


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    """A store of two runs of two tasks; nobody writes into it."""
    path = tmp_path_factory.mktemp("plots") / "rates.db"
    options = {"poolsize": 2, "progress": "none", "errors": "collect", "start_method": "fork"}
    with open_store(path) as store:
        run_tasks(store, half, range(10), **options)
        run_tasks(store, abs, range(5), **options)
    return path


@pytest.fixture
def farmhand(capsys, tmp_path, monkeypatch):
    """Types a command in an empty folder; gives its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farmhand.entrypoints.entry_points", lambda group: [*PLOT, *STORES])

    def type_it(*words):
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return type_it


PLOT = [("plot", "farmhand_plot")]
STORES = [("sqlite", "farmhand_sqlite")]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_written_where_one_would_look(farmhand, rates, kind):
    """Without a name the file is called as the store and the kind, in this folder; the command says so."""
    said = f"rates-{kind}.png: {kind} of {rates}\n"
    assert farmhand("plot", rates, "--kind", kind) == (0, said, "")
    assert os.listdir() == [f"rates-{kind}.png"]
    with Image.open(f"rates-{kind}.png") as image:
        image.load()


def test_the_ending_of_the_name_says_which_kind_of_file(farmhand, rates):
    """For the web, for a paper, for a mail."""
    for name, begin in (("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.png", b"\x89PNG")):
        assert farmhand("plot", rates, "-o", name)[0] == 0
        assert Path(name).read_bytes().startswith(begin)


def test_a_run_goes_by_the_beginning_of_its_name(farmhand, rates, monkeypatch):
    """As for every other command."""
    with open_store(rates) as store:
        first = store.runs()[0]
    asked = []

    def draw(store, kind, **options):
        from matplotlib.figure import Figure

        asked.append(options)
        return Figure()

    monkeypatch.setattr("farmhand_plot.figures.plot", draw)
    words = ("--run", first.uid[:8], "--task", "half", "--parameter", "k", "--kind", "durations")
    assert farmhand("plot", rates, *words)[0] == 0
    assert asked == [{"run": first.uid[:8], "task": "half", "parameter": "k"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.db"], r"there is no store 'nowhere.db'"),
        (["{}", "--run", "zz"], r"there is no run 'zz'; there are \w+ \(half, finished, "),
        (["{}", "--task", "hafl"], r"hafl.*half"),
        (["{}", "-o", "rates.db"], r"'rates.db' cannot be written: .*use .png, .svg or .pdf"),
        (["{}", "-o", "no/a.png"], r"there is no folder '.*/no'; create it first"),
        (["{}", "--kind", "pie"], r"invalid choice: 'pie' \(choose from '?completions'?, "),
        (["{}", "--kind", "durations", "--parameter", "rho", "--task", "half"], r"rho.*k"),
        ([], "the following arguments are required: STORE"),
        ([":memory:"], "name a file or a folder"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_write(farmhand, rates, words, said):
    """On stderr, with exit status 2, without a trace of the stack; no file is written, and no store made."""
    status, out, err = farmhand("plot", *(word.format(rates) for word in words))
    assert (status, out) == (2, "")
    assert re.search(said, err)
    assert "Traceback" not in err
    assert os.listdir() == []


def test_a_file_that_cannot_be_written_is_an_error(farmhand, rates, monkeypatch):
    """As on a full disk; what was there before still is."""
    Path("a.png").write_text("the figure of last week")

    def no_room(*files):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_room)
    status, out, err = farmhand("plot", rates, "-o", "a.png")
    assert (status, out) == (2, "")
    assert err.endswith("a.png: No space left on device\n")  # not the hidden one that becomes it
    assert os.listdir() == ["a.png"]
    assert Path("a.png").read_text() == "the figure of last week"


def test_every_option_is_on_its_page(farmhand):
    """What nobody can read about nobody uses."""
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    if not page.exists():
        pytest.skip("needs the repository")
    text = page.read_text(encoding="utf-8")
    assert "farmhand plot" in text
    for option in re.findall(r"--[a-z]+", farmhand("plot", "--help")[1]):
        assert option in ("--help",) or option in text, option
    for kind in KINDS:
        assert f"`{kind}`" in text


def test_nothing_is_said_of_folders_that_matplotlib_cannot_write(rates, tmp_path):
    """Where there is no home, as in many a container, each start would say it in two long lines."""
    nowhere = {"HOME": "/dev/null", "MPLCONFIGDIR": "/dev/null/matplotlib"}
    command = [sys.executable, "-m", "farmhand", "plot", rates, "-o", tmp_path / "a.png"]
    done = subprocess.run(command, env={**os.environ, **nowhere}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert (tmp_path / "a.png").exists()


def test_a_run_that_goes_on_is_asked_how_it_goes(farmhand, waiting_run):
    """That it is paused is nowhere in its store; and its own estimate is the one that the terminal shows."""
    assert farmhand("pause", "watched.db")[0] == 0

    def says_so():
        assert farmhand("plot", "watched.db", "-o", "eta.svg")[0] == 0
        return "<!-- paused" in Path("eta.svg").read_text()

    wait_until(says_so, "a figure of a run that is paused")
    assert farmhand("resume", "watched.db")[0] == 0


@pytest.fixture
def waiting_run(tmp_path):
    """A run in another process, whose 16th item waits for a file called ``gate``."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from waiting import wait_for\n"
        "from farmhand import run_tasks\n"
        "def work(k):\n"
        "    if k == 15:\n"
        "        wait_for('gate')\n"
        "    open('begun', 'w').close()\n"
        "run_tasks('watched.db', work, range(20), poolsize=1, progress='none')\n"
    )
    with subprocess.Popen([sys.executable, script], cwd=tmp_path) as process:
        try:
            wait_for(tmp_path / "begun")
            yield process
        finally:
            (tmp_path / "gate").touch()
    assert process.returncode == 0


def test_a_run_can_be_watched_as_a_figure_from_another_process(farmhand, waiting_run):
    """The run knows nothing of it, and is not held up."""
    command = [sys.executable, "-m", "farmhand", "watch", "watched.db", "--progress", "plot:eta.svg"]
    with subprocess.Popen(command) as watching:
        wait_for("eta.svg")
        assert "now" in Path("eta.svg").read_text()
        before = os.stat("eta.svg").st_ino
        Path("gate").touch()
        assert watching.wait(DEADLINE) == 0
    assert os.stat("eta.svg").st_ino != before
