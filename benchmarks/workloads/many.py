"""Many tiny tasks: so many that the start of processes hardly counts. Only the fastest of *tiny*."""

from tiny import check, executor_stored, farmhand, farmhand_fork, limit, pool_stored

COUNT = 1_000_000
FULL_COUNT = 5_000_000
ROUNDS = 5
CONTENDERS = (farmhand, farmhand_fork, limit, pool_stored, executor_stored)
BASELINE = pool_stored
AIMS = {farmhand: "ratio ≥ 2"}

__all__ = ["check"]

if __name__ == "__main__":
    from child import main

    main(globals())
