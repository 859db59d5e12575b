"""What all sessions of one SMTP door share, and the seams that the door's owner fills.

A door is made once per listening socket. Looking up a handler's hooks, building contexts and the
like happens here and never per connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from relay.submission import replies
from relay.submission.deadlines import DeadlineWheel
from relay.submission.limits import Gate, GateLimits
from relay.submission.options import SessionLimits, SessionOptions

if TYPE_CHECKING:
    from relay.submission.envelope import MailSession
    from relay.submission.session import SubmissionSession

_SEEN_BY_HOOKS = frozenset({"EHLO", "HELO", "NOOP", "RSET", "VRFY", "QUIT"})


class TryLater(Exception):  # noqa: N818 - it says what the client should do
    """Raised by an authenticator that cannot answer now; `reply` is a 421 or 454 line."""

    def __init__(self, reply: str = "454 4.7.0 Authentication is not possible now") -> None:
        super().__init__(reply)
        self.reply = reply


class Authenticator(Protocol):
    """Says who a client is.

    A login object may have a method `still_valid() -> bool`; it is asked at each MAIL, so that a
    credential revoked meanwhile ends an open session. An authenticator may have a method
    `recognise(session) -> object | None`; it is asked once per connection and logs a client in by
    its address alone.
    """

    async def authenticate(
        self, mechanism: str, login: bytes, password: bytes, session: "MailSession"
    ) -> object | None:
        """Give an object for who logged in, None for wrong credentials; or raise TryLater.

        Must take the same time for unknown names as for wrong passwords. `session.peer_address`
        is there for credentials that may be used only from some networks.
        """
        ...


def _nobody_counts(_name: str) -> None:
    """Count nothing."""


class Door:
    """One way in: handler, rules, limits, and who is inside."""

    def __init__(
        self,
        handler: object,
        *,
        options: SessionOptions,
        limits: SessionLimits | None = None,
        authenticator: Authenticator | None = None,
        gate: Gate | None = None,
        tls: ssl.SSLContext | None = None,
        count: Callable[[str], None] = _nobody_counts,
        tick: float = 1.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Prepare; nothing listens yet.

        `handler`: hooks as of aiosmtpd (`handle_DATA` and so on); a hook may also be a plain
        function that gives the reply at once. `tls`: offers STARTTLS. `gate`: shared by the doors
        of a process. `count` is told the name of each limit that was hit, for metrics. `tick`:
        seconds by which deadlines may be late.
        """
        self.handler = handler
        self.options = options
        self.limits = limits if limits is not None else SessionLimits()
        self.stressed_limits = self.limits.stressed()
        self.authenticator = authenticator
        self.recognise: Callable[[MailSession], object | None] | None = getattr(
            authenticator, "recognise", None
        )
        self.gate = gate if gate is not None else Gate(GateLimits())
        self.tls = tls
        self.count = count
        self.loop = loop if loop is not None else asyncio.get_running_loop()
        self.wheel = DeadlineWheel(self.loop, tick)
        self.sessions: set[SubmissionSession] = set()
        self.tasks: set[asyncio.Future[Any]] = set()
        self.hooks: dict[str, Callable[..., Any]] = {
            name.removeprefix("handle_"): getattr(handler, name)
            for name in dir(handler)
            if name.startswith("handle_")
        }
        self.seen_by_hooks = _SEEN_BY_HOOKS.intersection(self.hooks)
        self._empty = asyncio.Event()
        self._empty.set()

    def note_limits(self, output: bytes) -> None:
        """Count the limits that replies tell of, as `limit_NAME`."""
        for name in replies.limits_in(output):
            self.count(f"limit_{name}")

    def expect(self, session: "SubmissionSession") -> None:
        """A connection has a place; nobody is there before the TLS handshake, if there is one."""
        if self.options.auth_required:
            self.gate.strangers[session] = None

    def enter(self, session: "SubmissionSession") -> None:
        """A connection is there."""
        self.sessions.add(session)
        self.expect(session)
        self._empty.clear()

    def know(self, session: "SubmissionSession") -> None:
        """Somebody logged in: the connection is not ended to make room for others."""
        self.gate.strangers.pop(session, None)

    def leave(self, session: "SubmissionSession") -> None:
        """A connection is gone."""
        self.sessions.discard(session)
        self.gate.strangers.pop(session, None)
        if not self.sessions:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until no connection is left."""
        await self._empty.wait()
