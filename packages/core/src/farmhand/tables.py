"""What a store has, as rows and columns: the parameters of each item, its result, what its record says.

``to_dataframe``, ``to_xarray``, ``where`` and the exports are made of these. A value stays as the task gave
it, except that a quantity becomes a number in SI units and its unit the column's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from farmhand import codec
from farmhand.errors import UnknownName, UsageError
from farmhand.kept import Block, Record, Result, RunInfo, in_order, join_key
from farmhand.quantities import is_quantity, magnitude, unit_of
from farmhand.task import Call
from farmhand.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from farmhand.kept import Counts, Pack

    class Source(Protocol):
        """The part of a store that is read here."""

        def runs(self) -> list[RunInfo]: ...
        def records(self, run: str | None = None) -> Iterator[Record]: ...
        def failures(self, run: str | None = None) -> list[Record]: ...
        def blocks(self, run: str) -> Iterator[Block]: ...
        def packs(self, run: str) -> Iterator[Pack]: ...
        def counts(self, run: str) -> Counts: ...
        def decoded(self, run: str) -> Iterator[tuple[int, Any]]: ...
        def encoded_at(self, run: str, index: int) -> bytes: ...
        def loader(self, run: str) -> Callable[[bytes], Any]: ...


__all__ = [
    "RECORD_COLUMNS",
    "Choice",
    "Column",
    "Columns",
    "Row",
    "arguments_of",
    "described",
    "find",
    "rows",
    "select",
]

#: What a record can add to a row. ``records=True`` adds those after the third, where they say anything.
RECORD_COLUMNS = (
    "run",
    "index",
    "task",
    "key",
    "status",
    "process",
    "started",
    "seconds",
    "attempts",
    "memory",
    "seed",
    "error",
)
_EXACT = frozenset([bool, int, str, bytes, type(None)])
_FEW = 64  # results that are fetched one by one; of more, whole packs are looked through


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows and columns are wanted; from :func:`select`.

    Parameters
    ----------
    runs : sequence of RunInfo
        The runs, in the order in which they began.
    records : tuple of str
        Those of ``RECORD_COLUMNS`` that are wanted.
    failures : bool
        Whether items that failed have a row, too.
    """

    runs: Sequence[RunInfo]
    records: tuple[str, ...] = ()
    failures: bool = False

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks, each once."""
        return list(dict.fromkeys(run.task for run in self.runs))


@dataclass(slots=True)
class Row:
    """One item.

    Parameters
    ----------
    run : RunInfo
        Its run.
    index : int
        Which item of it.
    parameters, results, record : dict
        The cells by the names that they have on their own; no results where it failed.
    done : bool
        Whether it has a result.
    """

    run: RunInfo
    index: int
    parameters: Mapping[str, Any]
    results: Mapping[Any, Any]
    record: Mapping[str, Any]
    done: bool


def select(
    store: Source,
    run: str | RunInfo | Iterable[str | RunInfo] | None = None,
    task: str | None = None,
    records: bool | str | Iterable[str] = False,
    failures: bool = False,
) -> Choice:
    """What the arguments of ``to_dataframe`` and its like mean.

    Raises
    ------
    KeyError
        The store has no such run.
    UsageError
        No run has such a task, or a record has no such column.
    """
    runs = in_order(store.runs())
    if run is not None:
        wanted = [run] if isinstance(run, str | RunInfo) else list(run)
        uids = [each.uid if isinstance(each, RunInfo) else each for each in wanted]
        known = {each.uid for each in runs}
        for uid in uids:
            if uid not in known:
                raise KeyError(uid)
        runs = [each for each in runs if each.uid in uids]
    if task is not None:
        tasks = sorted({each.task for each in runs})
        if tasks and task not in tasks:
            raise UnknownName("task", str(task), tasks)
        runs = [each for each in runs if each.task == task]
    if isinstance(records, bool):
        names = list(RECORD_COLUMNS[3:] if failures else RECORD_COLUMNS[3:-1]) if records else []
        if all(each.seed is None for each in runs):
            names = [name for name in names if name != "seed"]
        if failures and not records:
            names = ["status", "error"]
    else:
        names = [records] if isinstance(records, str) else list(dict.fromkeys(records))
        for name in names:
            if name not in RECORD_COLUMNS:
                raise UnknownName("column of records", str(name), RECORD_COLUMNS)
    choice = Choice(runs, tuple(names), failures)
    if len(choice.tasks) > 1 and "task" not in names:
        choice = replace(choice, records=("task", *names))
    return choice


# -- rows ------------------------------------------------------------------------------------------


def rows(store: Source, choice: Choice) -> Iterator[Row]:
    """A row for each item that ended, one at a time: run by run, by index."""
    for run in choice.runs:
        if choice.failures or set(choice.records) - {"run", "index", "task", "key"}:
            yield from _recorded(store, run, choice)
        else:
            items = _Items(store, run)
            for index, value in store.decoded(run.uid):
                about = _about(run, index, None, choice.records)
                yield Row(run, index, items.at(index), results_of(value), about, True)


def _recorded(store: Source, run: RunInfo, choice: Choice) -> Iterator[Row]:
    # Each of the three readings shows the store as it was when that one began: the records' is the first.
    items = _Items(store, run)
    values: Iterator[tuple[int, Any]] | None = None
    last, value = -1, None
    for record in store.records(run.uid):
        index = record.index
        if values is None:
            values = store.decoded(run.uid)
        about = _about(run, index, record, choice.records)
        if record.status == "done":
            while last < index:
                last, value = next(values, (_NEVER, None))
            if last == index:  # else it was forgotten meanwhile
                yield Row(run, index, items.at(index), results_of(value), about, True)
        elif choice.failures:
            yield Row(run, index, items.at(index), {}, about, False)


_NEVER = 1 << 63


class _Items:
    """The parameters of the items of a run, asked for in ascending order."""

    def __init__(self, store: Source, run: RunInfo) -> None:
        self._described = described(store, run)
        self._last: tuple[int, Mapping[str, Any]] = (-1, {})

    def at(self, index: int) -> Mapping[str, Any]:
        last = self._last
        while last[0] < index:
            last = next(self._described, (_NEVER, {}))
        self._last = last
        return last[1] if last[0] == index else {}


def described(store: Source, run: RunInfo) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The parameters of each item of ``run``, by index; of a large item, its text.

    That is in the place of the one parameter of the task, or where it has others in a column ``item``.
    """
    for block in store.blocks(run.uid):
        if block.payload is None:
            name = run.parameters[0] if len(run.parameters) == 1 else "item"
            texts = block.texts or [""] * len(block.indices)
            for index, text in zip(block.indices, texts, strict=True):
                yield index, {name: text}
        else:
            for index, item in zip(block.indices, codec.decode_items(block.payload), strict=True):
                yield index, arguments_of(item, run.parameters)


