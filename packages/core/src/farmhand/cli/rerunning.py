"""The command ``rerun``: one item, alone, in this process, perhaps with a debugger."""

from __future__ import annotations

import time

from farmhand import codec
from farmhand.cli.stores import arguments_text, find_item, open_existing, record_of_item
from farmhand.cli.terminal import Output, indented
from farmhand.rerun import Rerun, Surroundings, Tried
from farmhand.store import DataManager, Record, join_key
from farmhand.wording import duration_text, printable, when_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["rerun"]


def rerun(options: Namespace, out: Output) -> int:
    """Run one stored item again; 1 when it fails, or returns something else than what is stored."""
    with open_existing(options.store) as store:
        run, index = find_item(store, options.item, options.run)
        key, record = join_key(run.uid, index), record_of_item(store, run, index)
        with Surroundings(store, run, task=options.task) as surroundings:
            again = Rerun(surroundings, store, run, index, record.process or 0 if record else 0)
            told = printable(arguments_text(run, again.item), 200)
            named = f" as {options.task}" if options.task else ""
            out.title(f"{printable(run.task, 80)}({told}), item {index} of run {run.uid}{named}")
            folder = run.provenance.get("folder")
            if folder and not surroundings.moved:
                out.line(f"(its folder {printable(folder)} is not there: it runs in this one)")
            out.flush()
            tried = again.run()
            if tried.error is not None:
                _tell_error(tried, record, out)
                if options.pdb:
                    import pdb

                    out.flush()
                    pdb.post_mortem(tried.traceback)
                return 1
            return _tell_result(tried, record, store, key, out)


def _tell_error(tried: Tried, record: Record | None, out: Output) -> None:
    import traceback

    error = tried.error
    assert error is not None
    what = f" ({tried.what})" if tried.what else ""
    out.line(f"It failed after {duration_text(tried.seconds)}{what}:")
    out.line(indented("".join(traceback.format_exception(type(error), error, tried.traceback))))
    if record is not None and str(record.error) == f"{_name_of(error)}: {error}":
        out.line(f"In its run it failed in the same way, after {duration_text(record.seconds)}.")
    else:
        out.line(f"{_before(record)}.")


def _tell_result(tried: Tried, record: Record | None, store: DataManager, key: str, out: Output) -> int:
    out.line(f"It returned, after {duration_text(tried.seconds)}:")
    out.line(indented(codec.short(tried.value)))
    if record is None or record.status != "done":
        out.line(f"{_before(record)}.")
        return 0
    stored = store[key]
    if codec.fingerprint(stored) == codec.fingerprint(tried.value):
        out.line(f"{_before(record)}: with the same result.")
        return 0
    out.line(f"{_before(record)}: with another result:")
    out.line(indented(codec.short(stored)))
    return 1


def _name_of(error: BaseException) -> str:
    kind = type(error)
    own = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _before(record: Record | None) -> str:
    """How the item ended in its run."""
    if record is None:
        return "In its run it has not ended"
    when = when_text(record.started + record.seconds, time.time())
    how = "was done" if record.error is None else f"failed ({printable(str(record.error), 200)})"
    return f"In its run it {how} after {duration_text(record.seconds)}, at {when}"
