"""Answers with what is kept in memory equal those without, after everything that moves a count."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, select

from metrics.blocks import Names
from metrics.events import Event
from metrics.intervals import DAY, Interval
from metrics.questions import Question, plan
from relay.clock import SECOND
from relay.ledger import crowds, facet_sums, posting, sealing, tables
from relay.ledger.answers import AnswerRow, answer, answer_now
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.fold import Folder
from relay.ledger.kept import MOST_BYTES, Kept
from relay.ledger.reclassify import reclassify
from tests.harness.facts import START, BurstRule, batches, life

MIDNIGHT = START // SECOND // DAY * DAY
DAYS = 3
_PEOPLE = ("requested_recipients", "delivered_recipients", "opening_recipients_human")
_SENT = ("requested", "sent", "opens_human", "open_rate")


def _asked(measures: tuple[str, ...], **more: Any) -> Question:
    return Question(measures=measures, since=MIDNIGHT, until=MIDNIGHT + (DAYS + 1) * DAY, **more)


def _by(*names: str) -> dict[str, Any]:
    return {"group_by": names}


_FIRST = {"order_by": "sent", "limit": 1}
_NO_DOMAIN = {"where": {"recipient_domain": ("",)}}  # what nobody is counted under
QUESTIONS = (
    _asked(_PEOPLE, **_NO_DOMAIN),  # before the whole of the same days, and after it
    _asked((*_SENT, *_PEOPLE, "delivery_p50_ms", "delivery_p95_ms")),
    _asked(_PEOPLE, **_NO_DOMAIN),
    _asked((*_PEOPLE, "delivery_p95_ms"), interval=Interval.DAY, **_by("campaign")),
    _asked((*_SENT, *_PEOPLE), **_by("recipient_domain"), **_FIRST),
    _asked(_SENT, interval=Interval.DAY, **_by("recipient_domain"), **_FIRST),
    _asked((*_SENT, *_PEOPLE), **_by("recipient_domain"), where={"campaign": ("autumn",)}),
    _asked((*_SENT, *_PEOPLE), where={"recipient_domain": ("inbox1.test", "inbox2.test")}),
    _asked(_SENT, **_by("template", "recipient_domain", "campaign"), order_by="sent", limit=3),
    _asked(("later_hard", "bounced_hard"), **_by("bounce_reason")),
    _asked(("clicks", "clicks_human"), **_by("link"), order_by="clicks", limit=1),
    _asked(("opens", "clicks_human"), **_by("nature")),
)


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    async with open_ledger(ledger_url) as opened:
        yield opened


async def _differences(ledger: Ledger, kept: Kept) -> list[str]:
    """Ask every question both ways."""
    found = []
    for question in QUESTIONS:
        planned = plan(question)
        with_kept = await ledger.read(
            lambda c, q=question, p=planned: answer_now(c, q, p, kept)  # type: ignore[misc] # lambdas have no types
        )
        without = await answer(ledger, question)
        if _shown(with_kept.rows) != _shown(without.rows):
            found.append(f"{question}: {with_kept.rows} instead of {without.rows}")
    return found


def _shown(rows: tuple[AnswerRow, ...]) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    return [(row.start, row.group, row.values) for row in rows]


async def _live(ledger: Ledger, ask: Callable[[], Any]) -> None:
    """Let mail go on for some days, with all upkeep in between; `ask` after each step."""
    rng = random.Random(6)  # noqa: S311 - the same mail each time
    folder = Folder(ledger, BurstRule())
    own: list[list[Event]] = []
    late: list[Event] = []
    for day in range(DAYS):
        lives = [life(rng, n, START + day * DAY * SECOND) for n in range(day * 20, day * 20 + 20)]
        own.append([event for one in lives for event in one[0]])
        late += [event for one in lives for facts in one[1:] for event in facts]
    rng.shuffle(late)  # what comes back reaches days that were asked about long before
    for day, events in enumerate(own):
        await folder.fold(f"own-{day}", batches(events))
        await ask()
        share = len(late) // DAYS
        await folder.fold(f"late-{day}", batches(late[day * share : (day + 1) * share]))
        await ask()
        await ledger.write(crowds.absorb_some if day % 2 else crowds.absorb)
        await ask()
        await ledger.write(crowds.rebuild)
        await ask()
    await ledger.write(lambda c: sealing.seal(c, MIDNIGHT + 2 * DAY))
    await ask()
    await reclassify(ledger, _Nobody())
    await ask()


class _Nobody(BurstRule):
    """A classifier that takes every hit for a machine's."""

    def classify(self, around: Any, hits: Any) -> Any:
        """Judge as the rule of bursts does, then call everything late."""
        return super().classify(around, [*hits, *hits])[: len(hits)]


