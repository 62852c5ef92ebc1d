"""``brian.tools.taskfarm`` is that of Brian 1.4: its arguments, and what it prints."""

import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import farmhand
from brian.tools import taskfarm
from brian.tools.datamanager import DataManager
from brian.tools.taskfarm import run_tasks
from farmhand import open_store
from farmhand.cli import main
from waiting import DEADLINE

WORDS = r"\d+% complete, \d+s elapsed(, approximately (\d+m )?\d+s remaining)?\."


@pytest.fixture
def dataman(tmp_path):
    return DataManager("rates", str(tmp_path))


def square(x):
    return x * x


# -- arguments -------------------------------------------------------------------------------------


def test_the_signature_is_brian_s():
    """A call of that time means what it meant; what farmhand has more is in farmhand."""
    parameters = inspect.signature(run_tasks).parameters.values()
    assert [(each.name, each.default) for each in parameters if each.default is each.empty] == [
        (name, inspect.Parameter.empty) for name in ("dataman", "task", "items")
    ]
    assert {each.name: each.default for each in parameters if each.default is not each.empty} == {
        "gui": True,
        "poolsize": 0,
        "initargs": None,
        "initkwds": None,
        "verbose": None,
        "numitems": None,
    }
    assert taskfarm.__all__ == ["run_tasks"]
    assert list(inspect.signature(farmhand.run_tasks).parameters)[:9] == [each.name for each in parameters]


def test_it_returns_nothing_and_stores_results_under_keys_that_mean_nothing(dataman):
    assert run_tasks(dataman, square, range(4), gui=False) is None
    assert sorted(dataman.values()) == [0, 1, 4, 9]
    assert len(set(dataman.keys())) == 4


def test_a_tuple_is_the_arguments_and_an_array_gives_numbers(dataman):
    numpy = pytest.importorskip("numpy")

    def divide(a, b=2.0):
        return float(a / b)

    run_tasks(dataman, divide, [(1.0, 4.0), (3.0,), 5.0], gui=False)
    run_tasks(dataman, divide, numpy.array([7.0, 8.0]), gui=False)
    assert sorted(dataman.values()) == [0.25, 1.5, 2.5, 3.5, 4.0]


class Model:
    """A class task of that time; its name is shown."""

    def __init__(self, scale, offset=0, process_number=None):
        self.scale, self.offset = scale, offset
        self.taskname = f"model {process_number}"

    def __call__(self, x):
        return self.scale * x + self.offset, self.taskname


def test_a_class_is_made_once_in_each_process_with_its_number(dataman):
    run_tasks(dataman, Model, [1, 2], False, 1, [10], {"offset": 5})
    assert dataman.values() == [(15, "model 0"), (25, "model 0")]


@pytest.mark.parametrize("initargs", [(), [], (square,), None])
def test_initargs_mean_nothing_for_a_function(initargs, dataman):
    """Brian never looked at them."""
    run_tasks(dataman, square, [3], gui=False, initargs=initargs)
    assert dataman.values() == [9]


def test_poolsize_counts_from_all_cpus(dataman):
    """And no process at all is a ValueError, as with multiprocessing's Pool."""
    run_tasks(dataman, square, [1], gui=False, poolsize=-farmhand.cpus.cpu_count() + 1)
    with pytest.raises(ValueError, match="leaves no process"):
        run_tasks(dataman, square, [1], gui=False, poolsize=-farmhand.cpus.cpu_count())
    assert dataman.values() == [1]


def test_report_takes_two_arguments_or_comes_as_a_keyword(dataman):
    def named(x, report):
        report(0.1, 0.5)
        return "named"

    def any_keyword(x, **kwds):
        kwds["report"](0.1, 0.5)
        return "keyword"

    run_tasks(dataman, named, [1], gui=False)
    run_tasks(dataman, any_keyword, [1], gui=False)
    assert sorted(dataman.values()) == ["keyword", "named"]


def test_only_what_is_missing_is_run_by_counting(dataman):
    """The manual's way to resume, and what is written by hand in between counts too."""
    run_tasks(dataman, square, range(3), gui=False)
    dataman.session()["by hand"] = 100
    wanted = 7
    run_tasks(dataman, square, range(10, 10 + wanted - dataman.itemcount()), gui=False)
    assert dataman.itemcount() == wanted
    assert sorted(dataman.values()) == [0, 1, 4, 100, 100, 121, 144]


