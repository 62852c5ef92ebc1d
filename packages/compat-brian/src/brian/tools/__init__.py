"""What scripts import from ``brian.tools``: ``taskfarm`` and ``datamanager``, and nothing else."""

from __future__ import annotations

from brian import _stand_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["statistics"]  # what is not here: so that `from brian.tools import *` fails, and says why


def __getattr__(name: str) -> Any:
    raise AttributeError(_stand_in.refusal(f"{__name__}.{name}"))
