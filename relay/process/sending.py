"""Departure and delivery of one worker, wired: routes, transport, errands, and what dispatch hears
of their ends.
"""

from __future__ import annotations

from bounces.classify import classify
from relay.clock import SECOND, now
from relay.config import Config
from relay.delivery.hello import Login
from relay.delivery.mx.lookup import MxHosts
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from relay.delivery.outgoing import Outcome
from relay.delivery.pool import PoolLimits
from relay.delivery.route import Route, Smarthost, Smarthosts, TlsLevel
from relay.delivery.schedule import Schedule
from relay.delivery.session import Opener
from relay.delivery.transport import Transport
from relay.departure.depart import Departure
from relay.departure.errand import Errand, Office
from relay.departure.signers import Signers
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.lanes import Take
from relay.dispatch.limits import Feedback, Limits
from relay.layout import split_endpoint
from relay.live_settings import LiveSettings
from relay.mail.keyring import KeyRing
from relay.message import Delivery, Message, Settlement
from relay.recorder import Recorder
from relay.sealing import unseal_dkim
from relay.spool.protocol import Spool
from relay.suppressions import RecipientHash, Suppressions
from tracking.tokens import campaign_hash

_FEEDBACK = {"ok": Feedback.GOOD, "slow-down": Feedback.THROTTLED, "stop": Feedback.THROTTLED}


class Sending:
    """Serves lanes of a dispatcher, which is given after construction (each needs the other)."""

    dispatcher: Dispatcher

    def __init__(
        self,
        config: Config,
        spool: Spool,
        settings: LiveSettings,
        keyring: KeyRing,
        suppressions: Suppressions,
        recipient_hash: RecipientHash,
        recorder: Recorder,
    ) -> None:
        """Wire the way out."""
        delivery = config.delivery
        self._config = config
        self._suppressions = suppressions
        self._hash = recipient_hash
        self._smarthost = _smarthost(config)
        self._transport = Transport(
            Smarthosts() if self._smarthost else _mx_hosts(config),
            Opener(name=config.node.hostname),
            limits=PoolLimits(
                idle_per_route=delivery.connections, messages=delivery.messages_per_connection
            ),
            classify=classify,
        )
        departure = Departure(
            settings=lambda: settings.current,
            suppressed=self._suppressed,
            untracked=self._untracked,
            signers=Signers(lambda domain, key: unseal_dkim(keyring, domain, key)),
            keyring=keyring,
            clock=now,
            tracking_url=config.tracking.base_url,
            return_path=delivery.return_path_domain,
            sender_id=(config.node.name + "waypost")[:15],
        )
        self._office = Office(
            spool=spool,
            departure=departure,
            schedule=Schedule(
                first=int(delivery.retry_first_seconds * SECOND),
                longest=int(delivery.retry_max_seconds * SECOND),
                lifetime=int(delivery.lifetime_seconds * SECOND),
            ),
            clock=now,
            node=config.node.name,
            told=recorder.told,
            finished=self._finished,
        )

    async def lane(self, destination: str, take: Take) -> None:
        """Serve one destination with what dispatch gives."""

        async def next_errand() -> Errand | None:
            delivery = await take()
            return Errand(delivery, self._office) if delivery is not None else None

        route = Route(
            destination=destination,
            smarthost=self._smarthost,
            tls=TlsLevel[self._config.delivery.smarthost_tls.upper()],
        )
        await self._transport.run(route, next_errand)

    def limits(self, _destination: str) -> Limits:
        """Give the bounds of a destination."""
        return Limits(
            concurrency=self._config.delivery.connections,
            initial=min(5, self._config.delivery.connections),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    def _suppressed(self, delivery: Delivery, message: Message) -> str:
        return self._suppressions.reason(
            message.account,
            message.sending_domain,
            campaign_hash(message.account, message.campaign) if message.campaign else 0,
            self._hash.of(delivery.recipient.decode("utf-8", "replace")),
        )

    def _untracked(self, delivery: Delivery, message: Message) -> bool:
        if not self._suppressions.any_untracked:
            return False
        recipient = self._hash.of(delivery.recipient.decode("utf-8", "replace"))
        return self._suppressions.untracked(message.account, recipient)

    def _finished(
        self, delivery: Delivery, settlement: Settlement, outcome: Outcome | None
    ) -> None:
        feedback = Feedback.NEUTRAL
        if outcome is not None:
            feedback = _FEEDBACK[outcome.destination]
            if outcome.hosts_fault:
                feedback = Feedback.UNREACHABLE
        self.dispatcher.finished(delivery, settlement, feedback)


def _mx_hosts(config: Config) -> MxHosts:
    delivery = config.delivery
    return MxHosts(
        resolver=Resolver(ResolverSettings(nameservers=delivery.nameservers)),
        own_names=frozenset({config.node.hostname.lower()}),
        own_addresses=frozenset(delivery.source_addresses),
        allow_private=delivery.allow_private_hosts,
        port=delivery.mx_port,
    )


def _smarthost(config: Config) -> Smarthost | None:
    delivery = config.delivery
    if delivery.mode == "mx":
        return None
    endpoint = config.sandbox.listen if delivery.mode == "sandbox" else delivery.smarthost
    host, port = split_endpoint(endpoint)
    login = None
    if delivery.smarthost_login:
        login = Login(
            login=delivery.smarthost_login.encode(), password=delivery.smarthost_password.encode()
        )
    return Smarthost(host=host, port=port, login=login)
