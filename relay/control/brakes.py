"""Automatic brakes: too many complaints or bounces of a sending domain warn, and may pause it.

Guarantees: rates come from the statistics of the last hours, so they are what the reports show;
each step up or down is one audit entry and one line in the log; a pause is an entry of the pause
list that people can lift, and one that was lifted is not set again within the window. Leaves to
others: asking mailbox providers (Gmail sends no complaint reports, see its Postmaster Tools).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select

from relay.clock import Clock, now
from relay.config import Brakes as Thresholds
from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.errors import StorageError, UnavailableError
from relay.ledger.settings_tables import audit, pauses
from relay.ledger.tables import hours, mailings

_log = logging.getLogger(__name__)

_HOUR = 3600
_CALLER = Caller(name="brakes", scopes=frozenset({Scope.ADMIN}))


class Level(IntEnum):
    """How bad it is."""

    GOOD = 0
    WARNED = 1
    STOPPED = 2


class Rate(NamedTuple):
    """One rate of a sending domain, or of one of its campaigns, within the window."""

    account: int
    sending_domain: str
    campaign: str  # "" for the domain as a whole
    kind: str  # complaint or bounce
    bad: int
    of: int

    @property
    def value(self) -> float:
        """Give the rate, 0 to 1."""
        return self.bad / self.of if self.of else 0.0

    def __str__(self) -> str:
        """Write it for people."""
        noun = "complaints per delivered" if self.kind == "complaint" else "hard bounces per sent"
        return f"{self.value:.2%} {noun} message ({self.bad} of {self.of})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A rate and what it means."""

    rate: Rate
    level: Level


class Brakes:
    """Looks at the rates again and again; control has one."""

    def __init__(self, changes: Changes, thresholds: Thresholds, clock: Clock = now) -> None:
        """Take the ledger and the thresholds."""
        self._changes = changes
        self._thresholds = thresholds
        self._clock = clock
        self.standings: tuple[Standing, ...] = ()  # of sending domains with enough mail

    async def keep_watching(self) -> None:
        """Look every `check_seconds`; runs until cancelled."""
        while self._thresholds.check_seconds:
            try:
                await self.look()
            except (StorageError, UnavailableError):
                _log.exception("rates were not looked at; it is tried again")
            await asyncio.sleep(self._thresholds.check_seconds)

    async def look(self) -> tuple[Standing, ...]:
        """Work out all rates, tell what moved, and pause where that is wanted."""
        since = self._clock() // 1_000_000 - self._thresholds.window_hours * _HOUR
        rates = await self._changes.read(lambda connection: _rates(connection, since))
        judged = [Standing(rate=rate, level=self._level(rate)) for rate in rates]
        known = {_key(one.rate): one.level for one in self.standings}
        fresh = [one for one in judged if not one.rate.campaign]
        moved = [one for one in fresh if known.get(_key(one.rate), Level.GOOD) != one.level]
        over = [one for one in judged if one.level is Level.STOPPED]
        self.standings = tuple(one for one in fresh if one.rate.of >= self._thresholds.min_messages)
        for one in moved:
            write = _log.warning if one.level else _log.info
            write("%s is %s: %s", one.rate.sending_domain, one.level.name.lower(), one.rate)
        targets = list(self._targets(over))
        if moved or targets:
            await self._changes.make(_CALLER, lambda change: _write(change, moved, targets, since))
        return self.standings

    def _level(self, rate: Rate) -> Level:
        if rate.of < self._thresholds.min_messages:
            return Level.GOOD
        if rate.value >= getattr(self._thresholds, f"{rate.kind}_stop"):
            return Level.STOPPED
        warned = rate.value >= getattr(self._thresholds, f"{rate.kind}_warn")
        return Level.WARNED if warned else Level.GOOD

    def _targets(self, over: list[Standing]) -> Iterator[tuple[str, Rate]]:
        """Say what is to be paused: the kind of the pause list's line, and the rate behind it."""
        if self._thresholds.pause == "off":
            return
        for one in over:
            if one.rate.campaign:
                continue
            guilty = [
                other.rate
                for other in over
                if other.rate.campaign
                and other.rate.kind == one.rate.kind
                and other.rate.account == one.rate.account
                and other.rate.sending_domain == one.rate.sending_domain
            ]
            if self._thresholds.pause == "campaign" and guilty:
                yield from (("campaign", rate) for rate in guilty)
            else:
                yield "domain", one.rate


def _key(rate: Rate) -> tuple[int, str, str]:
    return rate.account, rate.sending_domain, rate.kind


def _rates(connection: Connection, since: int) -> list[Rate]:
    """Give both rates of every domain and of each of its campaigns that sent anything."""
    m, h = mailings.c, hours.c
    rows = connection.execute(
        select(
            m.account,
            m.sending_domain,
            m.campaign,
            func.sum(h.sent),
            func.sum(h.delivered),
            func.sum(h.bounced_hard + h.later_hard),
            func.sum(h.complained),
        )
        .join(mailings, m.id == h.mailing)
        .where(h.start > since - _HOUR, m.sending_domain != "")
        .group_by(m.account, m.sending_domain, m.campaign)
        .order_by(m.account, m.sending_domain, m.campaign)
    )
    sums: dict[tuple[int, str, str], list[int]] = {}
    for account, domain, campaign, *numbers in rows:
        for name in {"", campaign}:
            total = sums.setdefault((account, domain, name), [0, 0, 0, 0])
            for at, number in enumerate(numbers):
                total[at] += int(number)
    found = []
    for key, (sent, delivered, hard, complained) in sums.items():
        found.append(Rate(*key, "complaint", complained, delivered))
        found.append(Rate(*key, "bounce", hard, sent))
    return found


def _write(
    change: Change, moved: list[Standing], targets: list[tuple[str, Rate]], since: int
) -> None:
    for one in moved:
        change.audit(
            f"brake.{one.level.name.lower()}",
            one.rate.sending_domain,
            account=one.rate.account,
            after={"kind": one.rate.kind, "rate": one.rate.value, "text": str(one.rate)},
        )
    for kind, rate in targets:
        value = rate.campaign if kind == "campaign" else rate.sending_domain
        if not _may_pause(change.connection, kind, value, rate.account, since):
            continue
        change.connection.execute(
            insert(pauses).values(
                account=rate.account,
                kind=kind,
                value=value,
                reason=f"brake: {rate}",
                created_at=change.at,
            )
        )
        _log.warning("%s %s is paused: %s", kind, value, rate)
        after = {"kind": kind, "reason": str(rate)}
        change.audit("brake.pause", value, account=rate.account, after=after)


def _may_pause(connection: Connection, kind: str, value: str, account: int, since: int) -> bool:
    """Tell whether it is neither paused nor was paused by us within the window (and lifted)."""
    p, a = pauses.c, audit.c
    paused = select(p.id).where(p.kind == kind, p.value == value, p.account == account)
    before = select(a.id).where(
        a.action == "brake.pause",
        a.subject == value,
        a.account == account,
        a.at > since * 1_000_000,
    )
    return connection.execute(paused).first() is None and (
        connection.execute(before.limit(1)).first() is None
    )
