"""Snapshots and orders as lines of JSON, between a farm and whoever looks at it from another process.

What goes to those who look, one object in each line:

=================== ==========================================================================
``{"hello": ...}``    first: ``protocol``, ``farmhand`` (versions), ``task``, ``run``, ``store``, ``pid``,
                    and how the run stands (see below)
``{"snapshot": ...}`` the fields of a snapshot; of failures and of what items print only what is new
                    since the last one; ``history``, when it has changed, as how many of the points
                    known before still stand, and those to be put behind them
``{"failures": ...}`` some of those, ahead of a snapshot that would become too long with all of them
``{"answer": id}``    an order was followed, with how the run stands now; or with ``error``: why not
=================== ==========================================================================

How a run stands is ``state``, ``total``, ``done``, ``failed``, ``skipped``, ``running`` (items) and
``wanted`` (processes).

And from them:

======================================= ======================================================
``{"request": "watch"}``                  show me snapshots, with ``"outputs": true`` what items print, too
``{"request": "pause", "id": 1}``         as well ``resume``, ``finish``, ``stop``
``{"request": "workers", "processes": 4}``
``{"request": "ready"}``                  I show what I am sent; or ``failed``, with ``reason``: I cannot
======================================= ======================================================

An order may say for which ``run`` it is, and is refused when that is over.

Numbers that JSON does not have are the texts ``nan``, ``inf`` and ``-inf``. Nothing is ever unpickled.
Whatever else comes is a :class:`MessageError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import isfinite
from operator import attrgetter

from farmhand.events import Control, Finish, ItemError, Pause, Resize, Resume, Stop
from farmhand.progress import Estimate, Failure, Output, ProcessView, Snapshot, TimeLeft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "MOST_PROCESSES",
    "PROTOCOL",
    "MessageError",
    "SnapshotEncoder",
    "SnapshotReader",
    "SnapshotWriter",
    "control_of",
    "decoded",
    "encoded",
    "request_of",
    "standing",
]

PROTOCOL = 1
MOST_PROCESSES = 10_000  # that somebody may ask for

_MOST_FAILURES = 100  # that are kept, as in a snapshot
_MOST_OUTPUTS = 1000  # kept for somebody who reads slowly, as in a snapshot,
_MOST_OUTPUT = 1 << 20  # and characters of them
_MOST_TEXT = 1 << 18  # characters of failures in one message, and those of one more
_ORDERS: Mapping[str, Control] = {"pause": Pause(), "resume": Resume(), "finish": Finish(), "stop": Stop()}
# What is not passed on as it is.
_SPECIAL = frozenset({"remaining", "told", "processes", "failures", "outputs", "history"})
_COUNTS = ("state", "total", "done", "failed", "skipped", "wanted")


class MessageError(ValueError):
    """What came is no message; the text says why."""


def encoded(message: Mapping[str, Any]) -> bytes:
    """One message as a line."""
    import json

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


def standing(snapshot: Snapshot) -> dict[str, Any]:
    """How a run stands, for who does not look at it but steers it."""
    busy = sum(process.state == "busy" for process in snapshot.processes)
    return {**{name: getattr(snapshot, name) for name in _COUNTS}, "running": busy}


class SnapshotEncoder:
    """Encodes what is the same for all who are shown a snapshot, once for all of them."""

    def __init__(self) -> None:
        self._encode: Callable[[Any], str] | None = None
        self._snapshot: Snapshot | None = None
        self._body = ""

    def encode(self, value: Any) -> str:
        """Any plain value as JSON."""
        if self._encode is None:
            import json

            self._encode = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False).encode
        try:
            return self._encode(value)
        except ValueError:  # not a number, or without bounds
            return self._encode(_plain(value))

    def body(self, snapshot: Snapshot) -> str:
        """The fields of a snapshot that do not depend on what was shown before, without the last brace."""
        if snapshot is not self._snapshot:
            fields = dict(zip(_OWN, _own_values(snapshot), strict=True))
            if snapshot.remaining is not None:
                fields["remaining"] = _fields(snapshot.remaining)
            if snapshot.told is not None:
                fields["told"] = _fields(snapshot.told)
            fields["processes"] = list(map(_view_fields, snapshot.processes))
            self._body = self.encode(fields)[:-1]
            self._snapshot = snapshot
        return self._body


class SnapshotWriter:
    """Writes the snapshots for one reader, who may leave some out.

    Parameters
    ----------
    outputs : bool
        Whether what items print is passed on.
    encoder : SnapshotEncoder, optional
        Shared with the writers for others who are shown the same snapshots.
    """

    def __init__(self, outputs: bool = False, encoder: SnapshotEncoder | None = None) -> None:
        self.outputs = outputs
        self._encoder = encoder or SnapshotEncoder()
        self._failures = -1  # the number of the last one that was written
        self._history: tuple[tuple[float, int], ...] = ()
        self._waiting: deque[Output] = deque(maxlen=_MOST_OUTPUTS)

    def skip(self, snapshot: Snapshot) -> None:
        """Leave ``snapshot`` out; what items printed is passed on with the next one."""
        if self.outputs and snapshot.outputs:
            self._waiting.extend(snapshot.outputs)
            size = sum(len(output.text) for output in self._waiting)
            while size > _MOST_OUTPUT:
                size -= len(self._waiting.popleft().text)

    def write(self, snapshot: Snapshot) -> bytes:
        """One snapshot as a line, with lines of failures before it when there are too many for one."""
        encode = self._encoder.encode
        body = f'{{"snapshot":{self._encoder.body(snapshot)}'
        news = ""
        if snapshot.history is not self._history:
            news = f',"history":{encode(self._new_points(snapshot.history))}'
        self.skip(snapshot)
        if self._waiting:
            news += f',"outputs":{encode(list(map(_fields, self._waiting)))}'
            self._waiting.clear()
        *before, last = self._new_failures(snapshot.failures)
        lines = [f'{{"failures":{encode(part)}}}\n' for part in before]
        if last:
            news += f',"failures":{encode(last)}'
        # ASCII alone: what is no valid Unicode, such as half of a character, arrives as it was
        return f"{''.join(lines)}{body}{news}}}}}\n".encode("ascii")

    def _new_points(self, history: tuple[tuple[float, int], ...]) -> list[Any]:
        """How many of the points that the reader knows still stand, and the others."""
        known, self._history = self._history, history
        stand = len(known) if history[: len(known)] == known else 0
        return [stand, history[stand:]]

    def _new_failures(self, failures: tuple[Failure, ...]) -> list[list[Any]]:
        """Those that the reader does not know, in as many parts as there are to be messages; at least one."""
        parts: list[list[Any]] = [[]]
        size = 0
        known = self._failures
        for failure in failures:
            if failure.number > known:
                if size > _MOST_TEXT:
                    parts.append([])
                    size = 0
                parts[-1].append({**_fields(failure), "error": _fields(failure.error)})
                size += len(failure.error.traceback) + len(failure.output) + len(failure.error.message)
                self._failures = max(self._failures, failure.number)
        return parts


class SnapshotReader:
    """Makes snapshots of what a :class:`SnapshotWriter` wrote."""

    def __init__(self) -> None:
        self._failures: deque[Failure] = deque(maxlen=_MOST_FAILURES)
        self._history: tuple[tuple[float, int], ...] = ()

    def read(self, message: Mapping[str, Any]) -> Snapshot:
        """The snapshot in a message; of what is not new, that of earlier ones.

        Raises
        ------
        MessageError
            There is none in it, or not one that can be shown.
        """
        fields = message.get("snapshot")
        try:
            if not isinstance(fields, dict):
                raise TypeError
            about = {name: value for name, value in fields.items() if name not in _SPECIAL}
            self._learn(fields.get("failures", ()))
            if "history" in fields:
                stand, points = fields["history"]
                if not 0 <= stand <= len(self._history):
                    raise ValueError
                new = tuple((float(seconds), int(ended)) for seconds, ended in points)
                self._history = self._history[:stand] + new
            remaining, told = fields.get("remaining"), fields.get("told")
            snapshot: Snapshot = _value(
                Snapshot,
                about,
                remaining=None if remaining is None else _value(Estimate, remaining),
                told=None if told is None else _value(TimeLeft, told),
                processes=tuple(_value(ProcessView, each) for each in fields.get("processes", ())),
                failures=tuple(self._failures),
                outputs=tuple(_value(Output, each) for each in fields.get("outputs", ())),
                history=self._history,
            )
            return snapshot
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise MessageError(f"this is no snapshot: {str(message)[:80]}") from None

    def learn(self, message: Mapping[str, Any]) -> None:
        """Keep the failures in a message for the next snapshot.

        Raises
        ------
        MessageError
            There are none in it.
        """
        try:
            self._learn(message["failures"])
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise MessageError(f"these are no failures: {str(message)[:80]}") from None

    def _learn(self, failures: Any) -> None:
        for each in failures:
            error = _value(ItemError, each["error"])
            self._failures.append(_value(Failure, each, error=error))


def _names(kind: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = kind.__match_args__
    return names


_OWN = tuple(name for name in _names(Snapshot) if name not in _SPECIAL)
_own_values = attrgetter(*_OWN)
_view_values = attrgetter(*_names(ProcessView))


def _plain(value: Any) -> Any:
    """``value``, with what stands for a number that JSON does not have."""
    if isinstance(value, float):
        return value if isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__match_args__}


def _view_fields(view: ProcessView) -> dict[str, Any]:
    return dict(zip(_names(ProcessView), _view_values(view), strict=True))


# What each kind of field may hold. Annotations are text here, as nothing evaluates them.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float,),
    "float | None": (float, type(None)),
}
_CLASSES = (Snapshot, Estimate, TimeLeft, ProcessView, Failure, ItemError, Output)
_FIELDS: Mapping[type, Mapping[str, tuple[type, ...]]] = {
    kind: {name: _KINDS[said] for name, said in kind.__annotations__.items() if said in _KINDS}
    for kind in _CLASSES
}


def _value(kind: Any, fields: Mapping[str, Any], **others: Any) -> Any:
    """A value of a class from its fields; what the class does not know comes from a newer farmhand."""
    known = _FIELDS[kind]
    found = others
    for name, value in fields.items():
        kinds = known.get(name)
        if kinds is not None:
            found[name] = value if type(value) in kinds else _converted(value, kinds)
    names = _names(kind)
    if len(found) == len(names):
        return kind(*[found[name] for name in names])  # much faster than by name
    return kind(**found)


def _converted(value: Any, kinds: tuple[type, ...]) -> Any:
    """A number as JSON has it, as the field has it."""
    if float in kinds and (type(value) is int or value in ("nan", "inf", "-inf")):
        return float(value)
    raise TypeError(f"{value!r} is not {kinds}")
