"""What the benchmark of Brian 2 sweeps counts is there."""

import os

import brian_sweep
import pytest


def test_lines_of_code_are_those_that_do_something(tmp_path):
    """Neither comments nor docstrings nor blank lines; a string of two lines is two."""
    program = tmp_path / "program.py"
    program.write_text(
        '"""A docstring\n\nof three lines."""\n\n# a comment\nimport os  # and one\n\n\n'
        'def f(a,\n      b):\n    """Another."""\n    return """two\n    lines"""\n'
    )
    assert brian_sweep.lines_of_code(program) == 5


def test_farmhands_programs_are_the_shortest():
    """As the page says."""
    for sweep in brian_sweep.SWEEPS.values():
        first, *others = (brian_sweep.Contender(*each).lines for each in sweep.items())
        assert first < min(others)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes as Linux shows them")
def test_a_sweep_that_was_killed_is_measured(tmp_path):
    """What is kept is not done again, and nobody is left."""
    pytest.importorskip("brian2")
    items = 4
    contender = brian_sweep.Contender("farmhand", "with_farmhand")

    brian_sweep.run_killed(contender, tmp_path, items, items)

    assert items // 2 < contender.begun <= items
    assert contender.kept + contender.again == items
    assert contender.left == 0
    assert brian_sweep.alive(tmp_path) == []
