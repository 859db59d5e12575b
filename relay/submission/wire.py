"""The transport of a session: pauses, and an end that lets the client read its last reply.

Closing a socket whose input is not read makes the kernel send a reset, and the reset may overtake
the reply that says why. So our side is ended first, what still comes is dropped, within a bound.
"""

import asyncio

_DROPPED = 1 << 20  # octets read after our end; then the client's side has to wait


class Wire:
    """Nothing happens on a wire that is not attached or was lost."""

    __slots__ = ("_dropped", "_paused", "_transport", "ending")

    def __init__(self) -> None:
        """Not attached yet."""
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._dropped = 0
        self.ending = False

    def attach(self, transport: asyncio.Transport, write_buffer: int) -> None:
        """Use a transport: the connection, or the TLS layer on top of it, which reads at once."""
        self._transport = transport
        self._paused = False
        transport.set_write_buffer_limits(high=write_buffer)

    def lose(self) -> None:
        """The connection is gone."""
        self._transport = None

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None:
            self._transport.write(data)

    def pause(self) -> None:
        """Read nothing more for now."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def drop(self, data: bytes) -> None:
        """Take what came after the end."""
        self._dropped += len(data)
        if self._dropped > _DROPPED:
            self.pause()

    def end(self, *, half: bool) -> None:
        """End our side; the connection ends with the client's side if `half`, else now.

        Both send first what is written. `half` has no meaning under TLS.
        """
        self.ending = True
        transport = self._transport
        if transport is None:
            return
        if half and transport.can_write_eof():
            transport.write_eof()
            self.resume()
        else:
            transport.close()

    def cut(self) -> None:
        """End the connection at once, sending nothing more."""
        if self._transport is not None:
            self._transport.abort()
