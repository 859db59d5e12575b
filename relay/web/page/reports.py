"""The live report and the data statistics: questions to the numbers, drawn.

Guarantees: a report's numbers and its CSV are answers of the API to the same question;
an open report hears within half a second of every fold that touches what it shows (`live.py`), and
stops hearing when its session ends.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from metrics.intervals import Interval
from relay.clock import SECOND
from relay.control.operations.layouts import Layouts
from relay.errors import InvalidError, NotFoundError, OperationError
from relay.web.page.desk import Visit
from relay.web.page.live import Live, Subject, TooManyListenersError, Watched
from relay.web.page.widgets import REPORTS, widget

_SPLITS = ("", "campaign", "template", "sending_domain", "recipient_domain")
_FILTERS = ("account", "sending_domain", "recipient_domain", "campaign", "template")
_MEASURES = (
    "requested,excluded,sent,delivered,delivery_rate,bounces,bounce_rate,failed,opens_human,"
    "opened_human,open_rate,clicks_human,clicked_human,click_rate,unsubscribed,complained"
)
_LISTED = "requested,sent,delivered,bounces,opened_human,clicked_human,unsubscribed,complained"
_CHARTED = ("sent", "delivered", "bounces", "opens_human", "clicks_human")
_MOST_GROUPS = 100  # shown; the CSV has all of them
_MOST_ROWS = 300  # of the table
_QUARTER_DAYS = 2  # up to so many days a chart goes by 15 minutes
_HOUR_DAYS = 14


class Reports:
    """The pages of numbers."""

    def __init__(self, live: Live, layouts: Layouts) -> None:
        """Take who tells of news, and who keeps layouts."""
        self._live = live
        self._layouts = layouts

    async def overview(self, visit: Visit) -> web.StreamResponse:
        """List campaigns and sending domains of the last 30 days."""
        wanted = [("measures", _LISTED), ("order_by", "requested"), ("limit", "100")]
        tables = {}
        for kind, name in (("campaign", "campaign"), ("domain", "sending_domain")):
            by = [("group_by", "account"), ("group_by", name)]
            tables[kind] = (name, (await visit.ask("/stats", [*wanted, *by]))["rows"])
        return visit.show("overview.html", title="Reports", tables=tables, columns=_names(_LISTED))

    async def report(self, visit: Visit) -> web.StreamResponse:
        """Show a live report."""
        kind, name, _ = _about(visit)
        since, until = _range(visit)
        return visit.show(
            "report.html",
            title="Live report",
            kind=kind,
            name=name,
            since=since,
            until=until,
            widgets=REPORTS[kind],
            layout=msgspec.to_builtins(await self._layouts.of(visit.session.who.id, kind)),
            address=visit.request.rel_url.raw_query_string,
        )

    async def keep_layout(self, visit: Visit) -> web.StreamResponse:
        """Keep where the operator has put the widgets."""
        kind = visit.text("kind")
        if kind not in REPORTS:
            raise InvalidError("a report is about a campaign or a domain", field="kind")
        await self._layouts.keep(visit.session.who.id, kind, visit.text("layout"))
        return web.Response(status=204)

    async def report_data(self, visit: Visit) -> web.StreamResponse:
        """Give the answers of all widgets of a report."""
        kind, _, about = _about(visit)
        since, until = _range(visit)
        answers: dict[str, object] = {}
        for one in REPORTS[kind]:
            question = one.question((*about, *_bounds(since, until)), _interval(since, until))
            try:
                answers[one.id] = await visit.ask_raw(one.path, question)
            except OperationError as problem:
                answers[one.id] = {"rows": [], "problem": problem.detail}
        return web.Response(body=msgspec.json.encode(answers), content_type="application/json")

    async def report_csv(self, visit: Visit) -> web.StreamResponse:
        """Give a widget's answer as CSV."""
        kind, _, about = _about(visit)
        found = widget(kind, visit.request.match_info["widget"])
        if found is None:
            raise NotFoundError("there is no such widget")
        since, until = _range(visit)
        question = found.question((*about, *_bounds(since, until)), _interval(since, until))
        if found.path == "/messages":
            question = tuple(one for one in question if one[0] != "limit")
        return await visit.download(f"{found.path}.csv", question, f"{kind}-{found.id}.csv")

    async def live(self, visit: Visit) -> web.StreamResponse:
        """Say that there is news, for as long as the page is open (server-sent events)."""
        watches = _watches(visit)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(visit.request)
        await response.write(b"retry: 2000\nevent: hello\ndata:\n\n")
        try:
            async for news in self._live.follow(watches):
                if await visit.desk.services.operators.caller_of(visit.session.who) is None:
                    break
                await response.write(b"event: news\ndata:\n\n" if news else b": quiet\n\n")
        except TooManyListenersError:
            await response.write(b"retry: 30000\n\n")
        except ConnectionError:
            pass  # the reader went away
        return response

    async def statistics(self, visit: Visit) -> web.StreamResponse:
        """Answer a question that was put together in a form."""
        question = _question(visit)
        split = visit.request.query.get("group_by", "")
        most = [("order_by", "requested"), ("limit", str(_MOST_GROUPS))] if split else []
        rows: list[dict[str, Any]] = []
        notes: tuple[str, ...] = ()
        problem = ""
        try:
            answer = await visit.ask("/stats", question + most)
            rows, notes = answer["rows"], answer["notes"]
        except OperationError as refused:
            problem = refused.detail
        domains = await visit.ask("/domains", [("limit", "500")])
        return visit.show(
            "statistics.html",
            title="Data statistics",
            rows=rows[:_MOST_ROWS],
            charted=[_charted(row) for row in rows],
            series=_CHARTED,
            cut=len(rows) > _MOST_ROWS or _groups(rows, split) >= _MOST_GROUPS,
            notes=notes,
            problem=problem,
            columns=_names(_MEASURES),
            split=split,
            splits=_SPLITS,
            intervals=[one.value for one in Interval],
            chosen=dict(question),
            address=visit.request.rel_url.raw_query_string,
            domains=[one["name"] for one in domains["items"]],
        )

    async def statistics_csv(self, visit: Visit) -> web.StreamResponse:
        """Give the same as CSV."""
        return await visit.download("/stats.csv", _question(visit), "statistics.csv")