def test_an_item_that_fails_leaves_the_others_alone(dataman, capsys):
    """Brian gave up at the first one; here all else is stored, and then the error is raised."""

    def reciprocal(x):
        return 1 / x

    with pytest.raises(farmhand.TasksFailed, match="1 of 5 items failed"):
        run_tasks(dataman, reciprocal, [1, 0, 2, 4, 8], gui=False, verbose=False)
    assert sorted(dataman.values()) == [0.125, 0.25, 0.5, 1]
    printed = capsys.readouterr()
    assert printed.out.endswith("Finished.\n")
    assert "item 1 failed: ZeroDivisionError" in printed.err


def test_a_set_up_that_fails_ends_the_run(dataman, capsys):
    """Brian started processes for ever."""

    class Broken:
        def __init__(self):
            raise ValueError("no such model")

        def __call__(self, x):
            return x

    with pytest.raises(farmhand.SetupError, match="no such model"):
        run_tasks(dataman, Broken, [1, 2], gui=False)
    assert "Finished." not in capsys.readouterr().out


# -- what it prints --------------------------------------------------------------------------------


def test_without_a_window_and_not_verbose_each_item_that_ends_has_a_line(dataman, capsys):
    run_tasks(dataman, square, range(4), gui=False, verbose=False)
    printed = capsys.readouterr()
    *lines, last = printed.out.splitlines()
    assert last == "Finished."
    for done, line in enumerate(lines):
        assert re.fullmatch(rf"Overall, {done} done of 4: {25 * done}% complete, .*", line), line
        assert re.fullmatch(rf"Overall, \d done of 4: {WORDS}", line), line
    assert len(lines) == 5
    assert printed.err == ""


def test_of_items_without_a_length_only_their_number_is_told(dataman, capsys):
    run_tasks(dataman, square, iter(range(2)), gui=False, verbose=False)
    run_tasks(dataman, square, iter(range(2)), gui=False, verbose=False, numitems=2)
    without, told = capsys.readouterr().out.split("Finished.\n")[:2]
    assert without.splitlines() == ["Overall, 0 done", "Overall, 1 done", "Overall, 2 done"]
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "Overall, 0 done of 2",
        "Overall, 1 done of 2",
        "Overall, 2 done of 2",
    ]


def test_many_items_of_one_moment_have_one_line(dataman, capsys):
    """A hundred thousand tiny items would otherwise print more than they compute."""
    run_tasks(dataman, square, range(20_000), gui=False, verbose=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 10_000
    assert lines[-2].startswith("Overall, 20000 done of 20000: 100% complete")


def test_what_tasks_print_is_printed_and_kept(dataman, capsys):
    """In a window's run too, as the processes of Brian wrote to the same terminal."""

    def talk(x):
        print("membrane", x)

    run_tasks(dataman, talk, [1, 2], gui=False, verbose=False)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line for line in lines if "membrane" in line) == ["membrane 1", "membrane 2"]
    (first, _) = dataman.records()
    assert dataman.output(first.key).startswith("membrane ")


