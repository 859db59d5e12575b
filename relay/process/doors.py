"""The doors of one worker, wired: submission in its forms, inbound mail, the tracking host."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from relay.acceptance.accept import Acceptance, Node
from relay.acceptance.allowance import Allowance
from relay.acceptance.handed_in import Counter as HandedInCounter
from relay.clock import now
from relay.config import Config
from relay.dispatch.dispatcher import Dispatcher
from relay.errors import ConfigError
from relay.inbound.addressee import Addressee
from relay.inbound.handler import InboundHandler
from relay.inbound.kept import Kept
from relay.layout import Layout
from relay.live_settings import LiveSettings
from relay.mail.keyring import KeyRing
from relay.message import Delivery, Message
from relay.process import descriptors
from relay.process.next_hops import POOL_MARK, SMARTHOST, pool_domains, pools
from relay.recipients import RecipientIndex
from relay.recorder import Recorder
from relay.spool.protocol import Spool
from relay.submission import proxy, tls
from relay.submission.door import Door
from relay.submission.handler import SubmissionHandler
from relay.submission.limits import Gate, GateLimits, Tally
from relay.submission.listener import Listener
from relay.submission.logins import Logins
from relay.submission.options import SessionLimits, SessionOptions
from relay.suppressions import RecipientHash, Suppressions
from relay.web.certificates import SiteTls
from relay.web.clients import ClientAddress
from relay.web.tracking import TrackingHost

_log = logging.getLogger(__name__)

_NO_LIMIT = 1 << 62


@dataclass(slots=True)
class Onward:
    """Dispatch, as acceptance sees it."""

    dispatcher: Dispatcher
    by_domain: bool  # MX delivery groups by recipient domain; a next hop takes everything
    pool_of: Callable[[str], str] = lambda _domain: ""  # the pool of a sending domain

    def room(self, deliveries: int) -> bool:
        """Say whether so many may start claimed."""
        return self.dispatcher.room(deliveries)

    def offer(self, message: Message, deliveries: Sequence[Delivery]) -> None:
        """Hand over what was stored as claimed."""
        self.dispatcher.offer(message, deliveries)

    def destination(self, recipient_domain: str, message: Message) -> str:
        """Name the recipient domain, and the pool of addresses to send from where there is one."""
        if not self.by_domain:
            return SMARTHOST
        pool = message.pool or self.pool_of(message.sending_domain)
        return f"{recipient_domain}{POOL_MARK}{pool}" if pool else recipient_domain


@dataclass(slots=True, kw_only=True)
class Doors:
    """Opens and closes them."""

    config: Config
    layout: Layout
    settings: LiveSettings
    keyring: KeyRing
    recorder: Recorder
    spool: Spool
    dispatcher: Dispatcher
    suppressions: Suppressions
    recipient_hash: RecipientHash
    recipients: RecipientIndex
    tally: Tally
    counts: Counter[str] = field(default_factory=Counter)
    gate: Gate = field(init=False)
    inbound: InboundHandler = field(init=False)
    submission: SubmissionHandler = field(init=False)
    counter: HandedInCounter = field(init=False)
    _listeners: list[Listener] = field(default_factory=list)
    _serving: list[Door] = field(default_factory=list)
    _site: web.ServerRunner | None = None
    _certificate: tls.ServerTls | None = None
    _site_tls: SiteTls | None = None

    def __post_init__(self) -> None:
        submission = self.config.submission
        self.gate = Gate(
            GateLimits(
                connections=submission.max_connections,
                connections_per_address=submission.max_connections_per_address,
                own_connections=descriptors.for_connections(),
                processes=self.config.workers,
                inflight=max(
                    submission.max_inflight_bytes // self.config.workers,
                    submission.max_message_bytes,
                ),
            ),
            self.tally,
        )
        acceptance = self._acceptance()
        self.submission = SubmissionHandler(acceptance)
        self.counter = HandedInCounter(acceptance)
        self.inbound = InboundHandler(
            keyring=self.keyring,
            record=self.recorder.record,
            kept=Kept(self.layout.unrecognised),
            clock=now,
            hosts=self._tracking_hosts,
            recipient=Addressee(self.recipients, self.recipient_hash).of,
            trust_words=self.config.inbound.trust_words,
        )

    async def open(self, sockets: Mapping[str, socket.socket]) -> None:
        """Serve on the inherited sockets."""
        self._certificate = await asyncio.to_thread(self._load_certificate)
        context = self._certificate.context
        trusted = proxy.networks(self.config.submission.trusted_proxies)
        submission = self._submission_door(context)
        for name, door, implicit in (
            ("submission", submission, None),
            ("submission_tls", submission, context),
            ("submission_plain", self._plain_door(), None),
            ("inbound", self._inbound_door(), None),
        ):
            if name not in sockets:
                continue
            if door not in self._serving:
                self._serving.append(door)
            listener = Listener(
                sockets[name],
                door,
                implicit_tls=implicit,
                proxies=trusted if name.startswith("submission") else (),
            )
            listener.start()
            self._listeners.append(listener)
        await self._open_tracking(sockets["tracking"])

    async def close(self, grace: float) -> None:
        """Take nothing new; let what is coming in arrive for at most `grace` seconds.

        The listening sockets are closed at once: this is the end of the node, or of an orphan.
        """
        for listener in self._listeners:
            listener.close()
        await asyncio.gather(*(listener.drain(grace) for listener in self._listeners))
        if self._site is not None:
            await self._site.cleanup()

    def sessions(self) -> int:
        """Count open SMTP connections."""
        return sum(len(door.sessions) for door in self._serving)

    def reload(self) -> None:
        """Use new certificate files for new connections; files that do not do change nothing."""
        for files in (self._certificate, self._site_tls):
            try:
                if files is not None:
                    files.reload()
            except (OSError, ssl.SSLError) as problem:
                _log.error("certificates were not read again: %s", problem)

    def _load_certificate(self) -> tls.ServerTls:
        submission = self.config.submission
        if submission.certificate:
            return tls.load(Path(submission.certificate), Path(submission.private_key))
        return tls.load_or_create(self.layout.certificates, self.config.node.hostname)

    def _limits(self, *, messages: int) -> SessionLimits:
        submission = self.config.submission
        return SessionLimits(
            message=submission.max_message_bytes,
            recipients=submission.max_recipients,
            messages=messages,
            errors_hard=submission.max_errors,
            errors_soft=max(1, submission.max_errors // 2),
            idle=submission.idle_seconds,
            age=submission.session_seconds,
            line=65_536 if submission.allow_long_lines else 998,
        )

    def _submission_door(self, context: ssl.SSLContext) -> Door:
        submission = self.config.submission
        return Door(
            self.submission,
            options=SessionOptions(
                hostname=self.config.node.hostname, auth_needs_tls=not submission.plain_auth
            ),
            limits=self._limits(messages=submission.max_messages_per_connection),
            authenticator=Logins(lambda: self.settings.current),
            gate=self.gate,
            tls=context,
            count=self._count,
        )

    def _plain_door(self) -> Door:
        """For allow-listed clients on a trusted network: no TLS, no login, no limit of messages."""
        return Door(
            self.submission,
            options=SessionOptions(hostname=self.config.node.hostname, auth_offered=False),
            limits=self._limits(messages=_NO_LIMIT),
            authenticator=Logins(lambda: self.settings.current),
            gate=self.gate,
            count=self._count,
        )

    def _inbound_door(self) -> Door:
        return Door(
            self.inbound,
            options=SessionOptions(
                hostname=self.config.node.hostname,
                auth_offered=False,
                auth_required=False,
                count_refusals=True,
                normalize_line_ends=True,
                nul_in_body=True,
            ),
            limits=SessionLimits(message=self.config.inbound.max_message_bytes, line=65_536),
            gate=self.gate,
            count=self._count,
        )

    def _acceptance(self) -> Acceptance:
        config = self.config
        return Acceptance(
            node=Node(
                name=config.node.name,
                hostname=config.node.hostname,
                tracking_url=config.tracking.base_url,
                own_hosts=_cached(self._tracking_hosts, lambda: self.settings.current.version),
                pools=frozenset(pools(config)),
            ),
            settings=lambda: self.settings.current,
            suppressions=self.suppressions,
            recipient_hash=self.recipient_hash.of,
            spool=self.spool,
            onward=Onward(
                self.dispatcher,
                by_domain=config.delivery.mode == "mx",
                pool_of=self._pool_of(),
            ),
            clock=now,
            allowance=Allowance(self.tally),
            count=self._count,
        )

    def _pool_of(self) -> Callable[[str], str]:
        """Give what names the pool of a sending domain: its own, else the one in the file."""
        named, known = pool_domains(self.config), pools(self.config)

        def pool_of(name: str) -> str:
            domain = self.settings.current.domains.get(name)
            own = domain.pool if domain is not None else ""
            return own if own and own in known else named.get(name, "")

        return pool_of

    def _tracking_hosts(self) -> frozenset[str]:
        own = {urlsplit(self.config.tracking.base_url).hostname or ""}
        for domain in self.settings.current.domains.values():
            if domain.tracking_url:
                own.add(urlsplit(domain.tracking_url).hostname or "")
        return frozenset(own)

    async def _open_tracking(self, listening: socket.socket) -> None:
        host = TrackingHost(
            keyring=self.keyring,
            blocks=lambda: self.settings.current.blocks,
            domain=self.settings.domain_by_id,
            recorder=self.recorder,
            clients=ClientAddress(self.config.tracking.trusted_proxies),
            clock=now,
            count=lambda kind, word: self._count(f"tracking_{kind}_{word}"),
        )
        self._site = host.runner(
            access_log=None,
            keepalive_timeout=15,
            max_line_size=4096,
            max_field_size=4096,
        )
        await self._site.setup()
        self._site_tls = await asyncio.to_thread(self._load_site_certificates)
        context = self._site_tls.context if self._site_tls else None
        await web.SockSite(self._site, listening, backlog=1024, ssl_context=context).start()

    def _load_site_certificates(self) -> SiteTls | None:
        tracking = self.config.tracking
        if not tracking.certificate:
            return None
        folder = Path(tracking.certificates) if tracking.certificates else None
        try:
            return SiteTls(Path(tracking.certificate), Path(tracking.private_key), folder)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(
                f"tracking.certificate: {tracking.certificate} with {tracking.private_key} "
                f"cannot be used: {problem}"
            ) from None

    def _count(self, name: str) -> None:
        self.counts[name] += 1


def _cached(
    make: Callable[[], frozenset[str]], version: Callable[[], int]
) -> Callable[[], frozenset[str]]:
    """Make a value again only when the settings moved on."""
    held: tuple[int, frozenset[str]] = (-1, frozenset())

    def get() -> frozenset[str]:
        nonlocal held
        if held[0] != version():
            held = (version(), make())
        return held[1]

    return get
