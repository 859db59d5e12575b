"""The route's second stop, once per message: from a submission to a stored message with its
deliveries.

Guarantees: when `accept` returns, message, deliveries and their facts are on disk; when it raises,
nothing is kept but the fact of the refusal. Settings are read once, at the end of DATA, and their
version is stored with the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from relay.acceptance import facts
from relay.acceptance.allowance import Allowance
from relay.acceptance.decision import Decision, decide
from relay.acceptance.dialects.reading import read_options
from relay.acceptance.headers import check_hidden_fields, check_loops, missing_fields, received
from relay.acceptance.options import Options
from relay.acceptance.senders import check_sender
from relay.acceptance.submission import Recipient, Submission
from relay.clock import Clock
from relay.errors import RefusedError
from relay.mail.header import Header, remove, split, without_mbox
from relay.message import Delivery, Message, State
from relay.settings import Account, Credential, SendingDomain, Settings, tracking_host
from relay.spool.protocol import Spool
from tracking.packed import pack
from tracking.plan import Readings, Switches
from tracking.reading import Packed
from tracking.tokens import campaign_hash

SKIPPED = "skipped_"
"""How the counters begin that count messages which were to be tracked and are not, by reason."""
_MAX_SUBJECT = 256


class Suppressions(Protocol):
    """Who must not get mail."""

    def reason(self, account: int, domain: str, campaign_hash: int, recipient: int) -> str:
        """Give why a recipient (by its hash) is suppressed in any of these scopes, or ""."""
        ...

    def found_clear(self, delivery: int) -> None:
        """Hear that nothing suppressed the recipient of this delivery just now."""
        ...


class Onward(Protocol):
    """Dispatch, as acceptance sees it."""

    def room(self, deliveries: int) -> bool:
        """Say whether so many new deliveries may start CLAIMED, in dispatch's memory."""
        ...

    def offer(self, message: Message, deliveries: Sequence[Delivery]) -> None:
        """Take over deliveries that were stored as CLAIMED."""
        ...

    def destination(self, recipient_domain: str, message: Message) -> str:
        """Name what dispatch groups this recipient by."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What acceptance needs to know of this installation."""

    name: str
    hostname: str
    tracking_url: str
    own_hosts: Callable[[], frozenset[str]] = frozenset  # tracking hosts, at present
    pools: frozenset[str] = frozenset()  # of source addresses, by name


