"""Values to bytes and back: pickle protocol 5 first, dill for what pickle refuses.

The functions of ``pickle`` and ``marshal`` are bound here once, so that a task which patches
those modules cannot change what farmhand does.
"""

from __future__ import annotations

import io
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copyreg import dispatch_table as _dispatch_table
from marshal import dumps as _marshal_dumps
from marshal import loads as _marshal_loads

from farmhand import simulators
from farmhand.stdlib import (
    Pickler,
    Struct,
    Unpickler,
    UnpicklingError,
    blake2b,
    pickle_dumps,
    pickle_loads,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "KNOWN",
    "PLAIN",
    "REFERENCE",
    "Packed",
    "decode",
    "decode_each",
    "decode_items",
    "decode_plain",
    "encode",
    "encode_each",
    "encode_items",
    "encode_result",
    "fingerprint",
    "identity",
    "names_a_class",
    "pack",
    "prove",
    "short",
    "split_each",
]

PROTOCOL = 5
_STACK_GLOBAL = 0x93  # the opcode by which a protocol 5 pickle names a class or function
_DEEPEST = 30  # levels that a fingerprint walks; an object is about three
_SHORT = 64  # bytes; of a longer item, its fingerprint is its identity
_EACH = b"E"  # first byte of items encoded one by one; a pickle begins with 0x80
REFERENCE = b"@"  # first byte of what stands for a result that is in a file of its own
# Results of these types are small, cannot change and always travel: many can be pickled later, at once.
PLAIN = frozenset([bool, int, float, complex, type(None)])

_double = Struct(">d").pack


