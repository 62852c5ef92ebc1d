"""Models that are built for each item."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from farmhand.scratch import scratch_directory
from farmhand_brian.device import BODY, Equipment, the_device

__all__ = ["activate", "standalone", "standalone_report"]


@contextmanager
def standalone(report: Any = None, **options: Any) -> Iterator[Path]:
    """Build and run the model of one item in C++ standalone mode.

    What a task does inside is what it would do in runtime mode: it makes a model, calls ``run``, and reads
    the results. ``run(duration, report=report)`` works as well, with the report of a farm or with any other
    function, so that the same task runs in both modes. Results must be read inside, too.

    - The program is built in a directory of this process alone, which the farm removes in the end. What has
      not changed since the item before is not compiled again.
    - The bar of the process moves ten times a second, which costs the simulation nothing.
    - make starts as many compilers as this process has CPUs.
    - With ``run_tasks(..., seed=...)`` the program's random numbers depend on the seed and on the item alone.
      Brian's ``seed()`` in the model has precedence.
    - Afterwards the device is as new, and Brian in the mode in which it was.

    Parameters
    ----------
    report : callable, optional
        For a task that does not pass its ``report`` to ``run``.
    **options
        As for Brian's ``set_device``. ``build_on_run=False`` is for several calls of ``run``, after which
        the task calls ``device.build()``.

    Yields
    ------
    pathlib.Path
        The directory of the program.

    Raises
    ------
    ModuleNotFoundError
        Brian 2 is not installed.
    CompilationFailed
        In the place of Brian's error. It shows what the compiler said; the directory is kept.
    SimulationFailed
        The program crashed. It says how, and how to run it again; the directory is kept.

    Examples
    --------
    A task for :func:`farmhand.run_tasks`::

        def rate(tau, report):
            with standalone():
                G = NeuronGroup(100, "dv/dt = (2 - v) / tau : 1", threshold="v > 1", reset="v = 0",
                                method="exact", namespace={"tau": tau})
                M = SpikeMonitor(G)
                run(10*second, report=report)
                return M.num_spikes / 100 / 10
    """
    directory = scratch_directory() / "standalone"
    with activate(Equipment(directory, report), **options):
        yield directory


@contextmanager
def activate(equipment: Equipment, **options: Any) -> Iterator[None]:
    """Use the standalone device, and give back what there was before."""
    device = equipment.device
    from brian2.devices import get_device, reset_device, set_device

    if (
        get_device() is device
        and Equipment.installed is not None
        and Equipment.installed.directory is not None
    ):
        raise RuntimeError("there can be one program at a time; this process is in standalone mode already")
    before, dt = get_device(), get_device().defaultclock.dt
    gc.collect()  # objects of the model before, which would take the names of ours
    device.reinit()
    set_device(device, directory=str(equipment.directory), **options)
    device.defaultclock.dt = dt
    equipment.install()
    equipment.begin()
    try:
        yield
    finally:
        equipment.remove()
        reset_device()
        device.reinit()
        if before is not device:
            before.defaultclock.dt = dt


def standalone_report(report: Any) -> str:
    """What to give to ``run`` as its report in C++ standalone mode, for those who do all else by hand.

    Brian takes C++ code alone there. This is such code, always the same, so that nothing is compiled again;
    and from now on the progress of programs that ``device.build()`` or ``device.run()`` starts in this
    process goes to ``report``. For each item it must be called again, also where nothing is built any more.

    Parameters
    ----------
    report : callable
        The report of a farm, or any other function as Brian calls it in runtime mode.

    Returns
    -------
    str
        The body of a C++ function. It can be a part of a longer one.

    Raises
    ------
    ModuleNotFoundError
        Brian 2 is not installed.

    Examples
    --------
    ::

        def rate(tau, report):
            set_device("cpp_standalone", directory=None)
            ...
            run(10*second, report=standalone_report(report))
    """
    the_device()
    if Equipment.installed is None:
        Equipment().install()
    assert Equipment.installed is not None
    Equipment.installed.report = report
    return BODY
