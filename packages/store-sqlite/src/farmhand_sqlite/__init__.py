"""The SQLite store of farmhand: this module only says so; ``farmhand_sqlite.store`` does it."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from farmhand.hookspecs import OpenStore
    from farmhand_sqlite.store import SqliteStore

__all__ = ["SqliteStore", "farmhand_stores", "open_sqlite"]


def open_sqlite(path: Path, **options: Any) -> SqliteStore:
    """Open, or create, the store in the file ``path``; see :class:`SqliteStore` for the options."""
    from farmhand_sqlite.store import SqliteStore  # sqlite3 only once a store is opened

    return SqliteStore(path, **options)


@hookimpl
def farmhand_stores() -> Mapping[str, OpenStore]:
    """Open these endings with :func:`open_sqlite`."""
    return {".db": open_sqlite, ".sqlite": open_sqlite, ".sqlite3": open_sqlite}


def __getattr__(name: str) -> Any:
    if name == "SqliteStore":
        from farmhand_sqlite.store import SqliteStore

        return SqliteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
