"""The last stop before the wire: from a stored message and one delivery to the bytes that go out.

Guarantees: the tracking decision of acceptance can only be reduced here (switched off, blocked,
failed tracking host, a recipient who withdrew), never extended; with tracking off the message is
the stored bytes behind our own header fields; a recipient who was suppressed since acceptance gets
nothing. The same delivery renders differently at each attempt only in its signature's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from bounces import verp
from relay.clock import Clock
from relay.delivery.dkim import sign_hashed
from relay.delivery.outgoing import Outgoing
from relay.departure.bodies import Bodies, Mints
from relay.departure.fields import feedback_id, has_feedback_id, list_unsubscribe
from relay.departure.signers import Signers
from relay.mail.keyring import KeyRing
from relay.message import OWN_ACCOUNT, Delivery, Message
from relay.settings import SendingDomain, Settings, Switch, effective, tracking_host
from relay.unsubscription import link_of
from tracking.tokens import Identity, Kind, campaign_hash


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
    _mints: Mints = field(init=False)
    _bodies: Bodies = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what is kept from mail to mail."""
        self._mints = Mints(self.keyring)
        self._bodies = Bodies(self._mints)

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
        added = message.trace
        if message.unsubscribe:
            added += self._unsubscribe(identity, domain, bounce_domain)
        signs = domain is not None and (self.sign_signed or not message.signed)
        signers = self.signers.of(domain) if domain is not None and signs else []
        if signers and not has_feedback_id(content):
            added += feedback_id(message, campaign, self.sender_id)
        opens, clicks = self._tracked(delivery, message, identity, settings, domain)
        made = self._bodies.make(
            content, message, identity, opens=opens, clicks=clicks, signed=bool(signers)
        )
        seconds = self.clock() // 1_000_000
        sign = partial(sign_hashed, signers, at=seconds) if signers else None
        complete, clean = made.behind(added, sign)
        return Outgoing(
            delivery=delivery.id,
            return_path=self._return_path(delivery, message, bounce_domain),
            recipient=delivery.recipient,
            content=complete,
            clean=clean,
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

    def _tracked(
        self,
        delivery: Delivery,
        message: Message,
        identity: Identity,
        settings: Settings,
        domain: SendingDomain | None,
    ) -> tuple[bool, bool]:
        """Say what of the plan may still be done: opens, clicks."""
        if not message.plan or self.untracked(delivery, message):
            return False, False
        _, host_ok = tracking_host(settings, domain, self.tracking_url)
        if not host_ok:
            return False, False
        return _still_tracked(message, identity, settings, domain)

    def _unsubscribe(
        self, identity: Identity, domain: SendingDomain | None, bounce_domain: str
    ) -> bytes:
        base_url = (domain.tracking_url if domain else "") or self.tracking_url
        scope = domain.unsubscribe_scope if domain else "account"
        host = urlsplit(base_url).hostname or ""
        token = self._mints.of(host).token(Kind.UNSUBSCRIBE, identity, link=link_of(scope))
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
