"""The sum rule: counts equal facts (DESIGN section 7, promise 5).

`check_sums` works every cube out again from the stored events, by the same pure functions but from
nothing, adds what pruned deliveries carried, and names every cell that differs. It also holds each
delivery row against its events, names deliveries that ended more than once, and compares the
first-fact counters. It covers the time since the checkable horizon; its cost grows with the events
in the ledger, so it is for demos, crash tests and operators, not for pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, select

from metrics.contribution import count_event, count_fate, result_of
from metrics.events import Kind
from metrics.fate import OPENING, Fate, merge
from metrics.hits import Nature, Verdict
from metrics.intervals import DAY, HOUR
from metrics.measures import NAMES
from metrics.sheet import Cell, Sheet, add_cell, coarser
from relay.ledger import sealing, tables
from relay.ledger.engine import Ledger
from relay.ledger.horizon import load_horizon
from relay.ledger.intake import read_stored
from relay.ledger.rows import Stored, load_fates

_AT_ONCE = 2000
_MOST_DIFFERENCES = 1000
FacetKey = tuple[str, int, int, str]


async def check_sums(ledger: Ledger) -> list[str]:
    """Give one line for each difference between events, rows, cubes and counters; none when all
    holds."""
    return await ledger.read(_check)


def _check(connection: Connection) -> list[str]:
    since = load_horizon(connection).checkable_from
    sheet = Sheet()
    wrong: list[str] = []
    for fates in _by_chunks(connection):
        wrong += _check_rows(connection, fates, sheet)
    wrong += _check_unowned(connection, sheet)
    times, facets = _expected(connection, sheet)
    for table, width in ((tables.quarters, 0), (tables.hours, HOUR), (tables.days, DAY)):
        expected = coarser(times, width) if width else times
        wrong += _compare(connection, table, ("start", "mailing"), expected, since)
    wrong += _compare(
        connection, tables.facets, ("facet", "start", "mailing", "value"), facets, since
    )
    if not since:  # nothing was pruned: every event that ever counted is there
        wrong += _compare_counters(connection, sheet)
        wrong += _compare_durations(connection, sheet)
    return wrong[:_MOST_DIFFERENCES]


def _by_chunks(connection: Connection) -> Iterator[dict[int, list[Stored]]]:
    """Give the stored events by delivery, some thousand deliveries at a time."""
    e = tables.events.c
    after = 0
    while True:
        ids = connection.scalars(
            select(e.delivery)
            .where(e.delivery > after)
            .distinct()
            .order_by(e.delivery)
            .limit(_AT_ONCE)
        ).all()
        if not ids:
            return
        found: dict[int, list[Stored]] = {}
        rows = connection.execute(
            select(e.delivery, e.id, e.nature, e.platform, e.body).where(
                e.delivery > after, e.delivery <= ids[-1]
            )
        )
        for delivery, number, nature, platform, body in rows:
            verdict = Verdict(Nature(nature), platform or "") if nature else None
            stored = Stored(number, read_stored(bytes(body)), verdict)
            found.setdefault(delivery, []).append(stored)
        after = ids[-1]
        yield found


def _check_rows(connection: Connection, events: dict[int, list[Stored]], sheet: Sheet) -> list[str]:
    """Merge each delivery's events anew, hold them against its row, and count them."""
    wrong = []
    rows = load_fates(connection, events)
    labels = _labels(connection, {fate.mailing for fate in rows.values()})
    for number, stored in events.items():
        row = rows.get(number)
        if row is None:
            wrong.append(f"delivery {number}: {len(stored)} events and no row")
            continue
        fate = _merged_anew(row, stored)
        if fate != row:
            wrong.append(f"delivery {number}: row and events differ in {_difference(row, fate)}")
        if fate.finals > 1:
            wrong.append(f"delivery {number}: {fate.finals} terminal events, expected at most one")
        count_fate(sheet, fate, +1)
        for one in stored:
            count_event(sheet, fate, one.event, one.verdict, +1)
            if fate.mailing:
                sheet.counter("events", labels[fate.mailing], result_of(one.event))
    return wrong


def _merged_anew(row: Fate, stored: list[Stored]) -> Fate:
    fate = Fate(
        row.id,
        row.mailing,
        row.recipient_key,
        row.recipient_domain,
        row.provider,
        row.tags,
    )
    for one in stored:
        merge(fate, one.event)
    for kind, name in ((Kind.OPENED, "opened_human_at"), (Kind.CLICKED, "clicked_human_at")):
        moments = [s.event.at for s in stored if s.event.kind is kind and _human(s)]
        setattr(fate, name, min(moments, default=0))
    return fate


def _human(stored: Stored) -> bool:
    return stored.verdict is not None and stored.verdict.human


