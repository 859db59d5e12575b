"""The door for JSON and queries: values or an OperationError, never anything else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.control.paging import PageQuery, after, page
from relay.control.parsing import MalformedError, read_json, read_query
from relay.errors import InvalidError, OperationError


class Thing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to read."""

    name: str
    count: int = 0
    tags: tuple[str, ...] = ()


@given(some.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(raw: bytes) -> None:
    """No other exception leaves the door."""
    with contextlib.suppress(MalformedError, InvalidError):
        read_json(raw, Thing)


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
        lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    )
)
def test_any_json_is_a_value_or_refused(value: Any) -> None:
    """Whatever the shape."""
    with contextlib.suppress(MalformedError, InvalidError):
        read_json(json.dumps(value).encode("utf-8", "surrogatepass"), Thing)


def test_the_field_at_fault_is_named() -> None:
    """As a path without the root."""
    with pytest.raises(InvalidError) as raised:
        read_json(b'{"name":"a","tags":["b",1]}', Thing)
    assert raised.value.field == "tags[1]"
    with pytest.raises(InvalidError) as raised:
        read_json(b'{"name":"a","count":"1"}', Thing)
    assert raised.value.field == "count"


def test_depth_ends_quickly() -> None:
    """However deep, as a refusal."""
    for depth in (1000, 100_000):
        with pytest.raises(OperationError):
            read_json(b'{"name":' + b"[" * depth + b"]" * depth + b"}", Thing)


def test_keys_twice_are_refused_at_any_level() -> None:
    """Which one would count is a guess."""
    for raw in (b'{"name":"a","name":"a"}', b'{"name":"a","tags":[{"x":1,"x":2}]}'):
        with pytest.raises(MalformedError):
            read_json(raw, Thing)


def test_a_query_is_typed() -> None:
    """Numbers are read, lists repeat, others must not."""
    asked = [("name", "a"), ("count", "7"), ("tags", "x"), ("tags", "y")]
    assert read_query(asked, Thing) == Thing("a", 7, ("x", "y"))
    with pytest.raises(InvalidError):
        read_query([("name", "a"), ("name", "b")], Thing)
    with pytest.raises(InvalidError):
        read_query([("name", "a"), ("other", "b")], Thing)


@given(some.lists(some.integers(1, 10_000), unique=True, max_size=50), some.integers(1, 7))
def test_pages_join_to_the_whole(ids: list[int], limit: int) -> None:
    """Following `next` gives every item once, in order."""
    ids.sort()
    seen: list[int] = []
    query = PageQuery(limit=limit)
    for _ in range(len(ids) + 1):
        start = after(query)
        found = [one for one in ids if one > start][: limit + 1]
        given_page = page(found, limit, lambda one: one)
        seen += given_page.items
        if not given_page.next:
            break
        query = PageQuery(limit=limit, cursor=given_page.next)
    assert seen == ids


@given(some.text(max_size=64))
def test_any_cursor_is_one_or_refused(cursor: str) -> None:
    """Made up cursors do not break anything."""
    with contextlib.suppress(InvalidError):
        assert 0 <= after(PageQuery(cursor=cursor)) < 1 << 63
