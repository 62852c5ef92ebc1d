"""The contract of executors, on a Dask cluster: with connections to its workers, and without."""

from __future__ import annotations

from functools import partial

import psutil
import pytest

from farmhand.testing.executors import ExecutorConformance
from farmhand_dask import DaskExecutor


class DaskConformance(ExecutorConformance):
    """Processes of farmhand in two Dask workers."""

    direct: bool

    @pytest.fixture
    def executor_factory(self, cluster):
        return partial(DaskExecutor, cluster.address, direct=self.direct)

    @pytest.fixture
    def lose(self, cluster):
        """Kills the Dask worker that has processes of farmhand; there is another one."""

        def lose(executor, number):
            (worker,) = (worker for worker in cluster.workers if psutil.Process(worker.pid).children())
            worker.kill()

        return lose


class TestDask(DaskConformance):
    """Workers are reached from where the script is: results go there and nowhere else."""

    direct = True


class TestDaskRelayed(DaskConformance):
    """They are not (another network, a port that is forwarded): Dask's scheduler passes everything on."""

    direct = False
