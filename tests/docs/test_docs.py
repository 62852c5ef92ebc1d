"""Pages run: every Python block of the README and of docs/ is executed as printed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    page: Path
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


BLOCKS = [
    Block(page, page.read_text()[: found.start()].count("\n") + 1, found.group(1))
    for page in PAGES
    for found in BLOCK.finditer(page.read_text())
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_block_runs_as_printed(block, tmp_path):
    """In a fresh interpreter and an empty folder, as a reader would try it."""
    script = tmp_path / "page.py"
    script.write_text(block.code)
    run = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page):
    """A page that was moved takes its links along."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_argument_of_run_tasks_is_on_the_front_page_or_in_its_docstring():
    """An option that nobody can find is no option."""
    import inspect

    from farmhand import run_tasks

    text = (ROOT / "README.md").read_text() + (run_tasks.__doc__ or "")
    for name in inspect.signature(run_tasks).parameters:
        assert re.search(rf"\b{name}\b", text), name


def test_every_hook_is_on_the_page_about_plugins():
    """The page and the file of hooks cannot drift apart."""
    from farmhand import hookspecs

    page = (ROOT / "docs" / "plugins.md").read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("farmhand_")]
    assert hooks
    for hook in hooks:
        assert hook in page, hook


def test_every_promise_about_faults_has_its_test():
    """A test that was renamed or deleted takes its promise along."""
    promised = re.findall(
        r"`((?:tests|packages)/[\w/.-]+\.py)::(\w+)`", (ROOT / "docs" / "faults.md").read_text()
    )
    assert len(promised) > 40
    for path, name in promised:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), f"{path}::{name}"
