"""What runs in each fresh process: one contender, once."""

import sys
import time
from collections.abc import Mapping
from typing import Any


def main(names: Mapping[str, Any]) -> None:
    """Run the contender that the command line names; print its seconds and what it returned."""
    contender, *arguments = sys.argv[1:]
    if "warm" in names:
        names["warm"](*(int(word) if word.isdecimal() else word for word in arguments))
    start = time.perf_counter()
    result = names[contender](*(int(word) if word.isdecimal() else word for word in arguments))
    print((time.perf_counter() - start, result))
