"""A receiving SMTP server on loopback: listens, bounds its connections, and runs a Session for
each.

It asks nobody for a password. What a session does and guarantees is said in session.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from relay.sandbox.session import Manners, Session


class Receiver:
    """One listening door; `manners` says how its sessions behave and where mail goes."""

    def __init__(self, manners: Manners) -> None:
        """Prepare; `start` or `serve` opens the door."""
        self.manners = manners
        self.sessions = 0  # connections taken so far
        self.open = 0
        self.most_open = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen on an address of this machine and give it; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._connected, host, port)
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a bound socket until cancelled."""
        self._server = await asyncio.start_server(self._connected, sock=listener)
        try:
            await self._server.serve_forever()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the door and every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self.open >= self.manners.options.connections:
            writer.write(b"421 4.3.2 Too many connections\r\n")
            writer.close()
            return
        self._tasks.add(task)
        self.sessions += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            # close() cancels us; a stream server's task has nobody to report that to
            with contextlib.suppress(asyncio.CancelledError):
                await Session(self.manners, reader, writer).run()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
