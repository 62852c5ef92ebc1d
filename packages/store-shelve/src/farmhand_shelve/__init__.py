"""The store of shelves of farmhand: this module only says so; ``farmhand_shelve.store`` does it."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from farmhand.hookspecs import OpenStore
    from farmhand_shelve.store import DataManager, ShelveStore

__all__ = ["DataManager", "ShelveStore", "farmhand_stores", "open_shelves"]


def open_shelves(path: Path, **options: Any) -> ShelveStore:
    """Open, or create, the store in the folder ``path``; see :class:`ShelveStore` for the options."""
    from farmhand_shelve.store import ShelveStore  # only once a store is opened

    return ShelveStore(path, **options)


@hookimpl
def farmhand_stores() -> Mapping[str, OpenStore]:
    """Open this ending with :func:`open_shelves`."""
    return {".data": open_shelves}


def __getattr__(name: str) -> Any:
    if name in ("DataManager", "ShelveStore"):
        from farmhand_shelve import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
