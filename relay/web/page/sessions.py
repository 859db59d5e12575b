"""Sessions of the page: who is signed in, and how often somebody may try.

Guarantees: a session's secret has 256 random bits and is kept here as its SHA-256 alone, in memory
(a restart of control signs everybody out); it ends after `IDLE` without a request and `LIFETIME` in
any case; at most `MOST` live at once, the longest idle goes first. Each has a token of its own
against cross-site requests. Wrong passwords are counted per name and per client address: beyond
`TRIES` within `WINDOW` nobody is let in under either, right password or not.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from relay.clock import HOUR, MINUTE, Clock
from relay.control.operations.operators import SignedIn

IDLE = 2 * HOUR
LIFETIME = 12 * HOUR
MOST = 1000
TRIES = 10
WINDOW = 10 * MINUTE
_MOST_TRIED = 10_000


@dataclass(slots=True)
class Session:
    """One who is signed in."""

    who: SignedIn
    begun: int  # microseconds since the epoch
    seen: int
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def knows(self, token: str) -> bool:
        """Tell whether a form came from one of this session's own pages."""
        return hmac.compare_digest(self.csrf.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """All sessions of this node."""

    def __init__(self, clock: Clock) -> None:
        """Take the clock."""
        self._clock = clock
        self._live: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, who: SignedIn) -> str:
        """Begin a session; gives the secret for the cookie."""
        secret = secrets.token_urlsafe(32)
        at = self._clock()
        self._live[_digest(secret)] = Session(who, at, at)
        while len(self._live) > MOST:
            self._live.popitem(last=False)
        return secret

    def find(self, secret: str) -> Session | None:
        """Give the session behind a cookie, if it is still going."""
        key = _digest(secret)
        session = self._live.get(key)
        if session is None:
            return None
        at = self._clock()
        if at - session.seen > IDLE or at - session.begun > LIFETIME:
            del self._live[key]
            return None
        session.seen = at
        self._live.move_to_end(key)
        return session

    def end(self, secret: str) -> None:
        """End a session."""
        self._live.pop(_digest(secret), None)


class Throttle:
    """Counts wrong passwords."""

    def __init__(self, clock: Clock) -> None:
        """Take the clock."""
        self._clock = clock
        self._tried: OrderedDict[str, deque[int]] = OrderedDict()

    def allows(self, *keys: str) -> bool:
        """Tell whether another attempt may be made under these keys."""
        return all(len(self._recent(key)) < TRIES for key in keys)

    def passed(self, *keys: str) -> None:
        """Take back what was counted for an attempt that was right after all."""
        for key in keys:
            tries = self._tried.get(key)
            if tries:
                tries.pop()

    def failed(self, *keys: str) -> None:
        """Count a wrong password."""
        for key in keys:
            tries = self._tried.setdefault(key, deque(maxlen=TRIES))
            tries.append(self._clock())
            self._tried.move_to_end(key)
        while len(self._tried) > _MOST_TRIED:
            self._tried.popitem(last=False)

    def _recent(self, key: str) -> deque[int]:
        tries = self._tried.get(key, deque())
        while tries and self._clock() - tries[0] > WINDOW:
            tries.popleft()
        return tries


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
