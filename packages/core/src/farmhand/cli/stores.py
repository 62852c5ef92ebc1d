"""Finding what the user has named: a store that is there, a run in it, an item; none of it unpickled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

from farmhand import codec, owner
from farmhand.errors import UsageError
from farmhand.kept import in_order
from farmhand.plain import plain_value
from farmhand.plugins import Plugins
from farmhand.store import Block, Counts, DataManager, Record, RunInfo
from farmhand.task import Call
from farmhand.wording import (
    RemainingWords,
    clock_text,
    printable,
    processes_text,
    remaining_text,
    state_text,
    when_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farmhand.progress import Snapshot

__all__ = [
    "Items",
    "arguments_text",
    "find_item",
    "find_run",
    "item_name",
    "last_stored",
    "listed",
    "must_exist",
    "open_existing",
    "open_run_text",
    "quoted",
    "record_of_item",
    "runs_of",
    "short_uids",
    "snapshots_of",
    "state_of",
]

_SHORT = 6  # letters of a uid that are shown at least
_AFTER = 0.01  # seconds after an item's end in which it has ended for sure: sums of times are not exact
_ANSWER = 1.0  # seconds in which farms show how far they are: they do so ten times a second


def must_exist(path: str) -> None:
    """A path that was mistyped must not become a new store.

    Raises
    ------
    UsageError
        Nothing is there, or it is no store; says what is near.
    """
    if path == ":memory:":
        raise UsageError("':memory:' is a store within one program; name a file or a folder")
    if not os.path.exists(path):
        raise UsageError(f"there is no store {path!r}{_near(path)}")
    if os.path.isfile(path) and not os.path.getsize(path):
        raise UsageError(f"{path!r} is an empty file, and no store yet")


def open_existing(path: str) -> DataManager:
    """The store at ``path``, which must be there."""
    must_exist(path)
    return Plugins().open_store(path)


def quoted(path: str) -> str:
    """A path as it is to be typed."""
    import shlex

    return shlex.quote(printable(path))


def _near(path: str) -> str:
    """What somebody may have meant."""
    import difflib

    folder, name = os.path.split(path.rstrip(os.sep))
    if folder and not os.path.isdir(folder):
        return f": there is no folder {folder!r}"
    try:
        names = [each for each in os.listdir(folder or ".") if each[:1] != "."]
    except OSError:
        return ""
    endings = tuple(ending for ending in Plugins().store_endings() if ending[:1] == ".")
    stores = sorted(each for each in names if each.lower().endswith(endings))
    near = [each for each in stores if name and each.startswith(f"{name}.")]
    near = near or difflib.get_close_matches(name, stores, n=3)
    near = near or difflib.get_close_matches(name, names, n=3) or stores[:5]
    if not near:
        return f" in {folder or 'this folder'}, nor any other"
    there = ", ".join(os.path.join(folder, each) for each in near)
    return f"; there {'is' if len(near) == 1 else 'are'}: {there}"


# -- runs and items ------------------------------------------------------------------------------------


def state_of(run: RunInfo) -> str:
    """``'finished'``, ``'stopped'``, ``'broken'``, ``'running'``, ``'killed'``, or ``'unknown'``.

    That is: it runs, or was killed, on another computer.
    """
    if run.outcome:
        return run.outcome
    alive = owner.is_alive(run.owner)
    return "unknown" if alive is None else "running" if alive else "killed"


def runs_of(store: DataManager) -> list[RunInfo]:
    """Every run, in the order in which they began, also those that were merged later."""
    return in_order(store.runs())


def short_uids(runs: Sequence[RunInfo]) -> dict[str, str]:
    """By uid, the beginning of it that no other run has."""
    uids = {run.uid for run in runs}
    longest = max(map(len, uids), default=0)
    length = _SHORT
    while length < longest and len({uid[:length] for uid in uids}) < len(uids):
        length += 1
    return {uid: uid[:length] for uid in uids}


def item_name(names: dict[str, str], run: str, index: int) -> str:
    """How :func:`find_item` wants an item called: by its index alone where there is one run."""
    return str(index) if len(names) == 1 else f"{names.get(run, run)}-{index}"


def find_run(runs: Sequence[RunInfo], text: str) -> RunInfo:
    """The run whose uid begins like this.

    Raises
    ------
    UsageError
        There is none, or more than one.
    """
    found = [run for run in runs if run.uid == text] or [run for run in runs if run.uid.startswith(text)]
    if len(found) == 1 and text:
        return found[0]
    if len(found) > 1:
        raise UsageError(f"several runs begin with {text!r}: {listed(found, runs)}")
    raise UsageError(f"there is no run {text!r}; there {listed(runs, runs)}")


def snapshots_of(runs: Iterable[RunInfo]) -> dict[str, Snapshot]:
    """By uid, how far those of the runs are that can be asked, and answer soon.

    They are asked, since a store knows nothing of the items that run now, nor of how many processes
    share the rest; and what they say is what everybody else is shown. Whoever is not told (the farm
    is suspended, another user's, on another computer, or of another version) does without.
    """
    from select import select

    from farmhand.control import connect
    from farmhand.messages import MessageError

    asked = {}
    found: dict[str, Snapshot] = {}
    for run in runs:
        address = run.provenance.get("control")
        if isinstance(address, str) and state_of(run) == "running":
            try:
                asked[run.uid] = connect(address)
            except OSError:
                continue
            asked[run.uid].watch()
    deadline = time.monotonic() + _ANSWER
    try:
        while len(found) < len(asked) and (left := deadline - time.monotonic()) > 0:
            waiting = {uid: remote for uid, remote in asked.items() if uid not in found}
            select([remote.stream for remote in waiting.values()], [], [], left)
            for uid, remote in waiting.items():
                try:
                    found.update((uid, each) for each in remote.snapshots()[-1:] if each.run == uid)
                except MessageError:
                    pass  # it has hung up
                if remote.closed and uid not in found:
                    del asked[uid]
    finally:
        for remote in asked.values():
            remote.close()
    return found


def open_run_text(
    store: DataManager,
    run: RunInfo,
    counts: Counts,
    names: Mapping[str, str],
    now: float,
    snapshot: Snapshot | None = None,
) -> str:
    """A run that has not ended, in a sentence; with what it has shown of itself, if anything."""
    state, total = state_of(run), run.numitems
    ended = counts.done + counts.failed
    far = f"{ended:,} items have ended" if total is None else f"{ended:,} of {total:,} items have ended"
    last = last_stored(store, run)
    if last:
        far += f", the last one {_ago(now - last)}"
        if state == "unknown" or (state == "running" and snapshot is None):
            far += _left_then(store, run, ended, last)
    who = f"{names[run.uid]} ({printable(run.task, 40)})"
    if state == "killed":
        return f"{who} was killed: {far}. With resume=True the rest will run."
    if state == "unknown":
        return f"{who} runs on {printable(run.computer.partition('.')[2])}, or was killed there: {far}."
    number = run.owner.split("/")[-2:-1]
    line = f"{who} runs in process {''.join(number)}: {far}"
    if snapshot is not None:
        doing = state_text(snapshot)
        if doing != "running":
            line += f"; {doing}"
        if any(process.computer for process in snapshot.processes):
            line += f"; {processes_text(snapshot)}"
        if left := RemainingWords().of(snapshot, now):
            line += f"; {left.whole}"
    return f"{line}."


def _left_then(store: DataManager, run: RunInfo, ended: int, last: float) -> str:
    """What the records say of the rest of a run that cannot be asked: as of the last one.

    As of now would be a guess: it may have been suspended, or killed, and its computer's clock may differ.
    """
    if run.numitems is None or ended >= run.numitems:
        return ""
    from farmhand.replay import estimate_now

    rest = estimate_now(store, run, last + _AFTER)
    return "" if rest is None else f", with {remaining_text(rest)} left then"


def last_stored(store: DataManager, run: RunInfo) -> float | None:
    """When something was stored last; of a run that has ended, that is as good as its end."""
    return run.ended if run.ended is not None else store.last_ended(run.uid) or None


def _ago(seconds: float) -> str:
    return f"{clock_text(seconds)} ago" if seconds >= 1 else "just now"


def find_item(store: DataManager, text: str, run: str | None = None) -> tuple[RunInfo, int]:
    """The run and the index of an item.

    Parameters
    ----------
    store : DataManager
        Where it is.
    text : str
        Its key; or the beginning of the run's uid, a dash, and the index; or the index, where one run is
        meant.
    run : str, optional
        The run, by the beginning of its uid.

    Raises
    ------
    UsageError
        There is no such item, or it is not clear which one.
    """
    runs = runs_of(store)
    if run is not None:
        runs = [find_run(runs, run)]
    prefix, dash, index = text.rpartition("-")
    if not (index.isdecimal() and len(index) <= 18) or bool(dash) != bool(prefix):
        raise UsageError(f"{text!r} is no item: give its key, RUN-INDEX, or its index in the one run")
    if not prefix:
        if not runs:
            raise UsageError(f"there is no item {text}: the store has no runs")
        if len(runs) > 1:
            names = short_uids(runs)
            having = [each for each in runs if each.numitems is None or each.numitems > int(index)]
            examples = ", ".join(f"{names[each.uid]}-{int(index)}" for each in having[-3:])
            if not having:
                raise UsageError(f"none of the {len(runs)} runs has an item {index}")
            raise UsageError(f"there are {len(runs)} runs: say which item {index} is meant, as in {examples}")
    info = find_run(runs, prefix) if prefix else runs[0]
    return info, int(index)


def listed(found: Sequence[RunInfo], runs: Sequence[RunInfo]) -> str:
    """Some runs in words."""
    if not found:
        return "are none"
    names = short_uids(runs)
    now = time.time()
    told = [
        f"{names[run.uid]} ({printable(run.task, 40)}, {state_of(run)}, {when_text(run.started, now)})"
        for run in found[-5:]
    ]
    more = f", and {len(found) - 5:,} others" if len(found) > 5 else ""
    return f"{'is' if len(found) == 1 else 'are'} {', '.join(told)}{more}"


# -- items, as far as they can be told without running any code ------------------------------------------


class Items:
    """The items of one run, in words, read only as far as they are asked for.

    Parameters
    ----------
    store : DataManager
        Where they are.
    run : RunInfo
        Whose.
    """

    def __init__(self, store: DataManager, run: RunInfo) -> None:
        self._run = run
        self._blocks = iter(store.blocks(run.uid))
        self._block: Block | None = None
        self._texts: list[str] = []

    def text(self, index: int) -> str:
        """What item ``index`` was, ``''`` where that cannot be told; of ascending indices."""
        while self._block is None or self._block.indices[-1] < index:
            self._block = next(self._blocks, None)
            self._texts = []
            if self._block is None:
                self._blocks = iter(())
                return ""
        if index not in self._block.indices:
            return ""
        if not self._texts:
            self._texts = self._told(self._block)
        return self._texts[self._block.indices.index(index)]

    def _told(self, block: Block) -> list[str]:
        if block.payload is None:
            return list(block.texts or [""] * len(block.indices))
        encoded = codec.split_each(block.payload)
        if encoded is not None:
            return [self._of_plain(data) for data in encoded]
        try:
            return [arguments_text(self._run, item) for item in plain_value(block.payload)]
        except Exception:  # not all of them are plain
            return [""] * len(block.indices)

    def _of_plain(self, data: bytes) -> str:
        try:
            return arguments_text(self._run, plain_value(data))
        except Exception:
            return ""


def record_of_item(store: DataManager, run: RunInfo, index: int) -> Record | None:
    """How an item ended; None when it has not."""
    try:
        return store.record_at(run.uid, index)
    except KeyError:
        return None


def arguments_text(run: RunInfo, item: Any) -> str:
    """An item as the arguments of the task: ``'k=3, mode='fast''``."""
    args = item.args if type(item) is Call else item if isinstance(item, tuple) else (item,)
    names = [f"{name}=" for name in run.parameters[: len(args)]]
    names += [""] * (len(args) - len(names))
    told = [f"{name}{codec.short(arg)}" for name, arg in zip(names, args, strict=True)]
    if type(item) is Call:
        told += [f"{name}={codec.short(value)}" for name, value in item.kwds.items()]
    return ", ".join(told)