def arguments_of(item: Any, parameters: Sequence[str] = ()) -> dict[str, Any]:
    """What ``item`` gives to the task, by the names of the task's parameters.

    Parameters
    ----------
    item : object
        As ``run_tasks`` is given it: one argument, a tuple of all of them, or a :class:`Call`.
    parameters : sequence of str
        The names of the positional parameters. Where there are too few, the third argument is ``arg2``.
    """
    kind = type(item)
    if kind is Call:
        args, kwds = item.args, item.kwds
        if not args:
            return dict(kwds)
    elif isinstance(item, tuple):
        args, kwds = item, {}
        if not parameters:
            parameters = _fields_of(item)
    else:
        return {parameters[0] if parameters else "arg0": item}
    named = dict(zip(parameters, args, strict=False))
    if len(named) < len(args) or kwds.keys() & named.keys():
        named = {
            parameters[place]
            if place < len(parameters) and parameters[place] not in kwds
            else f"arg{place}": arg
            for place, arg in enumerate(args)
        }
    return {**named, **kwds}


def _fields_of(value: tuple[Any, ...]) -> Sequence[str]:
    """The names of a named tuple."""
    fields = getattr(value, "_fields", ())
    named = (
        isinstance(fields, tuple) and len(fields) == len(value) and all(isinstance(f, str) for f in fields)
    )
    return fields if named else ()


def results_of(value: Any) -> Mapping[Any, Any]:
    """The columns of a result: a mapping, a dataclass or a named tuple has several."""
    kind = type(value)
    if kind in codec.PLAIN or kind is str:
        return {"result": value}
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple):
        fields = _fields_of(value)
        return dict(zip(fields, value, strict=True)) if fields else {"result": value}
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        # one that was made with slots, or by an older version of its class, may lack some
        names = [each.name for each in dataclasses.fields(value) if hasattr(value, each.name)]
        return {name: getattr(value, name) for name in names}
    return {"result": value}


