"""The results of a store for other programs: CSV, JSON lines, Parquet."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from farmhand.errors import StoreError, UnknownName, UsageError
from farmhand.quantities import is_quantity
from farmhand.tables import Columns, rows, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, TypeAlias

    from farmhand.kept import RunInfo
    from farmhand.tables import Choice, Source

    Writer: TypeAlias = Callable[[Source, Choice, BinaryIO, str | None], int]

__all__ = ["FORMATS", "export"]

_BATCH = 1 << 18  # characters that are put aside, or written, together


def export(
    store: Source,
    format: str,
    out: str | os.PathLike[str] | Any,
    *,
    run: str | RunInfo | Iterable[str | RunInfo] | None = None,
    task: str | None = None,
    records: bool | str | Iterable[str] = False,
    failures: bool = False,
) -> int:
    """Write the results of ``store`` as a table, with the rows and columns of ``to_dataframe``.

    CSV and JSON lines are written row by row, so that no table has to fit into memory, and need no
    other package. A cell that is no number and no text is written as JSON, and as text where that is
    impossible. Quantities are in base SI units, which the head of a CSV file has in brackets:
    ``v [V]``. In JSON lines a row has the columns that it has, and NaN is null.

    Parameters
    ----------
    store : DataManager
        The store.
    format : str
        ``'csv'``, ``'jsonl'`` or ``'parquet'`` (which needs pandas and pyarrow).
    out : path or file
        A file that is there as a whole or, when anything goes wrong, as it was before; or an open
        file, such as ``sys.stdout``.
    run, task, records, failures
        As for ``to_dataframe``.

    Returns
    -------
    int
        How many rows there are.

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    write = FORMATS.get(format)
    if write is None:
        raise UnknownName("format of an export", str(format), list(FORMATS))
    choice = select(store, run, task, records, failures)
    if not isinstance(out, str | os.PathLike):
        file = getattr(out, "buffer", out)
        return write(store, choice, file, None)
    path = os.path.abspath(out)
    try:
        if _is_stream(path):
            with open(path, "wb") as file:
                return write(store, choice, file, None)
        path = os.path.realpath(path)  # a link stays a link
        with _replacing(path) as file:
            return write(store, choice, file, os.path.dirname(path))
    except OSError as error:
        problem = f"the table cannot be written ({error.strerror or error})"
        raise StoreError(str(out), problem, "What was there before is unchanged") from error


def _is_stream(path: str) -> bool:
    """Whether ``path`` is a pipe, a device, or another name of an open file such as standard output."""
    if path.startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return True
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
    """A file for writing that becomes ``path`` once it is complete and on the disk."""
    import tempfile

    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder; give the name of a file in it")
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise UsageError(f"{path} cannot be written: there is no folder {folder}; create it first")
    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{name[:100]}.", suffix=".part", dir=folder
    )  # for us alone
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """The rights that the user's new files do not have."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        known = os.umask(0o077)  # there is no other way to ask; for an instant, other threads have this one
        os.umask(known)
        return known


# -- rows on their way ---------------------------------------------------------------------------


class _Aside:
    """Rows that were put aside as text, until it is known which columns there are."""

    def __init__(self, columns: Columns, text: Callable[[Any], str], folder: str | None) -> None:
        import tempfile

        self._columns = columns
        self._text = text
        # it has no name, and is for us alone
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() does it
        self._layouts: dict[tuple[int, ...], int] = {}
        self.count = 0

    def take(self, found: Iterable[Any]) -> None:
        from marshal import dump

        text, size = self._text, 0
        batch: list[tuple[int, list[str]]] = []
        for row in found:
            cells = self._columns.cells(row)
            layout = tuple([slot for slot, _ in cells])
            number = self._layouts.setdefault(layout, len(self._layouts))
            texts = [text(value) for _, value in cells]
            batch.append((number, texts))
            self.count += 1
            size += 64 + sum(map(len, texts))
            if size > _BATCH:
                dump(batch, self._file)
                batch, size = [], 0
        dump(batch, self._file)

    def give(self) -> Iterator[tuple[list[int], list[str]]]:
        """The slots and the texts of each row."""
        from marshal import load

        layouts = list(map(list, self._layouts))
        self._file.seek(0)
        seen = 0
        while seen < self.count:
            batch = load(self._file)
            seen += len(batch)
            for number, texts in batch:
                yield layouts[number], texts

    def close(self) -> None:
        self._file.close()


def _put_aside(store: Source, choice: Choice, text: Callable[[Any], str], folder: str | None) -> Any:
    columns = Columns(choice)
    aside = _Aside(columns, text, folder)
    try:
        aside.take(rows(store, choice))
    except BaseException:
        aside.close()
        raise
    return aside, columns.found()


def _write_csv(store: Source, choice: Choice, file: BinaryIO, folder: str | None) -> int:
    import csv

    aside, columns = _put_aside(store, choice, _csv_text, folder)
    with contextlib.closing(aside):
        out = _Lines(file)
        writer = csv.writer(out, lineterminator="\r\n")  # so that a lone \r in a cell is quoted
        writer.writerow([f"{c.name} [{c.unit}]" if c.unit else c.name for c in columns])
        order = [column.slot for column in columns]
        for slots, texts in aside.give():
            if slots == order:  # as in most tables all are
                writer.writerow(texts)
            else:
                cells = dict(zip(slots, texts, strict=True))
                writer.writerow([cells.get(slot, "") for slot in order])
        out.flush()
    return int(aside.count)


def _write_jsonl(store: Source, choice: Choice, file: BinaryIO, folder: str | None) -> int:
    aside, columns = _put_aside(store, choice, json_text, folder)
    with contextlib.closing(aside):
        out = _Encoded(file)
        names = {column.slot: json_text(column.name) + ": " for column in columns}
        order = [column.slot for column in columns]
        for slots, texts in aside.give():
            if slots != order:
                cells = dict(zip(slots, texts, strict=True))
                slots = [slot for slot in order if slot in cells]
                texts = [cells[slot] for slot in slots]
            cells_of = zip(slots, texts, strict=True)
            out.write("{" + ", ".join([names[slot] + text for slot, text in cells_of]) + "}\n")
        out.flush()
    return int(aside.count)


class _Encoded:
    """Text for a file of bytes. Half a pair of surrogates is escaped, in the way of JSON."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        self._waiting.append(text)
        self._size += len(text)
        if self._size > _BATCH:
            self.flush()

    def flush(self) -> None:
        self._file.write("".join(self._waiting).encode("utf-8", "backslashreplace"))
        self._waiting.clear()
        self._size = 0


