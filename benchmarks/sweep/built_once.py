from brian2 import *
from firing import note, taus

from farmhand import open_store, run_tasks
from farmhand_brian import StandaloneTask


class FindRate(StandaloneTask):
    def build(self):
        P = PoissonGroup(100, rates=10 * Hz)
        eqs = "dv/dt = -v / tau : 1\ntau : second (constant)"
        self.G = NeuronGroup(1, eqs, threshold="v > 1", reset="v = 0", method="euler")
        S = Synapses(P, self.G, on_pre="v += 0.1")
        S.connect()
        self.M = SpikeMonitor(self.G)
        run(1 * second)

    def __call__(self, tau):
        note()
        self.run({self.G.tau: tau * ms})
        return self.M.num_spikes


with open_store("rates.db") as store:
    run_tasks(store, FindRate, taus(), gui=False, resume=True)
