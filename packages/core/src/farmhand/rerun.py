"""One stored item, run again alone in this process, with what a process of its farm was given.

That is the task as it was sent, the names of the script in an empty ``__main__``, the same ``sys.path``,
``sys.argv`` and folder, the same settings of Brian 2, the same seed. The store is not changed.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import time
from types import ModuleType

from farmhand import codec, seeds, shipping, simulators
from farmhand.errors import StoreError, UsageError
from farmhand.store import DataManager, RunInfo, join_key
from farmhand.task import MadeTask, Task
from farmhand.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = ["Rerun", "Surroundings", "Tried"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_WAY_OUT = "name the task yourself: --task FILE.py:NAME, or module:NAME"


@dataclass(frozen=True, slots=True)
class Tried:
    """How it went.

    Parameters
    ----------
    value : object
        What the task returned; None when it raised.
    error : BaseException or None
        What the task, or making or keeping its result, raised.
    what : str
        What was going on then, where it was not the task: ``'setting up the task'``, ``'its result cannot
        be pickled and unpickled'``.
    seconds : float
        How long the task ran.
    """

    value: Any
    error: BaseException | None
    what: str
    seconds: float

    @property
    def traceback(self) -> TracebackType | None:
        """Where the error was raised, without farmhand's own frames."""
        if self.error is None:
            return None
        trace = whole = self.error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            trace = trace.tb_next
        return trace if trace is not None else whole


class Surroundings:
    """Within this, the process is like one of the farm that wrote a run; afterwards, as it was before.

    Parameters
    ----------
    store : DataManager
        Where the run is. What it was sent is unpickled: only from a store that you trust.
    run : RunInfo
        Which run.
    *others : RunInfo
        Runs whose scripts' names are wanted, too; those of the first come last, and stay.
    task : str, optional
        ``'FILE.py:NAME'`` or ``'module:NAME'``: this task instead of the one that the run was sent.
    strict : bool
        Whether it is an error when that cannot be made again here.

    Attributes
    ----------
    task : Task or None
        None when the run has kept none, and none was named.
    moved : bool
        Whether the folder in which the run ran is the working directory now.
    """

    def __init__(
        self,
        store: DataManager,
        run: RunInfo,
        *others: RunInfo,
        task: str | None = None,
        strict: bool = True,
    ) -> None:
        self.task: Task | None = None
        self.moved = False
        self._store = store
        self._run = run
        self._others = others
        self._named = task
        self._strict = strict and task is None  # what was named may do without
        self._here = _folder()
        self._before: tuple[ModuleType, list[str], list[str]] | None = None
        self._settings = b""
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> Surroundings:
        named = self._find_file()  # while relative paths mean what the user means
        said = self._run.provenance
        self._before = sys.modules["__main__"], list(sys.path), list(sys.argv)
        self._settings = simulators.settings()
        self._environment = {name: os.environ.get(name) for name in (seeds.VARIABLE, seeds.RUN_VARIABLE)}
        main = ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        try:
            sys.path[:] = [*(path for path in said.get("path", ()) if path not in sys.path), *sys.path]
            sys.argv[:] = said.get("argv") or [said.get("script") or ""]
            try:
                os.chdir(said.get("folder") or ".")
                self.moved = bool(said.get("folder"))
            except OSError:  # it is gone, or of another computer
                pass
            for other in self._others:
                self._receive(other)
            simulators.apply(b"")  # what is set here, or was in other runs, is not the run's
            self.task = self._receive(self._run)
            if named is not None:
                self.task = Task.check(_named(*named, main), seed=self._run.seed)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is not None:
            sys.modules["__main__"], sys.path[:], sys.argv[:] = self._before
            sys.modules.pop(_LOADED, None)
            simulators.apply(self._settings)
            for name, value in self._environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            self._before = None
            if self._here:
                os.chdir(self._here)

    def _find_file(self) -> tuple[str, str] | None:
        """The named task: a path that is absolute, or a module; and the name in it."""
        if self._named is None:
            return None
        place, colon, name = self._named.rpartition(":")
        if not (place and colon and name):
            raise UsageError(f"--task {self._named}: write FILE.py:NAME or module:NAME")
        if place.endswith(".py"):
            if not os.path.isfile(place):
                raise UsageError(f"--task {self._named}: there is no file {place}")
            place = os.path.abspath(place)
        return place, name

    def _receive(self, run: RunInfo) -> Task | None:
        """The task, if it was kept, and the script's names in ``__main__``."""
        made_by = str(run.provenance.get("python", "")).split(".")[:2]
        this = [str(number) for number in sys.version_info[:2]]
        task: Task | None = None
        for data in self._store.shipped(run.uid):
            try:
                if made_by not in (this, [""]) and shipping.has_code(data):
                    raise ImportError(
                        f"it was made by Python {'.'.join(made_by)}, whose code this Python "
                        f"({'.'.join(this)}) cannot run"
                    )
                received = shipping.receive(data)
            except Exception as error:
                if not self._strict:
                    break
                raise StoreError(
                    self._store.basepath,
                    f"the task of run {run.uid} cannot be made again here: {type(error).__name__}: {error}",
                    f"Make what it imports importable (PYTHONPATH), or {_WAY_OUT}",
                ) from error
            task = task or received
        return task