@pytest.mark.parametrize("most_bytes", [MOST_BYTES, 2_000], ids=["all kept", "little kept"])
async def test_answers_are_the_same_with_what_is_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    """Folds, late facts, absorbing, mending, sealing and new rules: each changes what it must."""
    monkeypatch.setattr(sealing, "KEPT", 1)
    kept = Kept(most_bytes)

    async def ask() -> None:
        assert await _differences(ledger, kept) == []

    await _live(ledger, ask)
    assert 0 < kept.size <= most_bytes
    if most_bytes == MOST_BYTES:
        assert _bytes_of(kept) / 2 < kept.size < _bytes_of(kept) * 2


async def test_long_ranges_take_what_is_counted_for_them(ledger: Ledger) -> None:
    """Crowds over hundreds of days, each range another: the bound is one of real memory."""
    rng = random.Random(6)  # noqa: S311 - the same mail each time
    folder = Folder(ledger, BurstRule())
    await folder.fold("own", batches([event for n in range(9) for event in life(rng, n, START)[0]]))
    first = MIDNIGHT - 400 * DAY

    def fill(connection: Connection) -> None:
        mailings = connection.scalars(select(tables.mailings.c.id)).all()
        days = [{"start": first + n * DAY, "mailing": one} for n in range(400) for one in mailings]
        connection.execute(tables.days.insert(), days)

    await ledger.write(fill)
    kept = Kept()
    for since in range(10):
        question = Question(measures=_PEOPLE, since=first + since * DAY, until=MIDNIGHT)
        planned = plan(question)
        await ledger.read(lambda c, q=question, p=planned: answer_now(c, q, p, kept))  # type: ignore[misc] # lambdas have no types
    assert _bytes_of(kept) / 2 < kept.size < _bytes_of(kept) * 2


def _bytes_of(kept: Kept) -> int:
    """Add up all objects that are kept, each once; the names of values are bounded apart."""
    total, seen, left = 0, set[int](), [kept._found]
    while left:
        one: Any = left.pop()
        if id(one) not in seen and not isinstance(one, Names):
            seen.add(id(one))
            total += sys.getsizeof(one)
            left += one if isinstance(one, tuple | list) else ()
            left += [*one.keys(), *one.values()] if isinstance(one, dict) else ()
    return total


async def test_who_tells_of_no_change_is_found_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a fold that does not count its changes leaves old answers."""
    monkeypatch.setattr(posting, "count_changes", lambda *_: None)
    kept, found = Kept(), []

    async def ask() -> None:
        found.extend(await _differences(ledger, kept))

    await _live(ledger, ask)
    assert found


async def test_one_question_reads_a_bounded_number_of_cells(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first questions over a range are SQL's; each keeps a part, until all is kept."""
    rng = random.Random(6)  # noqa: S311 - the same mail each time
    folder = Folder(ledger, BurstRule())
    for day in range(DAYS):
        lives = [life(rng, n, START + day * DAY * SECOND) for n in range(day * 9, day * 9 + 9)]
        await folder.fold(f"own-{day}", batches([event for one in lives for event in one[0]]))
    monkeypatch.setattr(facet_sums, "ROWS_READ", 1)
    question = _asked(_SENT, interval=Interval.DAY, **_by("recipient_domain"), **_FIRST)
    kept, planned, turns = Kept(), plan(question), 0

    def ready() -> Any:
        return ledger.read(lambda c: facet_sums.facet_sums(c, question, planned, kept))

    while await ready() is None:
        assert await _differences(ledger, kept) == []
        turns += 1
        assert turns < 100
    assert turns
