"""The command by which control hands over a message that came in over HTTP."""

from __future__ import annotations

import msgspec

from relay.acceptance.handed_in import Counter, HandedIn
from relay.link.frames import Command

_decode = msgspec.msgpack.Decoder(HandedIn).decode


class HandingIn:
    """Takes one message; the answer is what SMTP would have said."""

    def __init__(self, counter: Counter) -> None:
        """Take where it is accepted."""
        self._counter = counter

    async def __call__(self, command: Command) -> object:
        """Accept the message in the payload; it is on disk when an id is given."""
        return msgspec.to_builtins(await self._counter.take(_decode(command.payload)))
