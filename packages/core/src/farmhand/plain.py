"""Values of a store that nobody trusts: what is plain in them, without running any code."""

from __future__ import annotations

from farmhand import codec
from farmhand.stdlib import UnpicklingError
from farmhand.task import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["plain_items", "plain_value"]


def plain_value(data: bytes) -> Any:
    """What was encoded, if it consists of plain values, numbers of numpy, and calls. Runs no code.

    Raises
    ------
    UnpicklingError
        It is something else.
    """
    return codec.decode_plain(data, _KNOWN)


def plain_items(payload: bytes) -> list[Any] | None:
    """The items of a block, if all of them are plain; None if not."""
    try:
        encoded = codec.split_each(payload)
        return plain_value(payload) if encoded is None else list(map(plain_value, encoded))
    except Exception:  # whatever it is
        return None


class _Kind:
    """Stands for a numpy dtype of which only the letters are needed."""

    def __init__(self, letters: object = "", *args: object) -> None:
        self.letters = letters
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


def _number(kind: object, data: object = b"") -> Any:
    """A number of numpy's, without numpy."""
    from struct import unpack

    letters = {"f8": "d", "f4": "f", "f2": "e", "b1": "?"}
    letters |= {"i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H", "u1": "B"}
    if not isinstance(kind, _Kind) or not isinstance(data, bytes) or kind.letters not in letters:
        raise UnpicklingError("this is no number")
    return unpack(kind.order + letters[str(kind.letters)], data)[0]


_KNOWN: dict[tuple[str, str], Any] = {
    **codec.KNOWN,
    ("farmhand.task", "Call"): Call,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
}
