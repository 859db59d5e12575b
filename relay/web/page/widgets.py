"""What a live report is made of: each widget is one question to the API, and how to draw it.

Guarantees: a widget's CSV is the API's CSV answer to the very question its drawing came from (of
the list of messages, all of it). Widgets whose cubes count by the day ask for whole UTC days, so
that every widget of a report speaks of the same range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Drawing = Literal["figures", "progress", "chart", "table", "messages"]
Pairs = tuple[tuple[str, str], ...]

_MOST_ROWS = "20"
_BOUNCES = "bounced_hard,bounced_soft,bounced_ignored,later_hard,later_soft,later_ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """One part of a report. `title` is in English; the page translates it."""

    id: str
    title: str
    drawing: Drawing
    measures: str  # of a list of messages: its columns
    path: Literal["/stats", "/messages"] = "/stats"
    group_by: str = ""
    order_by: str = ""
    over_time: bool = False
    width: int = 1  # of 4 columns
    limit: str = _MOST_ROWS

    def question(self, about: Pairs, interval: str) -> Pairs:
        """Give the query of what is at `path`; `about` narrows it and gives the range."""
        if self.path == "/messages":
            return (*about, ("limit", self.limit))
        asked = [*about, ("measures", self.measures)]
        if self.group_by:
            asked.append(("group_by", self.group_by))
        if self.order_by:
            asked += [("order_by", self.order_by), ("limit", self.limit)]
        if self.over_time:
            asked.append(("interval", interval))
        return tuple(asked)


FIGURES = Widget(
    id="figures",
    title="Headline numbers",
    drawing="figures",
    measures=(
        "requested,excluded,rejected,sent,delivered,deferred_messages,bounces,hard_bounces,"
        "soft_bounces,failed,opened,opened_human,opening_recipients_human,clicked,clicked_human,"
        "clicking_recipients_human,unsubscribed,complained,delivery_rate,bounce_rate,open_rate,"
        "click_rate,unsubscribe_rate,complaint_rate,delivery_p50_ms,delivery_p95_ms"
    ),
    width=4,
)

_SENDING = (
    "requested,excluded,sent,delivered,delivery_rate,bounces,bounce_rate,failed,opens,"
    "opened_human,open_rate,clicks,clicked_human,click_rate,unsubscribed,complained"
)
_SAID = "unsubscribed,unsubscribe_rate,complained,complaint_rate"


def _widgets(split: str, split_title: str) -> tuple[Widget, ...]:
    return (
        FIGURES,
        Widget(
            id="progress",
            title="Progress",
            drawing="progress",
            measures="requested,excluded,rejected,accepted,delivered,sent,bounces,failed",
            width=4,
        ),
        Widget(
            id="chart",
            title="Over time",
            drawing="chart",
            measures="sent,delivered,bounces,opens_human,clicks_human,unsubscribed,complained",
            over_time=True,
            width=4,
        ),
        Widget(
            id="sending",
            title=split_title,
            drawing="table",
            measures=_SENDING,
            group_by=split,
            order_by="sent",
            width=4,
        ),
        Widget(
            id="messages",
            title="Sending metrics by message",
            drawing="messages",
            path="/messages",
            measures=(
                "requested,excluded,delivered,bounced,failed,opened_human,clicked_human,"
                "unsubscribed,complained"
            ),
            width=4,
        ),
        Widget(
            id="bounces",
            title="Bounce categories and reasons",
            drawing="table",
            measures=_BOUNCES,
            group_by="bounce_reason",
            width=2,
        ),
        Widget(
            id="errors",
            title="Error reasons",
            drawing="table",
            measures="failed",
            group_by="error_reason",
            order_by="failed",
        ),
        Widget(
            id="exclusions",
            title="Exclusion reasons",
            drawing="table",
            measures="excluded",
            group_by="exclusion_reason",
            order_by="excluded",
        ),
        Widget(
            id="domains-sent",
            title="Top recipient domains by sent",
            drawing="table",
            measures="sent,delivered,delivery_rate,bounces,bounce_rate",
            group_by="recipient_domain",
            order_by="sent",
            width=2,
        ),
        Widget(
            id="domains-opens",
            title="Top recipient domains by opens",
            drawing="table",
            measures="opens_human,opened_human,open_rate,clicked_human,click_rate",
            group_by="recipient_domain",
            order_by="opens_human",
            width=2,
        ),
        Widget(
            id="platforms",
            title="Platforms",
            drawing="table",
            measures="opens,opens_human,clicks,clicks_human",
            group_by="platform",
            order_by="opens",
            width=2,
        ),
        Widget(
            id="natures",
            title="People and machines",
            drawing="table",
            measures="opens,clicks",
            group_by="nature",
            order_by="opens",
            width=2,
        ),
        Widget(
            id="links",
            title="Links by clicks",
            drawing="table",
            measures="clicks,clicks_human",
            group_by="link",
            order_by="clicks",
            limit="50",
            width=2,
        ),
        Widget(
            id="unsubscribes",
            title="Unsubscribes and complaints",
            drawing="table",
            measures=_SAID,
            group_by="recipient_domain",
            order_by="unsubscribed",
            width=2,
        ),
    )


REPORTS: dict[str, tuple[Widget, ...]] = {
    "campaign": _widgets("template", "Sending metrics by template"),
    "domain": _widgets("campaign", "Sending metrics by campaign"),
}
"""The widgets by kind of report, in the order in which a report begins."""


def widget(kind: str, id_: str) -> Widget | None:
    """Find a widget of a kind of report."""
    return next((one for one in REPORTS.get(kind, ()) if one.id == id_), None)
