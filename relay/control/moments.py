"""Moments as the API shows them: RFC 3339 in UTC; inside they are microseconds since the epoch."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from relay.errors import InvalidError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def shown(at: int) -> datetime:
    """Give microseconds since the epoch as an aware datetime, exactly."""
    return _EPOCH + timedelta(microseconds=at)


def shown_or_none(at: int) -> datetime | None:
    """The same, with None for 0, which stands for "never"."""
    return shown(at) if at else None


def stored(at: datetime | None) -> int:
    """Give microseconds since the epoch; None is 0. Naive datetimes do not occur (see `Moment`)."""
    return (at - _EPOCH) // _MICROSECOND if at is not None else 0


def asked_for(text: str, zone: ZoneInfo, field: str) -> datetime:
    """Read a date or an RFC 3339 time of a question, in `zone` where it names none.

    Raises InvalidError.
    """
    found = None
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
    # The years that the cubes can hold; datetime cannot reckon at its own ends.
    if found is None or not 1970 <= found.year <= 2100:
        raise InvalidError("expected a date or an RFC 3339 time from 1970 to 2100", field=field)
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)
