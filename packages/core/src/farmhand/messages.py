"""Snapshots and orders as lines of JSON, between a farm and whoever looks at it from another process.

What goes to those who look, one object in each line:

=================== ==========================================================================
``{"hello": ...}``    first: ``protocol``, ``farmhand`` (versions), ``task``, ``run``, ``store``, ``pid``
``{"snapshot": ...}`` the fields of a snapshot; of failures, printed lines and the history only what is
                    new since the last one
``{"answer": id}``    an order was followed; with ``state`` and ``wanted``, or with ``error``: why not
=================== ==========================================================================

And from them:

======================================= ======================================================
``{"request": "watch"}``                  show me snapshots, with ``"outputs": true`` what items print, too
``{"request": "pause", "id": 1}``         as well ``resume``, ``finish``, ``stop``
``{"request": "workers", "processes": 4}``
``{"request": "ready"}``                  I show what I am sent; or ``failed``, with ``reason``: I cannot
======================================= ======================================================

An order may say for which ``run`` it is, and is refused when that is over.

Nothing is ever unpickled. Whatever else comes is a :class:`MessageError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from farmhand.events import Control, Finish, ItemError, Pause, Resize, Resume, Stop
from farmhand.progress import Estimate, Failure, Output, ProcessView, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "PROTOCOL",
    "MessageError",
    "SnapshotReader",
    "SnapshotWriter",
    "control_of",
    "decoded",
    "encoded",
    "request_of",
]

PROTOCOL = 1
MOST_PROCESSES = 10_000  # that somebody may ask for

_MOST_OUTPUTS = 1000  # kept for somebody who reads slowly
_ORDERS: Mapping[str, Control] = {"pause": Pause(), "resume": Resume(), "finish": Finish(), "stop": Stop()}
# What is not passed on as it is.
_SPECIAL = frozenset({"remaining", "processes", "failures", "outputs", "history"})


class MessageError(ValueError):
    """What came is no message; the text says why."""


def encoded(message: Mapping[str, Any]) -> bytes:
    """One message as a line."""
    import json

    # ASCII alone: what is no valid Unicode, such as half of a character, arrives as it was
    return json.dumps(message, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def decoded(line: bytes) -> dict[str, Any]:
    """The message in a line."""
    import json

    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise MessageError(f"this is no JSON: {line[:80]!r}") from None
    if not isinstance(message, dict):
        raise MessageError(f"a message is an object, not {line[:80]!r}")
    return message


def request_of(control: Control, number: int) -> dict[str, Any]:
    """What asks a farm to do something, with a number for its answer."""
    if isinstance(control, Resize):
        return {"request": "workers", "processes": control.processes, "id": number}
    word = next(word for word, order in _ORDERS.items() if order == control)
    return {"request": word, "id": number}


def control_of(request: Mapping[str, Any]) -> Control:
    """What a request asks the farm to do."""
    word = request.get("request")
    if isinstance(word, str) and word in _ORDERS:
        return _ORDERS[word]
    if word == "workers":
        processes = request.get("processes")
        if type(processes) is int and 1 <= processes <= MOST_PROCESSES:
            return Resize(processes)
        raise MessageError(f"workers takes a number of processes from 1 to {MOST_PROCESSES:,}")
    raise MessageError("a request is watch, pause, resume, finish, stop or workers")


class SnapshotWriter:
    """Writes the snapshots for one reader, who may leave some out.

    Parameters
    ----------
    outputs : bool
        Whether what items print is passed on.
    """

    def __init__(self, outputs: bool = False) -> None:
        self.outputs = outputs
        self._failures = 0  # the number of the last one that was written
        self._history: tuple[tuple[float, int], ...] | None = None
        self._waiting: deque[Output] = deque(maxlen=_MOST_OUTPUTS)

    def skip(self, snapshot: Snapshot) -> None:
        """Leave ``snapshot`` out; what items printed is passed on with the next one."""
        if self.outputs:
            self._waiting.extend(snapshot.outputs)

    def write(self, snapshot: Snapshot) -> bytes:
        """One snapshot as a line."""
        fields = {name: _plain(getattr(snapshot, name)) for name in _names(Snapshot) - _SPECIAL}
        if snapshot.remaining is not None:
            fields["remaining"] = _fields(snapshot.remaining)
        fields["processes"] = [_fields(process) for process in snapshot.processes]
        new = [_failure(each) for each in snapshot.failures if each.number > self._failures]
        if new:
            fields["failures"] = new
            self._failures = snapshot.failures[-1].number
        if snapshot.history is not self._history:
            self._history = snapshot.history
            fields["history"] = [[_plain(seconds), ended] for seconds, ended in snapshot.history]
        self.skip(snapshot)
        if self._waiting:
            fields["outputs"] = [_fields(output) for output in self._waiting]
            self._waiting.clear()
        return encoded({"snapshot": fields})


class SnapshotReader:
    """Makes snapshots of what a :class:`SnapshotWriter` wrote."""

    def __init__(self) -> None:
        self._failures: deque[Failure] = deque(maxlen=100)
        self._history: tuple[tuple[float, int], ...] = ()

    def read(self, message: Mapping[str, Any]) -> Snapshot:
        """The snapshot in a message.

        Raises
        ------
        MessageError
            There is none in it, or not one that can be shown.
        """
        fields = message.get("snapshot")
        try:
            if not isinstance(fields, dict):
                raise TypeError
            about = {name: value for name, value in fields.items() if name in _names(Snapshot) - _SPECIAL}
            for each in fields.get("failures", ()):
                error = _value(ItemError, each["error"])
                self._failures.append(_value(Failure, {**each, "error": None}, error=error))
            if "history" in fields:
                self._history = tuple((float(seconds), int(ended)) for seconds, ended in fields["history"])
            remaining = fields.get("remaining")
            snapshot: Snapshot = _value(
                Snapshot,
                about,
                remaining=None if remaining is None else _value(Estimate, remaining),
                processes=tuple(_value(ProcessView, each) for each in fields.get("processes", ())),
                failures=tuple(self._failures),
                outputs=tuple(_value(Output, each) for each in fields.get("outputs", ())),
                history=self._history,
            )
            return snapshot
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise MessageError(f"this is no snapshot: {str(message)[:80]}") from None


def _names(kind: type) -> frozenset[str]:
    return frozenset(kind.__annotations__)


def _plain(value: object) -> object:
    """``value``, or what stands for a number that JSON does not have."""
    return str(value) if type(value) is float and value - value != 0.0 else value


def _fields(value: Any) -> dict[str, Any]:
    return {name: _plain(getattr(value, name)) for name in type(value).__annotations__}


def _failure(failure: Failure) -> dict[str, Any]:
    return {**_fields(failure), "error": _fields(failure.error)}


# What each kind of field may hold. Annotations are text here, as nothing evaluates them.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "float | None": (float, int, type(None)),
}


def _value(kind: Any, fields: Mapping[str, Any], **others: Any) -> Any:
    """A value of a class from its fields; what the class does not know comes from a newer farmhand."""
    known = kind.__annotations__
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name in others or name not in known:
            continue
        kinds = _KINDS[known[name]]
        if float in kinds and value in ("nan", "inf", "-inf"):
            value = float(value)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise TypeError(name)
        found[name] = value
    return kind(**found, **others)
