"""The firing rate of a neuron for fifteen time constants: one C++ program, built once for all processes.

python 03_build_once.py     computes; stop it whenever you like
python 03_build_once.py     again: computes the rest, or nothing, and draws
"""

from brian2 import *

from farmhand import open_store, run_tasks
from farmhand_brian import StandaloneTask


class FiringRate(StandaloneTask):
    def build(self, inputs, rate, weight):
        P = PoissonGroup(inputs, rates=rate)
        eqs = "dv/dt = -v / tau : 1\ntau : second (constant)"
        self.G = NeuronGroup(1, eqs, threshold="v > 1", reset="v = 0", method="euler")
        S = Synapses(P, self.G, on_pre="v += weight", namespace={"weight": weight})
        S.connect()
        self.M = SpikeMonitor(self.G)
        run(1 * second)

    def __call__(self, tau, report):
        self.run({self.G.tau: tau}, report)
        return self.M.num_spikes / second


with open_store("build-once.db") as store:
    taus = linspace(1, 15, 15) * ms
    summary = run_tasks(store, FiringRate, taus, initargs=(100, 10 * Hz, 0.1), gui=False, resume=True, seed=1)
    for tau, rate in store.pairs():
        plt.plot(tau / ms, rate / Hz, "o", color="tab:blue")

plt.xlabel(r"$\tau$ (ms)")
plt.ylabel("Firing rate (sp/s)")
plt.savefig("build-once.png")
print(f"Computed {summary.done}, skipped {summary.skipped}: build-once.png")