class _Lines(_Encoded):
    """What the CSV writer writes, with the ends of lines that this system has."""

    def write(self, text: str) -> None:
        super().write(text[:-2] + "\n")


# -- cells as text -------------------------------------------------------------------------------


def _csv_text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return ""
    if kind is float or kind is int or kind is bool:
        return _number(value)
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, str):
        return plain
    if isinstance(plain, float):
        return repr(float(plain))  # numpy's are floats, too, and say so
    if isinstance(plain, int):
        return _number(plain if isinstance(plain, bool) else int(plain))
    return json_text(plain)


def _number(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python refuses to write thousands of decimal digits
        return hex(value)


def json_text(value: Any) -> str:
    """``value`` as JSON, on one line; what JSON does not know is text."""
    kind = type(value)
    if kind is float:
        return repr(value) if value - value == 0 else "null"
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind is int:
        text = _number(value)
        return text if text[:2] != "0x" and text[:3] != "-0x" else f'"{text}"'
    import json

    return json.dumps(_jsonable(value, 0), ensure_ascii=False, allow_nan=False)


_DEEPEST = 50  # levels of lists in lists; what contains itself ends there as text


def _jsonable(value: Any, depth: int) -> Any:
    value = _plain(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        number = int(value)
        return number if number.bit_length() < 10_000 else hex(number)
    if depth == _DEEPEST:
        return _text(value)
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else _text(key): _jsonable(each, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(each, depth + 1) for each in value]
    return _text(value)


def _plain(value: Any) -> Any:
    """``value`` by what Python has itself, on its first level."""
    if isinstance(value, str | int | float | list | tuple | Mapping | set | frozenset) and not is_quantity(
        value
    ):
        return value
    if is_quantity(value):  # within a list, where it can have a unit of its own
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(type(value), "tolist") and hasattr(type(value), "dtype"):  # numpy's
        return value.tolist()
    if hasattr(type(value), "isoformat"):
        return value.isoformat()
    if hasattr(type(value), "__dataclass_fields__"):
        import dataclasses

        return {each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}
    return None if value is None else _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return object.__repr__(value)


# -- Parquet ---------------------------------------------------------------------------------------


def _write_parquet(store: Source, choice: Choice, file: BinaryIO, folder: str | None) -> int:
    from farmhand.dataframes import needed, to_dataframe

    for name in ("pandas", "pyarrow"):
        needed(name, "Parquet")
    frame = to_dataframe(store, choice)
    for name in frame.columns:
        frame[name] = _for_parquet(frame[name])
    frame.to_parquet(file, engine="pyarrow", index=False)
    return len(frame)


def _for_parquet(column: Any) -> Any:
    """A column of what Parquet knows: what it does not is text, as in CSV."""
    import pyarrow

    if column.dtype != object:
        return column.map(_text) if column.dtype.kind == "c" else column
    cells = [_plain_deep(cell) for cell in column]
    try:
        pyarrow.array(cells)
    except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
        texts = (None if cell is None else _csv_text(cell) for cell in column)
        # half a pair of surrogates is escaped, as in the other formats
        cells = [
            None if text is None else text.encode("utf-8", "backslashreplace").decode() for text in texts
        ]
    return type(column)(cells, index=column.index, dtype=object)


def _plain_deep(cell: Any) -> Any:
    """Arrays of several dimensions as lists in lists, and what no table knows as text."""
    if isinstance(cell, list | tuple):
        return [_plain_deep(each) for each in cell]
    if hasattr(type(cell), "tolist") and hasattr(type(cell), "dtype"):
        return cell.tolist()
    return cell


FORMATS: Mapping[str, Writer] = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}
