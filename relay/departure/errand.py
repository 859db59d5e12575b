"""One due delivery on its way through a lane: loaded, rendered when a connection waits, settled
with its outcome.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from metrics.events import Event
from relay.clock import SECOND, Clock
from relay.delivery.outgoing import Outcome, Outgoing, Problem
from relay.delivery.schedule import Schedule
from relay.departure.depart import Departure, Suppressed
from relay.departure.settlement import Settled, excluded, settle
from relay.message import OWN_ACCOUNT, Delivery, Disposition, Message, Settlement
from relay.spool.protocol import DamagedContentError, Spool

_log = logging.getLogger(__name__)
_MAX_REASON = 1000
_PUT_OFF = 5 * SECOND
_SHORTAGES = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def _passes(problem: OSError | MemoryError) -> bool:
    """Tell whether it is only for now, unlike a disk that does not give back what it has."""
    return isinstance(problem, MemoryError) or problem.errno in _SHORTAGES


class Notices(Protocol):
    """Tells senders what became of their mail, where they asked; `relay.dsn.notices` does."""

    def due(self, delivery: Delivery, outcome: Outcome, settlement: Settlement) -> str:
        """Say which notice this end asks for, "" for none."""
        ...

    def give(
        self, action: str, delivery: Delivery, outcome: Outcome, of: Spool, then: Callable[[], None]
    ) -> None:
        """Store it, then call `then`, in any case."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What every errand of a spool needs."""

    spool: Spool
    departure: Departure
    schedule: Schedule
    clock: Clock
    node: str
    told: Callable[[Event, Spool], None]  # acts on facts that were just settled: suppressions
    finished: Callable[[Delivery, Settlement, Outcome | None], None]  # dispatch hears of each end
    notices: Notices | None = None


class Errand:
    """A job of `relay.delivery.lane`."""

    __slots__ = ("_delivery", "_message", "_office")

    def __init__(self, delivery: Delivery, office: Office) -> None:
        """Take a claimed delivery."""
        self._delivery = delivery
        self._office = office
        self._message: Message | None = None

    @property
    def delivery(self) -> int:
        """Give the delivery's id."""
        return self._delivery.id

    async def make(self) -> Outgoing | None:
        """Render the mail now; None when it must not go (the delivery is settled then)."""
        office = self._office
        try:
            message, content = await office.spool.load(self._delivery.message)
        except (KeyError, DamagedContentError):
            self._set_aside("content lost or damaged")
            return None
        except (OSError, MemoryError) as problem:
            if not _passes(problem):
                raise
            self._wait_for_room("no memory or no descriptor to read it", problem)
            return None
        self._message = message
        try:
            made = office.departure.depart(self._delivery, message, content)
        except MemoryError as problem:
            self._wait_for_room("no memory to render it", problem)
            return None
        except Exception as problem:  # noqa: BLE001 - our bug must not cost the mail, nor the lane
            _log.exception("delivery %d cannot be rendered", self._delivery.id)
            self._set_aside(f"it cannot be rendered: {problem!r}")
            return None
        if isinstance(made, Suppressed):
            ended = excluded(self._delivery, message, made.reason, office.clock(), office.node)
            self._end(ended, None)
            return None
        return made

    def done(self, outcome: Outcome) -> None:
        """Settle the delivery with what became of the attempt."""
        office = self._office
        if outcome.problem is Problem.LOCAL:
            self._set_aside(outcome.text)
            return
        if self._message is None:  # no connection, so never rendered
            self._message = Message(
                id=self._delivery.message,
                account=self._delivery.account,
                accepted_at=self._delivery.starts_at,
                settings_version=0,
                sending_domain=self._delivery.sending_domain,
                campaign=self._delivery.campaign,
            )
        at = office.clock()
        ended = settle(self._delivery, self._message, outcome, office.schedule, at, office.node)
        self._end(ended, outcome)

    def _end(self, ended: Settled, outcome: Outcome | None) -> None:
        office, settlement = self._office, ended.settlement
        if self._delivery.account == OWN_ACCOUNT:  # our own notice: nobody counts it
            settlement = msgspec.structs.replace(settlement, events=())
        action = ""
        if outcome is not None and office.notices is not None:
            action = office.notices.due(self._delivery, outcome, settlement)
        if not action or outcome is None or office.notices is None:
            self._settle(settlement, outcome, ended.event)
            return
        office.notices.give(
            action,
            self._delivery,
            outcome,
            office.spool,
            partial(self._settle, settlement, outcome, ended.event),
        )

    def _wait_for_room(self, why: str, problem: OSError | MemoryError) -> None:
        """Put off what is not the mail's fault, and tell of it in the log and by its count."""
        cause = (type(problem), problem, None)  # where it was does not matter
        _log.error("delivery %d is put off: %s", self._delivery.id, why, exc_info=cause)
        self._put_off(why)

    def _put_off(self, why: str) -> None:
        """Try again a little later; no attempt is counted, since none was made."""
        delivery = self._delivery
        settlement = Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=Disposition.RETRY,
            not_before=self._office.clock() + _PUT_OFF,
            attempt=delivery.attempt,
            last_reply=why,
            ambiguous=delivery.ambiguous,
        )
        self._settle(settlement, None)

    def _settle(
        self, settlement: Settlement, outcome: Outcome | None, event: Event | None = None
    ) -> None:
        self._office.spool.settle_soon(settlement)
        if event is not None and settlement.events:
            self._office.told(event, self._office.spool)
        self._office.finished(self._delivery, settlement, outcome)

    def _set_aside(self, why: str) -> None:
        """Keep what cannot be rendered for a person to look at, instead of losing it or looping."""
        _log.error("delivery %d is held: %s", self._delivery.id, why)
        settlement = Settlement(
            delivery=self._delivery.id,
            message=self._delivery.message,
            disposition=Disposition.HOLD,
            attempt=self._delivery.attempt,
            last_reply=why[:_MAX_REASON],
        )
        self._settle(settlement, None)
