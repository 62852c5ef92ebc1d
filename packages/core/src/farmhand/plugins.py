"""Finds the plugins and asks them, through the hooks, for what a call needs.

This is done for each call. What farmhand brings itself is asked first; the installed distributions
are searched, and pluggy is imported, only for names that it does not know.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial

from farmhand import builtin, codec, entrypoints
from farmhand.errors import PluginError, UnknownName, UsageError
from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    import pluggy

    from farmhand.executor import Executor
    from farmhand.hookspecs import MakeCommand
    from farmhand.store import DataManager

__all__ = ["ENTRY_POINTS", "Plugins", "open_store"]

ENTRY_POINTS = "farmhand"

# what to install for names that other distributions of this project provide
_PACKAGES: Mapping[str, Mapping[str, str]] = {
    "farmhand_stores": {
        ".db": "farmhand-sqlite",
        ".sqlite": "farmhand-sqlite",
        ".sqlite3": "farmhand-sqlite",
        ".data": "farmhand-shelve",
    },
    "farmhand_frontends": {"tk": "farmhand-tk", "rich": "farmhand-rich", "plot": "farmhand-plot"},
    "farmhand_executors": {"dask": "farmhand-dask"},
    "farmhand_commands": {"plot": "farmhand-plot"},
}


class Plugins:
    """The plugins that are installed now."""

    def __init__(self) -> None:
        self._manager: pluggy.PluginManager | None = None  # until they have been searched

    def open_store(self, location: str | os.PathLike[str], **options: Any) -> DataManager:
        """See :func:`open_store`."""
        text: object = os.fspath(location) if isinstance(location, str | os.PathLike) else location
        if not isinstance(text, str) or not text:
            raise UsageError(f"a store is opened by a path, such as 'results.db', not {location!r}")
        where: str = text
        ending = text
        if text != ":memory:":
            where = os.path.abspath(text)  # the script may change directory later
            ending = os.path.splitext(where)[1].lower()
        opener = self._find("farmhand_stores", "store for the ending", ending)
        store: DataManager = opener(where, **options)
        return store

    def store_endings(self) -> list[str]:
        """The endings of paths for which there is a store."""
        return sorted(self._claims("farmhand_stores", ""))

    def knows_frontend(self, name: str) -> bool:
        """Whether a progress frontend of this name is installed."""
        return name in self._claims("farmhand_frontends", name)

    def has(self, name: str) -> bool:
        """Whether a plugin of this project that is called so is installed; loads none of them."""
        package = f"farmhand_{name}"
        return any(value == package for _, value in entrypoints.entry_points(ENTRY_POINTS))

    def frontend(self, name: str) -> Callable[[FrontendOptions], Frontend]:
        """What makes the progress frontend ``name``.

        Raises
        ------
        UnknownName
            Nobody provides it.
        """
        make: Callable[[FrontendOptions], Frontend]
        make = self._find("farmhand_frontends", "progress frontend", name)
        return make

    def executor(self, asked: object) -> Executor:
        """What ``executor=`` means.

        Parameters
        ----------
        asked : str, Executor or object
            A name, perhaps with an argument behind a colon; an executor; or something of which a plugin
            that claims its class, or one that this is derived from, makes one.

        Raises
        ------
        UnknownName
            Nobody provides that name.
        UsageError
            It is no executor, and nobody knows how to make one of it.
        """
        hook = "farmhand_executors"
        executor: Executor
        if isinstance(asked, str):
            kind, _, argument = asked.partition(":")
            claims = self._claims(hook, kind)
            names = [name for name in claims if "." not in name]  # the others are classes
            if kind not in names:
                raise self.missing(hook, "executor", kind, names)
            executor = claims[kind][1](argument)
            return executor
        if isinstance(asked, type):
            raise UsageError(f"executor must be an object, not the class {asked.__name__} itself")
        if hasattr(asked, "wait") and hasattr(asked, "open"):
            executor = asked  # type: ignore[assignment]
            return executor
        classes = type(asked).__mro__[:-1]  # without object
        for name in [f"{each.__module__}.{each.__qualname__}" for each in classes]:
            claims = self._claims(hook, name)
            if name in claims:
                executor = claims[name][1](asked)
                return executor
        roots = [each.__module__.partition(".")[0] for each in classes]
        dask = any(root == "distributed" or root.startswith("dask") for root in roots)
        raise UsageError(
            "executor must be a name, such as 'local', an Executor, or an object that a plugin knows, not "
            + codec.short(asked)
            + (". Install what knows it: pip install farmhand-dask" if dask else "")
        )

    def commands(
        self, own: Collection[str], blame: Callable[[PluginError], None] | None = None
    ) -> dict[str, MakeCommand]:
        """The commands of all plugins, by name.

        Parameters
        ----------
        own : collection of str
            The names of those that are farmhand's own, which no plugin may take.
        blame : callable, optional
            Is told what is wrong with a plugin, which is then left out; by default that is raised.

        Raises
        ------
        PluginError
            A plugin fails, or claims a name that is taken; or, from what is returned, it fails there.
        """
        if self._manager is None:
            self._search()
        claims = self._ask("farmhand_commands", own, blame)
        return {name: partial(_made, plugin, name, make) for name, (plugin, make) in claims.items()}

    def missing(self, hook: str, kind: str, name: str, known: Collection[str]) -> UnknownName:
        """What to say of a name that nobody provides."""
        package = _PACKAGES[hook].get(name)
        return UnknownName(kind, name, sorted(known), f"Install it: pip install {package}" if package else "")

    def _find(self, hook: str, kind: str, name: str) -> Callable[..., Any]:
        claims = self._claims(hook, name)
        if name not in claims:
            raise self.missing(hook, kind, name, claims)
        return claims[name][1]

    def _claims(self, hook: str, name: str) -> Mapping[str, tuple[str, Callable[..., Any]]]:
        """All that plugins offer through one hook, at least if ``name`` is not ours."""
        claims = self._ask(hook)
        if name not in claims and self._manager is None:
            self._search()
            claims = self._ask(hook)
        return claims

    def _ask(
        self, hook: str, own: Collection[str] = (), blame: Callable[[PluginError], None] | None = None
    ) -> dict[str, tuple[str, Callable[..., Any]]]:
        """What each plugin offers through one hook, with the plugin's name, by the name of what it offers."""
        claims: dict[str, tuple[str, Callable[..., Any]]] = {}
        owner = dict.fromkeys(own, "farmhand")
        implementations = [("farmhand", getattr(builtin, hook))]
        if self._manager is not None:
            found = getattr(self._manager.hook, hook).get_hookimpls()
            implementations += [(each.plugin_name, each.function) for each in found]
        for plugin, function in implementations:
            try:
                try:
                    offered = dict(function())
                except Exception as error:
                    raise _failed(plugin, f"failed in its hook {hook}", error) from error
                for name, thing in offered.items():
                    if name in owner:
                        raise PluginError(
                            f"plugins {owner[name]!r} and {plugin!r} both provide {name!r} ({hook}); "
                            "uninstall one of them"
                        )
                    claims[name], owner[name] = (plugin, thing), plugin
            except PluginError as error:
                if blame is None:
                    raise
                blame(error)
        return claims

    def _search(self) -> None:
        import pluggy  # with what it imports, as long as a start of Python

        from farmhand import hookspecs

        self._manager = pluggy.PluginManager("farmhand")
        self._manager.add_hookspecs(hookspecs)
        for point, value in dict.fromkeys(entrypoints.entry_points(ENTRY_POINTS)):
            # two distributions may have chosen one name
            name = f"{point} ({value})" if point == "farmhand" or self._manager.has_plugin(point) else point
            try:
                self._manager.register(entrypoints.load(value), name)
                self._manager.check_pending()
            except Exception as error:
                if self._manager.has_plugin(name):
                    self._manager.unregister(name=name)
                warnings.warn(
                    f"farmhand plugin {point!r} ({value}) could not be loaded and is skipped: "
                    f"{type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=4,
                )


def _made(plugin: str, name: str, make: MakeCommand, parser: ArgumentParser) -> Callable[[Namespace], int]:
    """What runs a plugin's command, once that has added its arguments to the parser."""
    try:
        return make(parser)
    except Exception as error:
        raise _failed(plugin, f"could not make its command {name!r}", error) from error


def _failed(plugin: str, what: str, error: Exception) -> PluginError:
    return PluginError(
        f"plugin {plugin!r} {what}: {type(error).__name__}: {error}. Uninstall it, or tell its authors"
    )


def open_store(location: str | os.PathLike[str], **options: Any) -> DataManager:
    """Open a store of results, or create it.

    Parameters
    ----------
    location : path
        Its ending says which kind: ``'results.db'`` is an SQLite file (needs farmhand-sqlite),
        ``'results.data'`` is a folder of shelves, as Brian's (needs farmhand-shelve),
        ``':memory:'`` keeps everything in this process.
    **options
        Whatever that kind of store takes.

    Returns
    -------
    DataManager
        To pass to :func:`farmhand.run_tasks` and to read from.

    Raises
    ------
    UnknownName
        No installed plugin opens such a path; says which package to install.
    StoreError
        The file cannot be opened; says why and what to do.
    """
    return Plugins().open_store(location, **options)
