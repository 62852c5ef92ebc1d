from firing import find_rate, inputs

from farmhand import open_store, run_tasks

with open_store("rates.db") as store:
    run_tasks(store, find_rate, inputs(), gui=False, resume=True)