def _names(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(","))


def _charted(row: dict[str, Any]) -> dict[str, Any]:
    """Give what the chart draws of a row."""
    return {**row, "values": {name: row["values"][name] for name in _CHARTED}}


def _groups(rows: list[dict[str, Any]], split: str) -> int:
    return len({row["group"][split] for row in rows}) if split else 0


def _about(visit: Visit) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Read what a report is about: its kind, the name, and the filters that mean it."""
    query = visit.request.query
    kind, name = query.get("kind", ""), query.get("name", "")
    if kind not in REPORTS:
        raise InvalidError("a report is about a campaign or a domain", field="kind")
    about = [("campaign" if kind == "campaign" else "sending_domain", name)]
    return kind, name, (*about, *visit.query("account"))


def _watches(visit: Visit) -> Watched:
    kind, name, _ = _about(visit)
    caller, asked = visit.caller, visit.request.query.get("account", "")

    def concerns(subject: Subject) -> bool:
        if not caller.sees(subject.account, subject.sending_domain):
            return False
        if asked and str(subject.account) != asked:
            return False
        return name == (subject.campaign if kind == "campaign" else subject.sending_domain)

    return concerns


def _range(visit: Visit) -> tuple[str, str]:
    """Read the range in whole days (UTC), by default the last 30."""
    query = visit.request.query
    today = datetime.fromtimestamp(visit.desk.services.changes.now() // SECOND, UTC).date()
    until = _day(query.get("until", ""), today + timedelta(days=1), "until")
    since = _day(query.get("since", ""), until - timedelta(days=30), "since")
    return since.isoformat(), until.isoformat()


def _day(text: str, otherwise: date, field: str) -> date:
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidError("expected a date, such as 2026-11-01", field=field) from None


def _bounds(since: str, until: str) -> tuple[tuple[str, str], ...]:
    return ("since", since), ("until", until)


def _interval(since: str, until: str) -> str:
    days = (date.fromisoformat(until) - date.fromisoformat(since)).days
    if days <= _QUARTER_DAYS:
        return Interval.QUARTER.value
    return (Interval.HOUR if days <= _HOUR_DAYS else Interval.DAY).value


def _question(visit: Visit) -> list[tuple[str, str]]:
    since, until = _range(visit)
    interval = visit.request.query.get("interval", "") or Interval.DAY.value
    asked = [("measures", _MEASURES), *_bounds(since, until), ("interval", interval)]
    return asked + visit.query(*_FILTERS, "group_by", "zone")
