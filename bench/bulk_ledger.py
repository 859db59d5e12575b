"""A made-up load for large ledgers: the facts of any number of deliveries over the same cells.

Guarantees: facts are made one after the other (nothing grows with their number), go through the
real fold with the real judge and the upkeep that control runs, and are counted here while they are
made, so that answers can be held against what was put in. The cells do not depend on the number of
deliveries (from 200,000 on): 20 days, two campaigns a day of five sending domains, two templates
each, 1,000 recipient domains of which ten get half of the mail.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metrics.events import Event, Hit, Kind, encode
from metrics.questions import Question
from relay.clock import DAY, HOUR, SECOND
from relay.ids import IdSource
from relay.ledger.answers import answer
from relay.ledger.engine import Ledger
from relay.ledger.fold import Folder
from relay.ledger.upkeep import Retention, Upkeep
from relay.process.judging import Judge
from relay.spool.protocol import Batch

DAYS = 20
CAMPAIGNS_A_DAY, TEMPLATES, SENDING_DOMAINS = 2, 2, 5
_MAILINGS_A_DAY = CAMPAIGNS_A_DAY * TEMPLATES
BIG_DOMAINS, SMALL_DOMAINS = 10, 990
SPOOLS = 4
ACCOUNT = 1
_SENT_FROM, _SENT_FOR = 8 * HOUR, 6 * HOUR
_BLOCK = 2_000  # deliveries whose facts of one kind come together
_OUTCOMES_LATER, _HITS_LATER = 1, 8  # in blocks
_EVENTS_PER_ROW = 50
_TIDY_EVERY = 5  # folds; control does so every second
_COUNTED_AS = {
    "requested": ("accepted",),
    "sent": ("delivered", "bounced"),
    "delivered": ("delivered",),
    "deferred": ("deferred",),
    "opens": ("opens",),
    "opened": ("opened",),
    "clicks": ("clicks",),
}
_PERSON = Hit(user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", address="")
_SCANNER = Hit(method="HEAD", user_agent="python-requests/2.32", address="")
_TRANSCRIPT = "MAIL FROM: 250 2.1.0 Ok\nRCPT TO: 250 2.1.5 Ok\nDATA: 250 2.0.0 Ok: queued as 4F1"


class Place(NamedTuple):
    """Where a delivery belongs."""

    campaign: str
    template: str
    sending_domain: str
    recipient_domain: str


@dataclass(slots=True)
class Expected:
    """What the load should be counted as."""

    facts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By campaign, recipient domain and kind ("opens": every hit, "opened": the first)."""
    people: Counter[str] = field(default_factory=Counter)
    """Distinct recipients of the first day, the same as of all days: "requested", "opened"."""
    events: int = 0

    def total(self, kind: str, *, campaign: str = "", domain: str = "") -> int:
        """Sum up, of one campaign or recipient domain or of all."""
        return sum(
            n
            for (of_campaign, of_domain, of_kind), n in self.facts.items()
            if of_kind == kind and campaign in ("", of_campaign) and domain in ("", of_domain)
        )


class _Delivery(NamedTuple):
    """One delivery of the load; `chance` is 0 to 9,999 and the same for a person on every day."""

    id: int
    at: int
    place: Place
    person: int
    chance: int


def place(day: int, number: int) -> Place:
    """Give the place of a day's delivery."""
    in_mailing, mailing = divmod(number, _MAILINGS_A_DAY)
    campaign = day * CAMPAIGNS_A_DAY + mailing % CAMPAIGNS_A_DAY
    half, small = divmod(in_mailing, 2)
    domain = BIG_DOMAINS + half % SMALL_DOMAINS if small else half % BIG_DOMAINS
    return Place(
        f"campaign-{campaign:02}",
        f"template-{mailing // CAMPAIGNS_A_DAY}",
        f"shop{campaign % SENDING_DOMAINS}.test",
        f"inbox{domain:03}.test",
    )


