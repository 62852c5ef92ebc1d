"""What is seen of a run in a notebook: in a real kernel, and without one in every state."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from farmhand.progress import FrontendOptions, Output, ProcessView
from farmhand.testing.frontends import NASTY_TEXTS, FrontendConformance, a_failure, a_run, play

IPython = pytest.importorskip("IPython")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from traitlets.config import Config  # noqa: E402

from farmhand.wording import clock_text  # noqa: E402
from farmhand_rich.notebook import NotebookFrontend  # noqa: E402
from wavering import NOON, told, wavering_run  # noqa: E402

QUIET = FrontendOptions(task="find_rate")
RUN = replace(a_run()[20], elapsed=25.0, store=":memory:")


class Page(HTMLParser):
    """Some HTML as text; that each element is closed where it should be is an assertion."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class Cell:
    """The displays of a cell, as a browser would have them."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, str]] = {}
        self.updates = 0

    def publish(self, data, metadata=None, *, transient=None, update=False, **others):
        self.updates += update
        self.shown[transient["display_id"]] = data

    @property
    def text(self) -> str:
        return " ".join(Page(data["text/html"]).text for data in self.shown.values()).strip()

    @property
    def elements(self):
        return [each for data in self.shown.values() for each in Page(data["text/html"]).elements]


@pytest.fixture
def cell(monkeypatch):
    """Where displays go."""
    cell = Cell()
    monkeypatch.setattr("IPython.core.display_functions.publish_display_data", cell.publish)
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.initialized", lambda: True)
    return cell


class TestNotebook(FrontendConformance):
    @pytest.fixture
    def make_frontend(self, cell):
        yield NotebookFrontend
        assert all("\x1b" not in data["text/html"] for data in cell.shown.values())
        cell.text  # noqa: B018 - it is whole, whatever was shown


def test_a_cell_shows_the_run_and_each_process(cell):
    """The same as a terminal does."""
    views = (
        replace(RUN.processes[0], complete=0.5, expected=0.55, elapsed=80.0, remaining=65.0, attempts=2),
        ProcessView(1),
    )
    NotebookFrontend(QUIET).show(replace(RUN, processes=views, failed=3, cpu=0.9))
    assert cell.text == (
        "find_rate 40% 8 of 20 done 3 failed 25s elapsed · 2-5 s left · 4.0/s · CPU 90% "
        "0 55% 1m 20s 1m 05s left try 2: simulating k=8 1 starting"
    )


def test_a_cell_says_on_which_computer_a_process_is(cell):
    """Where that is not this one."""
    views = (
        replace(RUN.processes[0], computer="node17.example"),
        ProcessView(1, 7, computer="gpu-2"),
        ProcessView(2, state="waiting"),
    )
    NotebookFrontend(QUIET).show(replace(RUN, processes=views))
    assert "k=8 on node17 1 starting on gpu-2 2 waiting for a free worker" in cell.text


def test_a_cell_says_that_an_item_prepares_and_which_part_of_it_runs(cell):
    """The one where the percent would be, the other before the item."""
    view = RUN.processes[0]
    preparing = replace(
        view, complete=None, expected=None, elapsed=80.0, remaining=None, phase="preparing", taskname=""
    )
    part = replace(view, number=1, complete=0.5, expected=0.55, elapsed=80.0, remaining=65.0, phase="run 2")
    NotebookFrontend(QUIET).show(replace(RUN, processes=(preparing, part)))
    assert "0 preparing 1m 20s k=8 1 55% 1m 20s 1m 05s left run 2: simulating k=8" in cell.text


def test_the_cell_says_what_all_frontends_say_of_the_time_remaining(cell, monkeypatch):
    """Who looks at the window and at the notebook must not wonder which of them is right."""
    monkeypatch.setattr("time.time", lambda: NOON)
    for name in ("_LEAST", "_REST"):
        monkeypatch.setattr(f"farmhand_rich.notebook.{name}", 0.0)  # seconds without drawing
    frontend = NotebookFrontend(QUIET)
    history = wavering_run()
    for snapshot, left in zip(history, told(history, NOON), strict=True):
        frontend.show(snapshot)
        elapsed = f"{clock_text(snapshot.elapsed)} elapsed · "
        assert (f"{elapsed}{left.whole} · 3.4/s" if left else f"{elapsed}3.4/s") in cell.text
        assert "~18 s left k=3" in cell.text


def test_bars_are_told_to_who_cannot_see_them(cell):
    """Screen readers read numbers, not widths."""
    NotebookFrontend(QUIET).show(RUN)
    bars = [attributes for _, attributes in cell.elements if attributes.get("role") == "progressbar"]
    assert [bar["aria-valuenow"] for bar in bars] == ["40", *["2"] * 4]


def test_each_failure_can_be_unfolded(cell):
    """Traceback and output are there, and out of the way."""
    frontend = NotebookFrontend(QUIET)
    frontend.show(RUN)
    frontend.show(replace(RUN, state="paused", failed=1, failures=(a_failure(1, "no", index=7),)))
    assert "item 7" in cell.text
    assert "ValueError: no" in cell.text
    assert "Traceback" in cell.text
    assert "printed by 7" in cell.text
    folded = [attributes for tag, attributes in cell.elements if tag == "details"]
    assert folded == [{"open": None}, {}]


def test_the_last_state_stays(cell):
    """The notebook is saved, and opened again after months."""
    ended = replace(a_run()[-1], failed=2, failures=(a_failure(1), a_failure(2)), store="/data/rates.db")
    play(NotebookFrontend(QUIET), [RUN, ended])
    assert "find_rate finished in 5.0s" in cell.text
    assert "20 of 20 done 2 failed" in cell.text
    assert "farmhand failures /data/rates.db" in cell.text
    plain = [data["text/plain"] for data in cell.shown.values()]
    assert plain[0] == "find_rate: 20 done, 2 failed in 5.0s"


@pytest.mark.parametrize("state", ["paused", "stopped", "broken"])
def test_every_state_is_told(cell, state):
    """A run that was interrupted must not look as if it went on."""
    NotebookFrontend(QUIET).show(replace(RUN, state=state))
    assert {"paused": "paused", "stopped": "stopped after", "broken": "broken off after"}[state] in cell.text


def test_a_run_that_breaks_off_without_a_word_says_so(cell):
    """What was seen last would look as if it went on."""
    play(NotebookFrontend(QUIET), [RUN])
    assert "broken off after 25s" in cell.text


@pytest.mark.parametrize("text", [*NASTY_TEXTS, "<script>alert(1)</script>", "'><b x='&amp;"])
def test_whatever_is_shown_is_text(cell, text):
    """Names, items, errors and output come from the user's code, or from data of strangers."""
    view = ProcessView(0, 1, "busy", 0, text, text, 1.0, 0.5)
    failure = replace(a_failure(1, text), item=text, output=text)
    shown = replace(RUN, task=text, processes=(view,), failed=1, failures=(failure,), store=f"/{text[:50]}")
    play(NotebookFrontend(FrontendOptions(text)), [shown, replace(shown, state="stopped")])
    tags = {tag for tag, _ in cell.elements}
    assert tags <= {"style", "div", "span", "b", "details", "summary", "pre", "code"}
    for data in cell.shown.values():
        data["text/html"].encode()


