"""What farmhand needs of some modules of the standard library, without what these import for others.

Each of them is written in C, with a part in Python on top of it that is slow to import: enumerations
of constants, a second implementation, a choice between several. Where a Python has no such C module,
the whole one is used. To a type checker they are always the whole ones.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from hashlib import blake2b
    from pickle import Pickler, Unpickler, UnpicklingError
    from pickle import dumps as pickle_dumps
    from pickle import loads as pickle_loads
    from struct import Struct
else:
    try:
        import _signal as signal
    except ImportError:
        import signal
    try:
        import _socket as socket

        socket.socketpair  # noqa: B018 - on Windows it is not written in C
    except (ImportError, AttributeError):
        import socket
    try:
        from _blake2 import blake2b
        from _pickle import Pickler, Unpickler, UnpicklingError
        from _pickle import dumps as pickle_dumps
        from _pickle import loads as pickle_loads
        from _struct import Struct
    except ImportError:
        from hashlib import blake2b
        from pickle import Pickler, Unpickler, UnpicklingError
        from pickle import dumps as pickle_dumps
        from pickle import loads as pickle_loads
        from struct import Struct

__all__ = [
    "Pickler",
    "Struct",
    "Unpickler",
    "UnpicklingError",
    "blake2b",
    "pickle_dumps",
    "pickle_loads",
    "signal",
    "signal_name",
    "socket",
]


def signal_name(number: int) -> str:
    """``'SIGKILL'`` for 9; ``''`` for a number that has no name."""
    named = (name for name in dir(signal) if name.startswith("SIG") and name[3:].isalnum())
    return next((name for name in named if getattr(signal, name) == number), "")
