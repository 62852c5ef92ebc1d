"""JSON of plain values, without the module ``json``, which imports ``re`` and what that needs.

What the C half of ``json`` can do is enough here. Where a Python has none, the whole module is used.

Items are written for other programs, which SQLite's JSON functions can look into. An item is what the
task is called with, and so its JSON is

- the value itself where it is a number, a text, true or false: the one argument;
- an array where it is a tuple: all arguments, by position. A list, a dict or a None that is one argument
  is an array of one element;
- an object where it was made by ``call()`` with names: all arguments, by name;
- ``null`` where it is not made of plain values, or is long.

Within these, infinity is ``9e999``, which every reader of JSON takes for it, and NaN is ``null``, as it is
for SQLite. Numbers of numpy are those of Python. Texts that are no Unicode are written as near to it as
can be.
"""

from __future__ import annotations

from collections.abc import Sequence

from farmhand import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

__all__ = ["descriptions", "dumps", "loads"]

SLICE = 32  # items in a text: one of them is found by walking past those before it
LONG = 1000  # signs of one item, beyond which it is not described
_MEAN = 100  # signs of an item in a text that need not be looked at closely
_DEEPEST = 20
_FEW = 8  # items that are too few to be worth a row without an array
_FAR = 1 << 40  # beyond it, SQL could not count on in whole numbers
_THEMSELVES = frozenset([bool, int, float, str, tuple])
_PLAIN = (int, float, str, list, dict)


def _number(value: Any) -> Any:
    """A number of numpy as one of Python; TypeError for all else."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError


_encode: Callable[[Any], str]
try:
    from _json import encode_basestring_ascii as _quoted
    from _json import make_encoder, make_scanner

    _chunks = make_encoder(None, _number, _quoted, None, ": ", ", ", False, False, False)

    class _Context:
        """What ``json.JSONDecoder`` is to the scanner."""

        strict = True
        object_hook = object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float
        memo: dict[str, str] = {}  # noqa: RUF012 - the scanner asks for it

    _scan: Callable[[str, int], tuple[Any, int]] = make_scanner(_Context)  # type: ignore[arg-type]

    def _encode(value: Any) -> str:
        return "".join(_chunks(value, 0))

    def loads(text: str) -> Any:
        """The value that ``text`` says, which :func:`dumps` made or SQLite's JSON functions changed."""
        try:
            return _scan(text, 0)[0]
        except StopIteration:
            raise ValueError(f"{text[:80]!r} is not JSON") from None

except ImportError:
    import json
    from json.encoder import encode_basestring_ascii as _quoted

    def _encode(value: Any) -> str:
        return json.dumps(value, default=_number, allow_nan=False)

    def loads(text: str) -> Any:
        """The value that ``text`` says."""
        return json.loads(text)


