"""One data-plane process, wired: top to bottom the check list of what it needs, then what it does
until it is told to stop.

Guarantees: it starts from the snapshot alone, whatever the ledger is and whether control is up; it
takes connections only when its spool is open; on SIGTERM it refuses new commands, lets what is
coming in arrive, finishes what is on the wire, puts claims back and leaves.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from relay.config import Config
from relay.errors import ConfigError
from relay.layout import Layout
from relay.link.uplink import Uplink
from relay.live_settings import LiveSettings
from relay.mail.keyring import KeyRing
from relay.notices import NoticeBoard
from relay.process.adopting import Adopting
from relay.process.doors import Doors
from relay.process.gauges import Receiver
from relay.process.handing_in import HandingIn
from relay.process.life import Child
from relay.process.orders import worker_commands
from relay.process.sending import Outlet, Sending
from relay.process.together import running
from relay.recipients import RecipientIndex
from relay.recorder import Recorder
from relay.shared_table import SharedTable
from relay.spool.local import LocalSpool, open_spool
from relay.spool.lock import SpoolHeldError
from relay.spool.options import SpoolOptions
from relay.suppressions import RecipientHash, Suppressions

_log = logging.getLogger(__name__)

_LOCK_SECONDS = 20.0  # a killed predecessor's worker may take a moment to let go
_SNAPSHOT_SECONDS = 20.0  # at the very first start control writes it
_DRAIN_SECONDS = 10.0
_FLUSH_SECONDS = 3.0
WORKERS_PER_NODE = 32


async def serve_worker(
    config: Config, index: int, sockets: Mapping[str, socket.socket], child: Child
) -> None:
    """Be worker `index` until asked to stop; raises ConfigError for what a restart cannot mend."""
    child.watch()
    layout = Layout(config.data_dir)
    number = config.node.number * WORKERS_PER_NODE + index
    keyring = KeyRing.load_or_create(layout.keyring)
    settings = await _settings(layout.snapshot, child)
    suppressions = Suppressions(layout.suppressions)
    recipient_hash = RecipientHash(keyring)
    recipients = RecipientIndex(layout.root / "recipients", number)
    board = NoticeBoard(layout.notices, f"worker-{index}")
    async with await _spool(layout.spool(index), number, config, child) as spool:
        recorder = Recorder(
            spool=spool,
            index=recipients,
            board=board,
            suppressions=suppressions,
            recipient_hash=recipient_hash,
            domain=settings.domain_by_id,
            node=config.node.name,
        )
        recorder.catch_up()
        spool.tell_recipients(recipients)
        tally = SharedTable(layout.shared_table, index, max(config.workers, index + 1))
        sending = Sending(config, settings, keyring, suppressions, recipient_hash, recorder, tally)
        outlet = sending.outlet(spool)
        doors = Doors(
            config=config,
            layout=layout,
            settings=settings,
            keyring=keyring,
            recorder=recorder,
            spool=spool,
            dispatcher=outlet.dispatcher,
            suppressions=suppressions,
            recipient_hash=recipient_hash,
            recipients=recipients,
            tally=tally,
        )
        receiver = Receiver(settings, suppressions, spool, sending, doors, recorder)
        uplink = Uplink(
            layout.link_socket,
            index,
            lambda: {one.spool.incarnation: one.spool for one in sending.outlets},
            receiver,
            {
                **worker_commands(sending.outlets, receiver, keyring, config.node.name),
                "submit": HandingIn(doors.counter),
            },
        )

        async def adopted(orphan: Outlet) -> None:
            await receiver.put_into_force(orphan)
            uplink.renew()

        adopting = Adopting(
            layout.spool(index).parent,
            index,
            config.workers,
            spool_options(config),
            sending,
            adopted,
        )
        async with running(
            spool.watch,
            recorder.follow,
            uplink.run,
            outlet.dispatcher.run,
            adopting.run,
            receiver.watch_pauses,
            receiver.watch_queue,
            receiver.watch_lag,
        ):
            await doors.open(sockets)
            child.reload = doors.reload
            _settle_memory()
            child.ready()
            await child.stopping.wait()
            _log.info("draining")
            grace = child.patience(_DRAIN_SECONDS)
            await doors.close(grace)
            await asyncio.gather(*(one.dispatcher.stop(grace) for one in sending.outlets))
            await sending.close()
            await recorder.close()
            await _flush(spool, uplink)
        tally.close()
    recipients.close()


async def _settings(snapshot: Path, child: Child) -> LiveSettings:
    """Wait for the first snapshot; control writes it at its first start."""
    deadline = time.monotonic() + _SNAPSHOT_SECONDS
    while True:
        child.go_on()
        try:
            return LiveSettings(snapshot)
        except ConfigError:
            if snapshot.exists() or time.monotonic() > deadline:  # noqa: ASYNC240 - start-up
                raise
        await asyncio.sleep(0.02)


def spool_options(config: Config) -> SpoolOptions:
    """Give the bounds of a spool."""
    return SpoolOptions(
        segment_bytes=config.spool.segment_bytes,
        cache_bytes=config.spool.cache_bytes,
        outbox_bytes=config.spool.outbox_max_bytes,
        disk_reserve=config.spool.disk_reserve_bytes,
    )


async def _spool(path: Path, number: int, config: Config, child: Child) -> LocalSpool:
    """Open the spool; a predecessor that is still ending keeps its lock for a moment."""
    options = spool_options(config)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        child.go_on()
        try:
            return await asyncio.to_thread(open_spool, path, number, options)
        except SpoolHeldError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


async def _flush(spool: LocalSpool, uplink: Uplink) -> None:
    """Give control a moment to take the last facts; what it does not take waits in the outbox."""
    deadline = time.monotonic() + _FLUSH_SECONDS
    while uplink.connected and spool.outbox_bytes and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.02)


def _settle_memory() -> None:
    """Keep what start-up made out of every later collection: it never becomes garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
