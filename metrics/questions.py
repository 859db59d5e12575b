"""Questions to the numbers: validated, mapped to one cube, or refused with what can be asked.

A question names measures, groups, filters, a range and an interval in a time zone. `plan` says
which cube answers it and from which grain of cells. What the cubes cannot answer exactly is
refused, never approximated in silence: the error lists what can be asked instead. Cost grows with
the cells in the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from metrics import sheet
from metrics.catalogue import (
    DERIVED,
    DIMENSIONS,
    FACET_MEASURES,
    MAILING_DIMENSIONS,
    PERCENTILES,
    describe,
    stored_parts,
)
from metrics.intervals import DAY, HOUR, QUARTER, Interval, starts
from metrics.measures import NAMES, RECIPIENTS

MOST_INTERVALS = 5000
MOST_ROWS = 100_000
_LAST = 4_102_444_800  # 2100-01-01


class UnanswerableError(ValueError):
    """The cubes cannot answer this; the text says why and lists what can be asked."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to know. `since` and `until` (not included) are seconds since the
    epoch."""

    measures: tuple[str, ...]
    since: int
    until: int
    group_by: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = {}  # per dimension the values that count
    interval: Interval = Interval.TOTAL
    zone: str = "UTC"
    order_by: str = ""  # groups in falling order of a measure (over the whole range)
    limit: int = 0  # only the first so many groups; 0: all


class Plan(NamedTuple):
    """How a question is answered."""

    facet: str  # "" for the time cube
    grain: int  # seconds per cell: a quarter of an hour, an hour or a day
    bounds: tuple[int, ...]  # starts of the intervals, in seconds; the range's end closes the last
    columns: tuple[str, ...]  # stored measures to sum
    recipients: Mapping[str, int]  # asked distinct counts: name to measure
    recipient_grain: str  # "hour", "day" or "domain"
    percentiles: tuple[str, ...]


def plan(question: Question) -> Plan:
    """Check a question and find its cube; raises UnanswerableError."""
    zone = _zone(question.zone)
    _check_names(question)
    facet = _facet(question)
    _check_range(question)
    bounds = tuple(starts(question.since, question.until, question.interval, zone))
    if len(bounds) > MOST_INTERVALS:
        _refuse(f"{len(bounds)} intervals asked; at most {MOST_INTERVALS} are given at once")
    # The first interval may have begun before the range: only its part inside counts.
    edges = (question.since, question.until, *bounds[1:])
    grain = next((g for g in (DAY, HOUR, QUARTER) if not any(e % g for e in edges)), 0)
    if not grain:
        _refuse("since and until must be multiples of 15 minutes")
    asked = {name: RECIPIENTS[name] for name in question.measures if name in RECIPIENTS}
    percentiles = tuple(name for name in question.measures if name in PERCENTILES)
    if facet:
        _check_facet(question, facet, grain, asked)
    if (asked or percentiles) and grain < HOUR:
        _refuse("recipients and percentiles are kept by the hour; ask for whole UTC hours")
    wanted = [*question.measures, *([question.order_by] if question.order_by else [])]
    columns = dict.fromkeys(part for name in wanted for part in stored_parts(name))
    recipient_grain = "domain" if facet else "day" if grain == DAY else "hour"
    return Plan(facet, grain, bounds, tuple(columns), asked, recipient_grain, percentiles)


def _refuse(why: str) -> None:
    raise UnanswerableError(f"{why}. {what_can_be_asked()}")


def what_can_be_asked() -> str:
    """Say in words what the cubes answer."""
    facets = "; ".join(
        f"{facet}: {'all measures' if have == NAMES else ', '.join(have)}"
        for facet, have in FACET_MEASURES.items()
    )
    return (
        f"Can be asked: {', '.join(MAILING_DIMENSIONS)} in any combination, by 15min, hour, day, "
        "week, month or total, in any time zone; with at most one of the following as well, by UTC "
        f"day, week, month or total over whole UTC days ({facets}); distinct recipients and "
        "delivery percentiles over whole UTC hours, recipients also by recipient_domain"
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnanswerableError(
            f"time zone {name!r}: expected a name of the IANA database, such as Asia/Shanghai"
        ) from None


def _check_names(question: Question) -> None:
    known = describe()
    unknown = [n for n in (*question.measures, question.order_by) if n and n not in known]
    if unknown:
        raise UnanswerableError(f"measure {unknown[0]!r}: expected one of {', '.join(known)}")
    if not question.measures:
        raise UnanswerableError(f"no measure asked: expected some of {', '.join(known)}")
    for name in (*question.group_by, *question.where):
        if name not in DIMENSIONS:
            raise UnanswerableError(f"dimension {name!r}: expected one of {', '.join(DIMENSIONS)}")
    if question.order_by and not stored_parts(question.order_by):
        _refuse(f"groups cannot be put in order of {question.order_by}")
    accounts = question.where.get("account", ())
    if not all(value.isascii() and value.isdigit() and len(value) < 19 for value in accounts):
        raise UnanswerableError("account: expected ids of accounts, in decimal")
    if question.limit < 0:
        raise UnanswerableError("limit: expected 0 (all groups) or more")


def _facet(question: Question) -> str:
    named = {
        name for name in (*question.group_by, *question.where) if name not in MAILING_DIMENSIONS
    }
    if len(named) > 1:
        _refuse(f"{' and '.join(sorted(named))} are not counted together")
    return named.pop() if named else ""


def _check_range(question: Question) -> None:
    if not 0 <= question.since < question.until <= _LAST:
        raise UnanswerableError(
            "range: expected since before until, both seconds since 1970-01-01 UTC, up to 2100"
        )
    if question.interval is Interval.QUARTER and question.until - question.since > (
        MOST_INTERVALS * QUARTER
    ):
        _refuse(f"at most {MOST_INTERVALS} intervals are given at once")
    if question.interval is Interval.HOUR and question.until - question.since > (
        MOST_INTERVALS * HOUR
    ):
        _refuse(f"at most {MOST_INTERVALS} intervals are given at once")


def _check_facet(question: Question, facet: str, grain: int, asked: Mapping[str, int]) -> None:
    if grain != DAY:
        _refuse(f"{facet} is counted by UTC day; ask for whole UTC days")
    if asked and facet != sheet.DOMAIN:
        _refuse(f"distinct recipients are not kept by {facet}")
    if any(name in PERCENTILES for name in question.measures):
        _refuse(f"delivery times are not kept by {facet}")
    have = FACET_MEASURES[facet]
    for name in filter(None, (*question.measures, question.order_by)):
        if name not in RECIPIENTS and not set(stored_parts(name)) <= set(have):
            _refuse(f"{name} is not counted by {facet}")


def derive(measure: str, sums: Mapping[str, int]) -> int | float | None:
    """Give a stored or derived measure from sums of stored ones; a rate over nothing is None."""
    derived = DERIVED.get(measure)
    if derived is None:
        return sums[measure]
    value = sum(sums[part] for part in derived.parts)
    if not derived.over:
        return value
    base = sum(sums[part] for part in derived.over)
    return value / base if base else None
