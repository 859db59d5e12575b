"""The ledger's only writer, wired: folds what workers send up, publishes settings, serves the
operator.

Guarantees: the snapshot is on disk before any worker is told of a change; it runs without any
worker, and workers run without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from relay.config import Config
from relay.control.brakes import Brakes
from relay.control.maildir import Maildir
from relay.control.own_facts import OwnFacts
from relay.control.publish import Publisher
from relay.control.reach import Reach
from relay.control.reports import ReportDesk, tracking_hosts
from relay.control.services import Services, start_services
from relay.control.tracking_hosts import TrackingHosts
from relay.errors import StorageError
from relay.inbound.kept import Kept
from relay.layout import Layout
from relay.ledger.engine import Ledger, LedgerBusyError, open_ledger
from relay.ledger.fold import Folder
from relay.ledger.upkeep import Retention, Upkeep
from relay.link.hub import Hub
from relay.mail.keyring import KeyRing
from relay.process.folding import Folding
from relay.process.judging import Judge
from relay.process.life import Child
from relay.process.measuring import Measuring
from relay.process.together import every, running
from relay.web.admin.app import build_admin_app
from relay.web.clients import ClientAddress
from relay.web.page.app import add_page
from relay.web.page.live import Live
from relay.web.wire import DiscreetRunner

_log = logging.getLogger(__name__)

_LOCK_SECONDS = 20.0
_AWAY_SECONDS = 2.0  # between tries to reach a database server
_TIDY_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0


async def serve_control(config: Config, sockets: Mapping[str, socket.socket], child: Child) -> None:
    """Be control until asked to stop."""
    child.watch()
    layout = Layout(config.data_dir)
    keyring = KeyRing.load_or_create(layout.keyring)
    async with contextlib.AsyncExitStack() as stack:
        ledger = await _patiently(stack, config.ledger_url, child)
        judge = Judge()
        folder = Folder(ledger, judge)
        services = await start_services(ledger, keyring, config, layout)
        feed = services.suppression_feed
        folding = Folding(folder, services.suppression_facts)
        publisher = services.publisher
        hub = Hub(
            layout.link_socket,
            folding.marks,
            folding.fold,
            lambda: publisher.version,
            publisher.replay,
        )
        publisher.listeners.changed = hub.publish
        publisher.listeners.in_force = partial(hub.in_force, config.workers)
        feed.replaced = hub.suppressed
        feed.caught_up = lambda: _caught_up(hub, config.workers)
        services.workers = hub
        desk = ReportDesk(
            ledger,
            keyring,
            OwnFacts(config.node.name, folder.mark, folding.fold).record,
            lambda: tracking_hosts(publisher.settings, config.tracking.base_url),
            kept=Kept(layout.unrecognised),
            trust_words=config.inbound.trust_words,
        )
        services.reports.desk = desk
        brakes = Brakes(services.changes, config.brakes)
        services.brakes.standings = lambda: brakes.standings
        tracking = config.tracking
        reach = Reach(tracking.base_url, anywhere=tracking.allow_private_hosts)
        hosts = TrackingHosts(
            services.changes, tracking.check_seconds, reach.why_not, default=tracking.base_url
        )
        if hosts.checks:
            services.domains.host_set = hosts.look_now
            services.domains.objection = reach.objection
        services.metrics = Measuring(
            ledger,
            hub,
            config.node.name,
            config.workers,
            lambda: hosts.failing,
            lambda: brakes.standings,
            desk.counts,
        )
        services.ready = partial(_whats_wrong, hub, publisher, config.workers)
        await hub.start()
        stack.push_async_callback(hub.stop)
        live = Live(ledger)
        folder.listeners.append(lambda folded: live.touched(folded.mailings))
        await _serve_admin(stack, services, config, layout, sockets["admin"], live)
        retention = Retention(events=config.ledger.event_days)
        upkeep = Upkeep(ledger, retention, judge)
        async with running(
            lambda: every(_TIDY_SECONDS, upkeep.tidy, "upkeep of the ledger"),
            lambda: every(_PRUNE_SECONDS, upkeep.prune, "pruning of the ledger"),
            feed.keep_written,
            lambda: feed.keep_expiring(services.changes),
            hosts.keep_checking,
            live.keep_telling,
            brakes.keep_watching,
            *_maildir(config, desk, Kept(layout.unrecognised)),
        ):
            child.ready()
            await child.stopping.wait()
            _log.info("stopping")
        await hub.stop()
        await feed.finish()


def _maildir(
    config: Config, desk: ReportDesk, kept: Kept
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Give the job that reads the Maildir, if one is set."""
    inbound = config.inbound
    if not inbound.maildir:
        return []
    watched = Maildir(
        Path(inbound.maildir), desk.take, kept=kept, max_octets=inbound.max_message_bytes
    )
    return [watched.keep_reading]


async def _whats_wrong(hub: Hub, publisher: Publisher, workers: int) -> Mapping[str, str]:
    """Say by part why this node cannot do its work; empty when it can."""
    wrong = {
        f"worker-{index}": "not connected" for index in range(workers) if index not in hub.peers
    }
    wrong |= {
        f"worker-{peer.worker}": "takes no mail"
        for peer in hub.peers.values()
        if peer.gauges.get("refusing")
    }
    if publisher.snapshot_error:
        wrong["snapshot"] = publisher.snapshot_error
    return wrong


def _caught_up(hub: Hub, workers: int) -> int:
    """Give the moment up to which the ledger has every fact of every worker; 0 when unknown."""
    if len(hub.peers) < workers:
        return 0
    return int(min(peer.gauges.get("facts_until", 0.0) for peer in hub.peers.values()))


async def _serve_admin(
    stack: contextlib.AsyncExitStack,
    services: Services,
    config: Config,
    layout: Layout,
    listening: socket.socket,
    live: Live,
) -> None:
    """Serve the operator on the admin listener, and on a unix socket that needs no key."""
    app = build_admin_app(services, allowed_hosts=config.admin.allowed_hosts)
    proxies = ClientAddress(config.tracking.trusted_proxies)
    add_page(app, services, live, secure=config.admin.behind_proxy, clients=proxies)
    runner = DiscreetRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening).start()
    before = os.umask(0o177)
    try:
        layout.admin_socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(layout.admin_socket)).start()
        stack.callback(layout.admin_socket.unlink, missing_ok=True)
    finally:
        os.umask(before)


async def _patiently(stack: contextlib.AsyncExitStack, url: str, child: Child) -> Ledger:
    """Open the ledger; a predecessor that is still ending keeps its lock for a moment.

    A database server that is away is waited for: mail goes on without it.
    """
    deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
    pause = 0.1
    while True:
        child.go_on()
        try:
            return await stack.enter_async_context(open_ledger(url))
        except LedgerBusyError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        except StorageError as problem:
            if not url.startswith("postgresql"):
                raise
            _log.error("waiting for the ledger: %s", problem)
            pause = min(pause * 2, _AWAY_SECONDS)
        await asyncio.sleep(pause)
