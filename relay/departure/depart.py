"""The last stop before the wire: from a stored message and one delivery to the bytes that go out.

Guarantees: the tracking decision of acceptance can only be reduced here (switched off, blocked,
failed tracking host, a recipient who withdrew), never extended; with tracking off the message is
the stored bytes behind our own header fields; a recipient who was suppressed since acceptance gets
nothing. The same delivery renders differently at each attempt only in its signature's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from bounces import verp
from relay.clock import Clock
from relay.delivery.dkim import sign_all
from relay.delivery.outgoing import Outgoing
from relay.departure.fields import feedback_id, has_feedback_id, list_unsubscribe
from relay.departure.signers import Signers
from relay.mail.keyring import KeyRing
from relay.message import OWN_ACCOUNT, Delivery, Message
from relay.settings import SendingDomain, Settings, Switch, effective, tracking_host
from relay.unsubscription import link_of
from tracking.plan import Plan
from tracking.render import render
from tracking.tokens import Identity, Kind, Mint, campaign_hash

_decode_plan = msgspec.msgpack.Decoder(Plan).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """This delivery must not be made: the recipient was suppressed after acceptance."""

    reason: str


@dataclass(slots=True, kw_only=True)
class Departure:
    """Renders deliveries for one worker."""

    settings: Callable[[], Settings]
    suppressed: Callable[[Delivery, Message], str]
    untracked: Callable[[Delivery, Message], bool] = lambda _delivery, _message: False
    signers: Signers
    keyring: KeyRing
    clock: Clock
    tracking_url: str
    return_path: str
    sender_id: str
    sign_signed: bool = True  # mail that arrived with a DKIM signature gets ours as well
    _mints: dict[str, Mint] = field(default_factory=dict)
    _plans: dict[int, Plan] = field(default_factory=dict)

    def depart(self, delivery: Delivery, message: Message, content: bytes) -> Outgoing | Suppressed:
        """Give what goes on the wire, or why nothing may."""
        reason = self.suppressed(delivery, message)
        if reason:
            return Suppressed(reason=reason)
        settings = self.settings()
        domain = settings.domains.get(message.sending_domain)
        if domain is not None and domain.account != message.account:
            domain = None
        campaign = campaign_hash(message.account, message.campaign)
        identity = Identity(
            delivery=delivery.id,
            account=message.account,
            domain=message.sending_domain_id,
            campaign=campaign,
        )
        bounce_domain = (domain.return_path if domain else "") or self.return_path
        body = self._body(delivery, message, content, identity, settings, domain)
        added = message.trace
        if message.unsubscribe:
            added += self._unsubscribe(identity, domain, bounce_domain)
        signs = domain is not None and (self.sign_signed or not message.signed)
        signers = self.signers.of(domain) if domain is not None and signs else []
        if signers and not has_feedback_id(content):
            added += feedback_id(message, campaign, self.sender_id)
        complete = b"".join((added, *body))
        if signers:
            at = self.clock() // 1_000_000
            head, _, text = complete.partition(b"\r\n\r\n")
            complete = sign_all(signers, head + b"\r\n", text, at=at) + complete
        return Outgoing(
            delivery=delivery.id,
            return_path=self._return_path(delivery, message, bounce_domain),
            recipient=delivery.recipient,
            content=complete,
            utf8=message.utf8,
            eightbit=message.eightbit,
            envid=message.envid,
            ret=message.ret,
            notify=delivery.notify,
            orcpt=delivery.orcpt,
        )

    def _return_path(self, delivery: Delivery, message: Message, bounce_domain: str) -> bytes:
        """Give the signed address that reports come back to; our own notices have none."""
        if message.account == OWN_ACCOUNT:
            return b""
        return verp.mint(delivery.id, message.account, bounce_domain, self.keyring)

    def _body(
        self,
        delivery: Delivery,
        message: Message,
        content: bytes,
        identity: Identity,
        settings: Settings,
        domain: SendingDomain | None,
    ) -> list[bytes]:
        if not message.plan or self.untracked(delivery, message):
            return [content]
        _, host_ok = tracking_host(settings, domain, self.tracking_url)
        if not host_ok:
            return [content]
        opens, clicks = _still_tracked(message, identity, settings, domain)
        if not (opens or clicks):
            return [content]
        plan = self._plan(message)
        return render(content, plan, self._mint(plan.host), identity, opens=opens, clicks=clicks)

    def _plan(self, message: Message) -> Plan:
        plan = self._plans.get(message.id)
        if plan is None:
            if len(self._plans) > 1000:
                self._plans.clear()
            plan = self._plans[message.id] = _decode_plan(message.plan)
        return plan

    def _mint(self, host: str) -> Mint:
        mint = self._mints.get(host)
        if mint is None or mint.key_id != self.keyring.current:
            mint = self._mints[host] = Mint(self.keyring, host)
        return mint

    def _unsubscribe(
        self, identity: Identity, domain: SendingDomain | None, bounce_domain: str
    ) -> bytes:
        base_url = (domain.tracking_url if domain else "") or self.tracking_url
        scope = domain.unsubscribe_scope if domain else "account"
        host = urlsplit(base_url).hostname or ""
        token = self._mint(host).token(Kind.UNSUBSCRIBE, identity, link=link_of(scope))
        mailbox = verp.mint(
            identity.delivery,
            identity.account,
            bounce_domain,
            self.keyring,
            kind=verp.ReturnKind.UNSUBSCRIBE,
        )
        return list_unsubscribe(f"{base_url}/u/{token}", mailbox, token)


def _still_tracked(
    message: Message, identity: Identity, settings: Settings, domain: SendingDomain | None
) -> tuple[bool, bool]:
    """Reduce the decision of acceptance by what was switched off since."""
    account = settings.accounts.get(message.account)
    blocked = (
        identity.campaign in settings.blocks.campaigns or identity.domain in settings.blocks.domains
    )
    if account is None or blocked:
        return False, False
    opens = message.opens and effective(account, domain, "opens")[0] is not Switch.OFF
    clicks = message.clicks and effective(account, domain, "clicks")[0] is not Switch.OFF
    return opens, clicks