def _about(run: RunInfo, index: int, record: Record | None, names: Sequence[str]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for name in names:
        if name == "task":
            about[name] = run.task
        elif record is None:
            about[name] = {"run": run.uid, "index": index, "key": join_key(run.uid, index)}[name]
        else:
            value = getattr(record, name)
            about[name] = str(value) if name == "error" and value is not None else value
    return about


# -- columns ---------------------------------------------------------------------------------------

_PARAMETER, _RESULT, _RECORD = range(3)
_PREFIXES = {_PARAMETER: "parameter_", _RESULT: "result_", _RECORD: "record_"}
_NUMBERS = frozenset([int, float, complex])
_UNITLESS = frozenset([bool, str, bytes, type(None)])


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    slot : int
        What stands for it in :meth:`Columns.cells`: the columns are numbered as they appear.
    name : str
        Unique among the columns.
    unit : str
        The base SI unit of its values; ``''`` for none.
    kind : str
        ``'parameter'``, ``'result'`` or ``'record'``.
    """

    slot: int
    name: str
    unit: str
    kind: str


class Columns:
    """Finds out, from all rows, which columns there are.

    A name that a parameter and a result share stays the parameter's, and the result's column is
    ``result_k``; what the record adds becomes ``record_k``.

    Parameters
    ----------
    choice : Choice
        What is wanted.
    """

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._slots: dict[tuple[int, Any], int] = {}
        self._units: dict[int, tuple[str, str]] = {}  # the unit of a column, and where it was met first
        self._bare: dict[int, str] = {}  # columns with numbers that have no unit, and where the first is
        # the same by section, which is what is looked up for each cell
        self._known: list[tuple[int, dict[Any, int]]] = [(_PARAMETER, {}), (_RESULT, {}), (_RECORD, {})]
        for name in choice.records:
            self._known[_RECORD][1][name] = self._slots[_RECORD, name] = len(self._slots)

    def cells(self, row: Row) -> list[tuple[int, Any]]:
        """The cells of a row, by the slots of their columns.

        Raises
        ------
        UsageError
            A column has values of different units.
        """
        cells = []
        for (section, slots), named in zip(
            self._known, (row.parameters, row.results, row.record), strict=True
        ):
            for name, value in named.items():
                slot = slots.get(name)
                if slot is None:
                    slot = slots[name] = self._slots[section, name] = len(self._slots)
                kind = type(value)
                if kind in _NUMBERS:
                    if slot not in self._bare and value and value - value == 0:
                        self._note(slot, "", name, row)  # zero, infinity and NaN go with every unit
                elif kind not in _UNITLESS and is_quantity(value):
                    unit = unit_of(value)
                    value = magnitude(value)
                    self._note(slot, unit, name, row)
                cells.append((slot, value))
        return cells

    def _note(self, slot: int, unit: str, name: Any, row: Row) -> None:
        here = f"item {row.index} of run {row.run.uid}"
        if unit:
            known = self._units.setdefault(slot, (unit, here))
        else:
            self._bare.setdefault(slot, here)
            known = self._units.get(slot, ("", here))
        other = known if known[0] != unit else ("", self._bare[slot]) if unit and slot in self._bare else None
        if other is not None:
            first, second = (f"in {each or 'no unit'}" for each in (other[0], unit))
            raise UsageError(
                f"{name!r} is {first} in {other[1]}, but {second} in {here}, and cannot be one column. "
                "Choose runs (run=) or a task (task=) that agree"
            )

    def found(self) -> list[Column]:
        """The columns, in their order: parameters as the task has them, results, what records add."""
        slots = dict(self._slots)
        if all(section == _RECORD for section, _ in slots):  # no rows: what there would be
            for name in [name for run in self._choice.runs for name in run.parameters]:
                slots.setdefault((_PARAMETER, name), len(slots))
            slots[_RESULT, "result"] = len(slots)
        order = {name: place for place, name in enumerate(_unique(self._choice.runs))}
        keys = sorted(
            slots, key=lambda key: (key[0], order.get(key[1], _NEVER) if key[0] == _PARAMETER else 0)
        )
        owners: dict[str, tuple[int, Any]] = {}
        for key in keys:
            owners.setdefault(str(key[1]), key)
        names: dict[str, tuple[int, Any]] = {}
        for key in keys:
            name = str(key[1])
            while name in names or owners.get(name, key) != key:
                name = _PREFIXES[key[0]] + name
            names[name] = key
        found = [
            Column(slots[key], name, self._units.get(slots[key], ("", ""))[0], _PREFIXES[key[0]][:-1])
            for name, key in names.items()
        ]
        # where there are several tasks, what follows is easier to read
        return sorted(found, key=lambda column: names[column.name] != (_RECORD, "task"))


def _unique(runs: Iterable[RunInfo]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.parameters))


# -- where -----------------------------------------------------------------------------------------


def find(store: Source, wanted: Mapping[str, Any]) -> list[Result]:
    """The results of the items that have these parameters; no other result is decoded.

    Raises
    ------
    UsageError
        No item has a parameter of such a name.
    """
    seen: dict[str, None] = {}
    results: list[Result] = []
    items = False
    tests = [(name, _is_predicate(value), value) for name, value in wanted.items()]
    for run in store.runs():
        places: dict[int, tuple[Any, str]] = {}
        for block in store.blocks(run.uid):
            items = True
            places.update(_matching(block, run, wanted, tests, seen))
        results += _results_at(store, run.uid, places)
    for name in wanted:
        if items and name not in seen:
            raise UnknownName("parameter of any item", name, list(seen))
    return results


def _matching(
    block: Block,
    run: RunInfo,
    wanted: Mapping[str, Any],
    tests: Sequence[tuple[str, bool, Any]],
    seen: dict[str, None],
) -> Iterator[tuple[int, tuple[Any, str]]]:
    """Index, item and text of the items of a block that match; the names of all parameters go to ``seen``."""
    if block.payload is None:
        seen.update(dict.fromkeys(run.parameters))
        yield from _matching_large(block, run, wanted)
        return
    for index, item in zip(block.indices, codec.decode_items(block.payload), strict=True):
        arguments = arguments_of(item, run.parameters)
        if not arguments.keys() <= seen.keys():
            seen.update(dict.fromkeys(arguments))
        try:
            for name, is_predicate, value in tests:
                if name not in arguments:
                    break
                given = arguments[name]
                if not (value(given) if is_predicate else _same(given, value)):
                    break
            else:
                yield index, (item, "")
        except Exception as error:
            error.add_note(f"where(...) asked this of item {index} of run {run.uid}: {codec.short(item)}")
            raise


def _matching_large(
    block: Block, run: RunInfo, wanted: Mapping[str, Any]
) -> Iterator[tuple[int, tuple[Any, str]]]:
    """Of large items nothing is there to look at, but fingerprints tell which are equal to a value."""
    texts = block.texts or [""] * len(block.indices)
    if not wanted:
        yield from zip(block.indices, ((None, text) for text in texts), strict=True)
        return
    [name, *others], value = wanted, next(iter(wanted.values()))
    if others or run.parameters != (name,) or _is_predicate(value):
        return
    # all items that give the task this one argument
    equal = {codec.fingerprint(item) for item in (value, (value,), Call((value,)), Call((), {name: value}))}
    for index, mark, text in zip(block.indices, block.fingerprints or texts, texts, strict=True):
        if mark in equal:
            yield index, (None, text)


def _is_predicate(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _same(value: Any, wanted: Any) -> bool:
    """Whether two values are equal, which arrays, quantities and NaN do not tell in one word."""
    if value is wanted:
        return True
    if type(value) in _EXACT and type(wanted) in _EXACT:
        return bool(value == wanted)
    if is_quantity(value) or is_quantity(wanted):
        if unit_of(value) != unit_of(wanted):
            return False
        value, wanted = (magnitude(each) if is_quantity(each) else each for each in (value, wanted))
    try:
        equal = value == wanted
        if isinstance(equal, bool):
            return equal or (value != value and wanted != wanted)
        if hasattr(equal, "shape"):
            import numpy

            if numpy.shape(value) != numpy.shape(wanted):
                return False
            return bool(numpy.all(numpy.asarray(equal) | ((value != value) & (wanted != wanted))))
        return bool(equal)
    except Exception:  # a tuple with arrays in it, for example
        try:
            return codec.fingerprint(value) == codec.fingerprint(wanted)
        except Exception:
            return False


def _results_at(store: Source, run: str, places: Mapping[int, tuple[Any, str]]) -> Iterator[Result]:
    load = store.loader(run)
    if len(places) <= _FEW:
        for index, (item, text) in places.items():
            try:
                data = store.encoded_at(run, index)
            except KeyError:  # it failed, or has not ended
                continue
            yield Result(join_key(run, index), index, item, text, load(data))
        return
    for pack in store.packs(run):
        for place, index in enumerate(pack.indices):
            if index in places:
                value = load(pack.values[place])
                yield Result(join_key(run, index), index, *places[index], value)
