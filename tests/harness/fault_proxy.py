"""A TCP proxy on loopback that breaks what passes through it, each way on its own.

Guarantees: without a fault, octets pass unchanged; a connection ends when both directions have.
What breaks is said by `Weather`, which may be changed between connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """What happens to a direction once it has passed `after` octets."""

    CLOSE = "close"  # both directions are closed in order
    HALF = "half"  # this direction ends, the other goes on
    RESET = "reset"  # both are reset
    HOLE = "hole"  # whatever follows is swallowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One direction: seconds before each chunk, octets per chunk (0: as they come), and its end."""

    latency: float = 0.0
    chunk: int = 0
    after: int = -1  # octets until `end`; -1: never
    end: End = End.CLOSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Both directions, as the client sees them.

    `unanswered`: the server gets what holds these octets for the `at`th time and acts on it; the
    client never gets the answer, both connections are reset instead.
    """

    up: Lane = Lane()
    down: Lane = Lane()
    unanswered: bytes = b""
    at: int = 1


class FaultProxy:
    """Listens on loopback and passes each connection on to `target`."""

    def __init__(self, target: tuple[str, int], weather: Weather | None = None) -> None:
        """Prepare; `start` opens the door."""
        self.weather = weather or Weather()
        self.chosen: Callable[[int], Weather] | None = None  # by the number of the connection
        self.swallowed = 0  # answers that were kept back
        self._number = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen on a free port and give the address."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    def drop(self) -> None:
        """End all connections that there are; others may come."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Close the door and all that passes through it."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a broken or closed connection is what this proxy is for
        finally:
            self._tasks.discard(task)
            writer.close()

    def _kept_back(self, said: asyncio.Event | None) -> Callable[[bytes], bool]:
        """Let nothing pass once the words were said."""

        def passes(_chunk: bytes) -> bool:
            if said is None or not said.is_set():
                return True
            self.swallowed += 1
            return False

        return passes

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        weather = self.weather if self.chosen is None else self.chosen(self._number)
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        ends = (writer, far_writer)
        said = asyncio.Event() if weather.unanswered else None
        try:
            async with asyncio.TaskGroup() as both:
                heard = _heard(weather, said)
                both.create_task(_flow(reader, far_writer, weather.up, ends, heard))
                both.create_task(
                    _flow(far_reader, writer, weather.down, ends, self._kept_back(said))
                )
        except* OSError:
            pass
        finally:
            far_writer.close()
            with contextlib.suppress(OSError):
                await far_writer.wait_closed()


def _heard(weather: Weather, said: asyncio.Event | None) -> Callable[[bytes], bool]:
    """Note when the words go by often enough; everything passes."""
    times = 0

    def passes(chunk: bytes) -> bool:
        nonlocal times
        if said is not None and weather.unanswered in chunk:
            times += 1
            if times >= weather.at:
                said.set()
        return True

    return passes


async def _flow(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    lane: Lane,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    passes: Callable[[bytes], bool],
) -> None:
    left = lane.after
    while chunk := await reader.read(lane.chunk or 65_536):
        if not passes(chunk):
            await _end(reader, writer, End.RESET, both)
            return
        if lane.latency:
            await asyncio.sleep(lane.latency)
        if 0 <= left <= len(chunk):
            writer.write(chunk[:left])
            await writer.drain()
            await _end(reader, writer, lane.end, both)
            return
        left -= len(chunk) if left >= 0 else 0
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _end(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    end: End,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    match end:
        case End.HALF:
            writer.write_eof()
        case End.HOLE:
            while await reader.read(65_536):
                pass
            writer.write_eof()
        case End.CLOSE:
            for one in both:
                one.close()
        case End.RESET:
            for one in both:
                raw = one.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.transport.abort()
