"""Sessions by hand: pairs of key and value that somebody writes into a store, as with Python's ``shelve``."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager

from farmhand import codec
from farmhand.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Place(Protocol):
        """The part of a store that keeps such sessions."""

        basepath: str

        def shelf_keys(self, name: str) -> list[str]: ...
        def shelf_value(self, name: str, key: str) -> Any: ...
        def shelf_get(self, name: str, key: str) -> bytes: ...
        def shelf_set(self, name: str, key: str, data: bytes | None) -> None: ...
        def shelf_lock(self, name: str) -> AbstractContextManager[None]: ...


__all__ = ["Shelf"]


class Shelf(MutableMapping[str, "Any"]):
    """Pairs of key and value that somebody writes by hand into one session of a store.

    What is set is durable at once. To change a value, set it again. With ``locking``, each access has the
    session for itself, and ``with shelf.lock():`` several have, so that processes can count in it.

    Parameters
    ----------
    store : DataManager
        Where it is.
    name : str
        The name of the session.
    locking : bool
        Whether each access excludes those of other processes.
    """

    def __init__(self, store: Place, name: str, locking: bool = False) -> None:
        self._store = store
        self.name = name
        self._locking = locking
        self._held: AbstractContextManager[None] | None = None

    def acquire(self) -> None:
        """Have the session for oneself, until :meth:`release`; not twice."""
        if self._held is not None:
            raise UsageError(f"the session {self.name!r} was acquired already; release it first")
        held = self._store.shelf_lock(self.name)
        held.__enter__()
        self._held = held

    def release(self) -> None:
        """Let others have the session."""
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)

    def lock(self) -> AbstractContextManager[None]:
        """Have the session for oneself within a ``with`` statement."""
        from contextlib import contextmanager

        @contextmanager
        def locked() -> Iterator[None]:
            self.acquire()
            try:
                yield
            finally:
                self.release()

        return locked()

    def _alone(self) -> AbstractContextManager[None]:
        from contextlib import nullcontext

        return self.lock() if self._locking and self._held is None else nullcontext()

    def __getitem__(self, key: str) -> Any:
        with self._alone():
            return self._store.shelf_value(self.name, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise UsageError(f"the keys of a session are texts, not {codec.short(key)}")
        with self._alone():
            self._store.shelf_set(self.name, key, codec.encode(value))

    def __delitem__(self, key: str) -> None:
        with self._alone():
            self._store.shelf_get(self.name, key)
            self._store.shelf_set(self.name, key, None)

    def __contains__(self, key: object) -> bool:
        try:
            if isinstance(key, str):
                with self._alone():
                    self._store.shelf_get(self.name, key)
                return True
        except KeyError:
            pass
        return False

    def __iter__(self) -> Iterator[str]:
        with self._alone():
            return iter(self._store.shelf_keys(self.name))

    def __len__(self) -> int:
        with self._alone():
            return len(self._store.shelf_keys(self.name))

    def sync(self) -> None:
        """Everything is on disk already; for those who know :mod:`shelve`."""

    def close(self) -> None:
        """Let others have the session, if this one was acquired."""
        self.release()

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} in {self._store.basepath!r}>"
