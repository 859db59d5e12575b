"""Where facts enter a worker: into the spool's outbox, and, if they suppress somebody, into force
at once.

Guarantees: `record` returns when the facts are on disk and their suppressions hold in this
process; every other worker of the node follows within its poll (a quarter of a second), also while
control is down. The ledger hears of the same facts through the outbox and makes the lasting entry
from them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from metrics.events import Event, Kind
from relay.errors import StorageError
from relay.ids import spool_of
from relay.notices import Notice, NoticeBoard
from relay.recipients import RecipientIndex
from relay.settings import SendingDomain
from relay.spool.protocol import Spool
from relay.suppressions import (
    RecipientHash,
    Suppressions,
    entry_in_account,
    entry_in_campaign,
    entry_in_domain,
)

_log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_FOLLOW_SECONDS = 0.25
_REASONS = {
    Kind.BOUNCED: "hard-bounce",
    Kind.COMPLAINED: "complaint",
    Kind.UNSUBSCRIBED: "unsubscribe",
}


class Recorder:
    """One worker's pen."""

    def __init__(
        self,
        *,
        spool: Spool,
        index: RecipientIndex,
        board: NoticeBoard,
        suppressions: Suppressions,
        recipient_hash: RecipientHash,
        domain: Callable[[int], SendingDomain | None],
        node: str,
    ) -> None:
        """Take the spool for facts, and what is needed to know whom a delivery id means."""
        self._spool = spool
        self._index = index
        self._board = board
        self._suppressions = suppressions
        self._hash = recipient_hash
        self._domain = domain
        self._node = node
        self._telling: set[asyncio.Task[None]] = set()
        self._pen = asyncio.Lock()
        self.counts: Counter[str] = Counter()

    def hit(self, event: bytes) -> None:
        """Record a hit soon; counted as unrecorded when the outbox is at its bound."""
        self.counts["hits"] += 1
        if not self._spool.record_soon([event]):
            self.counts["hits_unrecorded"] += 1

    def may_track(self, account: int, delivery: int) -> bool:
        """Say whether the recipient of a delivery lets the account track them; in the moment of a
        hit. A delivery that another node made is not known here, and taken for allowed.
        """
        if not self._suppressions.any_untracked:
            return True
        recipient = self._index.find(delivery, spool_of(delivery))
        if recipient is None or not self._suppressions.untracked(account, recipient):
            return True
        self.counts["hits_withdrawn"] += 1
        return False

    async def unsubscribe(self, event: Event) -> None:
        """Record an unsubscription; it is on disk and in force when this returns."""
        await self.record([event])

    async def record(self, events: Sequence[Event]) -> None:
        """Record facts; on disk and in force when this returns. Raises StorageError."""
        stated = [msgspec.structs.replace(event, node=self._node) for event in events]
        await self._enforce([notice for event in stated if (notice := self._notice(event))])
        await self._spool.record([_encode(event) for event in stated])

    def told(self, event: Event, spool: Spool) -> None:
        """Put a fact that was just settled in a spool (a bounce at delivery) into force: here at
        once, for others soon.

        It is not noted before it is on disk: after a crash in between, the delivery would be tried
        again and find its own recipient suppressed by a bounce that nobody has ever heard of.
        """
        notice = self._notice(event) if event.scope else None
        if notice is not None:
            self._suppressions.note(notice.entry, notice.reason, notice.at)
            task = asyncio.create_task(self._enforce_settled(notice, spool))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def follow(self) -> None:
        """Keep up with the notices of the node's other processes; runs until cancelled.

        Notices that cannot be read now (no descriptor is left) are read at the next turn.
        """
        failing = False
        while True:
            try:
                self.catch_up()
                failing = False
            except OSError as problem:
                self.counts["notices_unread"] += 1
                if not failing:
                    _log.error("notices cannot be read: %s", problem.strerror)
                failing = True
            await asyncio.sleep(_FOLLOW_SECONDS)

    def catch_up(self) -> None:
        """Take what other processes noted since the last time."""
        for notice in self._board.follow():
            self._suppressions.note(notice.entry, notice.reason, notice.at)

    async def close(self) -> None:
        """Finish what was being told."""
        if self._telling:
            await asyncio.wait(self._telling)
        self._board.close()

    async def _enforce_settled(self, notice: Notice, spool: Spool) -> None:
        try:
            await spool.settled()
        except StorageError:
            return  # not settled: whatever comes of the next try will be told
        await self._enforce([notice])

    async def _enforce(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self._suppressions.note(notice.entry, notice.reason, notice.at)
        if not notices:
            return
        try:
            async with self._pen:
                await asyncio.to_thread(self._board.tell, notices)
        except OSError as problem:
            # The ledger will still hear of it through the outbox; other workers learn it later.
            _log.error("notice not written: %s", problem.strerror)
            self.counts["notices_failed"] += 1

    def _notice(self, event: Event) -> Notice | None:
        reason = _REASONS.get(event.kind)
        if not event.scope or reason is None:
            return None
        if event.recipient:
            recipient: int | None = self._hash.of(event.recipient)
        else:
            recipient = self._index.find(event.delivery, spool_of(event.delivery))
        if recipient is None:
            return None
        entry = self._entry(event, recipient)
        return Notice(entry, reason, event.at) if entry is not None else None

    def _entry(self, event: Event, recipient: int) -> int | None:
        if event.scope == "account":
            return entry_in_account(event.account, recipient)
        if event.scope == "campaign" and event.campaign_hash:
            return entry_in_campaign(event.campaign_hash, recipient)
        domain = self._domain(event.sending_domain_id)
        name = event.sending_domain or (domain.name if domain else "")
        return entry_in_domain(event.account, name, recipient) if name else None
