"""The handler behind the inbound door: signed addresses only, then read, state the facts, answer.

Guarantees: mail to any other address is refused at RCPT before its body is read (no backscatter,
no poisoned suppressions); 250 after DATA means that the facts are on disk; reading happens off the
event loop; what cannot be read, or breaks our reading, is kept, counted and acknowledged (bouncing
a bounce helps nobody, RFC 5321 section 6.1). A mailbox for feedback loops is signed without a
delivery: what comes there is linked by what we signed in the returned copy.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from bounces import verp
from bounces.linking import Link, link
from bounces.read import read
from bounces.report import Kind, Report
from metrics.events import Event
from relay.clock import Clock
from relay.errors import StorageError
from relay.inbound.border import NOT_ITS_FAULT, UNREADABLE, Read, read_or_not
from relay.inbound.facts import stated, wish_of
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
        hosts: Callable[[], Collection[str]] = tuple,
        recipient: Callable[[int, Report], str] = lambda _delivery, _report: "",
        trust_words: bool = False,
        reads: Read = read,
    ) -> None:
        """Take the keys that sign our addresses and where facts go (`record` returns when they are
        on disk); `hosts` are our tracking hosts, `recipient` gives the delivery's own among those a
        report names, `trust_words` is as in `bounces.linking.conclude`, `reads` reads a mail.
        """
        self._reads = reads
        self._recipient = recipient
        self._hosts = hosts
        self._trust_words = trust_words
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
        envelope.signed = [*getattr(envelope, "signed", ()), (address.encode(), signed)]
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        """Read the mail and record what it says."""
        message: bytes = envelope.content
        report = await asyncio.to_thread(read_or_not, self._reads, message)
        at = self._clock()
        facts: list[Event] = []
        for address, signed in envelope.signed:
            try:
                facts += self._facts(message, report, address, signed, at)
            except NOT_ITS_FAULT:
                raise
            except Exception:  # noqa: BLE001 - as in `border`: it would only come again
                _log.exception("what a returned mail means could not be said")
                report = UNREADABLE
            if report is UNREADABLE or _is_unknown(report, signed):
                await asyncio.to_thread(self._kept.keep, message, at, signed.delivery)
        self.counts[report.kind.value] += 1
        try:
            if facts:
                await self._record(facts)
        except StorageError:
            _log.warning("facts of a returned mail could not be stored; it stays with its sender")
            return "451 4.3.0 try again later"
        return "250 2.0.0 read, thank you"

    def _facts(
        self, message: bytes, report: Report, address: bytes, signed: verp.ReturnAddress, at: int
    ) -> Sequence[Event]:
        found = self._link(report, address, signed)
        if found is None:
            self.counts["unlinked"] += 1
        wish = wish_of(message, found, self._keyring, tuple(self._hosts()))
        said = stated(
            report,
            found,
            at,
            account=signed.account,
            recipient=self._recipient(found.delivery, report) if found else "",
            wish=wish,
            trust_words=self._trust_words,
        )
        if said.consequence.mismatch:
            self.counts["mismatch"] += 1  # the signature wins (bad-inputs B02)
        return said.events

    def _link(self, report: Report, address: bytes, signed: verp.ReturnAddress) -> Link | None:
        if signed.delivery:
            return link(report, address, self._keyring)
        found = link(report, b"", self._keyring)
        if found is not None and signed.account not in (0, found.account):
            return None  # a mailbox of one account says nothing about another's mail
        return found


def _is_unknown(report: Report, signed: verp.ReturnAddress) -> bool:
    """Tell whether neither the mail nor the address it came to says anything."""
    return report.kind is Kind.OTHER and signed.kind is not verp.ReturnKind.UNSUBSCRIBE
