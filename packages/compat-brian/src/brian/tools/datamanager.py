"""Brian 1.4's store of results: ``from brian.tools.datamanager import DataManager``.

It is that of :mod:`farmhand_shelve`, under Brian's names for what else was in this module.
"""

from __future__ import annotations

import os

from farmhand import UsageError
from farmhand.shelf import Shelf
from farmhand_shelve import DataManager as _DataManager
from farmhand_shelve import ShelveStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DataManager"]


class DataManager(_DataManager):
    """The folder ``name.data`` in ``datapath``, which is made when it is not there.

    Its methods are those of Brian 1.4, and those of every store of farmhand.

    Parameters
    ----------
    name : str
        The name of the store; folders may be in front of it.
    datapath : path-like
        Where it is, by default in the current folder.
    **options
        As for :class:`farmhand_shelve.ShelveStore`.
    """

    @staticmethod
    def shelf(fname: str | os.PathLike[str]) -> Shelf:
        """The session in the file ``fname``, as :meth:`session_filenames` names them."""
        folder, name = os.path.split(os.path.abspath(fname))
        return ShelveStore(folder).session(name)

    def locking_session(self, session_name: str | None = None) -> LockingSession:
        """As :meth:`session`, but any number of processes may use it."""
        return LockingSession(self, self.session_filename(session_name))

    def locking_computer_session(self) -> LockingSession:
        """As :meth:`computer_session`, but any number of processes may use it."""
        return LockingSession(self, self.computer_session_filename)


class LockingSession(Shelf):
    """A session that each access has for itself, and whoever calls :meth:`acquire` until :meth:`release`.

    Parameters
    ----------
    dataman : DataManager
        The store.
    session_filename : str
        As ``dataman.session_filename(...)`` gives it.

    Raises
    ------
    UsageError
        The file is not in the folder of the store.
    """

    def __init__(self, dataman: ShelveStore, session_filename: str) -> None:
        folder, name = os.path.split(os.path.abspath(session_filename))
        if folder != dataman.basepath:
            raise UsageError(
                f"the session {session_filename!r} is not in the folder of its store, {dataman.basepath!r}; "
                "dataman.session_filename(name) gives such a path"
            )
        super().__init__(dataman, name, locking=True)
        self.dataman = dataman
        self.session_filename = os.path.join(folder, name)

    @property
    def session(self) -> Any:
        """Itself between :meth:`acquire` and :meth:`release`, else None."""
        return self if self._held is not None else None
