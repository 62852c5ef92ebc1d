"""The control groups around this process, as containers and batch systems set them up (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterator

__all__ = ["folders", "read"]


def folders(
    controller: str, root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup"
) -> Iterator[str]:
    """The folder of each group on the way from this process's to the root, versions 2 and 1.

    Parameters
    ----------
    controller : str
        For version 1, where each controller has a hierarchy of its own: ``'cpu'``, ``'memory'``.
    root : str
        Where the control groups are mounted.
    membership : str
        The file that says which ones are this process's.
    """
    seen = set()
    for hierarchy, group in _groups(controller, membership):
        folder = os.path.normpath(os.path.join(root, hierarchy, group.lstrip("/")))
        while folder not in seen:
            seen.add(folder)
            yield folder
            if len(folder) <= len(os.path.normpath(root)):
                break
            folder = os.path.dirname(folder)


def _groups(controller: str, membership: str) -> Iterator[tuple[str, str]]:
    """The folder of a hierarchy below the root, and our group in it."""
    for line in read(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield "", group  # version 2
        elif controller in controllers.split(","):
            yield controller, group
    yield "", "/"  # in a container the names of the groups may be those outside of it
    yield controller, "/"


def read(path: str) -> str:
    """What is in a file of the system; ``''`` where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