def test_thousands_of_snapshots_are_few_displays(cell):
    """Each is a message to the browser, which has better things to do."""
    play(NotebookFrontend(QUIET), a_run(items=5000, processes=2, steps=3000))
    assert cell.updates < 1500


def test_what_tasks_print_comes_below(cell, capsys):
    """As the output of the cell, each line with its item."""
    frontend = NotebookFrontend(FrontendOptions("find_rate", verbose=True))
    frontend.show(replace(RUN, outputs=(Output(7, "one\ntwo\n"),)))
    assert capsys.readouterr().out == "[7] one\n[7] two\n"


# -- in a kernel -----------------------------------------------------------------------------------

RUN_CELL = """
import os, signal
from farmhand import MemoryStore, run_tasks

def square(k):
    if k == 3:
        raise ValueError("no <threes>")
    print("squares", k)
    return k * k

def items():
    yield from range(6)
    {then}

run_tasks(MemoryStore(), square, items(), numitems=6, poolsize=2, errors="collect", gui=False)
"""


def outputs_of(tmp_path, code):
    """What a cell shows in the end, when a real kernel has run it; as text."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with tempfile.TemporaryDirectory() as folder:  # of a name that is short enough for sockets
        client = nbclient.NotebookClient(
            notebook,
            timeout=100,
            kernel_name="python3",
            allow_errors=True,
            # who has found a free TCP port may find another there by the time that he takes it
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}),
            resources={"metadata": {"path": tmp_path}},
        )
        client.execute()
    return notebook.cells[0].outputs


@pytest.mark.filterwarnings("default")  # those of the kernel's client are not ours
def test_a_notebook_that_was_run_has_the_last_state(tmp_path):
    """nbconvert, or whoever opens it without running it."""
    outputs = outputs_of(tmp_path, RUN_CELL.format(then=""))
    pages = [Page(each.data["text/html"]).text for each in outputs if each.output_type == "display_data"]
    assert re.match(r"square finished in [\d.]+s 100% 5 of 6 done 1 failed", pages[0])
    assert "ValueError: no <threes>" in pages[1]
    printed = "".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stdout")
    assert sorted(printed.splitlines()) == [f"[{n}] squares {n}" for n in (0, 1, 2, 4, 5)]
    assert not [each for each in outputs if each.output_type == "stream" and each.name == "stderr"]


@pytest.mark.filterwarnings("default")
def test_a_kernel_that_is_interrupted_says_that_the_run_was_stopped(tmp_path):
    """The button with the square: the cell ends with KeyboardInterrupt, and does not look as if it ran."""
    outputs = outputs_of(tmp_path, RUN_CELL.format(then="os.kill(os.getpid(), signal.SIGINT)"))
    assert [each.ename for each in outputs if each.output_type == "error"] == ["KeyboardInterrupt"]
    pages = [Page(each.data["text/html"]).text for each in outputs if each.output_type == "display_data"]
    assert "square stopped after" in pages[0]
