"""Whether everything that counts the same facts agrees: events, rows, cubes, answers, counters.

`sums.py` holds rows, cubes and counters against the events; here what is answered, by the API and
the page, is held against the counters that Prometheus reads. Made for a ledger whose relay has
stopped; its cost grows with the events in it. Holds until a day is pruned or a bounce by mail is
corrected: counters keep first facts.
"""

from __future__ import annotations

from collections import Counter

from metrics.intervals import DAY
from metrics.questions import Question
from relay.ledger.answers import answer
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.facts_total import facts_total
from relay.ledger.sums import check_sums

_YEAR_2100 = 4_102_444_800 // DAY * DAY
_MEASURES_OF: dict[str, tuple[str, ...]] = {
    "accepted": ("accepted",),
    "excluded": ("excluded",),
    "rejected": ("rejected",),
    "delivered": ("delivered", "later_hard", "later_soft"),
    "deferred": ("deferred",),
    "bounced_hard": ("bounced_hard",),
    "bounced_soft": ("bounced_soft",),
    "bounced_ignored": ("bounced_ignored",),
    "failed": ("failed",),
    "opened": ("opens",),
    "clicked": ("clicks",),
    "unsubscribed": ("unsubscribes",),
    "complained": ("complaints",),
}
"""By result of a first fact the measures that count it."""


async def disagreements(ledger: Ledger) -> list[str]:
    """Give one line for each difference; none when all agrees."""
    wrong = await check_sums(ledger)
    measures = tuple(dict.fromkeys(name for names in _MEASURES_OF.values() for name in names))
    question = Question(measures=measures, since=0, until=_YEAR_2100)
    values = (await answer(ledger, question)).rows[0].values
    counted: Counter[str] = Counter()
    for (_, result), n in (await facts_total(ledger)).events.items():
        counted[result] += n
    for result, names in _MEASURES_OF.items():
        answered = sum(int(values[name] or 0) for name in names)
        if counted[result] != answered:
            wrong.append(f"{result}: {counted[result]} by the counters, {answered} as answered")
    return wrong


async def disagreements_of(url: str) -> list[str]:
    """Open the ledger of a relay that has stopped, and look."""
    async with open_ledger(url) as ledger:
        return await disagreements(ledger)
