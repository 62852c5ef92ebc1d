"""A frontend that only writes down what it is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict

from farmhand.events import Control
from farmhand.progress import FrontendOptions, Snapshot


class Recorder:
    """Appends each snapshot to the file that follows the colon in ``progress='record:FILE'``."""

    def __init__(self, options: FrontendOptions) -> None:
        if not options.argument:
            raise ValueError("name the file to write: progress='record:FILE'")
        self._path = os.path.abspath(options.argument)  # the caller may change the folder

    def show(self, snapshot: Snapshot) -> None:
        with open(self._path, "a", encoding="ascii") as file:
            file.write(json.dumps(asdict(snapshot)) + "\n")

    def controls(self) -> Iterable[Control]:
        return ()

    def close(self) -> None:
        pass
