"""Brian 2's cache of compiled Cython modules, which a process of the farm must not leave broken.

Brian links a module straight into the cache that all processes share. One that is killed while it links
(by a time-out, by the user, for want of memory) leaves a file with the right name that is no module, and
each later simulation that needs it fails until somebody clears the cache. So in the processes of a farm a
module is built in a folder of its own and moved into the cache when it is whole; and what others have left
there is built anew.

Nothing here imports Brian: whatever imports it, and whenever, in a process of the farm, finds this done.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from farmhand.imports import WhenImported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

__all__ = ["guard_cython_cache"]

_MANAGER = "brian2.codegen.runtime.cython_rt.extension_manager"
_NEEDED = {"self", "module_path", "module_name", "lib_dir"}  # the parameters that are relied on


def guard_cython_cache() -> None:
    """Have this process build modules for Brian 2 aside: from now on, or from when Brian 2 is imported."""
    manager = sys.modules.get(_MANAGER)
    if manager is None:
        WhenImported(_MANAGER, _guard)
    else:
        _guard(manager)


def _guard(manager: ModuleType) -> None:
    """Change how modules are built, unless this is a Brian that does it in a way unknown here."""
    import functools
    import inspect

    kind = getattr(manager, "CythonExtensionManager", None)
    load = getattr(kind, "_load_module", None)
    if kind is None or load is None or hasattr(load, "__wrapped__"):  # a fork has it from its parent
        return
    signature = inspect.signature(load)
    if not signature.parameters.keys() >= _NEEDED:
        return

    @functools.wraps(load)
    def load_whole(*args: Any, **kwds: Any) -> Any:
        arguments = signature.bind(*args, **kwds).arguments
        cache, name, module_path = (arguments[each] for each in ("lib_dir", "module_name", "module_path"))
        if os.path.isfile(module_path):
            path = list(sys.path)
            try:
                return load(**arguments)
            except ImportError:  # it is half of a module, or of another Python
                sys.path[:] = path  # Brian has put the cache in front
        locked = manager.prefs["codegen.runtime.cython.multiprocess_safe"]
        folder = _new_folder(cache, name, locked)
        try:
            with _temporary_files_in_scratch():
                return _build(load, arguments, folder)
        finally:
            _remove(folder)

    kind._load_module = load_whole


def _build(load: Callable[..., Any], arguments: dict[str, Any], folder: str) -> Any:
    """Build and load a module in ``folder``, then move it, and what else is to be kept, into the cache."""
    cache, module_path = arguments["lib_dir"], arguments["module_path"]
    file = os.path.basename(module_path)
    module = load(**{**arguments, "lib_dir": folder, "module_path": os.path.join(folder, file)})
    if module is not None:  # else the compiler has refused it
        built = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        for name in sorted(built, key=lambda name: name == file):  # the others first, which it needs
            os.replace(os.path.join(folder, name), os.path.join(cache, name))
        module.__file__ = module.__spec__.origin = module_path
    return module


@contextmanager
def _temporary_files_in_scratch() -> Iterator[None]:
    """Let compilers put theirs where the farm removes them; one that is killed does not."""
    import tempfile

    from farmhand.scratch import scratch_directory

    tempfile.gettempdir()  # what Python itself uses stays the same
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(scratch_directory())
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _new_folder(cache: str, name: str, locked: bool) -> str:
    """An empty folder in the cache, so that moving out of it takes no time.

    With Brian's lock on the module nobody else builds it, and a folder that is there was left by a process
    that was killed.
    """
    if not locked:
        import tempfile

        return tempfile.mkdtemp(prefix=f"{name}.", suffix=".building", dir=cache)
    folder = os.path.join(cache, f"{name}.building")
    _remove(folder)
    os.mkdir(folder)
    return folder


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
