"""Departure and delivery of one worker, wired: routes, transport, errands, and what dispatch hears
of their ends.

Each spool that the worker sends from (its own, and orphans it adopted) has an outlet with a
dispatcher of its own; connections, signers and limits are the worker's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bounces.classify import classify
from relay.clock import SECOND, now
from relay.config import Config
from relay.delivery.outgoing import Outcome
from relay.delivery.pool import PoolLimits
from relay.delivery.schedule import Schedule
from relay.delivery.transport import Transport
from relay.departure.depart import Departure
from relay.departure.errand import Errand, Office
from relay.departure.signers import Signers
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.groups import Tally
from relay.dispatch.lanes import Take
from relay.dispatch.limits import DispatchOptions, Feedback
from relay.dsn.notices import Notices, Policy
from relay.live_settings import LiveSettings
from relay.mail.keyring import KeyRing
from relay.message import Delivery, Message, Settlement
from relay.process.next_hops import POOL_MARK, SMARTHOST, next_hops, opener
from relay.recorder import Recorder
from relay.sealing import unseal_dkim
from relay.settings import tells_failures
from relay.spool.local import LocalSpool
from relay.suppressions import RecipientHash, Suppressions
from tracking.tokens import campaign_hash

_FEEDBACK = {"ok": Feedback.GOOD, "slow-down": Feedback.THROTTLED, "stop": Feedback.THROTTLED}
_USED_UP_SECONDS = 60.0  # between looks whether an address that had its day may send again


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """One spool and the dispatcher that empties it."""

    spool: LocalSpool
    dispatcher: Dispatcher


class Sending:
    """The way out of one worker."""

    def __init__(
        self,
        config: Config,
        settings: LiveSettings,
        keyring: KeyRing,
        suppressions: Suppressions,
        recipient_hash: RecipientHash,
        recorder: Recorder,
        tally: Tally,
    ) -> None:
        """Wire the way out; `tally` holds the counts that workers share. Raises ConfigError."""
        delivery = config.delivery
        self.config = config
        self.outlets: list[Outlet] = []
        self._writer: Notices | None = None
        self._settings = settings
        self._suppressions = suppressions
        self._hash = recipient_hash
        self._recorder = recorder
        self._tally = tally
        self.hops = next_hops(config, tally)
        if self.hops.owners is not None:
            self.hops.owners.learnt = self._relimit
        self.transport = Transport(
            self.hops.hosts,
            opener(config),
            limits=_pool_limits(config),
            classify=classify,
            messages=self.hops.providers.messages,
        )
        self._departure = Departure(
            settings=lambda: settings.current,
            suppressed=self._suppressed,
            untracked=self._untracked,
            signers=Signers(lambda domain, key: unseal_dkim(keyring, domain, key)),
            keyring=keyring,
            clock=now,
            tracking_url=config.tracking.base_url,
            return_path=delivery.return_path_domain,
            sender_id=(config.node.name + "waypost")[:15],
            sign_signed=delivery.sign_signed,
        )

    def outlet(self, spool: LocalSpool) -> Outlet:
        """Make the way out of a spool; whoever asks runs its dispatcher."""
        delivery = self.config.delivery
        way = _Way(self)
        dispatcher = Dispatcher(
            spool,
            way.lane,
            clock=now,
            limits=self.hops.limits,
            options=DispatchOptions(
                window=self.config.spool.window,
                retry_first=delivery.retry_first_seconds,
                longest_retry=delivery.retry_max_seconds,
                pause_first=delivery.pause_first_seconds,
                pause_longest=delivery.pause_max_seconds,
            ),
            tally=self._tally,
        )
        way.dispatcher = dispatcher
        way.office = Office(
            spool=spool,
            departure=self._departure,
            schedule=Schedule(
                first=int(delivery.retry_first_seconds * SECOND),
                longest=int(delivery.retry_max_seconds * SECOND),
                lifetime=int(delivery.lifetime_seconds * SECOND),
            ),
            clock=now,
            node=self.config.node.name,
            told=self._recorder.told,
            finished=way.finished,
            notices=self._notices(spool, dispatcher),
        )
        made = Outlet(spool=spool, dispatcher=dispatcher)
        self.outlets.append(made)
        return made

    def _notices(self, spool: LocalSpool, dispatcher: Dispatcher) -> Notices:
        """Give who writes failure notices: into our first spool, the others may be on their way
        out.
        """
        if self._writer is None:
            delivery = self.config.delivery
            self._writer = Notices(
                policy=Policy(
                    hostname=self.config.node.hostname,
                    unasked=self._tells_failures,
                    delay=int(delivery.delay_notice_seconds * SECOND),
                    lifetime=int(delivery.lifetime_seconds * SECOND),
                ),
                spool=spool,
                onward=dispatcher,
                destination=lambda domain: domain if delivery.mode == "mx" else "smarthost",
                clock=now,
            )
        return self._writer

    def _tells_failures(self, account: int, domain: str) -> bool:
        usual = self.config.delivery.failure_notices
        return tells_failures(self._settings.current, account, domain, usual=usual)

    def counters(self) -> Counter[str]:
        """Give TLS sessions and failures as `tls_POLICY_RESULT` (words of RFC 8460)."""
        counts: Counter[str] = Counter()
        for (_, policy, result), count in self.transport.opener.counts.counts.items():
            counts[f"tls_{policy}_{result}"] += count
        return counts

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    def _relimit(self, domain: str) -> None:
        """Hear whose hosts a domain has."""
        pools = (name for name in self.hops.sources.pools if name)
        for name in (domain, *(f"{domain}{POOL_MARK}{pool}" for pool in pools)):
            for outlet in self.outlets:
                outlet.dispatcher.relimit(name)

    def _suppressed(self, delivery: Delivery, message: Message) -> str:
        if self._suppressions.still_clear(delivery.id):  # acceptance has just looked
            return ""
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


def _pool_limits(config: Config) -> PoolLimits:
    """Keep idle connections to a smarthost only: MX hosts count what is open, used or not, and the
    bounds of dispatch are those of lanes.
    """
    delivery = config.delivery
    return PoolLimits(
        idle=0 if delivery.mode == "mx" else PoolLimits().idle,
        idle_per_route=delivery.connections,
        messages=delivery.messages_per_connection,
    )


class _Way:
    """Serves the lanes of one dispatcher, which is given after construction (each needs the
    other).
    """

    dispatcher: Dispatcher
    office: Office

    def __init__(self, sending: Sending) -> None:
        self._hops = sending.hops
        self._transport = sending.transport

    async def lane(self, destination: str, take: Take) -> None:
        """Serve one destination with what dispatch gives, from one of our addresses."""
        if destination == SMARTHOST and self._hops.smarthost is None:
            await self._leftovers(take)
            return
        sources = self._hops.sources
        source = "" if self._hops.in_sandbox else sources.choose(self._hops.pool(destination))
        if source is None:
            self.dispatcher.rest(destination, _USED_UP_SECONDS)
            return

        async def next_errand() -> Errand | None:
            if not sources.reserve(source):
                return None
            delivery = await take()
            if delivery is None:
                sources.give_back(source)
                return None
            return Errand(delivery, self.office)

        await self._transport.run(self._hops.route(destination, source), next_errand)

    async def _leftovers(self, take: Take) -> None:
        """Send what was to go by a smarthost before delivery by MX was set: each to its domain."""
        while (delivery := await take()) is not None:
            errands = [Errand(delivery, self.office)]

            async def once(errands: list[Errand] = errands) -> Errand | None:
                return errands.pop() if errands else None

            source = self._hops.sources.choose("") or ""
            await self._transport.run(self._hops.route(delivery.recipient_domain, source), once)

    def finished(self, delivery: Delivery, settlement: Settlement, outcome: Outcome | None) -> None:
        """Tell dispatch what the end of an attempt says about the destination."""
        feedback = Feedback.NEUTRAL
        if outcome is not None:
            feedback = _FEEDBACK[outcome.destination]
            if outcome.hosts_fault:
                feedback = Feedback.UNREACHABLE
        self.dispatcher.finished(delivery, settlement, feedback)
