from __future__ import annotations

import pytest

from farmhand.local.supervise import LocalExecutor
from farmhand.testing.executors import ExecutorConformance


class TestLocalSpawn(ExecutorConformance):
    @pytest.fixture
    def executor_factory(self):
        return LocalExecutor


class TestLocalFork(ExecutorConformance):
    start_method = "fork"

    @pytest.fixture
    def executor_factory(self):
        return LocalExecutor
