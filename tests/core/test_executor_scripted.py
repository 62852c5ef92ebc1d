"""The scripted executor keeps the contract, and whole farms run through it."""

from __future__ import annotations

import pytest

from farmhand.testing.executors import ExecutorConformance
from farmhand.testing.scheduling import ScriptedExecutor


class TestScripted(ExecutorConformance):
    real_processes = False

    @pytest.fixture(params=[None, 0, 1, 2], ids=["first", "seed 0", "seed 1", "seed 2"])
    def executor_factory(self, request):
        return lambda: ScriptedExecutor(request.param)
