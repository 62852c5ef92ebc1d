"""All hooks of farmhand. Hooks make things, once, by name; typed objects then do the work.

A plugin is a distribution with an entry point in the group ``farmhand`` that names a module
(or any object) whose functions carry :data:`hookimpl`. The entry module should import nothing
heavy: it is loaded whenever a store is opened by path or a run begins. What farmhand brings
itself (``farmhand.builtin``) has functions of the same names, which are asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pluggy

from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any, TypeAlias

    from farmhand.executor import Executor
    from farmhand.store import DataManager

__all__ = ["MakeCommand", "MakeExecutor", "MakeFrontend", "OpenStore", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("farmhand")
hookimpl = pluggy.HookimplMarker("farmhand")

OpenStore: TypeAlias = "Callable[..., DataManager]"
MakeFrontend: TypeAlias = "Callable[[FrontendOptions], Frontend]"
MakeExecutor: TypeAlias = "Callable[[Any], Executor]"
MakeCommand: TypeAlias = "Callable[[ArgumentParser], Callable[[Namespace], int]]"


@hookspec
def farmhand_stores() -> Mapping[str, OpenStore]:  # type: ignore[empty-body]
    """The stores that this plugin can open, by the ending of their path (``'.db'``).

    Each is called as ``open_it(path, **options)`` with an absolute path, a str (or
    ``':memory:'``) and whatever keywords ``open_store`` was given, and returns a
    :class:`farmhand.store.DataManager`.

    *Who calls it, when:* ``open_store``, and ``run_tasks`` when its store is a path; each time.
    *Where:* in the caller's process and thread.
    *An exception* reaches the caller as a ``PluginError`` that names the plugin; no file has
    been touched. What the opener itself raises reaches the caller as it is.
    """


@hookspec
def farmhand_frontends() -> Mapping[str, MakeFrontend]:  # type: ignore[empty-body]
    """The progress frontends of this plugin, by the name that ``progress=`` takes.

    Each is called with :class:`farmhand.progress.FrontendOptions` and returns a
    :class:`farmhand.progress.Frontend`.

    *Who calls it, when:* ``run_tasks``, once, before any process starts.
    *Where:* in the caller's process and thread.
    *An exception* from the hook reaches the caller as a ``PluginError`` that names the plugin.
    A ``UsageError`` from making a frontend, as for an argument that it does not know, ends the call
    before the run has begun. Any other exception from that, or from the frontend later, is reported
    once, by name; the run goes on without it.
    """


@hookspec
def farmhand_executors() -> Mapping[str, MakeExecutor]:  # type: ignore[empty-body]
    """The executors of this plugin, by the name that ``executor=`` takes.

    Each is called with what followed a colon in that name (``'dask:tcp://host:8786'``), or
    ``''``, and returns a :class:`farmhand.executor.Executor`. A name with dots is that of a class,
    with its module (``'distributed.client.Client'``): what ``executor=`` is given is handed to it when
    it is of that class, or of one that is derived from it. So the plugin need not import the class.

    *Who calls it, when:* ``run_tasks``, once, before any process starts.
    *Where:* in the caller's process and thread.
    *An exception* from the hook reaches the caller as a ``PluginError`` that names the plugin;
    one from making or using an executor ends the run.
    """


@hookspec
def farmhand_commands() -> Mapping[str, MakeCommand]:  # type: ignore[empty-body]
    """The commands of this plugin, by the word that follows ``farmhand`` in a terminal.

    Each is called with an ``argparse.ArgumentParser``, adds its arguments to that, and returns what runs
    the command: a function that is given the arguments and returns the exit status. The first sentence of
    the parser's ``description``, which it should set, is shown by ``farmhand --help``.

    *Who calls it, when:* ``farmhand``, for a word that is none of its own, and for ``farmhand --help``.
    *Where:* in a process that does nothing else.
    *An exception* from the hook, or from adding the arguments, is one line that names the plugin, and exit
    status 2; the help does without that plugin. A ``FarmhandError`` from the command itself is shown as one
    line, with exit status 2, as are an ``OSError`` and Ctrl-C (130); any other exception is a mistake in it,
    shown with its traceback.
    """
