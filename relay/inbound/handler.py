"""The handler behind the inbound door: signed addresses only, then read, state the facts, answer.

Guarantees: mail to any other address is refused at RCPT before its body is read (no backscatter,
no poisoned suppressions); 250 after DATA means that the facts are on disk; reading happens off the
event loop and never raises; what cannot be read is kept, counted and acknowledged (bouncing a
bounce helps nobody, RFC 5321 section 6.1).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bounces import verp
from bounces.read import read
from bounces.report import Kind
from metrics.events import Event
from relay.clock import Clock
from relay.errors import StorageError
from relay.inbound.facts import facts
from relay.inbound.kept import Kept
from relay.mail.keyring import KeyRing

_log = logging.getLogger(__name__)


class InboundHandler:
    """Hooks of the session class (aiosmtpd's handler interface)."""

    def __init__(
        self,
        *,
        keyring: KeyRing,
        record: Callable[[Sequence[Event]], Awaitable[None]],
        kept: Kept,
        clock: Clock,
    ) -> None:
        """Take the keys that sign our addresses and where facts go (`record` returns when they are
        on disk).
        """
        self._keyring = keyring
        self._record = record
        self._kept = kept
        self._clock = clock
        self.counts: Counter[str] = Counter()

    async def handle_RCPT(
        self, _server: object, _session: object, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept a recipient only if we signed it."""
        del options
        try:
            signed = verp.read(address.encode("utf-8", "surrogateescape"), self._keyring)
        except verp.ForgedAddressError:
            self.counts["refused"] += 1
            return "550 5.1.1 no such address here"
        envelope.rcpt_tos.append(address)
        envelope.signed = [*getattr(envelope, "signed", ()), signed]
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        """Read the mail and record what it says."""
        message: bytes = envelope.content
        report = await asyncio.to_thread(read, message)
        self.counts[report.kind.value] += 1
        at = self._clock()
        stated: list[Event] = []
        for address in envelope.signed:
            stated += facts(report, address, at)
            if report.kind is Kind.OTHER and address.kind is not verp.ReturnKind.UNSUBSCRIBE:
                await asyncio.to_thread(self._kept.keep, message, at, address.delivery)
        try:
            if stated:
                await self._record(stated)
        except StorageError:
            _log.warning("facts of a returned mail could not be stored; it stays with its sender")
            return "451 4.3.0 try again later"
        return "250 2.0.0 read, thank you"
