"""Brian's C++ standalone device, as a process of a farm needs it.

While it is equipped, methods of the one device that Brian has are replaced on the object:

- ``network_run`` takes the report of a farm, or any other callable, where Brian takes C++ code alone, and
  has the program say how far it is;
- ``compile_source`` gives make a fair number of jobs and shows what the compiler said;
- ``run`` passes on the program's progress, and says how the program ended;
- ``build`` and ``copy_source_files`` know of the directory and of our headers, and have the program check
  what it reads and writes.

A project in a directory of ours is used again for the next model, so that make compiles only what has
changed; what an earlier simulation has left, results and parameters, is removed before the next one.
"""

from __future__ import annotations

import errno
import itertools
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from farmhand.scratch import keep_scratch, scratch_directory
from farmhand_brian import checks, compiling, progress
from farmhand_brian.errors import CompilationFailed, SimulationFailed

__all__ = ["BODY", "Equipment", "the_device"]

# what stands for a report in C++: nothing need be done, for another thread looks at the time
BODY = "// farmhand looks at the network's time"

_KEPT = 10  # failures of a process of which the files are kept
_HEADERS = {f"farmhand_{header.name}": header for header in (progress.HEADER, checks.HEADER)}
_RESULTS = "results"
_TEXTS = {None, "text", "stdout", "stderr"}  # what Brian would print, which nobody sees

# runs a program and writes down how it ended, and what it was, which Brian does not tell; $0 is where
_SHELL = '"$@"; status=$?; [ $status = 0 ] || printf "%s\\n" $status "$@" > "$0"; exit $status'

# Each thread has its own generator. Brian's seed() in a model comes later, and so counts.
_SEED = """
if (const char* _farmhand_seed = getenv("FARMHAND_SEED"))
    for (size_t _i = 0; *_farmhand_seed && _i < brian::_random_generators.size(); _i++)
        brian::_random_generators[_i].seed(strtoul(_farmhand_seed, NULL, 10) + _i);
"""


def the_device() -> Any:
    """Brian's device for C++ standalone mode.

    Raises
    ------
    ModuleNotFoundError
        Brian 2 is not installed.
    """
    try:
        from brian2.devices import all_devices
        from brian2.devices.cpp_standalone import cpp_standalone_device  # noqa: F401 - adds itself
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "brian2":
            raise
        text = "C++ standalone mode needs Brian 2, which is not installed here: pip install brian2"
        raise ModuleNotFoundError(text, name="brian2") from None
    return all_devices["cpp_standalone"]


