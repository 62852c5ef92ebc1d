"""Not the simulator Brian: the task farm of Brian 1.4, on farmhand, for scripts of that time.

There are :mod:`brian.tools.taskfarm` and :mod:`brian.tools.datamanager`. Every other name of Brian 1 is
refused with an error that points to Brian 2. Where a real ``brian`` is elsewhere on ``sys.path``, importing
this package imports that one.
"""

from __future__ import annotations

from brian import _stand_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NeuronGroup"]  # what is not here: so that `from brian import *` fails, and says why


def __getattr__(name: str) -> Any:
    raise AttributeError(_stand_in.refusal(f"{__name__}.{name}"))


_stand_in.begin(__spec__)
