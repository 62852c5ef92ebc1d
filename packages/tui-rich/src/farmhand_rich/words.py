"""What the terminal and the notebook say in the same words; imports nothing that is slow."""

from __future__ import annotations

import os

from farmhand.progress import Snapshot

__all__ = ["hint_text", "origin_text"]


def hint_text(snapshot: Snapshot) -> str:
    """The command that tells more of failed items; ``''`` when there is nothing to tell."""
    if not snapshot.failed or snapshot.store in ("", ":memory:"):
        return ""
    import shlex

    return f"farmhand failures {shlex.quote(_short_path(snapshot.store))}"


def origin_text(snapshot: Snapshot, watching: bool) -> str:
    """Where the results go, and of another process's run which one that is."""
    store = "" if snapshot.store == ":memory:" else _short_path(snapshot.store)
    if watching and snapshot.pid is not None:
        return f"{store}, process {snapshot.pid}" if store else f"process {snapshot.pid}"
    return store


def _short_path(path: str) -> str:
    """A path from here, if that is shorter."""
    try:
        return min(os.path.relpath(path), path, key=len) if path else ""
    except (OSError, ValueError):  # this folder is gone; a path with a zero in it
        return path
