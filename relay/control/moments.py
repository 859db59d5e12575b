"""Moments as the API shows them: RFC 3339 in UTC; inside they are microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