class Load:
    """The facts of `deliveries` deliveries, the last of them made on the day before `until`."""

    def __init__(self, deliveries: int, until: int) -> None:
        """Take how many, and the end (microseconds, a UTC midnight)."""
        self.per_day = deliveries // DAYS
        self.deliveries = self.per_day * DAYS
        self.start, self.until = until - DAYS * DAY, until
        self.made = 0
        self.expected = Expected()
        self._moment = self.start
        self._ids = IdSource(1, clock=lambda: self._moment)

    def blocks(self) -> Iterator[list[bytes]]:
        """Give encoded facts in the order in which workers would send them."""
        outcomes: deque[list[bytes]] = deque()
        hits: deque[list[bytes]] = deque()
        for block in self._deliveries():
            accepted: list[bytes] = []
            outcomes.append([])
            hits.append([])
            self.made += len(block)
            for one in block:
                self._tell(one, accepted, outcomes[-1], hits[-1])
            yield accepted
            if len(outcomes) > _OUTCOMES_LATER:
                yield outcomes.popleft()
            if len(hits) > _HITS_LATER:
                yield hits.popleft()
        yield from outcomes
        yield from hits

    def _deliveries(self) -> Iterator[list[_Delivery]]:
        for day in range(DAYS):
            begin = self.start + day * DAY + _SENT_FROM
            for first in range(0, self.per_day, _BLOCK):
                made = []
                for number in range(first, min(first + _BLOCK, self.per_day)):
                    self._moment = at = begin + _SENT_FOR * number // self.per_day
                    # Fibonacci hashing: spreads whatever the number's low bits decide elsewhere
                    chance = (number * 2654435761 >> 7) % 10_000
                    made.append(_Delivery(self._ids.take(), at, place(day, number), number, chance))
                    if day == 0:
                        self._count_person(chance)
                yield made

    def _count_person(self, chance: int) -> None:
        people = self.expected.people
        people["requested"] += 1
        people["opened"] += _opens(chance) > 0

    def _tell(
        self, one: _Delivery, accepted: list[bytes], outcomes: list[bytes], hits: list[bytes]
    ) -> None:
        """Write the facts of one delivery, and count them."""
        campaign, _, _, domain = where = one.place
        facts = self.expected.facts
        known = _known(one)
        accepted.append(encode(_acceptance(one, known)))
        facts[campaign, domain, "accepted"] += 1
        if one.chance % 20 == 0:
            deferred = Event(kind=Kind.DEFERRED, at=one.at + SECOND, reply="451 later", **known)
            outcomes.append(encode(deferred))
            facts[campaign, domain, "deferred"] += 1
        kind = "bounced" if _bounces(one.chance) else "delivered"
        outcomes.append(encode(_outcome(one, known)))
        facts[campaign, domain, kind] += 1
        for event in _hits(one):
            hits.append(encode(event))
            facts[campaign, domain, "opens" if event.kind is Kind.OPENED else "clicks"] += 1
        if _opens(one.chance):
            facts[campaign, where.recipient_domain, "opened"] += 1


def _bounces(chance: int) -> bool:
    return chance % 50 == 7


def _opens(chance: int) -> int:
    """Give how often a person opens: 30 % do, a third of them twice."""
    if chance >= 3000 or _bounces(chance):
        return 0
    return 2 if chance < 1000 else 1


def _known(one: _Delivery) -> dict[str, Any]:
    campaign, template, sending_domain, recipient_domain = one.place
    return {
        "delivery": one.id,
        "message": one.id,
        "account": ACCOUNT,
        "sending_domain": sending_domain,
        "sending_domain_id": 1 + int(sending_domain[4]),
        "recipient": f"person{one.person}@{recipient_domain}",
        "recipient_domain": recipient_domain,
        "provider": f"provider{int(recipient_domain[5:8]) % 7}",
        "campaign": campaign,
        "template": template,
        "tags": ("news",),
        "node": "node1",
    }


def _acceptance(one: _Delivery, known: dict[str, Any]) -> Event:
    return Event(
        kind=Kind.ACCEPTED,
        at=one.at,
        message_id=f"<{one.id:x}@{one.place.sending_domain}>",
        subject="Autumn offers: everything you looked at last week",
        sender=f"news@{one.place.sending_domain}",
        size=40_000,
        tracked="opens clicks",
        **known,
    )


