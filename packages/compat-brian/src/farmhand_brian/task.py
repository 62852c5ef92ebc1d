"""A model that each process builds once, and runs with the parameters of many items."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from farmhand.scratch import scratch_directory, shared_directory
from farmhand.seeds import RUN_VARIABLE
from farmhand_brian.device import Equipment
from farmhand_brian.standalone import activate

__all__ = ["StandaloneTask"]


class StandaloneTask:
    r"""A class task whose C++ program is built once and run for each item, with other parameters.

    Write ``build``, which makes the model and calls ``run``, and ``__call__``, which is the task: it calls
    :meth:`run` with the parameters of its item, and reads the results.

    The program is compiled once in a run of the farm, with all CPUs, by one of its processes; the others
    take it if their model has the same C++ code, to the last letter. Each process has its own directory for
    parameters and results, which is emptied before each item and removed in the end.

    Random numbers that ``build`` draws in Python are the same in all processes of a run, so that they have
    the same model; with ``run_tasks(..., seed=...)`` in all runs with that seed. Those of the program are
    others for each item; with ``run_tasks(..., seed=...)`` they depend on the seed and on the item alone,
    unless the model calls Brian's ``seed()``.

    Parameters
    ----------
    *args, **kwds
        For ``build``: what ``run_tasks`` is given as ``initargs`` and ``initkwds``. A ``build`` that takes
        ``process_number`` is given that, too.

    Raises
    ------
    ModuleNotFoundError
        Brian 2 is not installed.
    CompilationFailed
        It shows what the compiler said; the directory is kept.

    Examples
    --------
    ::

        class Rate(StandaloneTask):
            def build(self, size):
                self.G = NeuronGroup(size, "dv/dt = (2 - v) / tau : 1\ntau : second (shared, constant)",
                                     threshold="v > 1", reset="v = 0", method="exact")
                self.M = SpikeMonitor(self.G)
                run(10*second)

            def __call__(self, tau, report):
                self.run({self.G.tau: tau}, report)
                return self.M.num_spikes / len(self.G) / 10

        run_tasks("rates.db", Rate, [5*ms, 10*ms, 20*ms], initargs=(100,))
    """

    _current: StandaloneTask | None = None

    def __init__(self, *args: Any, process_number: int = 0, **kwds: Any) -> None:
        if type(self).build is StandaloneTask.build:
            raise TypeError(f"{type(self).__name__} has no method build(self, ...) that makes its model")
        if "process_number" in inspect.signature(self.build).parameters:
            kwds["process_number"] = process_number
        self._close_current()
        directory = scratch_directory() / "model"
        self._equipment = Equipment(directory, once=True)
        self._equipment.owner = self
        # it stays as it is from here on, since results are read by way of the device
        self._activated = activate(self._equipment, build_on_run=False)
        self._activated.__enter__()
        StandaloneTask._current = self
        with _same_random_numbers():
            self.build(*args, **kwds)
        device = self._equipment.device
        if device.has_been_run:
            raise TypeError(
                f"{type(self).__name__}.build() must not call device.build(); that is done for it"
            )
        if not any(kind == "run_network" for kind, _ in device.main_queue):
            raise TypeError(f"{type(self).__name__}.build() has to call run(), as often as it likes")
        device.build(run=False)

    def build(self, *args: Any, **kwds: Any) -> None:
        """Make the model and call ``run``; nothing is simulated yet.

        Brian's objects that are attributes of the task belong to the network of ``run``, as local variables
        do.
        """
        raise NotImplementedError

    def run(self, run_args: Any = None, report: Any = None) -> None:
        """Simulate the model once. Afterwards monitors and variables have the values of this simulation.

        Parameters
        ----------
        run_args : mapping or list of str, optional
            As for Brian's ``device.run``: ``{self.G.tau: 5*ms}``, with a value or an array of the right
            size for each variable or ``TimedArray``; variables that are not there have the values that
            ``build`` gave them.
        report : callable, optional
            The report of a farm, or another function as Brian calls it in runtime mode.

        Raises
        ------
        SimulationFailed
            The program crashed, or does not know a variable.
        ValueError
            A value is infinite or no number, which Brian cannot pass on.
        """
        if StandaloneTask._current is not self:
            raise RuntimeError(
                f"the model of this {type(self).__name__} is gone: Brian has one standalone device in a "
                "process, and another model has been built on it since"
            )
        self._equipment.report = report
        self._equipment.device.run(run_args=_passable(run_args))

    @staticmethod
    def _close_current() -> None:
        """Give up the device for another model, after a failure of the last one, or when used by hand."""
        current, StandaloneTask._current = StandaloneTask._current, None
        if current is not None:
            current._activated.__exit__(None, None, None)


def _passable(run_args: Any) -> Any:
    """Parameters as Brian passes them on without taking them for something else."""
    import numpy

    if not isinstance(run_args, Mapping):
        return run_args
    checked = {}
    for key, value in run_args.items():
        array = numpy.asarray(value)
        if array.size == 1 and array.dtype.kind == "f" and not numpy.isfinite(array).all():
            name = getattr(key, "name", key)
            raise ValueError(f"{name} = {value} cannot be passed to a compiled simulation")
        checked[key] = value if array.flags.c_contiguous else value.copy()
    return checked


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Inside, Python and NumPy draw the same numbers in all processes of a run of the farm."""
    import numpy

    said = os.environ.get(RUN_VARIABLE, "").encode() or _entropy(shared_directory() / "entropy")
    seed = int.from_bytes(hashlib.blake2b(said, digest_size=4).digest(), "little")
    states = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])


def _entropy(path: Path) -> bytes:
    """Random bytes, the same for all who ask with this path."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    own.write_bytes(os.urandom(16))
    with suppress(FileExistsError):
        os.link(own, path)
    own.unlink()
    return path.read_bytes()
