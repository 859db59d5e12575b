"""How long one connection is waited for: RFC 5321 section 4.5.3.2, and limits against slow input.

Pure: the time comes in as a number of seconds, what comes out is the reply to close with.
"""

from relay.submission import replies
from relay.submission.options import SessionLimits


class Patience:
    """The clocks of one connection. All times are of one monotonic clock, in seconds."""

    __slots__ = ("_began", "_limits", "_measured", "_octets", "active")

    def __init__(self, limits: SessionLimits, now: float) -> None:
        """The connection begins."""
        self._limits = limits
        # When a complete line was answered last. Octets of an incomplete one buy no time.
        self.active = now
        self._began = self._measured = now
        self._octets = 0

    @property
    def began(self) -> float:
        """When the connection began."""
        return self._began

    def relax(self, limits: SessionLimits) -> None:
        """Somebody logged in; `limits` are for such."""
        self._limits = limits

    def note_content_begins(self, now: float) -> None:
        """354 was said."""
        self._measured = now
        self._octets = 0

    def is_old(self, now: float) -> bool:
        """Whether the connection should end at the next boundary between messages."""
        return now - self._began >= self._limits.age

    def idle(self, now: float) -> bytes | None:
        """The reply that ends a connection which waits for a command too long, or None."""
        return replies.IDLE if now - self.active >= self._limits.idle else None

    def slow_content(self, now: float, octets: int) -> bytes | None:
        """The same while content comes in, of which `octets` are here."""
        limits = self._limits
        if now - self._began >= limits.age + limits.last_data:
            return replies.TOO_OLD
        elapsed = now - self._measured
        if elapsed < limits.data_window:
            return None
        if octets - self._octets < limits.data_rate * elapsed:
            return replies.TOO_SLOW
        self._measured, self._octets = now, octets
        return None

    def next_look(self, now: float) -> float:
        """When to ask again."""
        limits = self._limits
        return now + min(limits.idle, limits.data_window, limits.age)
