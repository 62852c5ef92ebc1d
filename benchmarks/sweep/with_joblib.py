import pickle

from firing import find_rate, inputs
from joblib import Parallel, delayed

rates = Parallel(n_jobs=-1)(delayed(find_rate)(k) for k in inputs())
with open("rates.pickle", "wb") as file:
    pickle.dump(list(zip(inputs(), rates, strict=True)), file)
