"""``python -m farmhand``: the command ``farmhand``, wherever it was installed."""

from __future__ import annotations

import sys

from farmhand.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
