"""Breaks a promise of the relay on purpose, so that a test can show that it would notice.

Python runs this file at its start when its folder is on PYTHONPATH. WAYPOST_BREAK names the break:

ack-early       the client is told 250 before the commit
forget-claimed  a start drops what was claimed when the process died, instead of trying it again
expire-by-clock a delivery is given up by its age alone, however often it was tried
forget-marks    the ledger folds what it is given, whether or not it has it already
swallow-sync    a sync that fails is taken for one that did not
leak-tasks      each message leaves a task behind that never ends
leak-descriptors  each message leaves a descriptor behind
deaf            a worker that is asked to read its certificates again does not
trust-server    the ledger does not ask whether its server is durable
forget-unsent   facts are forgotten when they are read, not when the ledger has them
lose-cr         a CR that comes last in what was read is forgotten, by both SMTP readers
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence


def _ack_early() -> None:
    from relay.message import Delivery, Message, State
    from relay.spool.local import LocalSpool
    from relay.spool.protocol import Recipients

    honest = LocalSpool.accept

    def accept(
        self: LocalSpool,
        message: Message,
        content: bytes,
        deliveries: Sequence[Delivery],
        events: Sequence[bytes],
        recipients: Recipients | None = None,
    ) -> asyncio.Future[None]:
        honest(self, message, content, deliveries, events, recipients)
        self._claimed.update((d.id, d) for d in deliveries if d.state is State.CLAIMED)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        told.set_result(None)
        return told

    LocalSpool.accept = accept  # type: ignore[method-assign]  # that is the break


def _forget_claimed() -> None:
    from relay.spool import recovery
    from relay.spool.database import Database

    def give_back(database: Database, *_others: object) -> int:
        database.begin()
        database.run("DELETE FROM claimed")
        database.commit()
        return 0

    recovery._give_back = give_back  # type: ignore[assignment]  # that is the break


def _swallow_sync() -> None:
    honest = os.fdatasync

    def fdatasync(fd: int) -> None:
        with contextlib.suppress(OSError):
            honest(fd)

    os.fdatasync = fdatasync  # type: ignore[assignment]  # that is the break


def _expire_by_clock() -> None:
    from relay.delivery.schedule import Schedule

    Schedule.least_attempts = property(lambda _self: 0)  # type: ignore[assignment]  # the break


def _forget_marks() -> None:
    from relay.ledger import fold

    fold._mark = lambda connection, spool: 0


def _leak(leave: Callable[[], object]) -> None:
    from relay.message import Delivery, Message
    from relay.spool.local import LocalSpool
    from relay.spool.protocol import Recipients

    honest = LocalSpool.accept

    def accept(
        self: LocalSpool,
        message: Message,
        content: bytes,
        deliveries: Sequence[Delivery],
        events: Sequence[bytes],
        recipients: Recipients | None = None,
    ) -> asyncio.Future[None]:
        _LEFT.append(leave())
        return honest(self, message, content, deliveries, events, recipients)

    LocalSpool.accept = accept  # type: ignore[method-assign]  # that is the break


_LEFT: list[object] = []


def _leak_tasks() -> None:
    _leak(lambda: asyncio.ensure_future(asyncio.Event().wait()))


def _leak_descriptors() -> None:
    _leak(lambda: os.open(os.devnull, os.O_RDONLY))


def _lose_cr() -> None:
    from relay.delivery.replies import RawReply, ReplyReader
    from relay.submission.reader import LineReader

    lines, replies = LineReader.feed, ReplyReader.feed

    def feed_lines(self: LineReader, data: bytes) -> None:
        lines(self, data.removesuffix(b"\r"))

    def feed_replies(self: ReplyReader, data: bytes) -> list[RawReply]:
        return replies(self, data.removesuffix(b"\r"))

    LineReader.feed = feed_lines  # type: ignore[method-assign]  # that is the break
    ReplyReader.feed = feed_replies  # type: ignore[method-assign]  # that is the break


def _deaf() -> None:
    from relay.process.doors import Doors

    Doors.reload = lambda self: None  # type: ignore[method-assign]  # that is the break


def _trust_server() -> None:
    from relay.ledger import engine

    engine._unsafe = lambda connection: []


def _forget_unsent() -> None:
    from relay.spool.outbox import Outbox
    from relay.spool.protocol import Batch

    honest = Outbox.batches

    async def batches(self: Outbox, after: int, limit: int) -> list[Batch]:
        found = await honest(self, after, limit)
        if found:
            await self.forget(found[-1].seq)
        return found

    Outbox.batches = batches  # type: ignore[method-assign]  # that is the break


_BREAKS = {
    "forget-unsent": _forget_unsent,
    "deaf": _deaf,
    "trust-server": _trust_server,
    "lose-cr": _lose_cr,
    "leak-tasks": _leak_tasks,
    "leak-descriptors": _leak_descriptors,
    "forget-marks": _forget_marks,
    "expire-by-clock": _expire_by_clock,
    "ack-early": _ack_early,
    "forget-claimed": _forget_claimed,
    "swallow-sync": _swallow_sync,
}

if (wanted := os.environ.get("WAYPOST_BREAK")) in _BREAKS:
    _BREAKS[wanted]()
