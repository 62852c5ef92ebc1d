"""The example of Brian 1's manual for its task farm: firing rates of 1000 neurons, for 20 values of an input.

What creates and runs the neurons is Brian 2's. The rest is as it was in 2011, the guard at the end included.

    python brian1_rates.py         simulates 30 seconds for each value that is missing, and plots all of them
    python brian1_rates.py         again: nothing is missing, so it only plots
    python brian1_rates.py 0.5     half a second for each value
"""

import sys

from brian2 import *

from brian.tools.datamanager import *
from brian.tools.taskfarm import *

duration = float(sys.argv[1]) * second if sys.argv[1:] else 30 * second


def find_rate(k, report):
    eqs = """
    dV/dt = (k-V)/(10*ms) : 1
    """
    G = NeuronGroup(1000, eqs, reset="V = 0", threshold="V > 1", method="exact")
    M = SpikeMonitor(G, record=False)
    run(duration, report=report)
    return (k, mean(M.count) / float(duration))


if __name__ == "__main__":
    N = 20
    dataman = DataManager("taskfarmexample")
    if dataman.itemcount() < N:
        M = N - dataman.itemcount()
        run_tasks(dataman, find_rate, rand(M) * 19 + 1)
    X, Y = zip(*dataman.values())
    plot(X, Y, ".")
    xlabel("k")
    ylabel("Firing rate (Hz)")
    show()
