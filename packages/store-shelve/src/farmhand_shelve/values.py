"""Values of sessions, as they were pickled by any Python: also those of Brian 1, under Python 2.

A ``str`` of Python 2 was bytes or text, and nobody knows which. It becomes text, in Latin-1, as numpy needs
it for its arrays; ``value.encode('latin-1')`` gives the bytes.
"""

from __future__ import annotations

import io
import os

from farmhand import codec, open_store
from farmhand.errors import StoreError
from farmhand.stdlib import Unpickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["decode_value", "in_a_file", "result_in_a_file"]

_OLD = 3  # Python 2 knew protocols below


class _OldUnpickler(Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy.core" or module.startswith("numpy.core."):
            try:
                return super().find_class("numpy._core" + module[10:], name)
            except (ImportError, AttributeError):
                pass  # an older numpy
        return super().find_class(module, name)


def decode_value(data: bytes) -> Any:
    """The value that ``data`` encodes. Runs code: only for data that you trust."""
    if data[:1] == b"\x80" and data[1:2] >= bytes([_OLD]):
        return codec.decode(data)
    return _OldUnpickler(io.BytesIO(data), encoding="latin-1").load()


def in_a_file(folder: str, run: str, index: int) -> bytes:
    """What stands in the session of a run for a result in a file of its own: loading it reads that file."""
    return codec.encode(_Elsewhere(folder, f"{run}-{index}"))


class _Elsewhere:
    """Pickles as a call of :func:`result_in_a_file`."""

    def __init__(self, folder: str, key: str) -> None:
        self._about = folder, key

    def __reduce__(self) -> tuple[Any, ...]:
        return result_in_a_file, self._about


def result_in_a_file(folder: str, key: str) -> Any:
    """A large result of the store in ``folder``, for who reads its session as a plain shelf."""
    if not os.path.isdir(folder):
        problem = f"it is not there any more, and has the result {key!r}, which is in a file of its own"
        advice = (
            "Read it with farmhand.open_store where it is now; store.vacuum() there writes the new place down"
        )
        raise StoreError(folder, problem, advice)
    with open_store(folder) as store:
        return store[key]
