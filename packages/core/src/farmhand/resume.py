"""What a store has already, by the identity of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from farmhand.errors import StoreError
from farmhand.feed import Identity
from farmhand.kept import in_order
from farmhand.store import DataManager

__all__ = ["done_before"]


def done_before(
    store: DataManager, task: str, identity: Identity, failed_too: bool = False
) -> Counter[str | bytes]:
    """How often each identity has a result of the task of this name.

    Parameters
    ----------
    store : DataManager
        Where results of earlier runs are.
    task : str
        The name of the task; another task's results of the same items are other results.
    identity : Identity
        What makes items the same.
    failed_too : bool
        Whether items that failed, and that no later run has done, count as well.

    Raises
    ------
    StoreError
        The items of an earlier run cannot be read, for example because their class is gone.
    """
    done: Counter[str | bytes] = Counter()
    failed: Counter[str | bytes] = Counter()
    for run in in_order(store.runs()):
        if run.task != task:
            continue
        done_now = Counter(_names(store, run.uid, identity, store.done_indices(run.uid)))
        done.update(done_now)
        if failed_too:
            indices = (record.index for record in store.failures(run.uid))
            # what failed before and was done now is one item, and so is what failed twice
            failed = (failed - done_now) | Counter(_names(store, run.uid, identity, indices))
    done.update(failed)
    return done


def _names(store: DataManager, run: str, identity: Identity, indices: Iterator[int]) -> Iterator[str | bytes]:
    """The identities of these items of a run, as far as they can be known."""
    wanted = next(indices, None)
    for block in store.blocks(run):
        if wanted is None:
            break
        if wanted > block.indices[-1]:
            continue
        try:
            names = identity.of_block(block)
        except Exception as error:
            raise StoreError(
                store.basepath,
                f"cannot resume: the items of an earlier run cannot be read: {error}",
                "Import or define what they are made of, as that run did, or give both runs a key",
            ) from error
        for index, name in zip(block.indices, names, strict=True):
            if index == wanted:
                if name is not None:
                    yield name
                wanted = next(indices, None)
