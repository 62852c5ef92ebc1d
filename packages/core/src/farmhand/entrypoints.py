"""What installed distributions offer, as ``importlib.metadata.entry_points`` finds it, but at once.

That module reads archives and mails, and takes longer to import than a Python to start. What it does
for folders on ``sys.path`` is short; where there is anything else, it is asked after all.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["entry_points", "load"]


def entry_points(group: str) -> list[tuple[str, str]]:
    """Name and value of each entry point of a group, those of a distribution's first copy on the path."""
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    try:
        if any(hasattr(finder, "find_distributions") for finder in others):
            raise NotADirectoryError
        return [point for file in _files() for point in _points(file, group)]
    except NotADirectoryError:  # an archive, or a place that only its own finder knows
        from importlib.metadata import entry_points

        return [(point.name, point.value) for point in entry_points(group=group)]


def load(value: str) -> Any:
    """The module, or what is in it: ``package.module:name.attribute``."""
    module, _, attributes = value.partition("[")[0].partition(":")
    thing: Any = import_module(module.strip())
    for name in filter(None, attributes.strip().split(".")):
        thing = getattr(thing, name)
    return thing


def _files() -> Iterator[str]:
    """Where the entry points of each distribution would be, whether or not it has any."""
    seen = set()
    for folder in sys.path:
        try:
            children = os.listdir(folder or ".")
        except NotADirectoryError:
            raise
        except OSError:
            continue
        for child in children:
            name, dot, ending = child.lower().rpartition(".")
            if not dot:  # EGG-INFO, in a folder that is called like a distribution
                name, dot, _ = os.path.basename(folder).lower().rpartition(".egg")
            if dot and ending in ("dist-info", "egg-info"):
                name = name.partition("-")[0].replace(".", "_")
                if name not in seen:
                    seen.add(name)
                    yield os.path.join(folder, child, "entry_points.txt")


def _points(file: str, group: str) -> Iterator[tuple[str, str]]:
    try:
        with open(file, encoding="utf-8") as lines:
            text = lines.read()
    except OSError:
        return
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section == group and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
