"""Batches become facts: decoded, checked, cleaned; what cannot be read is set aside, never in the
way.

Guarantees: every event given on has a moment and ids that both databases can hold, and texts
without NUL and within bounds. A fact that cannot be read is shunted with the reason; it is the
producer's bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from metrics.events import Event, decode
from relay.spool.protocol import Batch

_LAST_MOMENT = 4_102_444_800_000_000  # 2100-01-01; a moment after that is a broken clock
_LAST_ID = (1 << 63) - 1
_LONGEST_HASH = (1 << 64) - 1
# Both databases take long texts, but not as keys: PostgreSQL's index rows end at 2,700 bytes.
_KEY, _TEXT = 255, 512
_MOST_TAGS = 100
_KEYS = (
    "sending_domain", "recipient_domain", "provider", "campaign", "template", "category", "reason",
    "tracked", "skipped", "node",
)  # fmt: skip
_TEXTS = ("recipient", "sender", "message_id", "subject")
_keys_of: Callable[[Event], tuple[str, ...]] = attrgetter(*_KEYS)
_texts_of: Callable[[Event], tuple[str, ...]] = attrgetter(*_TEXTS)
_ids_of: Callable[[Event], tuple[int, ...]] = attrgetter(
    "delivery", "message", "account", "sending_domain_id", "size", "took_ms"
)


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
                shunted.append(Shunted(batch.seq, bytes(body), _text(str(error), _TEXT)))
    return facts, shunted


def read_stored(body: bytes) -> Event:
    """Give a stored fact again, exactly as it was folded."""
    return _checked(decode(body))


def _checked(event: Event) -> Event:
    if not 0 < event.at < _LAST_MOMENT:
        raise ValueError(f"at {event.at} is not a moment in microseconds between 1970 and 2100")
    numbers = _ids_of(event)
    if min(numbers) < 0 or max(numbers) > _LAST_ID:
        raise ValueError("an id, size or duration is not between 0 and 2**63 - 1")
    if not 0 <= event.campaign_hash <= _LONGEST_HASH:
        raise ValueError("campaign_hash is not between 0 and 2**64 - 1")
    keys, texts = "".join(_keys_of(event)), "".join(_texts_of(event))
    if len(keys) > _KEY or len(texts) > _TEXT or "\0" in keys or "\0" in texts:
        event = _with_clean_texts(event)
    if event.tags and (tags := _clean_tags(event.tags)) != event.tags:
        event = replace(event, tags=tags)
    hit = event.hit
    if hit is not None and (len(hit.url) > _TEXT or "\0" in hit.url):
        return replace(event, hit=replace(hit, url=_short_url(hit.url)))
    return event


def _with_clean_texts(event: Event) -> Event:
    changes = {name: _text(getattr(event, name), _KEY) for name in _KEYS}
    changes |= {name: _text(getattr(event, name), _TEXT) for name in _TEXTS}
    return replace(event, **changes)


def _short_url(url: str) -> str:
    """Cut a long URL; a digest keeps apart those that begin alike."""
    digest = blake2b(url.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{_text(url, _TEXT - 20)}...{digest}"


@lru_cache(4096)
def _clean_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Take out empty and repeated tags and line ends: a row keeps its tags one per line."""
    plain = (_text(tag.replace("\n", " "), _KEY) for tag in tags[:_MOST_TAGS] if tag)
    return tuple(dict.fromkeys(plain))


def _text(value: str, longest: int) -> str:
    return value[:longest].replace("\0", "")
