"""The ways from the caller to an agent: a connection of its own, or through Dask's scheduler.

Both live in the event loop of the Dask client. What they have to say goes to ``tell``, which may be called
there at any time: that they are linked, each message, and at last why they have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from distributed import Client
from distributed.comm import Comm, CommClosedError, connect

from farmhand_dask.agent import HANDLER, RELAY
from farmhand_dask.messages import Frames, from_wire, size_of, to_wire

__all__ = ["Link", "open_link"]

_CONNECT = 5.0  # seconds after which a connection is said to be impossible
_MOST = 64 << 20  # bytes that have arrived and wait for the farm; beyond that nothing more is read


class Link:
    """What both kinds have in common.

    Parameters
    ----------
    address : str
        Of the Dask worker.
    run : str
        Whose agent is meant.
    tell : callable
        Called with the link, ``'linked'``, ``'message'`` or ``'ended'``, and what there is to say of it.
    """

    direct = True

    def __init__(
        self, client: Client, address: str, run: str, tell: Callable[[Link, str, Any], None]
    ) -> None:
        self.address = address
        self._client = client
        self.run = run
        self._tell = tell
        self._outgoing: asyncio.Queue[Frames | None] = asyncio.Queue()
        self._unread = 0  # bytes
        self._over = False

    def send(self, frames: Frames) -> None:
        """Send a message as soon as those before it have been sent; in the event loop."""
        self._outgoing.put_nowait(frames)

    def read(self, frames: Frames) -> None:
        """The farm has taken a message; in any thread."""
        self._unread -= size_of(frames)

    def _arrived(self, message: list[Any]) -> None:
        frames = from_wire(message)
        self._unread += size_of(frames)
        self._tell(self, "message", frames)

    async def _make_room(self) -> None:
        while self._unread > _MOST and not self._over:
            await asyncio.sleep(0.005)

    def end(self, why: str) -> None:
        """It has ended; in the event loop."""
        if not self._over:
            self._over = True
            self._tell(self, "ended", why)

    async def serve(self) -> None:
        """Work until it has ended."""
        raise NotImplementedError


class DirectLink(Link):
    """A connection to the Dask worker itself: nothing passes Dask's scheduler."""

    _comm: Comm

    async def open(self) -> bool:
        """Connect; False when this is impossible."""
        args = self._client.connection_args
        self._comm = comm = await connect(self.address, timeout=_CONNECT, **args)
        await comm.write({"op": HANDLER, "run": self.run, "reply": False})
        return bool(await comm.read())

    async def serve(self) -> None:
        writing = asyncio.ensure_future(self._write())
        why = "the connection to its Dask worker was lost"
        try:
            while True:
                await self._make_room()
                for message in await self._comm.read():
                    self._arrived(message)
        except (CommClosedError, OSError):
            pass
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        finally:
            writing.cancel()
            self._comm.abort()
            self.end(why)

    async def _write(self) -> None:
        with contextlib.suppress(CommClosedError, OSError):
            while True:
                frames = await self._outgoing.get()
                if frames is None:
                    break
                batch = [to_wire(frames)]
                while not self._outgoing.empty() and (more := self._outgoing.get_nowait()) is not None:
                    batch.append(to_wire(more))
                await self._comm.write(batch)
        await self._comm.close()


class RelayedLink(Link):
    """Messages that Dask's scheduler passes on, for a worker that cannot be reached from here."""

    direct = False

    async def _ask(self, **message: Any) -> list[Any] | None:
        answers = await self._client.scheduler.broadcast(
            msg={"op": RELAY, "run": self.run, **message}, workers=[self.address]
        )
        answer: list[Any] | None = answers[self.address]
        return answer

    async def serve(self) -> None:
        writing = asyncio.ensure_future(self._write())
        why = "its Dask worker has gone"
        try:
            while not self._over:
                await self._make_room()
                answer = await self._ask()
                if answer is None:
                    break
                for message in answer:
                    self._arrived(message)
        except Exception as error:
            why = f"its Dask worker cannot be reached any more ({type(error).__name__})"
        finally:
            writing.cancel()
            self.end(why)

    async def _write(self) -> None:
        with contextlib.suppress(Exception):  # the next question fails as well, and says so
            while (frames := await self._outgoing.get()) is not None:
                await self._ask(push=[to_wire(frames)])


async def open_link(
    client: Client,
    address: str,
    run: str,
    tell: Callable[[Link, str, Any], None],
    direct: bool | None,
) -> None:
    """Reach the agent of a run on a Dask worker, and serve the link until it has ended.

    Parameters
    ----------
    direct : bool or None
        Whether to connect to the Dask worker (True), or to go through the scheduler; None tries.
    """
    if direct is not False:
        link: Link = DirectLink(client, address, run, tell)
        try:
            there = await link.open()  # type: ignore[attr-defined]
        except (OSError, ValueError) as error:
            if direct:
                link.end(f"its Dask worker cannot be reached from here: {error}")
                return
        else:
            if not there:
                link.end("its lease has ended")
                return
            tell(link, "linked", None)
            await link.serve()
            return
    link = RelayedLink(client, address, run, tell)
    tell(link, "linked", None)
    await link.serve()