@dataclass(slots=True, kw_only=True)
class Acceptance:
    """Takes submissions for one worker."""

    node: Node
    settings: Callable[[], Settings]
    suppressions: Suppressions
    recipient_hash: Callable[[str], int]
    spool: Spool
    onward: Onward
    clock: Clock
    allowance: Allowance = field(default_factory=Allowance)
    count: Callable[[str], None] = lambda _name: None
    _known: Readings = field(default_factory=Readings)

    def put_off(self, credential: Credential) -> RefusedError | None:
        """Say early, before content comes, that the account has used up its hour."""
        account = self.settings().accounts.get(credential.account)
        try:
            if account is not None:
                self.allowance.demand(account)
        except RefusedError as refused:
            return refused
        return None

    async def accept(self, submission: Submission) -> Message:
        """Store one submission; the returned message is on disk. Raises as `submit` does, at once
        or later.
        """
        message, stored = self.submit(submission)
        await stored
        return message

    def submit(self, submission: Submission) -> tuple[Message, asyncio.Future[None]]:
        """Begin to store one submission; the message is on disk when the future is done.

        Raises RefusedError with the reply to give, SpoolFullError or StorageError; the last two
        may also come with the future.
        """
        settings, at = self.settings(), self.clock()
        account = _account(settings, submission)
        self.allowance.demand(account)
        header = split(submission.content)
        first_id = self.spool.take_ids(1 + len(submission.recipients))
        try:
            check_loops(header)
            check_hidden_fields(submission.content, header)
            sending_domain, domain = check_sender(settings, account, header)
            options = read_options(header, submission.credential.dialect, at)
        except RefusedError as refused:
            self.spool.record_soon(
                facts.refused(submission, account, first_id, at, self.node.name, refused)
            )
            raise
        if options.pool and options.pool not in self.node.pools:
            options.ignore("X-Waypost-Pool", "there is no such pool here")
            options.pool = ""
        url, host_ok = tracking_host(settings, domain, self.node.tracking_url)
        decision = decide(account, domain, options, host_ok=host_ok)
        content, message_id = self._complete(submission, header, options, first_id, at)
        plan = self._plan(content, decision, domain, options, url)
        message = Message(
            id=first_id,
            account=account.id,
            accepted_at=at,
            settings_version=settings.version,
            credential=submission.credential.id,
            sending_domain=sending_domain,
            sending_domain_id=domain.id if domain else 0,
            sender=submission.sender.address if submission.sender else b"",
            trace=received(
                hostname=self.node.hostname,
                helo=submission.helo,
                protocol=submission.protocol,
                message=first_id,
                at=at,
            ),
            campaign=options.campaign,
            template=options.template,
            tags=tuple(options.tags),
            metadata=options.metadata,
            message_id=message_id,
            subject=_subject(header),
            size=len(content),
            opens=decision.opens,
            clicks=decision.clicks,
            plan=plan.data,
            plan_at=plan.at,
            unsubscribe=_adds_unsubscribe(domain, options, header),
            signed=header.get(b"dkim-signature") is not None,
            eightbit=submission.eightbit or not content.isascii(),
            utf8=submission.utf8,
            envid=submission.envid,
            ret=submission.ret,
            pool=options.pool,
        )
        self.allowance.use(account)
        skipped = decision.skipped or plan.skipped
        stored = self._store(submission, message, content, skipped, options)
        if skipped:
            stored.add_done_callback(partial(self._count_skipped, skipped))
        return message, stored

    def _count_skipped(self, reason: str, stored: asyncio.Future[None]) -> None:
        if not stored.cancelled() and stored.exception() is None:
            self.count(SKIPPED + reason)

    def _complete(
        self, submission: Submission, header: Header, options: Options, first_id: int, at: int
    ) -> tuple[bytes, str]:
        content = remove(submission.content, options.strip) if options.strip else submission.content
        content = without_mbox(content)
        added, message_id = missing_fields(header, first_id, self.node.hostname, at)
        return (added + content if added else content), message_id

    def _plan(
        self,
        content: bytes,
        decision: Decision,
        domain: SendingDomain | None,
        options: Options,
        url: str,
    ) -> Packed:
        if not (decision.opens or decision.clicks):
            return Packed("")
        switches = Switches(
            opens=decision.opens,
            clicks=decision.clicks,
            outlook=domain.outlook_links if domain else True,
            plain_text=bool(domain and domain.text_links and options.text_links is not False),
        )
        return pack(
            content, switches, base_url=url, own_hosts=self.node.own_hosts(), known=self._known
        )

    def _store(
        self,
        submission: Submission,
        message: Message,
        content: bytes,
        skipped: str,
        options: Options,
    ) -> asyncio.Future[None]:
        hashes = [self.recipient_hash(str(one.mailbox)) for one in submission.recipients]
        kept, excluded = self._sort_recipients(submission, message, hashes)
        if options.sandbox:  # accepted and counted, not sent
            excluded += [(id_, who, "test-mode") for id_, who in kept]
            kept = []
        starts_at = max(message.accepted_at, options.not_before)
        claimed = starts_at == message.accepted_at and self.onward.room(len(kept))
        state = State.CLAIMED if claimed else State.WAITING
        deliveries = [
            Delivery(
                id=id_,
                message=message.id,
                recipient=recipient.mailbox.address,
                recipient_domain=recipient.mailbox.routing_domain,
                destination=self.onward.destination(recipient.mailbox.routing_domain, message),
                account=message.account,
                campaign=message.campaign,
                sending_domain=message.sending_domain,
                state=state,
                not_before=starts_at,
                starts_at=starts_at,
                priority=options.priority,
                notify=recipient.notify,
                orcpt=recipient.orcpt,
            )
            for id_, recipient in kept
        ]
        stated = facts.accepted(message, self.node.name, skipped, options.notes)
        events = facts.of_recipients(stated, kept, excluded)
        if not deliveries:
            return asyncio.ensure_future(self.spool.record(events))
        to_know = (message.id + 1, hashes)
        stored = self.spool.accept(message, content, deliveries, events, to_know)
        if claimed:
            stored.add_done_callback(partial(self._offer, message, deliveries))
        return stored

    def _offer(
        self, message: Message, deliveries: Sequence[Delivery], stored: asyncio.Future[None]
    ) -> None:
        if not stored.cancelled() and stored.exception() is None:
            self.onward.offer(message, deliveries)

    def _sort_recipients(
        self, submission: Submission, message: Message, hashes: Sequence[int]
    ) -> tuple[list[tuple[int, Recipient]], list[tuple[int, Recipient, str]]]:
        """Part recipients into those who get mail and those excluded, each with its delivery id."""
        kept: list[tuple[int, Recipient]] = []
        excluded: list[tuple[int, Recipient, str]] = []
        campaign = campaign_hash(message.account, message.campaign) if message.campaign else 0
        seen: set[int] = set()
        for id_, (recipient, hash_) in enumerate(
            zip(submission.recipients, hashes, strict=True), start=message.id + 1
        ):
            reason = "duplicate" if hash_ in seen else self.suppressions.reason(
                message.account, message.sending_domain, campaign, hash_
            )  # fmt: skip
            seen.add(hash_)
            if reason:
                excluded.append((id_, recipient, reason))
            else:
                kept.append((id_, recipient))
                self.suppressions.found_clear(id_)
        return kept, excluded


def _account(settings: Settings, submission: Submission) -> Account:
    account = settings.accounts.get(submission.credential.account)
    if account is None or account.suspended:
        raise RefusedError(550, "5.7.1", "this account is suspended")
    return account


def _adds_unsubscribe(domain: SendingDomain | None, options: Options, header: Header) -> bool:
    if header.get(b"list-unsubscribe") is not None:
        return False
    if options.unsubscribe is not None:
        return options.unsubscribe
    return domain.unsubscribe if domain else False


def _subject(header: Header) -> str:
    raw = header.get(b"subject") or b""
    return raw[:_MAX_SUBJECT].decode("utf-8", "replace").replace("\0", "�")
