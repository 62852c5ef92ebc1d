"""What a store has already, by the identity of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from farmhand.errors import StoreError
from farmhand.feed import Identity
from farmhand.store import DataManager

__all__ = ["done_before"]


def done_before(store: DataManager, task: str, identity: Identity) -> Counter[str | bytes]:
    """How often each identity has a result of the task of this name.

    Parameters
    ----------
    store : DataManager
        Where results of earlier runs are.
    task : str
        The name of the task; another task's results of the same items are other results.
    identity : Identity
        What makes items the same.

    Raises
    ------
    StoreError
        The items of an earlier run cannot be read, for example because their class is gone.
    """
    return Counter(name for name in _identities(store, task, identity) if name is not None)


def _identities(store: DataManager, task: str, identity: Identity) -> Iterator[str | bytes | None]:
    for run in store.runs():
        if run.task != task:
            continue
        done = store.done_indices(run.uid)
        next_done = next(done, None)
        for block in store.blocks(run.uid):
            if next_done is None:
                break
            if next_done > block.indices[-1]:
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
                if index == next_done:
                    yield name
                    next_done = next(done, None)
