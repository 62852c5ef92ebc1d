import multiprocessing
import os
import pickle
import shutil

from brian2 import *
from firing import note, taus


def find_rate(tau):
    note()
    set_device("cpp_standalone", directory=f"standalone{os.getpid()}")
    P = PoissonGroup(100, rates=10 * Hz)
    eqs = "dv/dt = -v / tau : 1"
    G = NeuronGroup(1, eqs, threshold="v > 1", reset="v = 0", method="euler", namespace={"tau": tau * ms})
    S = Synapses(P, G, on_pre="v += 0.1")
    S.connect()
    M = SpikeMonitor(G)
    net = Network(P, G, S, M)
    net.run(1 * second)
    spikes = M.num_spikes
    device.reinit()
    return spikes


if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        rates = pool.map(find_rate, taus())
    with open("rates.pickle", "wb") as file:
        pickle.dump(list(zip(taus(), rates, strict=True)), file)
    for name in os.listdir("."):
        if name.startswith("standalone"):
            shutil.rmtree(name)
