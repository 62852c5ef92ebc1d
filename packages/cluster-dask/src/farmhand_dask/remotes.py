"""What the executor knows of each agent, and how it speaks to it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tornado.ioloop import IOLoop

from farmhand_dask import messages
from farmhand_dask.links import Link
from farmhand_dask.messages import pack

__all__ = ["Remote"]


class Remote:
    """An agent, and what is known of its processes.

    Parameters
    ----------
    address : str
        Of the Dask worker that it is on.
    loop : IOLoop
        The event loop of the Dask client.

    Attributes
    ----------
    link : Link or None
        The way there, once there is one.
    leases, unused : set of str
        The leases that it holds, and those of them that no process has.
    numbers : set of int
        The processes that it was told to start, and that are not known to have died.
    running : dict
        By process, the item that it is on, and since when, by our monotonic clock.
    trips : deque of float
        Seconds that the latest round trips took.
    pinged : bool
        An answer is awaited.
    useful : bool
        A process has been started there.
    missed : int
        How many looks in a row Dask's scheduler has not known its Dask worker.
    """

    def __init__(self, address: str, loop: IOLoop) -> None:
        self.address = address
        self._loop = loop
        self.link: Link | None = None
        self.leases: set[str] = set()
        self.unused: set[str] = set()
        self.numbers: set[int] = set()
        self.running: dict[int, tuple[int, float]] = {}
        self._outbox: deque[Any] = deque()
        self._posted = False  # the event loop is about to empty it
        self.trips: deque[float] = deque(maxlen=5)
        self.pinged = False
        self.useful = False
        self.missed = 0
        self._task: asyncio.Task[None] | None = None

    def reach(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the event loop open a link, and serve it."""
        self._loop.add_callback(self._reach, work)

    def _reach(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.ensure_future(work())

    def leave(self) -> None:
        """It is not wanted any more: end its link, be it open or not yet; the agent notices."""
        self._loop.add_callback(self._leave)

    def _leave(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def say(self, *command: Any) -> None:
        """Tell the agent something; if it is not linked yet, as soon as it is."""
        self._outbox.append(command)
        if self.link is not None and not self._posted:
            self._posted = True
            self._loop.add_callback(self._post)

    def linked(self, link: Link, first: Iterable[tuple[Any, ...]]) -> None:
        """There is a way to the agent now, which is told this before all else."""
        self.link = link
        self._outbox.extendleft(reversed([*first]))
        self.say(messages.PING, time.monotonic())

    def _post(self) -> None:
        """In the event loop: all that is to be said goes off as one message."""
        self._posted = False
        things = [self._outbox.popleft() for _ in range(len(self._outbox))]
        if things and self.link is not None:
            self.link.send(pack(things))
