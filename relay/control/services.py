"""What control offers, put together: the operations, the publisher, and the seams to the rest.

The composition root makes one `Services` and hands it to whoever serves it: the HTTP door
(`relay.web.admin.app`), or a command that works without a running server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from relay.clock import Clock, now
from relay.config import Config
from relay.control.changes import Changes
from relay.control.operations.accounts import Accounts
from relay.control.operations.apikeys import ApiKeys
from relay.control.operations.audiences import Audiences
from relay.control.operations.audit import Audit
from relay.control.operations.blocks import Blocks, Pauses
from relay.control.operations.brakes import Brakes
from relay.control.operations.by_message import ByMessage
from relay.control.operations.confirmation import Confirmations
from relay.control.operations.credentials import Credentials
from relay.control.operations.deliveries import Deliveries
from relay.control.operations.dkim_keys import KeyMaker
from relay.control.operations.dns_records import NodeNames
from relay.control.operations.domains import Domains
from relay.control.operations.keys import Keys
from relay.control.operations.ledger_care import LedgerCare
from relay.control.operations.messages import Messages
from relay.control.operations.operators import Operators
from relay.control.operations.queue import Queue
from relay.control.operations.reports import Reports
from relay.control.operations.signing import Signing
from relay.control.operations.soft_bounces import SoftBounces
from relay.control.operations.stats import Stats
from relay.control.operations.suppression_facts import SuppressionFacts
from relay.control.operations.suppression_files import SuppressionFiles
from relay.control.operations.suppression_rows import SuppressionKeys
from relay.control.operations.suppressions import Suppressions
from relay.control.operations.tracking import Tracking
from relay.control.publish import Listeners, Publisher
from relay.control.route import Registry
from relay.control.suppression_feed import SuppressionFeed
from relay.layout import Layout
from relay.ledger.engine import Ledger
from relay.ledger.kept import Kept
from relay.mail.keyring import KeyRing
from relay.notices import NoticeBoard
from relay.submission.options import SessionLimits


class Workers(Protocol):
    """The link to the workers, as far as operations need it."""

    async def ask(
        self, name: str, args: dict[str, Any] | None = None, seconds: float = 10.0
    ) -> Mapping[int, Any]:
        """Broadcast a command; give each worker's answer by its index."""
        ...

    def connected(self) -> Sequence[int]:
        """Give the indexes of the workers that are connected now."""
        ...

    async def ask_one(self, worker: int, name: str, payload: bytes, seconds: float = 10.0) -> Any:
        """Give a command to one worker and give its answer; see `relay.link.hub.Hub`."""
        ...


class NoWorkers:
    """Stands in where no server runs: nobody answers."""

    async def ask(
        self, name: str, args: dict[str, Any] | None = None, seconds: float = 10.0
    ) -> Mapping[int, Any]:
        """Give no answers."""
        del name, args, seconds
        return {}

    def connected(self) -> Sequence[int]:
        """Give nobody."""
        return ()

    async def ask_one(self, worker: int, name: str, payload: bytes, seconds: float = 10.0) -> Any:
        """Ask nobody."""
        del name, payload, seconds
        raise KeyError(worker)


class Ready(Protocol):
    """Says whether the node can do its work."""

    async def __call__(self) -> Mapping[str, str]:
        """Give what is wrong by part; empty when everything is well."""
        ...


async def _all_well() -> Mapping[str, str]:
    return {}


async def _no_metrics() -> bytes:
    return b""


@dataclass(slots=True, kw_only=True)
class Services:
    """All of control that can be asked."""

    changes: Changes
    publisher: Publisher
    accounts: Accounts
    credentials: Credentials
    api_keys: ApiKeys
    operators: Operators
    domains: Domains
    signing: Signing
    tracking: Tracking
    blocks: Blocks
    pauses: Pauses
    suppressions: Suppressions
    suppression_facts: SuppressionFacts  # not asked, but told: what workers saw
    suppression_files: SuppressionFiles
    audit: Audit
    stats: Stats
    deliveries: Deliveries
    by_message: ByMessage
    audiences: Audiences
    ledger_care: LedgerCare
    queue: Queue
    messages: Messages
    keys: Keys
    reports: Reports
    brakes: Brakes
    registry: Registry
    suppression_feed: SuppressionFeed
    workers: Workers
    ready: Ready = _all_well
    metrics: Callable[[], Awaitable[bytes]] = _no_metrics  # Prometheus text


