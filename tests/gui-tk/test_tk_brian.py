"""The window of a script of Brian 1's time, whose import and call are as they were."""

import subprocess
import sys
from pathlib import Path

import pytest

from farmhand_tk.window.looks import LIGHT
from virtual_display import area
from waiting import DEADLINE, wait_for, wait_until

SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from brian.tools.datamanager import *
from brian.tools.taskfarm import *
from waiting import wait_for

def work(k, report):
    report(1.0, 0.5)
    if k:
        open("begun", "w").close()
        wait_for("never")
    return k

if __name__ == '__main__':
    dataman = DataManager('rates')
    run_tasks(dataman, work, [0, 1, 2], poolsize=1)
    print(dataman.values())
"""


def test_terminate_prints_so_and_the_script_goes_on_with_what_is_stored(on_display, tmp_path):
    """The button is that of Brian's window: the rest of the script, which plots, is reached."""
    pytest.importorskip("brian.tools.taskfarm", reason="the old import is in farmhand-brian")
    (tmp_path / "script.py").write_text(SCRIPT)
    with open(tmp_path / "errors", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        wait_for(tmp_path / "begun")
        window = on_display.wait_for_window("^work ")
        on_display.press(window, "alt+t")
        wait_until(lambda: area(on_display.picture(window), LIGHT.wait) > 500, "the question")
        on_display.press(window, "Tab", "space")
        printed, _ = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait(DEADLINE)
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    assert printed.splitlines() == ["Terminated task processes", "[0]"]
