"""Models of Brian 2 that tests of C++ standalone mode compile, small and without optimization."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from brian2 import (
    NeuronGroup,
    PoissonGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    check_units,
    implementation,
    ms,
    prefs,
    run,
)

from farmhand_brian import StandaloneTask
from waiting import DEADLINE, wait_until

HERE = Path(__file__).parent


def compile_fast(programs: str) -> None:
    """Keep programs in that folder, and compile without optimization what is not there."""
    prefs.codegen.cpp.extra_compile_args = ["-O0", "-w"]
    prefs.devices.cpp_standalone.make_cmd_unix = f"{sys.executable} {HERE / 'caching_make.py'} {programs}"


# what a compiled simulation may do: -1 crashes, 1 sleeps, 2 says that it has been stopped
TROUBLE = """
double trouble(double kind)
{
    if (kind == -1)
        *(volatile int*)0 = 1;
    if (kind == 1)
        sleep(600);
    if (kind == 2)
        Network::_globally_stopped = true;
    return 0;
}
"""


# runs a program for which no file may have more than 200 bytes, as on a disk that is nearly full
NO_ROOM = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
os.execv(sys.argv[1], sys.argv[1:])
"""


@implementation("cpp", TROUBLE, headers=["<unistd.h>", '"network.h"'])
@check_units(kind=1, result=1)
def trouble(kind: float) -> float:
    return 0.0


class Model(StandaloneTask):
    """Four neurons with everything that an item may change."""

    def build(self, programs: str, meeting: str = "") -> None:
        compile_fast(programs)
        self.meeting = meeting
        self.drive = TimedArray(np.full(5, 1.5), dt=10 * ms, name="drive")
        drive = self.drive
        self.G = G = NeuronGroup(
            4,
            """dv/dt = (drive(t) * a - v) / tau : 1
            a : 1 (constant)
            drawn : 1 (constant)
            tau : second (shared, constant)
            kind : 1 (shared, constant)""",
            threshold="v > 1",
            reset="v = 0",
            method="euler",
            namespace={"drive": drive, "trouble": trouble},
        )
        G.a = np.arange(4) / 2
        G.tau = 10 * ms
        G.drawn = np.random.rand(4)
        G.run_regularly("v += trouble(kind)", dt=20 * ms)
        self.P = PoissonGroup(20, rates=100 / (10 * ms) / 50)
        self.S = Synapses(self.P, G, "w : 1", on_pre="v += w")
        self.S.connect(p=0.5)
        self.M = SpikeMonitor(G)
        self.V = StateMonitor(G, "v", record=[0, 3], dt=5 * ms)
        run(30 * ms)
        run(20 * ms)

    def meet(self) -> None:
        """In the first item of a process, wait for that of the other one."""
        if self.meeting:
            Path(self.meeting, str(os.getpid())).touch()
            wait_until(lambda: len(os.listdir(self.meeting)) == 2, seconds=5 * DEADLINE)
            self.meeting = ""

    def __call__(self, changes: dict[str, Any], seed: Any, report: Any) -> dict[str, Any]:
        self.meet()
        if seed is None:
            os.environ.pop("FARMHAND_SEED", None)
        elif seed != "farm":
            os.environ["FARMHAND_SEED"] = str(seed)
        seen: list[tuple[float, ...]] = []

        def note(elapsed: Any, complete: float, start: Any, duration: Any) -> None:
            seen.append((elapsed / ms, complete, start / ms, duration / ms))
            report(complete)

        keys = {name: getattr(self.G, name) for name in ("a", "tau", "kind")}
        keys |= {"drive": self.drive, "w": self.S.w}
        room = changes.get("room", True)
        command = ["./main"] if room else [sys.executable, "-c", NO_ROOM, "./main"]
        prefs.devices.cpp_standalone.run_cmd_unix = command
        self.run({keys[name]: value for name, value in changes.items() if name in keys}, note)
        device = self._equipment.device
        project = Path(device.project_dir)
        return {
            "pid": os.getpid(),
            "project": str(project),
            "spikes": [self.M.t / ms, np.array(self.M.i)],
            "count": int(self.M.num_spikes),
            "a": np.array(self.G.a),
            "drawn": np.array(self.G.drawn),
            "tau": float(self.G.tau / ms),
            "v": np.array(self.G.v),
            "trace": np.array(self.V.v),
            "synapses": [np.array(self.S.i), np.array(self.S.j)],
            "w": np.array(self.S.w),
            "end": float(self.G.t / ms),
            "reports": seen,
            "parameters": sorted(name for name in os.listdir(project / "static_arrays") if "init_" in name),
        }
