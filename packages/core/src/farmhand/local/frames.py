"""Messages between the farm and a worker: length, kind, fields.

The fields are plain values (numbers, text, bytes, lists of these) and travel by ``marshal``,
which is fast, cannot run code, and is bound here before any task could patch it. Both ends are
always the same interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from marshal import dumps, loads

from farmhand.stdlib import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "DEFINE",
    "DONE",
    "EXIT",
    "FAILED",
    "ITEMS",
    "LONG",
    "LOST",
    "READY",
    "RECALL",
    "REPORT",
    "RETURNED",
    "SETUP",
    "SETUP_FAILED",
    "UNREADABLE",
    "FrameReader",
    "indices",
    "pack",
    "span",
]

# farm to worker
SETUP = 1  # sys.path, sys.argv, shipped task or None, what makes the spool or None, seconds to gather
DEFINE = 2  # shipped names of __main__
ITEMS = 3  # span, payload, which of them to run
RECALL = 4  # everything?
EXIT = 5

# worker to farm
READY = 16
SETUP_FAILED = 17  # type, message, traceback
DONE = 18  # span, packed results, start of the first, seconds, usage by item: memory and output
FAILED = 19  # index, kind, type, message, traceback, started, seconds, memory, output
RETURNED = 20  # indices
UNREADABLE = 21  # indices
REPORT = 22  # index, complete, taskname, phase

LOST = 113  # the exit code of a worker whose channel is not its own any more
LONG = 0.02  # seconds; of items that take longer it is said how much memory they used

_HEADER = Struct("<QB")
_LONGEST = 1 << 40  # bytes; whoever announces more has not sent a message


def pack(kind: int, *fields: Any) -> bytes:
    """One message as bytes."""
    payload = dumps(fields)
    return _HEADER.pack(len(payload), kind) + payload


def span(indices: Sequence[int]) -> tuple[int, int] | list[int]:
    """Indices, which ascend, as they travel: first and number of those that are consecutive."""
    first, count = indices[0], len(indices)
    return (first, count) if indices[-1] - first == count - 1 else list(indices)


def indices(span: tuple[int, int] | list[int]) -> Sequence[int]:
    """What :func:`span` was given."""
    return range(span[0], span[0] + span[1]) if isinstance(span, tuple) else span


class FrameReader:
    """Cuts a stream of bytes into messages.

    What are no messages, because a task has written into the channel, is a ValueError.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[tuple[int, Any]]:
        """The messages that ``data`` completes, as pairs of kind and fields."""
        buffer = self._buffer
        if buffer:
            buffer += data
            view = memoryview(buffer)
        else:
            view = memoryview(data)
        frames = []
        start, end = 0, len(view)
        while end - start >= _HEADER.size:
            length, kind = _HEADER.unpack_from(view, start)
            stop = start + _HEADER.size + length
            if length > _LONGEST or not SETUP <= kind <= REPORT:
                raise ValueError("these bytes are no message")
            if stop > end:
                break
            try:
                frames.append((kind, loads(view[start + _HEADER.size : stop])))
            except (EOFError, TypeError) as error:
                raise ValueError("these bytes are no message") from error
            start = stop
        rest = bytes(view[start:]) if view.obj is not buffer else None
        view.release()
        if rest is None:
            del buffer[:start]
        else:
            buffer += rest
        return frames
