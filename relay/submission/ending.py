"""How a connection ends that does not end itself: too slow, too old, too much, or for others.

One half of a session (the other, in `session.py`, is the dialogue). Guarantees: a last reply says
why wherever there is somebody to read it; the place among the admitted connections is given back
once; the content that all connections hold together is bounded.
"""

import asyncio
import logging
from typing import Any

from relay.submission import replies
from relay.submission.door import Door
from relay.submission.engine import Engine
from relay.submission.patience import Patience
from relay.submission.states import State
from relay.submission.wire import Wire

log = logging.getLogger(__name__)

_DATA = State.DATA


class Ending:
    """What the door, the gate and the wheel of deadlines ask of a session."""

    door: Door
    engine: Engine
    patience: Patience
    _wire: Wire
    _lost: bool
    _weight: int  # octets of content, as counted by the gate
    _admitted: bool
    _counted_as: str  # the address that has a place
    _arriving: asyncio.Task[None] | None
    _driver: asyncio.Future[Any] | None

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        raise NotImplementedError

    def _flush(self) -> None:
        raise NotImplementedError

    def weigh(self, octets: int) -> None:
        """Count `octets` of content as held by this connection."""
        self.door.gate.inflight += octets - self._weight
        self._weight = octets

    def _break(self, error: Exception) -> None:
        """End at once after an error of our own."""
        log.error("a session failed and was closed", exc_info=error)
        self.door.count("session_errors")
        self.cut()

    def cut(self) -> None:
        """End the connection at once."""
        self.engine.close()
        self._wire.cut()

    def give_way(self) -> None:
        """End for the sake of somebody else, whose place is free when this returns."""
        if self._arriving is not None:
            self._arriving.cancel()
            self.connection_lost(None)
            return
        self.engine.close(replies.TOO_BUSY)
        self._flush()
        self.release()
        self.cut()

    def release(self) -> None:
        """Give the place among the admitted connections back."""
        if self._admitted:
            self._admitted = False
            self.door.gate.strangers.pop(self, None)
            self.door.gate.leave(self._counted_as)

    def retire(self, reply: bytes) -> None:
        """Close between messages, with a 421 reply; see Engine.retire."""
        self.engine.retire(reply)
        self._flush()

    def look(self, now: float) -> float | None:
        """Called by the wheel: cut what is too slow; give the time of the next look."""
        if self._lost:
            return None
        if self._wire.ending:
            self._wire.cut()
            return None
        engine, patience, reply = self.engine, self.patience, None
        if self._driver is None:
            if engine.state is _DATA:
                reply = patience.slow_content(now, engine.buffered)
            else:
                reply = patience.idle(now)
        if reply is not None:
            self.door.count("deadlines")
            engine.close(reply)
        elif patience.is_old(now):
            engine.retire(replies.TOO_OLD)
        self._flush()
        return None if engine.closed else patience.next_look(now)

    def _watch_content(self) -> None:
        """Keep the sum of all content within its bound; content that comes beyond is cut."""
        self.weigh(self.engine.buffered if self.engine.state is _DATA else 0)
        gate = self.door.gate
        if gate.inflight > gate.limits.inflight * 1.25:
            self.door.count("content_cut")
            self.engine.close(replies.NO_SPACE_LEFT)