def dumps(value: Any) -> str:
    """JSON of ``value``; what in it is not plain is ``null``. All signs are ASCII."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return _slowly(value, strict=False)


def descriptions(
    items: Sequence[Any], names: Sequence[str], size: int = SLICE, only_steps: bool = False
) -> Iterator[tuple[int, int, int | None, str]]:
    """JSON arrays of at most ``size`` items each, none of nulls alone; or the first of many ints in steps.

    Each comes behind the place of its first item, the number of its items, and what the steps are.

    Parameters
    ----------
    items : sequence
        As they were given to ``run_tasks``.
    names : sequence of str
        Of the task's positional parameters: what positional arguments beside named ones are called.
    size : int
        How many items go into one text.
    only_steps : bool
        Whether nothing is said of items that are no ints in steps.
    """
    if type(items) is range and items.step > 0 and len(items) >= _FEW and abs(items[0]) < _FAR > items.step:
        yield 0, len(items), items.step, str(items[0])
        return
    kinds = set(map(type, items))
    if only_steps and kinds != {int}:
        return
    if not kinds <= _THEMSELVES:
        ways = {kind: _way(kind, names) for kind in kinds}
        if all(way is _nothing for way in ways.values()):
            return
        items = [ways[type(item)](item) for item in items]
        kinds = set(map(type, items))
    if kinds == {int} and (step := _step(items)):
        yield 0, len(items), step, str(items[0])
        return
    if only_steps:
        return
    encode: Callable[[Any], str] = repr if kinds == {int} and type(items) is list else _encode
    for start in range(0, len(items), size):
        some = items[start : start + size]
        try:
            text = encode(some if type(some) is list else list(some))
        except (TypeError, ValueError, RecursionError):
            text = ""
        if not text or len(text) > _MEAN * len(some) or "\\ud" in text:
            each = list(map(_text_or_null, some))
            if each.count("null") == len(each):
                continue
            text = f"[{', '.join(each)}]"
        yield start, len(some), None, text


def _step(items: Sequence[int]) -> int:
    """By what each of these is greater than the one before it; 0 where that is not so, or they are few."""
    if len(items) < _FEW or not -_FAR < items[0] < _FAR or not 0 < items[1] - items[0] < _FAR:
        return 0
    first, step = items[0], items[1] - items[0]
    # that it comes out right at the last is no proof, but it is at once known where it does not
    same = items[-1] == first + step * (len(items) - 1)
    return step if same and list(items) == list(range(first, items[-1] + 1, step)) else 0


def _way(kind: type, names: Sequence[str]) -> Callable[[Any], Any]:
    """What makes of an item of that kind the arguments that its JSON is to show."""
    if issubclass(kind, tuple) or kind in _THEMSELVES:
        return _itself
    if issubclass(kind, Call):
        return lambda item: _by_name(item, names)
    if kind.__module__ == "numpy":
        return _scalar
    return _alone if kind is type(None) or issubclass(kind, _PLAIN) else _nothing


def _itself(item: Any) -> Any:
    return item


def _alone(item: Any) -> Any:
    return [item]


def _nothing(item: Any) -> None:
    """An item that is not plain; a None that is one is not alone."""


def _scalar(item: Any) -> Any:
    value = item.item() if getattr(item, "shape", None) == () else None
    return value if type(value) in _THEMSELVES else None


def _by_name(item: Call, names: Sequence[str]) -> Any:
    args, kwds = item.args, item.kwds
    if not args:
        return kwds
    if not kwds:
        return args
    known = [*names[: len(args)], *(f"arg{place}" for place in range(len(names), len(args)))]
    return {**dict(zip(known, args, strict=True)), **kwds}


def _text_or_null(item: Any) -> str:
    try:
        text = _slowly(item)
    except (TypeError, ValueError, RecursionError):
        return "null"
    if text == "null" and item is not None:
        return "[null]"  # it is NaN, which is plain
    return text if len(text) <= LONG else "null"


def _slowly(value: Any, depth: int = 0, strict: bool = True) -> str:
    """JSON of anything; what is not plain is a TypeError, or without ``strict`` null."""
    kind = type(value)
    if value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, str):
        return _quoted(_whole(value) if strict else value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value == 0:
            return float.__repr__(value)
        return "9e999" if value > 0 else "-9e999" if value < 0 else "null"
    if depth < _DEEPEST:
        if isinstance(value, list | tuple):
            return f"[{', '.join(_slowly(part, depth + 1, strict) for part in value)}]"
        if isinstance(value, dict):
            return _object(value, depth, strict)
        if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
            return _slowly(value.item(), depth + 1, strict)
    if strict:
        raise TypeError
    return "null"


def _whole(text: str) -> str:
    """``text`` without halves of surrogate pairs: SQLite would make of these what nobody can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _object(value: Mapping[Any, Any], depth: int, strict: bool) -> str:
    parts = []
    for key, part in value.items():
        if not isinstance(key, str | int | float | None):
            if strict:
                raise TypeError(f"{type(key).__name__} is no key of JSON")
            continue
        name = key if isinstance(key, str) else _slowly(key)
        parts.append(f"{_quoted(_whole(name) if strict else name)}: {_slowly(part, depth + 1, strict)}")
    return f"{{{', '.join(parts)}}}"
