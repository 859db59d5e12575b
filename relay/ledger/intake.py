"""Batches become facts: decoded, checked, cleaned; what cannot be read is set aside, never in the
way.

Guarantees: every event given on has a moment and ids that both databases can hold, and texts
without NUL and within bounds. A fact that cannot be read is shunted with the reason; it is the
producer's bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from metrics.events import Event, decode
from relay.spool.protocol import Batch

_LAST_MOMENT = 4_102_444_800_000_000  # 2100-01-01; a moment after that is a broken clock
_LAST_ID = (1 << 63) - 1
_LONGEST = 998  # of a text that becomes a column or a key
_TEXTS = (
    "sending_domain", "recipient", "recipient_domain", "provider", "campaign", "template",
    "category", "reason", "message_id", "subject", "sender", "tracked", "skipped", "node",
)  # fmt: skip
_texts_of: Callable[[Event], tuple[str, ...]] = attrgetter(*_TEXTS)


class Fact(NamedTuple):
    """An event and the bytes it came as, which is how it is kept."""

    event: Event
    body: bytes


class Shunted(NamedTuple):
    """A fact that could not be read, with the reason."""

    seq: int
    body: bytes
    error: str


def read_batches(batches: Iterable[Batch]) -> tuple[list[Fact], list[Shunted]]:
    """Give the facts of some batches in order, and those that cannot be read."""
    facts: list[Fact] = []
    shunted: list[Shunted] = []
    for batch in batches:
        for body in batch.events:
            try:
                facts.append(Fact(_checked(decode(body)), bytes(body)))
            except (msgspec.MsgspecError, ValueError) as error:
                shunted.append(Shunted(batch.seq, bytes(body), str(error)[:_LONGEST]))
    return facts, shunted


def read_stored(body: bytes) -> Event:
    """Give a stored fact again, exactly as it was folded."""
    return _checked(decode(body))


def _checked(event: Event) -> Event:
    if not 0 < event.at < _LAST_MOMENT:
        raise ValueError(f"at {event.at} is not a moment in microseconds between 1970 and 2100")
    if not (
        0 <= event.delivery <= _LAST_ID
        and 0 <= event.message <= _LAST_ID
        and 0 <= event.account <= _LAST_ID
        and 0 <= event.sending_domain_id <= _LAST_ID
    ):
        raise ValueError("an id is not between 0 and 2**63 - 1")
    joined = "".join(_texts_of(event))
    if len(joined) > _LONGEST or "\0" in joined:
        event = _with_clean_texts(event)
    if event.tags and (tags := _clean_tags(event.tags)) != event.tags:
        event = replace(event, tags=tags)
    hit = event.hit
    if hit is not None and (len(hit.url) > _LONGEST or "\0" in hit.url):
        return replace(event, hit=replace(hit, url=_text(hit.url)))
    return event


def _with_clean_texts(event: Event) -> Event:
    changes = {
        name: _text(value)
        for name, value in zip(_TEXTS, _texts_of(event), strict=True)
        if len(value) > _LONGEST or "\0" in value
    }
    return replace(event, **changes) if changes else event


@lru_cache(4096)
def _clean_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Take out empty and repeated tags and line ends: a row keeps its tags one per line."""
    return tuple(dict.fromkeys(_text(tag.replace("\n", " ")) for tag in tags if tag))


def _text(value: str) -> str:
    return value[:_LONGEST].replace("\0", "")