class Rerun:
    """Runs one item; within :class:`Surroundings` of its run.

    Parameters
    ----------
    surroundings : Surroundings
        Which have been entered.
    store : DataManager
        Where the item is.
    run : RunInfo
        Its run.
    index : int
        Which item.
    number : int
        The number of the process that the task is told.

    Attributes
    ----------
    item : object
        The item, decoded.

    Raises
    ------
    StoreError
        The item, or the task, is not there or cannot be decoded.
    """

    def __init__(
        self, surroundings: Surroundings, store: DataManager, run: RunInfo, index: int, number: int = 0
    ) -> None:
        if surroundings.task is None:
            raise StoreError(
                store.basepath,
                f"run {run.uid} has kept no task: its processes were forked, or it is very large, or of an "
                "older farmhand",
                _WAY_OUT[0].upper() + _WAY_OUT[1:],
            )
        self._task = surroundings.task
        self._index = index
        self._number = number
        key = join_key(run.uid, index)
        try:
            self.item = store.item(key)
        except KeyError:
            problem = f"item {index} of run {run.uid} is not there as a whole: it was large, or never sent"
            raise StoreError(store.basepath, problem, "Call the task with it yourself") from None
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(
                store.basepath,
                f"item {index} of run {run.uid} cannot be decoded: {type(error).__name__}: {error}",
                "Make what it is made of importable (PYTHONPATH)",
            ) from error

    def run(self) -> Tried:
        """Make the task and call it with the item. Ctrl-C goes through."""
        made: MadeTask | None = None
        start = time.monotonic()
        what = "setting up the task"
        value: Any = None
        try:
            made = self._task.make(self._number, _send)
            what = ""
            start = time.monotonic()
            value = made(self._index, self.item)
            seconds = time.monotonic() - start
            what = f"its result, a {type(value).__name__}, cannot be pickled and unpickled"
            codec.encode_result(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in a process of the farm, where even SystemExit fails the item
            return Tried(None, error, what, time.monotonic() - start)
        return Tried(value, None, "", seconds)


def _send(index: int, complete: float | None, taskname: str | None, phase: str) -> None:
    """Nobody wants to know how far the item is."""


# -- a task that the user names ------------------------------------------------------------------------

_LOADED = "__mp_main__"  # as multiprocessing calls a script that is loaded, but not run as a script


class _Farm(BaseException):
    """The script has come to its farm: all that its task needs has been defined before."""


def _named(place: str, name: str, main: ModuleType) -> Any:
    """The task ``name`` of a file, whose names go into ``main``, or of a module."""
    thing: Any
    if place.endswith(".py"):
        _load(place, main)
        thing = main
    else:
        try:
            thing = importlib.import_module(place)
        except ImportError as error:
            raise UsageError(f"--task {place}:{name}: {error}") from error
    for part in name.split("."):
        if not hasattr(thing, part):
            names = [each for each, value in vars(thing).items() if callable(value) and each[:1] != "_"]
            raise UsageError(f"{place} has no {name}; it has {', '.join(names) or 'no functions or classes'}")
        thing = getattr(thing, part)
    return thing


def _load(path: str, main: ModuleType) -> None:
    """Run a script as far as its farm, as if it was imported."""
    import farmhand
    from farmhand import farm

    places: list[Any] = [farmhand, farm]
    run_tasks = farm.run_tasks

    def reached(*args: object, **kwds: object) -> None:
        raise _Farm

    main.__dict__.update(__name__=_LOADED, __file__=path)
    sys.modules[_LOADED] = main  # some classes look for the module that defines them
    sys.path.insert(0, os.path.dirname(path))
    for place in places:
        place.run_tasks = reached
    try:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), main.__dict__)
    except (_Farm, SystemExit):
        pass  # what it has defined by then is there
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        for place in places:
            place.run_tasks = run_tasks


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has deleted it
        return ""
