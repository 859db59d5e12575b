"""The tables of facts: marks, events, delivery rows, cubes, recipients seen.

Only `fold.py` and `upkeep.py` write them. Dimensions that make a *mailing* (account, sending
domain, campaign, template) are interned in `mailings`; cubes and delivery rows hold its number.
Cells hold one column per measure, in the order of `metrics.measures`. Times are microseconds since
the epoch, starts of cells are seconds. Tables of settings are in `settings_tables.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)

from metrics.measures import NAMES

metadata = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up in INTEGER keys only


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger(), nullable=False, server_default="0")


def _text(name: str) -> Column[str]:
    return Column(name, String(), nullable=False, server_default="")


def _key(name: str) -> Column[int]:
    return Column(name, BigInteger(), primary_key=True, autoincrement=False)


def _text_key(name: str) -> Column[str]:
    return Column(name, String(), primary_key=True)


def _measures() -> list[Column[int]]:
    return [_number(name) for name in NAMES]


marks = Table(  # how far each spool's outbox has been folded
    "marks",
    metadata,
    Column("spool", String(), primary_key=True),
    _number("seq"),
    sqlite_with_rowid=False,
)

parameters = Table(  # what the ledger must remember of itself, such as its hashing key
    "parameters",
    metadata,
    Column("name", String(), primary_key=True),
    Column("value", LargeBinary(), nullable=False),
    sqlite_with_rowid=False,
)

mailings = Table(
    "mailings",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    _number("account"),
    _text("sending_domain"),
    _text("campaign"),
    _text("template"),
    _number("sending_domain_id"),  # as tokens name it; 0 until an event told
    _number("campaign_hash"),
    UniqueConstraint("account", "sending_domain", "campaign", "template"),
)

events = Table(
    "events",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    _number("delivery"),
    _number("at"),
    Column("kind", SmallInteger(), nullable=False),
    Column("nature", SmallInteger()),  # of a hit: metrics.hits.Nature
    Column("platform", String()),  # of a hit
    Column("body", LargeBinary(), nullable=False),
    Index("events_delivery", "delivery"),
)

IN_STATE: dict[str, str] = {
    "deliveries_unfinished": "final = 0",
    "deliveries_opened": "opened_at > 0",
    "deliveries_clicked": "clicked_at > 0",
    "deliveries_bounced_later": "later_at > 0",
    "deliveries_unsubscribed": "unsubscribed_at > 0",
    "deliveries_complained": "complained_at > 0",
    "deliveries_machine_only": (
        "(opened_at > 0 OR clicked_at > 0) AND opened_human_at = 0 AND clicked_human_at = 0"
    ),
}
"""Indexes on the ids of the deliveries in one state, so that the log finds the rarest at once; by
the condition, which a query must write in these words."""
_NOT_DELIVERED = "final NOT IN (0, 4)"  # 4 is delivered


def ended_as(final: int) -> str:
    """Give the condition of those that ended so and not delivered, in the words of their index."""
    return f"{_NOT_DELIVERED} AND final = {final:d}"


def _in_state(name: str, condition: str, *columns: str) -> Index:
    where = text(condition)
    return Index(name, *columns, "id", sqlite_where=where, postgresql_where=where)


deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=False),
    _number("mailing"),
    _number("recipient_key"),
    _text("recipient_domain"),
    _text("provider"),
    _text("tags"),
    _number("requested_at"),
    _number("accepted_at"),
    Column("final", SmallInteger(), nullable=False, server_default="0"),
    _number("final_at"),
    _text("category"),
    _text("reason"),
    _number("took_ms"),
    _number("finals"),
    _number("deferrals"),
    _number("deferred_at"),
    _number("later_at"),
    _text("later_category"),
    _text("later_reason"),
    _number("opens"),
    _number("opened_at"),
    _number("opened_human_at"),
    _number("clicks"),
    _number("clicked_at"),
    _number("clicked_human_at"),
    _number("unsubscribes"),
    _number("unsubscribed_at"),
    _number("complaints"),
    _number("complained_at"),
    _number("autoreplies"),
    # what people search by and look at; written once, when the row is opened
    _number("message"),
    _text("recipient"),
    _text("sender"),
    _text("message_id"),
    _text("subject"),
    _number("size"),
    _text("tracked"),
    _text("skipped"),
    _text("node"),
    Index("deliveries_mailing", "mailing", "id"),
    Index("deliveries_recipient", "recipient_key"),
    Index("deliveries_message", "message"),
    Index("deliveries_message_id", "message_id"),
    *[_in_state(name, condition) for name, condition in IN_STATE.items()],
    _in_state("deliveries_not_delivered", _NOT_DELIVERED, "final"),
)


def _time_cube(name: str) -> Table:
    return Table(
        name, metadata, _key("start"), _key("mailing"), *_measures(), sqlite_with_rowid=False
    )


quarters = _time_cube("quarters")  # cube 1 by 15 minutes, hour and day (UTC)
hours = _time_cube("hours")
days = _time_cube("days")

facets = (
    Table(  # cubes 2 and 3 by day (UTC): recipient domain, provider, tag, reasons, platform, link
        "facets",
        metadata,
        _text_key("facet"),
        _key("start"),
        _key("mailing"),
        _text_key("value"),
        *_measures(),
        sqlite_with_rowid=False,
    )
)

durations = Table(  # delivery times by hour; `bucket` as in metrics.durations
    "durations",
    metadata,
    _key("start"),
    _key("mailing"),
    Column("bucket", SmallInteger(), primary_key=True, autoincrement=False),
    _number("count"),
    sqlite_with_rowid=False,
)

sightings = Table(  # recipients seen and not yet in a sketch; bounded, emptied by upkeep
    "sightings",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("measure", SmallInteger(), nullable=False),
    _number("start"),
    _number("mailing"),
    _text("recipient_domain"),
    _number("recipient_key"),
)

sketches = Table(  # distinct recipients per measure: grain "hour", "day", or "domain" (by day)
    "sketches",
    metadata,
    Column("measure", SmallInteger(), primary_key=True, autoincrement=False),
    _text_key("grain"),
    _key("start"),
    _key("mailing"),
    _text_key("value"),
    Column("sketch", LargeBinary(), nullable=False),
    sqlite_with_rowid=False,
)

stale = Table(  # sketches that hold somebody who does not belong there any more
    "stale",
    metadata,
    Column("measure", SmallInteger(), primary_key=True, autoincrement=False),
    _key("start"),
    _key("mailing"),
    sqlite_with_rowid=False,
)

counters = Table(  # first facts for Prometheus; never fall
    "counters",
    metadata,
    _text_key("name"),
    _text_key("sending_domain"),
    _text_key("label"),
    _number("value"),
    sqlite_with_rowid=False,
)

carried = Table(  # what pruned deliveries counted in cells that can still be checked
    "carried",
    metadata,
    _text_key("facet"),  # "" for the time cube
    _key("start"),
    _key("mailing"),
    _text_key("value"),
    *_measures(),
    sqlite_with_rowid=False,
)

changes = Table(  # how often anything of a mailing's day has changed; a day without a row: never
    "changes",
    metadata,
    _key("start"),
    _key("mailing"),
    _number("times"),
    sqlite_with_rowid=False,
)

sealed = Table(  # days whose facet values beyond the top 1,000 were put into "other"
    "sealed",
    metadata,
    _text_key("facet"),
    _key("start"),
    _key("account"),
    sqlite_with_rowid=False,
)

shunted = Table(  # facts that could not be read: kept, counted, shown, never in the way
    "shunted",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    _number("at"),  # when it was folded
    _text("spool"),
    _number("seq"),
    _text("error"),
    Column("body", LargeBinary(), nullable=False),
)
