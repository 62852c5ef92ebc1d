import multiprocessing
import pickle

from firing import find_rate, inputs

if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        rates = pool.map(find_rate, inputs())
    with open("rates.pickle", "wb") as file:
        pickle.dump(list(zip(inputs(), rates, strict=True)), file)
