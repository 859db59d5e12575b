"""When the sender of a message is told what became of it, and how that becomes mail of our own.

Guarantees: a notice is on disk before the delivery that it tells of is settled, so that a crash may
repeat one and never loses one; there is none for the null sender, so notices never answer notices;
NOTIFY=NEVER is honoured. Without NOTIFY there is none either, unless the settings of the sending
domain, its account or the node ask for them: an application that reads events does not want
campaign bounces as mail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from relay.clock import Clock
from relay.delivery.outgoing import Outcome, Verdict
from relay.dsn.report import Report, write
from relay.errors import StorageError
from relay.ids import to_text
from relay.mail.addresses import AddressError, parse_address
from relay.message import OWN_ACCOUNT, Delivery, Disposition, Message, Settlement, State
from relay.spool.protocol import Spool

_log = logging.getLogger(__name__)
_MOST_RETURNED = 1024 * 1024  # a larger message is returned by its header


class Onward(Protocol):
    """Dispatch, as notices see it."""

    def room(self, deliveries: int) -> bool:
        """Say whether so many new deliveries may start CLAIMED."""
        ...

    def offer(self, message: Message, deliveries: list[Delivery]) -> None:
        """Take over deliveries that were stored as CLAIMED."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say of notices. Microseconds.

    `unasked` tells, for an account and a sending domain, whether failures are told also where the
    client did not say.
    """

    hostname: str
    unasked: Callable[[int, str], bool] = lambda _account, _domain: False
    delay: int = 4 * 3600 * 1_000_000
    lifetime: int = 432_000 * 1_000_000


@dataclass(slots=True, kw_only=True)
class Notices:
    """Makes the notices of one worker and puts them into its spool."""

    policy: Policy
    spool: Spool
    onward: Onward
    destination: Callable[[str], str]  # of a recipient domain
    clock: Clock
    counts: Counter[str] = field(default_factory=Counter)
    _writing: set[asyncio.Task[None]] = field(default_factory=set)

    def due(self, delivery: Delivery, outcome: Outcome, settlement: Settlement) -> str:
        """Say which notice this end of an attempt asks for: failed, delayed, relayed or ""."""
        asked = delivery.notify
        if delivery.account == OWN_ACCOUNT or asked == "NEVER":
            return ""
        if settlement.disposition is Disposition.DONE:
            if outcome.verdict is Verdict.DELIVERED:
                return "relayed" if "SUCCESS" in asked and not outcome.confirms else ""
            if asked:
                return "failed" if "FAILURE" in asked else ""
            tells = self.policy.unasked(delivery.account, delivery.sending_domain)
            return "failed" if tells else ""
        if settlement.disposition is Disposition.RETRY and "DELAY" in asked:
            # Once: at the attempt that was due before the limit and ends, or is put off, beyond it.
            limit = delivery.starts_at + self.policy.delay
            if delivery.not_before < limit <= settlement.not_before:
                return "delayed"
        return ""

    def give(
        self, action: str, delivery: Delivery, outcome: Outcome, of: Spool, then: Callable[[], None]
    ) -> None:
        """Store a notice about a delivery of the spool `of`, then call `then`, in any case."""
        task = asyncio.create_task(self._give(action, delivery, outcome, of, then))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _give(
        self, action: str, delivery: Delivery, outcome: Outcome, of: Spool, then: Callable[[], None]
    ) -> None:
        try:
            message, content = await of.load(delivery.message)
            if message.sender:
                await self._store(action, delivery, outcome, message, content)
                self.counts[action] += 1
        except (KeyError, StorageError, AddressError) as problem:
            self.counts["failed_to_write"] += 1
            _log.error("no notice could be made for delivery %d: %s", delivery.id, problem)
        then()

    async def _store(
        self, action: str, delivery: Delivery, outcome: Outcome, about: Message, content: bytes
    ) -> None:
        now = self.clock()
        id_ = self.spool.take_ids(2)
        report = self._report(action, delivery, outcome, about, f"{to_text(id_)}", now)
        whole = action == "failed" and about.ret == "FULL" and len(content) <= _MOST_RETURNED
        written = write(report, content, whole=whole)
        domain = parse_address(about.sender).routing_domain
        message = Message(
            id=id_,
            account=OWN_ACCOUNT,
            accepted_at=now,
            settings_version=about.settings_version,
            message_id=report.message_id,
            subject=f"delivery status notification: {action}",
            size=len(written),
            eightbit=not written.isascii(),
            utf8=about.utf8,
        )
        claimed = self.onward.room(1)
        notice = Delivery(
            id=id_ + 1,
            message=id_,
            recipient=about.sender,
            recipient_domain=domain,
            destination=self.destination(domain),
            account=OWN_ACCOUNT,
            state=State.CLAIMED if claimed else State.WAITING,
            not_before=now,
            starts_at=now,
            notify="NEVER",
        )
        await self.spool.accept(message, written, [notice], [])
        if claimed:
            self.onward.offer(message, [notice])

    def _report(
        self,
        action: str,
        delivery: Delivery,
        outcome: Outcome,
        about: Message,
        name: str,
        now: int,
    ) -> Report:
        said = str(outcome.reply) if outcome.reply is not None else ""
        return Report(
            action=action,
            hostname=self.policy.hostname,
            to=about.sender,
            recipient=delivery.recipient,
            at=now,
            arrived_at=about.accepted_at,
            message_id=f"<{name}@{self.policy.hostname}>",
            about=about.message_id,
            status=_status(action, outcome),
            diagnostic="" if action == "relayed" else said,
            explanation="" if said else outcome.text,
            remote=outcome.host,
            envid=about.envid,
            orcpt=delivery.orcpt,
            retry_until=delivery.starts_at + self.policy.lifetime if action == "delayed" else 0,
        )


def _status(action: str, outcome: Outcome) -> str:
    """Give the status code (RFC 3463); its class fits what is told, whatever a remote said."""
    said = (outcome.reply.enhanced if outcome.reply else "") or outcome.enhanced
    class_ = {"failed": "5", "delayed": "4", "relayed": "2"}[action]
    if action == "failed" and outcome.verdict is not Verdict.BOUNCED:
        return "5.4.7"  # it was tried for as long as it may
    _, dot, rest = said.partition(".")
    return f"{class_}.{rest}" if dot and action != "relayed" else f"{class_}.0.0"