def _outcome(one: _Delivery, known: dict[str, Any]) -> Event:
    at, host = one.at + 2 * SECOND, f"mx.{one.place.recipient_domain}"
    if _bounces(one.chance):
        category = "hard" if one.chance % 100 == 7 else "soft"
        reason = "userunknown" if category == "hard" else "mailboxfull"
        more: dict[str, Any] = {"kind": Kind.BOUNCED, "category": category, "reason": reason}
        return Event(at=at, code=550, reply="5.1.1 refused", host=host, **more, **known)
    more = {"kind": Kind.DELIVERED, "took_ms": 200 + one.chance, "transcript": _TRANSCRIPT}
    return Event(at=at, code=250, reply="2.0.0 Ok: queued as 4F1", host=host, **more, **known)


def _hits(one: _Delivery) -> Iterator[Event]:
    token: dict[str, Any] = {"delivery": one.id, "account": ACCOUNT, "sending_domain_id": 1}
    opens = _opens(one.chance)
    for nth in range(opens):
        at = one.at + (10 + 600 * nth) * 60 * SECOND // 10
        yield Event(kind=Kind.OPENED, at=at, hit=_PERSON, **token)
    if opens and one.chance < 800:
        url = f"https://www.shop.test/offer/{one.chance % 20}"
        hit = _SCANNER if one.chance < 50 else _PERSON
        clicked = Hit(method=hit.method, user_agent=hit.user_agent, link=1, url=url)
        yield Event(kind=Kind.CLICKED, at=one.at + 90 * 60 * SECOND // 10, hit=clicked, **token)


async def fill(ledger: Ledger, load: Load) -> None:
    """Fold the whole load, with the upkeep that goes on beside it."""
    folder = Folder(ledger, Judge())
    upkeep = Upkeep(ledger, Retention(), Judge(), clock=lambda: load.until)
    seqs, pruned = [0] * SPOOLS, False
    for number, facts in enumerate(load.blocks()):
        spool = number % SPOOLS
        rows = []
        for first in range(0, len(facts), _EVENTS_PER_ROW):
            seqs[spool] += 1
            rows.append(Batch(seqs[spool], tuple(facts[first : first + _EVENTS_PER_ROW])))
        await folder.fold(f"bulk-{spool}", rows)
        load.expected.events += len(facts)
        if number % _TIDY_EVERY == 0:
            await upkeep.tidy()
        if not pruned and load.made > load.deliveries * 19 // 20:
            pruned = True  # what comes after it waits for control's next hour
            await upkeep.prune()


async def differences(ledger: Ledger, load: Load) -> list[str]:
    """Hold answers against what was made: all of it, every campaign, some recipient domains."""
    expected, found = load.expected, []
    campaigns = sorted({campaign for campaign, *_ in expected.facts})
    domains = ("inbox000.test", "inbox009.test", "inbox010.test", "inbox500.test", "inbox999.test")
    narrowed: list[tuple[dict[str, tuple[str, ...]], dict[str, str]]] = [({}, {})]
    narrowed += [({"campaign": (one,)}, {"campaign": one}) for one in campaigns]
    narrowed += [({"recipient_domain": (one,)}, {"domain": one}) for one in domains]
    for where, named in narrowed:
        question = Question(
            measures=tuple(_COUNTED_AS),
            since=load.start // SECOND,
            until=load.until // SECOND,
            where=where,
        )
        values = (await answer(ledger, question)).rows[0].values
        for measure, kinds in _COUNTED_AS.items():
            should = sum(expected.total(kind, **named) for kind in kinds)
            if values[measure] != should:
                found.append(f"{measure} of {where}: {values[measure]}, made were {should}")
    people = Question(
        measures=("requested_recipients", "opening_recipients"),
        since=load.start // SECOND,
        until=load.until // SECOND,
    )
    values = (await answer(ledger, people)).rows[0].values
    for measure, kind in (("requested_recipients", "requested"), ("opening_recipients", "opened")):
        should, is_ = expected.people[kind], int(values[measure] or 0)
        if abs(is_ - should) > 0.02 * should:
            found.append(f"{measure}: {is_}, made were {should}")
    return found