class _Repr(reprlib.Repr):
    """Writes a scalar of numpy as the Python number or text that :func:`fingerprint` takes it for."""

    def repr1(self, x: Any, level: int) -> str:
        kind = type(x)
        if kind.__module__ == "numpy" and kind.__name__ != "ndarray":
            letter = getattr(getattr(x, "dtype", None), "kind", "")
            if letter in ("S", "U"):
                return super().repr1(x.item(), level)
            if letter and letter in "biufc":
                return str(x)  # of a float32 as many digits as it has
        return super().repr1(x, level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        """As anything else, but without writing out the middle, of which nothing is shown."""
        if len(x) <= 2 * self.maxother:
            return self.repr_instance(x, level)
        return self.repr_instance(x[: self.maxother] + x[-self.maxother :], level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlevel = 3


def encode(value: object) -> bytes:
    """``value`` as bytes, by pickle, or by dill where pickle refuses.

    Raises
    ------
    Exception
        Whatever dill raises when it refuses as well.
    """
    try:
        return pickle_dumps(value, PROTOCOL)
    except Exception:
        import dill  # costs tens of milliseconds, and most values never need it

        file = io.BytesIO()
        pickler = dill.Pickler(file, PROTOCOL, recurse=True)
        pickler.reducer_override = _reduce_unit
        pickler.dump(value)
        return file.getvalue()


def _reduce_unit(thing: object) -> Any:
    return simulators.parts_of_unit(thing) or NotImplemented


def decode(data: bytes) -> Any:
    """The value that ``data`` encodes. Runs code: only for data that you trust."""
    if b"dill._dill" in data:  # dill finds the names of __main__ in its own way
        import dill

        return dill.loads(data)
    return pickle_loads(data)


def decode_each(encoded: Sequence[bytes]) -> Iterator[Any]:
    """:func:`decode` of each, one after the other: many small ones faster than one by one."""
    return map(decode if b"dill._dill" in b"".join(encoded) else pickle_loads, encoded)


def encode_result(value: object) -> bytes:
    """:func:`encode`, and proof that the bytes can be decoded again.

    A pickle without the opcode that names a class consists of plain values, which always
    load; the scan for it costs next to nothing. A false alarm (that byte inside a number)
    only costs the proof.
    """
    try:
        data = pickle_dumps(value, PROTOCOL)  # as encode() begins: this runs for every tiny item
    except Exception:
        data = encode(value)
    if _STACK_GLOBAL in data:
        prove(value, data)
    return data


def prove(value: object, data: bytes, buffers: Sequence[memoryview] = ()) -> None:
    """Raise an error unless a value can be decoded again from ``data``, and is then worth something."""
    pickle_loads(data, buffers=buffers) if buffers else decode(data)
    if problem := simulators.problem_of(data, buffers) or simulators.lost_memory(value):
        raise TypeError(problem)


def names_a_class(data: bytes) -> bool:
    """Whether a pickle may name a class or a function; if not, it can be decoded anywhere."""
    return _STACK_GLOBAL in data


def encode_items(items: Sequence[object]) -> bytes:
    """All ``items`` as one pickle: the fast way, which fails as a whole."""
    return pickle_dumps(items if type(items) is list else list(items), PROTOCOL)


def encode_each(encoded: Sequence[bytes]) -> bytes:
    """Items that were encoded one by one, as a payload for :func:`decode_items`."""
    return _EACH + _marshal_dumps(list(encoded))


def split_each(payload: bytes) -> list[bytes] | None:
    """What :func:`encode_each` was given; None for a payload of :func:`encode_items`."""
    if payload[:1] != _EACH:
        return None
    encoded: list[bytes] = _marshal_loads(memoryview(payload)[1:])
    return encoded


#: The classes of plain values that a pickle names.
KNOWN: Mapping[tuple[str, str], Any] = {("builtins", "complex"): complex}


class _PlainUnpickler(Unpickler):
    known = KNOWN

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.known[module, name]
        except KeyError:
            raise UnpicklingError(f"these are no plain values, but contain {module}.{name}") from None


def decode_plain(data: bytes, known: Mapping[tuple[str, str], Any] = KNOWN) -> Any:
    """A value that consists of plain ones; whatever ``data`` is, this runs no code.

    Parameters
    ----------
    data : bytes
        Any bytes.
    known : mapping
        By module and name, what the value may be made of: functions and classes that are safe to call.

    Raises
    ------
    UnpicklingError
        It is something else.
    """
    unpickler = _PlainUnpickler(io.BytesIO(data))
    unpickler.known = known
    return unpickler.load()


def decode_items(payload: bytes, load: Callable[[bytes], Any] = decode) -> list[Any]:
    """The items of a block, however they were encoded; ``load`` decodes what was encoded on its own."""
    encoded = split_each(payload)
    if encoded is not None:
        return [load(data) for data in encoded]
    items: list[Any] = pickle_loads(payload)
    return items


_decode = decode  # in the class below, that name is a method's


class Packed(Sequence[bytes]):
    """Encoded results that travel, and are stored, as one; what each is alone is found when asked for.

    Parameters
    ----------
    payload : bytes
        From :func:`pack`; of a single result it is its own encoding.
    count : int
        How many results there are.
    """

    __slots__ = ("_count", "_parts", "payload")

    def __init__(self, payload: bytes, count: int) -> None:
        self.payload = payload
        self._count = count
        self._parts: list[bytes] | None = None

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Packed:
        """``values`` as one, if they are not already."""
        if isinstance(values, cls):
            return values
        values = list(values)
        return cls(values[0] if len(values) == 1 else encode_each(values), len(values))

    def decode(self, load: Callable[[bytes], Any] = _decode) -> list[Any]:
        """The results themselves. Runs code: only for data that you trust.

        ``load`` decodes one result; a store's also reads those that are in files of their own.
        """
        return [load(self.payload)] if self._count == 1 else decode_items(self.payload, load)

    def decode_one(self, place: int, load: Callable[[bytes], Any] = _decode) -> Any:
        """One of the results, without decoding what is not plain beside it."""
        encoded = None if self._count == 1 else split_each(self.payload)
        return self.decode(load)[place] if encoded is None else load(encoded[place])

    def cut(self, first: int, stop: int) -> Packed:
        """The results from place ``first`` to before ``stop``; runs no code."""
        return Packed.of(self._split()[first:stop])

    def _split(self) -> list[bytes]:
        if self._parts is None:
            encoded = [self.payload] if self._count == 1 else split_each(self.payload)
            self._parts = list(map(encode, decode_plain(self.payload))) if encoded is None else encoded
        return self._parts

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        return self._split()[place]


def pack(results: Sequence[object]) -> bytes:
    """At least one result as the payload of a :class:`Packed`.

    Parameters
    ----------
    results : sequence
        Values of the types in ``PLAIN``, and of all others what :func:`encode_result` gave.
    """
    if bytes not in set(map(type, results)):
        return pickle_dumps(results[0] if len(results) == 1 else results, PROTOCOL)
    encoded = [result if type(result) is bytes else pickle_dumps(result, PROTOCOL) for result in results]
    return encoded[0] if len(encoded) == 1 else encode_each(encoded)


def short(item: object) -> str:
    """A ``repr`` of ``item`` on one short line (``11.98``, not ``np.float64(11.98)``); never raises."""
    try:
        text = _repr.repr(item)
    except Exception:
        text = object.__repr__(item)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


def fingerprint(item: object) -> bytes:
    """Sixteen bytes that are equal for equal items, in any process and at any time.

    Plain values, numpy scalars (the same as the Python number of the same value), numpy
    arrays, and containers and objects made of these are walked by value, so neither the order
    of a set or a dict nor shared references matter. What contains itself, is nested too deeply,
    or does not say what it is made of, goes by its pickle.
    """
    return blake2b(_canonical_or_pickle(item), digest_size=16).digest()


def identity(item: object) -> bytes:
    """As :func:`fingerprint`, but of what is short the canonical bytes themselves: several times as fast."""
    canonical = b"i%x" % item if type(item) is int else _canonical_or_pickle(item)
    return canonical if len(canonical) <= _SHORT else blake2b(canonical, digest_size=16).digest()


def _canonical_or_pickle(item: object) -> bytes:
    try:
        return _canonical(item, 0)
    except RecursionError:
        return b"p" + _stable_pickle(item)


def _canonical(item: Any, depth: int) -> bytes:
    kind = type(item)
    if kind is float:
        return b"f" + _double(item) if item == item else b"fnan"  # there are many NaNs
    if kind is int:
        return b"i%x" % item  # Python refuses to write thousands of decimal digits
    if kind is str:
        return b"s%b" % item.encode("utf-8", "surrogatepass")
    if kind is bytes:
        return b"b%b" % item
    if item is None:
        return b"n"
    if kind is bool:
        return b"t%d" % item
    if depth == _DEEPEST:
        raise RecursionError
    depth += 1
    if kind is tuple or kind is list:
        return _joined(b"(" if kind is tuple else b"[", [_canonical(part, depth) for part in item])
    if kind is dict:
        pairs = [(_canonical(key, depth), _canonical(value, depth)) for key, value in item.items()]
        return _joined(b":", [part for pair in sorted(pairs) for part in pair])
    if kind is set or kind is frozenset:
        return _joined(b"{", sorted([_canonical(part, depth) for part in item]))
    if kind is complex:
        return _joined(b"c", [_canonical(item.real, depth), _canonical(item.imag, depth)])
    if kind.__module__ == "numpy" and getattr(getattr(item, "dtype", None), "kind", "O") in "biufcSUmM":
        if kind.__name__ == "ndarray" or item.dtype.kind in "mM":
            return _joined(f"a{item.dtype.str}{item.shape}".encode(), [item.tobytes()])
        if item.shape == ():
            value = item.item()
            # a long double is its own Python number, and its bytes have holes
            return _canonical(value, depth) if type(value) is not kind else f"l{item}".encode()
    return _canonical_object(item, depth)


def _canonical_object(item: Any, depth: int) -> bytes:
    """Like a pickle: how the object is made again, and from what; but the parts go by value."""
    try:
        reduce = _dispatch_table.get(type(item))
        # with protocol 5, numpy hands out buffers instead of values
        reduced = reduce(item) if reduce else item.__reduce_ex__(4)
    except Exception:  # for classes and functions among others
        reduced = ""
    if isinstance(reduced, str):  # it goes by its name, or not at all
        return b"p" + _stable_pickle(item)
    make, args, *rest = reduced
    if isinstance(item, set | frozenset):
        args = (frozenset(item),)  # instead of a list in the order of the hashes
    # the rest is a state, and iterators over the parts of a list and of a dict
    parts = [make, args, *(list(part) if isinstance(part, Iterator) else part for part in rest)]
    return _joined(b"o", [_canonical(part, depth) for part in parts])


def _joined(head: bytes, parts: Sequence[bytes]) -> bytes:
    return head + b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _stable_pickle(item: object) -> bytes:
    # without the memo, a pickle does not depend on which parts are one object; a value that
    # contains itself needs the memo
    try:
        file = io.BytesIO()
        pickler = Pickler(file, PROTOCOL)
        pickler.fast = True
        pickler.dump(item)
        return file.getvalue()
    except Exception:
        return encode(item)
