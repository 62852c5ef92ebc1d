"""The decay of a voltage for ten time constants, each a simulation that Cython compiles, on all CPUs.

python 01_cython.py         computes; stop it whenever you like
python 01_cython.py         again: computes the rest, or nothing, and draws
"""

from brian2 import *

from farmhand import open_store, run_tasks


def decay(tau, report):
    G = NeuronGroup(1, "dv/dt = -v / tau : 1", method="exact")
    G.v = 1
    M = StateMonitor(G, "v", record=0)
    run(100 * ms, report=report)
    return M.t / ms, M.v[0]


with open_store("cython.db") as store:
    summary = run_tasks(store, decay, arange(5, 15) * ms, gui=False, resume=True)
    for tau, (t, v) in sorted(store.pairs()):
        plt.plot(t, v, label=str(tau))

plt.xlabel("t (ms)")
plt.ylabel("v")
plt.legend()
plt.savefig("cython.png")
print(f"Computed {summary.done}, skipped {summary.skipped}: cython.png")
