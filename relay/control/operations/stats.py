"""Statistics: questions to the cubes, within what the caller may see, as JSON and as CSV.

Guarantees: a key bound to an account or to domains gets sums of these alone, whatever it asks; a
question that the cubes cannot answer is refused with the list of what can be asked. CSV is the
same answer, in UTF-8 with a byte order mark, so that spreadsheets show Chinese text right.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Connection, select

from metrics.catalogue import DIMENSIONS, FACET_MEASURES, MAILING_DIMENSIONS, describe
from metrics.intervals import Interval
from metrics.questions import Question, UnanswerableError, plan
from relay.clock import SECOND
from relay.control.caller import Caller, Scope
from relay.control.changes import Changes
from relay.control.moments import asked_for
from relay.control.operations.words import Body, Entry, domain_name, harmless_cell
from relay.control.route import route
from relay.errors import InvalidError, NotFoundError, OperationError
from relay.ledger.answers import Answer, answer_now
from relay.ledger.kept import Kept
from relay.ledger.settings_tables import domains

_DEFAULT_DAYS = 30
_DEFAULT_MEASURES = (
    "requested,excluded,sent,delivered,hard_bounces,soft_bounces,failed,"
    "opened,opened_human,clicked,clicked_human,unsubscribed,complained"
)
_CSV_ROWS = 1000

Values = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=1000)], ...], msgspec.Meta(max_length=100)
]


class QuestionRefusedError(OperationError):
    """The cubes cannot answer this; the text lists what can be asked."""

    status = 422
    slug = "unanswerable"


class DomainStatsQuery(Body, frozen=True):
    """A question about one sending domain; a dimension's name with a value filters by it."""

    measures: Values = (_DEFAULT_MEASURES,)  # names, apart by commas or repeated
    group_by: Values = ()  # dimensions, apart by commas or repeated
    since: Annotated[str, msgspec.Meta(max_length=40)] = ""  # 2026-11-01, or RFC 3339
    until: Annotated[str, msgspec.Meta(max_length=40)] = ""  # not included
    interval: Interval = Interval.TOTAL
    zone: Annotated[str, msgspec.Meta(max_length=60)] = "UTC"  # of dates and intervals
    order_by: Annotated[str, msgspec.Meta(max_length=60)] = ""  # a measure; greatest first
    limit: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0  # of groups; 0: all
    campaign: Values = ()
    template: Values = ()
    recipient_domain: Values = ()
    provider: Values = ()
    tag: Values = ()
    bounce_reason: Values = ()
    error_reason: Values = ()
    exclusion_reason: Values = ()
    rejection_reason: Values = ()
    platform: Values = ()
    nature: Values = ()
    link: Values = ()


