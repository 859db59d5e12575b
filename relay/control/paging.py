"""Lists come in pages: a cursor is the id of the last item seen, opaque to whoever follows it.

Guarantees: paging by key, never by offset, so that a page costs the same at any depth and no item
is given twice or left out because others come and go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec

from relay.errors import InvalidError

_T = TypeVar("_T")
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Cursor = Annotated[str, msgspec.Meta(max_length=64)]


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a list."""

    limit: Limit = 50
    cursor: Cursor = ""  # `next` of the page before; empty for the first


class Page(msgspec.Struct, Generic[_T], frozen=True, kw_only=True):
    """Some items, in order, and where it goes on."""

    items: tuple[_T, ...]
    next: str = ""  # the cursor of the next page; empty on the last


def after(query: PageQuery) -> int:
    """Give the id after which the page starts, 0 for the first; raises InvalidError."""
    if not query.cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        value = int(text.decode("ascii"))
    except (ValueError, binascii.Error):
        value = -1
    if not 0 < value < 1 << 63:
        raise InvalidError("not a cursor that a page gave", field="cursor")
    return value


def page(found: Sequence[_T], limit: int, key: Callable[[_T], int]) -> Page[_T]:
    """Make a page of up to `limit` items out of `limit + 1` that were asked for."""
    items = tuple(found[:limit])
    following = ""
    if len(found) > limit:
        encoded = base64.urlsafe_b64encode(str(key(items[-1])).encode("ascii"))
        following = encoded.rstrip(b"=").decode("ascii")
    return Page(items=items, next=following)
