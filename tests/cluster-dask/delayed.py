"""A line between two ends that takes its time: what a network with latency is, on any computer.

Each byte arrives so many seconds after it was sent, in order, and as many may be under way as like.
A line also counts what passes.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Line:
    """Listens at a port of its own and passes everything on, in a thread.

    Parameters
    ----------
    address : str
        Where it leads: ``tcp://host:port``.
    seconds : float
        How long each way takes.
    host : str
        Where it listens.

    Attributes
    ----------
    address : str
        Where it begins: to be given to those who shall use it.
    passed : int
        The bytes that have passed, of both ways.
    """

    def __init__(self, address: str, seconds: float, host: str) -> None:
        self._protocol, _, target = address.partition("://")
        self._target = target.rsplit(":", 1)
        self._seconds = seconds
        self._host = host
        self.passed = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Hang up."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._called, self._host, 0)
        self.address = f"{self._protocol}://{self._host}:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            await self._connected(reader, writer)
        except* OSError:
            pass  # one end has gone, so the other goes
        except* asyncio.CancelledError:
            pass  # the line is closed
        finally:
            self._calls.discard(call)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            host, port = self._target
            await asyncio.sleep(self._seconds)
            there, back = await asyncio.open_connection(host, int(port))
            ends.append(back)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._way(reader, back))
                ways.create_task(self._way(there, writer))
        finally:
            for end in ends:
                end.close()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                when, data = await under_way.get()
                await asyncio.sleep(when - loop.time())
                if not data:
                    with suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        async def take() -> None:
            data = b"..."
            while data:
                data = await reader.read(1 << 18)
                self.passed += len(data)
                under_way.put_nowait((loop.time() + self._seconds, data))

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(deliver())