class StatsQuery(DomainStatsQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question about everything that the caller may see."""

    account: Values = ()  # ids
    sending_domain: Values = ()


class Catalogue(Entry, frozen=True):
    """What can be asked."""

    measures: dict[str, str]  # name: meaning, unit and moment
    dimensions: tuple[str, ...]  # may be combined with each other
    facets: dict[str, tuple[str, ...]]  # one per question, with the measures it has


class Stats:
    """Operations on statistics."""

    def __init__(self, changes: Changes, kept: Kept) -> None:
        """Take the door to the ledger, and what was read through it before."""
        self._changes = changes
        self._kept = kept

    @route("GET", "/stats/catalogue", scope=Scope.READ)
    async def catalogue(self, caller: Caller) -> Catalogue:
        """Say what can be asked."""
        del caller
        return Catalogue(
            measures=describe(), dimensions=MAILING_DIMENSIONS, facets=dict(FACET_MEASURES)
        )

    @route("GET", "/stats", scope=Scope.READ)
    async def overall(self, caller: Caller, query: StatsQuery) -> Answer:
        """Answer a question from the statistics, by default the last 30 days in one sum."""
        return await self._answer(self._question(query, _visible(caller, query)))

    @route("GET", "/stats.csv", scope=Scope.READ, produces="text/csv")
    async def overall_csv(self, caller: Caller, query: StatsQuery) -> AsyncIterator[bytes]:
        """Answer the same as `/stats`, as CSV."""
        question = self._question(query, _visible(caller, query))
        return _csv(question, await self._answer(question))

    @route("GET", "/domains/{domain}/stats", scope=Scope.READ)
    async def of_domain(self, caller: Caller, domain: str, query: DomainStatsQuery) -> Answer:
        """Answer a question about one sending domain."""
        where = await self._domain(caller, domain)
        return await self._answer(self._question(query, where))

    @route("GET", "/domains/{domain}/stats.csv", scope=Scope.READ, produces="text/csv")
    async def of_domain_csv(
        self, caller: Caller, domain: str, query: DomainStatsQuery
    ) -> AsyncIterator[bytes]:
        """Answer the same as `/domains/{domain}/stats`, as CSV."""
        question = self._question(query, await self._domain(caller, domain))
        return _csv(question, await self._answer(question))

    async def _domain(self, caller: Caller, domain: str) -> dict[str, tuple[str, ...]]:
        """Narrow to a sending domain and its account; removed domains keep their statistics."""
        try:
            name = domain_name(domain)
        except InvalidError:
            name = ""

        def work(connection: Connection) -> list[int]:
            wanted = select(domains.c.account).where(domains.c.name == name)
            latest = wanted.order_by(domains.c.removed_at != 0, domains.c.removed_at.desc())
            return [row.account for row in connection.execute(latest)]

        accounts = [one for one in await self._changes.read(work) if caller.sees(one, name)]
        if not accounts:
            raise NotFoundError("there is no such sending domain")
        return {"account": (str(accounts[0]),), "sending_domain": (name,)}

    def _question(self, query: DomainStatsQuery, where: dict[str, tuple[str, ...]]) -> Question:
        try:
            zone = ZoneInfo(query.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidError(
                "expected a name of the IANA database, such as Asia/Shanghai", field="zone"
            ) from None
        today = datetime.fromtimestamp(self._changes.now() // SECOND, UTC).date()
        tomorrow = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
        until = asked_for(query.until, zone, "until") if query.until else tomorrow
        since = until - timedelta(days=_DEFAULT_DAYS)
        if query.since:
            since = asked_for(query.since, zone, "since")
        for name in DIMENSIONS:
            given: tuple[str, ...] = getattr(query, name, ())
            if given and name not in where:
                where[name] = given
        return Question(
            measures=_names(query.measures),
            group_by=_names(query.group_by),
            since=int(since.timestamp()),
            until=int(until.timestamp()),
            where=where,
            interval=query.interval,
            zone=query.zone,
            order_by=query.order_by,
            limit=query.limit,
        )

    async def _answer(self, question: Question) -> Answer:
        try:
            planned = plan(question)
            return await self._changes.read(
                lambda connection: answer_now(connection, question, planned, self._kept)
            )
        except UnanswerableError as problem:
            raise QuestionRefusedError(str(problem)) from None


def _visible(caller: Caller, query: StatsQuery) -> dict[str, tuple[str, ...]]:
    """Narrow to what the caller may see; NotFoundError for what it names beyond that."""
    where: dict[str, tuple[str, ...]] = {}
    if caller.account is not None:
        if any(value != str(caller.account) for value in query.account):
            raise NotFoundError("there is no such account", field="account")
        where["account"] = (str(caller.account),)
    if caller.domains:
        if not caller.domains.issuperset(query.sending_domain):
            raise NotFoundError("there is no such sending domain", field="sending_domain")
        where["sending_domain"] = query.sending_domain or tuple(sorted(caller.domains))
    return where


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())


async def _csv(question: Question, found: Answer) -> AsyncIterator[bytes]:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["start", *question.group_by, *question.measures])
    yield b"\xef\xbb\xbf"
    for start in range(0, max(1, len(found.rows)), _CSV_ROWS):
        for row in found.rows[start : start + _CSV_ROWS]:
            groups = [row.group.get(name, "") for name in question.group_by]
            values = [row.values.get(name) for name in question.measures]
            writer.writerow([row.start, *map(harmless_cell, groups), *map(_number, values)])
        yield written.getvalue().encode("utf-8")
        written.seek(0)
        written.truncate()


def _number(value: float | None) -> str:
    return "" if value is None else str(value)
