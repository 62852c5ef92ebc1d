"""The benchmarks are programs: their modules find each other in their own folder."""

import sys
from pathlib import Path

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")

if BENCHMARKS not in sys.path:
    sys.path.append(BENCHMARKS)  # the last one: nothing that is installed is hidden