def _difference(row: Fate, fate: Fate) -> str:
    return ", ".join(
        f"{name} ({getattr(row, name)!r}, events say {value!r})"
        for name, value in msgspec.structs.asdict(fate).items()
        if value != getattr(row, name)
    )


def _labels(connection: Connection, wanted: set[int]) -> dict[int, str]:
    m = tables.mailings.c
    rows = connection.execute(
        select(m.id, m.sending_domain, m.sending_domain_id).where(m.id.in_(sorted(wanted)))
    )
    return {number: name if known else "other" for number, name, known in rows}


def _check_unowned(connection: Connection, sheet: Sheet) -> list[str]:
    """Count facts without a delivery: refusals, each a message of its own."""
    e, m = tables.events.c, tables.mailings.c
    wrong = []
    for (body,) in connection.execute(select(e.body).where(e.delivery == 0)):
        event = read_stored(bytes(body))
        if event.kind not in OPENING:
            sheet.counter("events", "other", result_of(event))
            continue
        mailing = connection.execute(
            select(m.id, m.sending_domain, m.sending_domain_id).where(
                m.account == event.account,
                m.sending_domain == event.sending_domain,
                m.campaign == event.campaign,
                m.template == event.template,
            )
        ).first()
        if mailing is None:
            wrong.append(f"an event without delivery at {event.at} has no mailing")
            continue
        fate = Fate(0, mailing[0], 0, event.recipient_domain, event.provider, "\n".join(event.tags))
        merge(fate, event)
        count_fate(sheet, fate, +1)
        sheet.counter("events", mailing[1] if mailing[2] else "other", result_of(event))
    return wrong


def _expected(
    connection: Connection, sheet: Sheet
) -> tuple[dict[tuple[int, int], Cell], dict[FacetKey, Cell]]:
    """Give what the cubes should hold: the sheet and what pruned deliveries carried."""
    times, facets = sheet.time_cells(), sheet.facet_cells()
    carried = tables.carried
    for facet, start, mailing, value, *numbers in connection.execute(select(*carried.c)):
        cell = dict(enumerate(numbers))
        if facet:
            add_cell(facets, (facet, start, mailing, value), cell)
        else:
            add_cell(times, (start, mailing), cell)
    return times, sealing.resolve(connection, facets)


def _compare(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    expected: Mapping[Any, Cell],
    since: int,
) -> list[str]:
    wrong = []
    columns = [table.c[name] for name in (*keys, *NAMES)]
    left = {key: cell for key, cell in expected.items() if any(cell.values())}
    for row in connection.execute(select(*columns)):
        key, have = tuple(row[: len(keys)]), dict(enumerate(row[len(keys) :]))
        named = dict(zip(keys, key, strict=True))
        if named["start"] >= since:
            wrong += _cell_differences(table.name, named, have, left.pop(key, {}))
    for key, cell in left.items():
        named = dict(zip(keys, key, strict=True))
        if named["start"] >= since:
            wrong += _cell_differences(table.name, named, {}, cell)
    return wrong


def _cell_differences(cube: str, named: dict[str, Any], have: Cell, should: Cell) -> list[str]:
    where = " ".join(f"{name}={value}" for name, value in named.items())
    return [
        f"{cube} {where}: {name} is {have.get(number, 0)}, events say {should.get(number, 0)}"
        for number, name in enumerate(NAMES)
        if have.get(number, 0) != should.get(number, 0)
    ]


def _compare_counters(connection: Connection, sheet: Sheet) -> list[str]:
    """Hold the first-fact counters against the events, by result.

    Not by sending domain: a domain that was registered after its first mail moved out of "other".
    """
    c = tables.counters.c
    have, should = Counter[str](), Counter[str]()
    for label, value in connection.execute(select(c.label, c.value).where(c.name == "events")):
        have[label] += value
    for label, value in connection.execute(select(c.label, c.value).where(c.name == "unkept")):
        should[label] += value  # counted, and kept as sums only
    for (_, _, label), value in sheet.counters.items():
        should[label] += value
    return [
        f"counter of {label}: is {have[label]}, events say {should[label]}"
        for label in sorted(have.keys() | should.keys())
        if have[label] != should[label]
    ]


def _compare_durations(connection: Connection, sheet: Sheet) -> list[str]:
    t = tables.durations.c
    rows = connection.execute(select(t.start, t.mailing, t.bucket, t["count"]))
    have = {(start, mailing, bucket): n for start, mailing, bucket, n in rows if n}
    should = {key: n for key, n in sheet.durations.items() if n}
    return [
        f"durations start={start} mailing={mailing} bucket={bucket}: is "
        f"{have.get((start, mailing, bucket), 0)}, events say "
        f"{should.get((start, mailing, bucket), 0)}"
        for start, mailing, bucket in sorted(have.keys() | should.keys())
        if have.get((start, mailing, bucket)) != should.get((start, mailing, bucket))
    ]
