"""The ways from the caller to an agent: a connection of its own, or through Dask's scheduler.

Both live in the event loop of the Dask client. What they have to say goes to ``tell``, which may be called
there at any time: that they are linked, each message, and at last why they have ended. One that is not
wanted any more is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

from distributed import Client
from distributed.comm import Comm, CommClosedError, connect

from farmhand_dask.agent import HANDLER, RELAY
from farmhand_dask.messages import Frames, from_wire, size_of, to_wire

__all__ = ["Intake", "Link", "open_link"]

_CONNECT = 5.0  # seconds after which a connection is said to be impossible
_ANSWER = 30.0  # seconds in which a worker that was connected to must have answered: it may be busy
_MOST = 64 << 20  # bytes that have arrived and wait for the farm; beyond that nothing more is read


class Intake:
    """How much has arrived on all links of a run, and waits for the farm.

    Each of the two numbers is written by one thread alone: none needs a lock, and no byte is lost.
    """

    def __init__(self) -> None:
        self._arrived = 0
        self._taken = 0

    def arrived(self, frames: Frames) -> None:
        """A message is there; in the event loop."""
        self._arrived += size_of(frames)

    def taken(self, frames: Frames) -> None:
        """The farm has taken a message; in its thread."""
        self._taken += size_of(frames)

    def is_full(self) -> bool:
        """Whether nothing more should be read now."""
        return self._arrived - self._taken > _MOST


class Link:
    """What both kinds have in common.

    Parameters
    ----------
    client : Client
        Whose security and connections are used.
    address : str
        Of the Dask worker.
    run : str
        Whose agent is meant.
    tell : callable
        Called with ``'linked'``, ``'message'`` or ``'ended'``, the link, and what there is to say of it.
    intake : Intake
        What it shares with the other links of the run.
    """

    direct = True

    def __init__(
        self,
        client: Client,
        address: str,
        run: str,
        tell: Callable[[str, Link, Any], None],
        intake: Intake,
    ) -> None:
        self._client = client
        self._address = address
        self._run = run
        self._tell = tell
        self._intake = intake
        self._outgoing: asyncio.Queue[Frames] = asyncio.Queue()
        self._over = False

    def send(self, frames: Frames) -> None:
        """Send a message as soon as those before it have been sent; in the event loop."""
        self._outgoing.put_nowait(frames)

    def _arrived(self, message: list[Any]) -> None:
        frames = from_wire(message)
        self._intake.arrived(frames)
        self._tell("message", self, frames)

    async def _wait_for_room(self) -> None:
        while self._intake.is_full():
            await asyncio.sleep(0.005)

    def end(self, why: str) -> None:
        """It has ended; in the event loop."""
        if not self._over:
            self._over = True
            self._tell("ended", self, why)

    async def open(self) -> bool:
        """Reach the agent; False when it is not there. Raises when this way is impossible."""
        raise NotImplementedError

    async def serve(self) -> None:
        """Work until it has ended."""
        raise NotImplementedError


class DirectLink(Link):
    """A connection to the Dask worker itself: nothing passes Dask's scheduler."""

    _comm: Comm

    async def open(self) -> bool:
        args = self._client.connection_args
        self._comm = comm = await connect(self._address, timeout=_CONNECT, **args)
        try:
            await comm.write({"op": HANDLER, "run": self._run, "reply": False})
            return bool(await asyncio.wait_for(comm.read(), _ANSWER))
        except BaseException:
            comm.abort()
            raise

    async def serve(self) -> None:
        writing = asyncio.ensure_future(self._write())
        why = "the connection to its Dask worker was lost"
        try:
            while True:
                await self._wait_for_room()
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
                batch = [to_wire(await self._outgoing.get())]
                while not self._outgoing.empty():
                    batch.append(to_wire(self._outgoing.get_nowait()))
                await self._comm.write(batch)
        await self._comm.close()


class RelayedLink(Link):
    """Messages that Dask's scheduler passes on, for a worker that cannot be reached from here."""

    direct = False

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._name = os.urandom(8).hex()  # the agent serves this one alone

    async def _ask(self, **message: Any) -> list[Any] | None:
        answers = await self._client.scheduler.broadcast(
            msg={"op": RELAY, "run": self._run, "link": self._name, **message}, workers=[self._address]
        )
        answer: list[Any] | None = answers[self._address]
        return answer

    async def open(self) -> bool:
        return await self._ask(push=[]) is not None

    async def serve(self) -> None:
        writing = asyncio.ensure_future(self._write())
        why = "its Dask worker has gone"
        try:
            while not self._over:
                await self._wait_for_room()
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
        try:
            while await self._ask(push=[to_wire(await self._outgoing.get())]) is not None:
                pass
        except Exception as error:  # the agent lacks a message now, whatever it answers to the next one
            self.end(f"its Dask worker cannot be reached any more ({type(error).__name__})")


async def open_link(
    client: Client,
    address: str,
    run: str,
    tell: Callable[[str, Link, Any], None],
    intake: Intake,
    direct: bool | None,
) -> None:
    """Reach the agent of a run on a Dask worker, and serve the link until it has ended.

    Parameters
    ----------
    direct : bool or None
        Whether to connect to the Dask worker (True), or to go through the scheduler; None tries.
    """
    about = client, address, run, tell, intake
    link: Link = RelayedLink(*about) if direct is False else DirectLink(*about)
    try:
        try:
            there = await link.open()
        except Exception:
            if direct is not None:
                raise
            link = RelayedLink(*about)
            there = await link.open()
    except Exception as error:
        link.end(f"its Dask worker cannot be reached from here ({type(error).__name__}: {error})")
        return
    if there:
        tell("linked", link, None)
        await link.serve()
    else:
        link.end("its lease has ended")
