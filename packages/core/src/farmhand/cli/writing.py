"""The commands that change a store: ``merge``, ``forget``, ``vacuum``."""

from __future__ import annotations

import os
from contextlib import ExitStack

from farmhand.cli.stores import find_item, must_exist, open_existing
from farmhand.cli.terminal import Output, plural
from farmhand.errors import UsageError
from farmhand.merge import Merged, merge
from farmhand.plugins import Plugins
from farmhand.store import join_key
from farmhand.wording import printable, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["forget", "merge_stores", "vacuum"]

_NAMED = 5  # pairs that are named when two stores disagree


def merge_stores(options: Namespace, out: Output) -> int:
    """Add stores to another; 1 when both had a pair with different values."""
    for path in options.sources:
        must_exist(path)
    if os.path.lexists(options.target) or options.target == ":memory:":
        must_exist(options.target)
        for path in options.sources:
            if os.path.samefile(path, options.target):
                raise UsageError(f"{path} cannot be merged into itself; name two stores")
    disagree = False
    with ExitStack() as stack:
        opened = [stack.enter_context(Plugins().open_store(path)) for path in options.sources]
        # made only now: a source that cannot be opened leaves no empty target
        target = stack.enter_context(Plugins().open_store(options.target))
        for path, source in zip(options.sources, opened, strict=True):
            merged = merge(source, target)
            disagree = disagree or bool(merged.conflicts)
            if options.json:
                out.json(
                    {
                        "source": path,
                        "target": options.target,
                        "runs": merged.runs,
                        "done": merged.done,
                        "failed": merged.failed,
                        "files": merged.files,
                        "pairs": merged.pairs,
                        "conflicts": [list(conflict) for conflict in merged.conflicts],
                    }
                )
            else:
                _tell(path, options.target, merged, out)
    return 1 if disagree else 0


def _tell(source: str, target: str, merged: Merged, out: Output) -> None:
    parts = [plural(merged.runs, "run")] if merged.runs else []
    parts += [plural(merged.done, "result")] if merged.done else []
    parts += [f"{merged.failed:,} failed"] if merged.failed else []
    parts += [plural(merged.pairs, "pair")] if merged.pairs else []
    out.line(f"{source} -> {target}: {', '.join(parts) or 'nothing new'}")
    if merged.conflicts:
        count = len(merged.conflicts)
        out.line(f"  {plural(count, 'pair')} of {target} stayed, with another value in {source}:")
        for session, key in merged.conflicts[:_NAMED]:
            out.line(f"    {printable(key)} in session {printable(session)}")
        if count > _NAMED:
            out.line(f"    ... and {count - _NAMED:,} more")


def forget(options: Namespace, out: Output) -> int:
    """Take away how items ended, so that they run again."""
    with open_existing(options.store) as store:
        found = [find_item(store, item, options.run) for item in options.items]
        count = store.forget([join_key(run.uid, index) for run, index in found])
        if options.json:
            out.json({"store": store.basepath, "forgotten": count})
            return 0
        out.line(f"{options.store}: {plural(count, 'item')} forgotten")
        if count < len(set(options.items)):
            out.line(
                f"  {len(set(options.items)) - count:,} had not ended, so that there was nothing to forget"
            )
    return 0


def vacuum(options: Namespace, out: Output) -> int:
    """Give back room that nothing needs."""
    before = _size(options.store)
    with open_existing(options.store) as store:
        store.vacuum()
    after = _size(options.store)
    if options.json:
        out.json({"store": os.path.abspath(options.store), "before": before, "after": after})
    else:
        out.line(f"{options.store}: {size_text(before)} before, {size_text(after)} now")
    return 0


def _size(path: str) -> int:
    """Bytes of a store, with what is beside it under the same name."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        beside = [
            each for each in os.listdir(folder) if each == name or each.startswith((f"{name}-", f"{name}."))
        ]
    except OSError:
        return 0
    return sum(_size_of(os.path.join(folder, each)) for each in beside)


def _size_of(path: str) -> int:
    total = 0
    if not os.path.isdir(path):
        try:
            return os.path.getsize(path)
        except OSError:  # it has just gone
            return 0
    for folder, _, names in os.walk(path):
        total += sum(_size_of(os.path.join(folder, name)) for name in names)
    return total