class Equipment:
    """What the device has more than Brian gave it; see the head of this module.

    Parameters
    ----------
    directory : Path, optional
        That of the project, which is ours; without it, wherever the user has it built.
    report : callable, optional
        Called as Brian calls a report in runtime mode, for runs that have none of their own.
    once : bool
        Whether other processes of the run make the same program.
    """

    installed: Equipment | None = None

    def __init__(self, directory: Path | None = None, report: Any = None, once: bool = False) -> None:
        self.device = the_device()
        self.directory = directory
        self.report = report
        self._once = once
        self._objects: set[Any] = set()  # the model's, of which a task may hold only some
        self.owner: object = None  # of which the attributes are a part of the model
        self._reports: dict[int, Any] = {}
        self._sizes: dict[Any, Any] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def install(self) -> None:
        """Replace the methods."""
        if Equipment.installed is not None:
            Equipment.installed.remove()
        for name in ("network_run", "compile_source", "run", "build", "copy_source_files"):
            self._methods[name] = getattr(self.device, name)
            setattr(self.device, name, getattr(self, f"_{name}"))
        Equipment.installed = self

    def remove(self) -> None:
        """Let the device be as it was."""
        for name in self._methods:
            delattr(self.device, name)
        self._methods.clear()
        self._objects.clear()
        self._sizes.clear()
        Equipment.installed = None

    def begin(self) -> None:
        """Prepare an empty device, and an empty directory, for a model."""
        self.device.insert_code("main", _SEED)
        if self.directory is not None:
            for name in ("static_arrays", _RESULTS):
                shutil.rmtree(self.directory / name, ignore_errors=True)

    # -- in the place of Brian's methods ---------------------------------------------------------------

    def _network_run(
        self,
        net: Any,
        duration: Any,
        report: Any = None,
        report_period: Any = None,
        namespace: Any = None,
        profile: Any = None,
        level: int = 0,
        **kwds: Any,
    ) -> None:
        from brian2.units import second

        device, code = self.device, report
        number = sum(kind == "run_network" for kind, _ in device.main_queue)
        if number == 0:
            self._reports.clear()
        if callable(report):
            self._reports[number], code = report, None
        elif report == BODY or (self.directory is not None and report in _TEXTS):
            code = None
        self._adopt(net)
        self._objects |= set(net.objects)
        period = 10 * second if report_period is None else report_period
        before = len(device.main_queue)
        build_on_run, device.build_on_run = device.build_on_run, False
        try:
            self._methods["network_run"](
                net, duration, code, period, namespace, profile, level=level + 1, **kwds
            )
        finally:
            device.build_on_run = build_on_run
        device.main_queue[before:] = _in_one_order(device.main_queue[before:])
        self._watch(net.name, number, float(duration))
        if build_on_run:
            if device.has_been_run:
                raise RuntimeError(
                    "a program is built at its first run; for several, use "
                    "standalone(build_on_run=False), and device.build() after the last one"
                )
            device.build(direct_call=False, **device.build_options)

    def _adopt(self, net: Any) -> None:
        """Add the owner's objects to what Brian finds among local and global names, as its ``run`` does."""
        from brian2.core.base import BrianObject
        from brian2.core.magic import magic_network

        if self.owner is None or net is not magic_network:
            return
        found = [each for each in vars(self.owner).values() if isinstance(each, BrianObject)]
        todo = [each for each in found if each.add_to_magic_network and each not in net.objects]
        if not net.objects and all(each._network is None for each in todo):
            net.t_ = 0.0  # another simulation, not the last one's next run
            net.assign_id()
        while todo:
            each = todo.pop()
            if each not in net.objects:
                each._network = each._network or net.id
                net.objects.add(each)
                todo += each.contained_objects

    def _watch(self, network: str, number: int, duration: float) -> None:
        queue = self.device.main_queue
        lines = next(details[1] for kind, details in reversed(queue) if kind == "run_network")
        place = next(place for place, line in enumerate(lines) if line.startswith(f"{network}.run("))
        lines[place : place + 1] = progress.watched(number, network, duration, lines[place])
        needed = [f'"{name}"' for name in _HEADERS]
        if needed[0] not in self.device.headers:
            self.device.headers += needed  # after the code of all objects, which does not need them
            self.device.extra_link_args.append("-pthread")

    def _copy_source_files(self, writer: Any, directory: str) -> None:
        self._methods["copy_source_files"](writer, directory)
        for name, header in _HEADERS.items():
            writer.write(name, header.read_text(encoding="utf-8"))

    def _build(self, directory: Any = None, *args: Any, **kwds: Any) -> None:
        if directory is None:
            directory = "output" if self.directory is None else str(self.directory)
        checks.check_parameters(self.device.main_queue)
        checks.check_results(self.device)
        self._methods["build"](directory, *args, **kwds)

    def _compile_source(self, directory: str, compiler: str, debug: bool, clean: bool) -> None:
        from brian2 import prefs

        if compiler == "msvc":
            self._methods["compile_source"](directory, compiler, debug, clean)
            return
        project = Path(directory).absolute()
        preferences = prefs.devices.cpp_standalone
        command, arguments = preferences.make_cmd_unix, preferences.extra_make_args_unix
        begun = time.time()
        try:
            if clean:
                with suppress(CompilationFailed):  # there may be nothing to clean
                    compiling.make(project, command, ["clean"])
            if self.directory is not None:
                self._remove_old_sources(project)
            if self._once:
                compiling.make_once(project, command, arguments)
            else:
                compiling.make(project, command, arguments)
        except CompilationFailed as error:
            reason, output, _ = error.args
            raise CompilationFailed(reason, output, str(self._set_aside(project)[0] or project)) from None
        self.device.timers["compile"]["make"] = time.time() - begun

    def _run(
        self,
        directory: Any = None,
        results_directory: Any = None,
        with_output: bool = True,
        run_args: Any = None,
    ) -> None:
        from brian2 import prefs

        device, preferences = self.device, prefs.devices.cpp_standalone
        self._forget_sizes()
        project = Path(directory or device.project_dir).absolute()
        if self.directory is not None:
            shutil.rmtree(device.results_dir, ignore_errors=True)
        command = preferences.run_cmd_unix
        words = [command] if isinstance(command, str) else list(command)
        status = project / f"status-{os.getpid()}"
        parameters = self._parameters(project)
        with ExitStack() as undo:
            undo.callback(setattr, preferences, "run_cmd_unix", command)
            undo.callback(status.unlink, missing_ok=True)
            keep = undo.enter_context(ExitStack())
            keep.callback(self._remove_parameters, project, parameters)
            preferences.run_cmd_unix = ["/bin/sh", "-c", _SHELL, str(status), *words]
            if self.report is not None or self._reports:
                forward = progress.forwarding(self._reports, self.report)
                undo.enter_context(progress.follow(forward, scratch_directory()))
            try:
                self._methods["run"](directory, results_directory, with_output, run_args)
            except RuntimeError:
                if not status.exists():
                    raise
                failed = status.read_text().splitlines() or [str(checks.INCOMPLETE)]  # no room even for that
                if int(failed[0]) == checks.INCOMPLETE:
                    if self.directory is not None:  # or else the next one finds no room for what is left
                        shutil.rmtree(device.results_dir, ignore_errors=True)
                    what = "not all results of the compiled simulation could be written; is the disk full?"
                    raise OSError(errno.ENOSPC, what, str(project)) from None
                failure = self._failure(_how(int(failed[0])), project, failed[1:])
                if failure.kept:
                    keep.pop_all()
                raise failure from None

    def _forget_sizes(self) -> None:
        """Let arrays that grow have no size: Brian takes that of the last simulation for the next one's."""
        from brian2.core.variables import DynamicArrayVariable

        if not self.device.has_been_run:
            growing = (each for each in self.device.arrays if isinstance(each, DynamicArrayVariable))
            self._sizes = {variable: variable.size for variable in growing}
        for variable, size in self._sizes.items():
            variable.size = size

    # -- files -----------------------------------------------------------------------------------------

    def _failure(self, how: str, project: Path, command: Sequence[str]) -> SimulationFailed:
        """What has happened, and how to see it again."""
        ours = self.device.results_dir
        place, results = self._set_aside(project)
        again = shlex.join(f"{results}/" if word == ours else word for word in command)
        return SimulationFailed(how, f"cd {shlex.quote(str(place))} && {again}", place is not None)

    def _set_aside(self, project: Path) -> tuple[Path, Path] | tuple[None, None]:
        """Keep the files of a failure, unless there are many: where its program is then, and its results."""
        results = Path(self.device.results_dir)
        if self.directory is None:
            return project, results
        numbers = range(1, _KEPT + 1)
        places = (Path(f"{project}-failed-{number}") for number in numbers)
        place = next((place for place in places if not place.exists()), None)
        if place is None:
            return None, None
        keep_scratch()
        try:
            if self._once:  # all items have that program
                place.mkdir()
                program = project
            else:  # the next item makes another one in its place
                others = shutil.ignore_patterns("*.o", "status-*", "static_arrays", results.name)
                program = shutil.copytree(project, place, ignore=others)
                os.rename(project / "static_arrays", place / "static_arrays")
            os.rename(results, place / _RESULTS)
        except OSError:  # a full disk, say
            shutil.rmtree(place, ignore_errors=True)
            return None, None
        return program, place / _RESULTS

    def _parameters(self, project: Path) -> set[str]:
        """The files in which parameters of simulations are, and their locks."""
        folder = project / "static_arrays"
        return set() if self.directory is None or not folder.exists() else set(os.listdir(folder))

    def _remove_parameters(self, project: Path, before: set[str]) -> None:
        """Remove those that a simulation has left, of whatever it was able to write."""
        for name in self._parameters(project) - before:
            (project / "static_arrays" / name).unlink(missing_ok=True)

    def _remove_old_sources(self, project: Path) -> None:
        """Remove what belonged to an earlier model in this directory."""
        writer = self.device.writer
        wanted = {os.path.splitext(name)[0] for name in (*writer.source_files, *writer.header_files)}
        for path in (project / "code_objects").iterdir():
            if os.path.splitext(f"code_objects/{path.name}")[0] not in wanted:
                path.unlink()


def _in_one_order(queue: list[Any]) -> list[Any]:
    """The same instructions, in the same order in all processes.

    Brian sets the clocks of a network as they are in a set, and so in another order in each process, whose
    programs would differ in nothing else.
    """

    def array(instruction: Any) -> Any:
        return instruction[1][0]

    ordered: list[Any] = []
    for kind, group in itertools.groupby(queue, lambda instruction: instruction[0]):
        instructions = list(group)
        if kind == "set_by_single_value":
            instructions.sort(key=array)
        ordered += instructions
    return ordered


def _how(status: int) -> str:
    """What a shell's exit status says."""
    if status > 128:
        with suppress(ValueError):
            return f"signal {status - 128} ({signal.Signals(status - 128).name})"
    return f"exit code {status}"