def script(folder, call, **environment):
    """A script in which a task waits for a file after it has said that it is half-way; it is running."""
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]  # where `waiting` is
    (folder / "script.py").write_text(
        textwrap.dedent("""
            from waiting import wait_for
            from brian.tools.datamanager import *
            from brian.tools.taskfarm import *

            class Half:
                def __init__(self):
                    self.taskname = "half"

                def __call__(self, k, report):
                    if k:
                        report(3.0, 0.5)
                        wait_for("go on")
                    return k

            dataman = DataManager("rates")
        """)
        + call
    )
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if "DISPLAY" not in k}
        | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process, beginning):
    """What it prints up to a line that begins so."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            return lines
    raise AssertionError(f"{lines}\n{process.stderr.read()}")


def ended(process):
    """What else it prints, on both streams, when it has ended."""
    printed, complaints = process.stdout.read(), process.stderr.read()
    process.wait(DEADLINE)
    return printed, complaints


CALL = "run_tasks(dataman, Half, [0, 1], poolsize=1, {})\n"


def test_verbose_prints_every_message_in_the_words_of_brian(tmp_path):
    """Line for line, with the full stop before the colon, which programs that read them have seen."""
    with script(tmp_path, CALL.format("gui=False")) as process:
        lines = until(process, "Process 0: 50% complete")
        (tmp_path / "go on").touch()
        printed, complaints = ended(process)
    assert (process.returncode, complaints) == (0, "")
    lines += printed.splitlines()
    assert lines[:3] == [
        "Process 0: 0% complete, 0s elapsed.: No task information",
        "Overall, 0 done",
        "Overall, 0 done of 2: 0% complete, 0s elapsed.",
    ]
    place = next(n for n, line in enumerate(lines) if line.startswith("Process 0: 50%"))
    assert re.fullmatch(rf"Process 0: {WORDS}: half", lines[place]), lines[place]
    assert re.fullmatch(r"Overall, 1 done of 2: 75% complete, .* remaining\.", lines[place + 1])
    assert re.fullmatch(r"Overall, 2 done of 2: 100% complete, .* approximately 0s remaining\.", lines[-2])
    assert lines[-1] == "Finished."


def test_an_item_that_reports_often_has_a_message_a_second(dataman, capsys):
    """A simulation is looked at ten times a second and more; in 2011 it was every ten seconds."""

    def talkative(k, report):
        for step in range(100):
            report(step / 100, step / 100)
            time.sleep(0.01)

    run_tasks(dataman, talkative, [1], gui=False, poolsize=1)
    lines = capsys.readouterr().out.splitlines()
    messages = [line for line in lines if line.startswith("Process 0: ")][1:]  # that it is there
    (elapsed,) = re.findall(r"1 done of 1: 100% complete, (\d+)s elapsed", lines[-2])
    assert 1 <= len(messages) <= int(elapsed) + 2


def test_without_a_display_the_window_is_missed_once_at_the_line_of_the_script(tmp_path):
    """And stdout has what a run in a window printed: nothing but its end."""
    with script(tmp_path, CALL.format("initkwds={}")) as process:
        (tmp_path / "go on").touch()
        printed, complaints = ended(process)
    assert (process.returncode, printed) == (0, "Finished.\n")
    assert complaints.count("UserWarning") == 1
    assert re.search(r"script\.py:\d+: UserWarning: .*gui=False", complaints)
    assert "Half: 2 done in" in complaints


def test_verbose_and_a_window_print_messages_but_no_line_for_each_item(tmp_path):
    with script(tmp_path, CALL.format("gui=True, verbose=True")) as process:
        lines = until(process, "Process 0: 50% complete")
        (tmp_path / "go on").touch()
        lines += ended(process)[0].splitlines()
    assert lines.pop() == "Finished."
    kinds = [line.split()[0] for line in lines]
    assert kinds == ["Process", "Overall,"] * (len(kinds) // 2)
    assert not any("2 done of 2" in line for line in lines)


def test_terminate_stores_what_has_ended_prints_so_and_the_script_goes_on(tmp_path):
    """As the button in the window does; `farmhand stop` is its twin in another terminal."""
    call = CALL.format("gui=False") + "print(dataman.values())\n"
    with script(tmp_path, call) as process:
        until(process, "Overall, 1 done of 2: 75% complete")
        assert main(["stop", str(tmp_path / "rates.data")]) == 0
        printed, complaints = ended(process)
    assert (process.returncode, complaints) == (0, "")
    assert printed.splitlines()[-2:] == ["Terminated task processes", "[0]"]


def test_ctrl_c_stores_what_has_ended_prints_so_and_is_raised(tmp_path):
    with script(tmp_path, CALL.format("gui=False")) as process:
        until(process, "Overall, 1 done of 2: 75% complete")
        process.send_signal(signal.SIGINT)
        printed, complaints = ended(process)
    assert printed.splitlines()[-1] == "Terminated task processes"
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode != 0
    with open_store(tmp_path / "rates.data") as store:
        assert store.values() == [0]


def test_a_reader_that_has_gone_costs_nothing(tmp_path):
    """`python script.py | head -1`: every item is run and stored all the same."""
    with script(tmp_path, CALL.format("gui=False")) as process:
        until(process, "Process 0: 0% complete")
        process.stdout.close()
        (tmp_path / "go on").touch()
        complaints = process.stderr.read()
        process.wait(DEADLINE)
    assert "Traceback" not in complaints
    with open_store(tmp_path / "rates.data") as store:
        assert store.values() == [0, 1]
