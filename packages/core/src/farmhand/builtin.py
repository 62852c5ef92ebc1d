"""What farmhand brings itself: functions like the hooks of any plugin, which need no plugin manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from farmhand.events import Control
from farmhand.progress import Frontend, FrontendOptions, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.executor import Executor
    from farmhand.hookspecs import MakeCommand, MakeExecutor, MakeFrontend, OpenStore
    from farmhand.store import DataManager

__all__ = ["Silent"]


class Silent:
    """The progress frontend ``'none'``."""

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def controls(self) -> Iterable[Control]:
        """Nobody asks for anything."""
        return ()

    def close(self) -> None:
        """Nothing was changed."""


def _open_memory(location: object, **options: Any) -> DataManager:
    from farmhand.memory import MemoryStore

    return MemoryStore(**options)


def _make_text(options: FrontendOptions) -> Frontend:
    from farmhand.text import TextFrontend

    return TextFrontend(options)


def _make_silent(options: FrontendOptions) -> Frontend:
    return Silent()


def _make_local(argument: str) -> Executor:
    from farmhand.local.supervise import LocalExecutor

    return LocalExecutor()


def farmhand_stores() -> Mapping[str, OpenStore]:
    return {":memory:": _open_memory}


def farmhand_frontends() -> Mapping[str, MakeFrontend]:
    return {"text": _make_text, "none": _make_silent}


def farmhand_executors() -> Mapping[str, MakeExecutor]:
    return {"local": _make_local}


def farmhand_commands() -> Mapping[str, MakeCommand]:
    return {}  # those of farmhand itself are in farmhand.cli, which needs no hook to find them
