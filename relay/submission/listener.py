"""Connections from a listening socket to sessions; starting, draining, stopping.

The socket is given already bound and listening (several processes may share it) and stays open
for its owner. A process with more connections than its share leaves the next one to the others for
a moment, so that all have about as many. Limits are kept before a TLS handshake is paid for. Of
more connections than can be served those too many are told to come later (`crowding.py`).
Draining takes no new connections, answers 421 between messages and lets content that is coming in
arrive.
"""

import asyncio
import contextlib
import logging
import socket
import ssl

from relay.submission import proxy, replies
from relay.submission.crowding import Crowding, waiting
from relay.submission.door import Door
from relay.submission.session import SubmissionSession

log = logging.getLogger(__name__)

_AT_ONCE = 4  # connections taken in one turn of the loop, so that those there get theirs
_MOST_TURNED_AWAY = 256  # in one turn
_OTHERS_SECONDS = 0.002  # in which an idle process takes what one that has more leaves to it
_HANDSHAKE_SECONDS = 30.0


class Listener:
    """Serves one listening socket through a door."""

    def __init__(
        self,
        listening: socket.socket,
        door: Door,
        *,
        implicit_tls: ssl.SSLContext | None = None,
        proxies: proxy.Networks = (),
    ) -> None:
        """`implicit_tls`: TLS from the first byte; `proxies`: peers that must say PROXY first."""
        listening.setblocking(False)
        self._listening = listening
        self._door = door
        self._tls = implicit_tls
        self._proxies = proxies
        self._crowding = Crowding(door.gate.limits.processes)
        self._arriving: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._serving = False

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listening.getsockname()[1]
        return port

    def start(self) -> None:
        """Take connections from now on."""
        if not self._serving:
            self._serving = True
            self._door.loop.add_reader(self._listening.fileno(), self._arrived)

    def pause(self) -> None:
        """Take no more connections; those in the backlog are left to others on the socket."""
        if self._serving:
            self._serving = False
            self._door.loop.remove_reader(self._listening.fileno())
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def close(self) -> None:
        """Take no more connections and let go of the socket."""
        self.pause()
        self._listening.close()

    async def drain(self, grace: float = 10.0) -> None:
        """Let messages that are coming in arrive, for at most `grace` seconds; then stop."""
        self.pause()
        for session in tuple(self._door.sessions):
            session.retire(replies.CLOSING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._door.empty()
        await self.stop()

    async def stop(self) -> None:
        """Cut all connections. What a handler still works on is not cancelled: see `Door.tasks`."""
        self.pause()
        for task in tuple(self._arriving):
            task.cancel()
        if self._arriving:
            await asyncio.wait(self._arriving)
        for session in tuple(self._door.sessions):
            session.cut()
        await self._door.empty()
        self._door.wheel.stop()

    def _arrived(self) -> None:
        if self._door.gate.ahead:
            self.pause()
            self._retry = self._door.loop.call_later(_OTHERS_SECONDS, self._take_what_is_left)
        else:
            self._accept()

    def _take_what_is_left(self) -> None:
        self.start()
        self._accept()

    def _accept(self) -> None:
        taken = 0
        for _ in range(_AT_ONCE):
            found = self._next()
            if found is None:
                break
            taken += 1
            found[0].setblocking(False)
            task = self._door.loop.create_task(self._welcome(*found))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)
        now, queue = self._door.loop.time(), waiting(self._listening) if taken == _AT_ONCE else 0
        for _ in range(min(self._crowding.too_many(now, taken, queue), _MOST_TURNED_AWAY)):
            found = self._next()
            if found is None:
                break
            self._door.count("connections_refused")
            self._door.count("limit_load")
            self._turn_away(found[0], replies.OVERLOADED)

    def _next(self) -> tuple[socket.socket, str] | None:
        """Accept a connection; None if there is none, or none can be taken now."""
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            # Mostly descriptors are used up: the backlog waits while connections end. Whatever
            # it is, asking again at once would only keep the loop busy.
            log.warning("no connection could be taken: %s", error.strerror)
            self._door.count("accept_failed")
            self.pause()
            self._retry = self._door.loop.call_later(1.0, self.start)
            return None
        return connection, str(address[0])

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """Turn a connection into a session, or close it."""
        door = self._door
        try:
            if proxy.is_trusted(address, self._proxies):
                address = await proxy.read_source(door.loop, connection) or address
        except (proxy.ProxyError, TimeoutError, OSError) as error:
            log.info("PROXY header from %s refused: %s", address, error)
            door.count("proxy_refused")
            connection.close()
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        customers = door.options.auth_required
        refusal = door.gate.admit(address, with_login=customers)
        if refusal == replies.TOO_BUSY and customers and door.gate.make_room(door.loop.time()):
            door.count("strangers_ended")
            refusal = door.gate.admit(address, with_login=customers)
        if refusal is not None:
            door.count("connections_refused")
            door.note_limits(refusal)
            self._turn_away(connection, refusal)
            return
        session = SubmissionSession(
            door, peer_address=address, admitted=True, arriving=asyncio.current_task()
        )
        door.expect(session)
        try:
            await door.loop.connect_accepted_socket(
                lambda: session,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
            )
        except (OSError, ssl.SSLError):
            door.count("tls_failed")
            session.release()
        except asyncio.CancelledError:
            session.release()
            raise

    def _turn_away(self, connection: socket.socket, reply: bytes) -> None:
        """Say why, if the client can read it already, and close."""
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                connection.send(reply + b"\r\n", socket.MSG_DONTWAIT)
