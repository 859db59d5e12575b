"""Reports that reach control instead of the inbound door: over HTTP, from a Maildir.

Guarantees: a report is linked by a signed address (the one it came to, as the caller or its own
delivery fields say), then by Message-ID in the ledger, then by what we signed in the returned copy;
its facts are folded, and what they suppress is in force, when `take` returns. What cannot be linked
is kept as a fact of its own and suppresses nobody. A mail that breaks our reading is kept among the
unrecognised, and is no error of who handed it in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from bounces.linking import Consequence, Ids, Link, link, signed_in
from bounces.read import read
from bounces.report import Report
from metrics.events import Event
from relay.clock import Clock, now
from relay.control.changes import Books
from relay.inbound.border import NOT_ITS_FAULT, NOTHING, UNREADABLE, Read, read_or_not
from relay.inbound.facts import stated, wish_of
from relay.inbound.kept import Kept
from relay.ledger.by_message_id import find_delivery
from relay.ledger.tables import deliveries
from relay.mail.header import split
from relay.mail.keyring import KeyRing
from relay.settings import Settings

_log = logging.getLogger(__name__)

Record = Callable[[Sequence[Event]], Awaitable[None]]
# Where mail servers write the address that a mail was delivered to.
_DELIVERED_TO = (b"delivered-to", b"x-original-to", b"envelope-to", b"x-envelope-to", b"to")
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a report was found to say."""

    report: Report
    found: Link | None
    consequence: Consequence
    events: Sequence[Event]


class ReportDesk:
    """Reads, links and records reports in control."""

    def __init__(
        self,
        books: Books,
        ring: KeyRing,
        record: Record,
        hosts: Callable[[], Sequence[str]],
        *,
        kept: Kept,
        trust_words: bool = False,
        clock: Clock = now,
        reads: Read = read,
    ) -> None:
        """Take the ledger to look deliveries up in, the keys, where facts go, and where mails go
        that `reads` cannot read.
        """
        self._kept = kept
        self._reads = reads
        self._books = books
        self._ring = ring
        self._record = record
        self._hosts = hosts
        self._trust_words = trust_words
        self._clock = clock
        self.counts: Counter[str] = Counter()  # by the words of `InboundHandler.counts`

    async def take(
        self, message: bytes, *, envelope: bytes = b"", account: int | None = None
    ) -> Taken:
        """Take one mail. `account`: only deliveries of this account are believed to be meant.

        Raises StorageError when the facts could not be kept.
        """
        report = await asyncio.to_thread(read_or_not, self._reads, message)
        try:
            taken = await self._judged(message, report, envelope, account)
        except NOT_ITS_FAULT:
            raise
        except Exception:  # noqa: BLE001 - as in `relay.inbound.border`
            _log.exception("what a report means could not be said")
            taken = Taken(report=UNREADABLE, found=None, consequence=NOTHING, events=())
        if taken.events:
            await self._record(taken.events)
        if taken.report is UNREADABLE:
            delivery = taken.found.delivery if taken.found else 0
            await asyncio.to_thread(self._kept.keep, message, self._clock(), delivery)
        self._count(taken)
        return taken

    def _count(self, taken: Taken) -> None:
        self.counts[taken.report.kind.value] += 1
        self.counts["unlinked"] += taken.found is None and bool(taken.events)
        self.counts["mismatch"] += taken.consequence.mismatch

    async def _judged(
        self, message: bytes, report: Report, envelope: bytes, account: int | None
    ) -> Taken:
        """Say whose a report is and what it means; nothing is recorded yet."""
        to = envelope or address_of(message, self._ring)
        found = await self._books.read(
            lambda connection: link(report, to, self._ring, partial(_by_message_id, connection))
        )
        if found is not None and not found.delivery:  # a feedback mailbox: the copy must tell
            account, found = account or found.account or None, link(report, b"", self._ring)
        if found is not None and account is not None and found.account != account:
            found = None
        number = found.delivery if found else 0
        recipient = await self._books.read(lambda connection: _recipient(connection, number))
        said = stated(
            report,
            found,
            self._clock(),
            account=account or 0,
            recipient=recipient,
            wish=wish_of(message, found, self._ring, self._hosts()),
            trust_words=self._trust_words,
        )
        return Taken(report=report, found=found, consequence=said.consequence, events=said.events)


def address_of(message: bytes, ring: KeyRing) -> bytes:
    """Give the signed address that a mail's own fields say it was delivered to, b"" if none."""
    header = split(message)
    for name in _DELIVERED_TO:
        for field in header.all(name)[:_MOST_FIELDS]:
            text = field.text.decode("ascii", "replace")
            if signed_in(text, ring) is not None:
                return _spelled(text, ring)
    return b""


def _spelled(text: str, ring: KeyRing) -> bytes:
    for word in text.replace("<", " ").replace(">", " ").replace(",", " ").split():
        if "@" in word and signed_in(word, ring) is not None:
            return word.encode("ascii", "replace")
    return b""


def _by_message_id(connection: Connection, message_id: str, recipient: str) -> Ids | None:
    found = find_delivery(connection, message_id, recipient)
    return Ids(delivery=found.delivery, account=found.account) if found else None


def _recipient(connection: Connection, delivery: int) -> str:
    wanted = select(deliveries.c.recipient).where(deliveries.c.id == delivery)
    return str(connection.scalar(wanted) or "") if delivery else ""


def tracking_hosts(settings: Settings, default: str) -> tuple[str, ...]:
    """Give the host names of our tracking URLs."""
    urls = {default, *(domain.tracking_url for domain in settings.domains.values())}
    return tuple(sorted({urlsplit(url).hostname or "" for url in urls} - {""}))
