"""The decay of a voltage for ten time constants, each a C++ program that is built and run, on all CPUs.

What differs between two items is compiled again, the rest is not. Where it is the same program with other
numbers, see 03_build_once.py.

    python 02_standalone.py     computes; stop it whenever you like
    python 02_standalone.py     again: computes the rest, or nothing, and draws
"""

from brian2 import *

from farmhand import open_store, run_tasks
from farmhand_brian import standalone


def decay(tau, report):
    with standalone(report):
        G = NeuronGroup(1, "dv/dt = -v / tau : 1", method="euler")
        G.v = 1
        M = StateMonitor(G, "v", record=0)
        run(100 * ms)
        return M.t / ms, M.v[0]


with open_store("standalone.db") as store:
    summary = run_tasks(store, decay, arange(5, 15) * ms, gui=False, resume=True)
    for tau, (t, v) in sorted(store.pairs()):
        plt.plot(t, v, label=str(tau))

plt.xlabel("t (ms)")
plt.ylabel("v")
plt.legend()
plt.savefig("standalone.png")
print(f"Computed {summary.done}, skipped {summary.skipped}: standalone.png")