def node_names(config: Config) -> NodeNames:
    """Give this installation's names for DNS records."""
    return NodeNames(
        hostname=config.node.hostname,
        return_path=config.delivery.return_path_domain,
        tracking_url=config.tracking.base_url,
        addresses=config.sending_addresses,
        pools=frozenset(one.partition("=")[0].strip().lower() for one in config.delivery.pools),
    )


def submission_limits(config: Config) -> SessionLimits:
    """Give the bounds of one message as SMTP has them."""
    submission = config.submission
    return SessionLimits(
        message=submission.max_message_bytes,
        recipients=submission.max_recipients,
        line=65_536 if submission.allow_long_lines else 998,
    )


def build_services(
    ledger: Ledger,
    ring: KeyRing,
    node: NodeNames,
    snapshot: Path,
    feed: SuppressionFeed,
    *,
    key_maker: KeyMaker | None = None,
    limits: SessionLimits | None = None,
    soft_bounces: int = 0,
    soft_bounce_days: int = 14,
    extra: tuple[object, ...] = (),
    clock: Clock = now,
) -> Services:
    """Put the operations together; `extra` are more objects whose methods are routes, `limits` the
    bounds of mail handed in over HTTP.

    Afterwards `await ledger.read(services.publisher.load)` and `await services.publisher.start()`.
    """
    publisher = Publisher(snapshot, Listeners(suppress=feed.tell))
    changes = Changes(ledger, publisher, clock)
    keys = SuppressionKeys(ring)
    key_maker = key_maker or KeyMaker(ring)

    async def ask(name: str, args: dict[str, Any]) -> Mapping[int, Any]:
        return await services.workers.ask(name, args)  # set by whoever has the link

    nouns = {
        "accounts": Accounts(changes),
        "credentials": Credentials(changes),
        "api_keys": ApiKeys(changes),
        "operators": Operators(changes),
        "domains": Domains(changes, key_maker, node),
        "signing": Signing(changes, key_maker),
        "tracking": Tracking(changes, Confirmations(ring)),
        "blocks": Blocks(changes),
        "pauses": Pauses(changes),
        "suppression_files": SuppressionFiles(changes, keys),
        "suppressions": Suppressions(changes, keys),
        "audit": Audit(changes, keys),
        "stats": Stats(changes, Kept()),
        "deliveries": Deliveries(ledger),
        "by_message": ByMessage(ledger),
        "audiences": Audiences(ledger),
        "ledger_care": LedgerCare(ledger, changes, keys),
        "queue": Queue(changes, ask),
        "messages": Messages(changes, lambda: services.workers, limits or SessionLimits()),
        "keys": Keys(changes, ring, ask),
        "reports": Reports(changes, ring, node.return_path),
        "brakes": Brakes(),
    }
    registry = Registry((*nouns.values(), *extra))
    services = Services(
        changes=changes,
        publisher=publisher,
        suppression_facts=SuppressionFacts(
            changes, keys, SoftBounces(keys, count=soft_bounces, days=soft_bounce_days)
        ),
        registry=registry,
        suppression_feed=feed,
        workers=NoWorkers(),
        **nouns,  # type: ignore[arg-type] # each under its own field's name
    )
    return services


async def start_services(
    ledger: Ledger, ring: KeyRing, config: Config, layout: Layout, *, extra: tuple[object, ...] = ()
) -> Services:
    """Build the services of this node and bring snapshot and suppression table up to date.

    Before workers connect set `publisher.listeners.changed` and `suppression_feed.replaced`; run
    `suppression_feed.keep_written()` and `.keep_expiring(changes)` as tasks, `.finish()` at the
    end; call `suppression_facts.take(batches)` before each fold and `.settle()` after it.
    """
    feed = SuppressionFeed(ledger, layout.suppressions, NoticeBoard(layout.notices, "control"))
    services = build_services(
        ledger,
        ring,
        node_names(config),
        layout.snapshot,
        feed,
        limits=submission_limits(config),
        soft_bounces=config.inbound.soft_bounces,
        soft_bounce_days=config.inbound.soft_bounce_days,
        extra=extra,
    )
    await ledger.read(services.publisher.load)
    await services.publisher.start()
    if not layout.suppressions.exists():
        await feed.write()
    return services
