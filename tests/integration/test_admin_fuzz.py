"""Every route with every kind of odd value: an answer that fits its type, or a plain refusal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from relay.control import calling
from relay.control.caller import OPERATOR
from relay.control.calling import Asked, call
from relay.control.route import Registry, Route
from relay.errors import OperationError
from tests.harness.admin import AdminUnderTest, admin_under_test
from tests.harness.routes import all_routes
from tests.harness.standing_worker import standing_worker

ODD: tuple[Any, ...] = (
    None, "", "x", " ", "a" * 400, "\u0000", "a\r\nb", "\u202e\U0001f4a5", "%00", "'; --", "../..",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1e9", "NaN", "=1+1", "shop.test", "a@b.test",
    -1, 0, 1, 2**31, 2**53, 2**63, 2**64, 1.5, True, [], [""], ["x"] * 3, ["shop.test"], {}, [[]],
)  # fmt: skip
GOOD: dict[str, Any] = {
    "name": "odd.test", "recipient": "a@b.test", "kind": "campaign", "value": "spring",
    "scopes": ["read"], "account": 1, "action": "hold", "campaign": "spring", "group": "opened",
    "clicks": "on", "message": "a" * 12 + "b", "from": "news@shop.test", "to": ["a@b.test"],
    "text": "hello",
}  # fmt: skip


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with an account, its domain and a worker that takes mail."""
    async with admin_under_test(tmp_path) as made, standing_worker(tmp_path / "w", made.services):
        await made.domain("shop.test", await made.account("Shop"))
        yield made


def _fields(kind: type | None) -> list[str]:
    if kind is None or kind is bytes:
        return []
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _required(kind: type | None) -> dict[str, Any]:
    """Give a body that a route takes, as far as one value per field can be guessed."""
    if kind is None or kind is bytes:
        return {}
    wanted = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    wanted |= {"account", "clicks", "from", "to", "text"} & set(_fields(kind))
    return {name: GOOD[name] for name in sorted(wanted)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _asked(one: Route) -> Iterator[Asked]:
    """Vary one thing at a time: a part of the path, a parameter, a field of the body."""
    values = {name: "1" if kind is int else "shop.test" for name, kind in one.parameters.items()}
    body = json.dumps(_required(one.body)).encode() if one.body is not None else b""
    query = [(name, _text(value)) for name, value in _required(one.query).items()]
    media = one.consumes if one.body is not None else ""

    def with_(path: dict[str, str], pairs: list[tuple[str, str]], raw: bytes) -> Asked:
        address = one.path
        for name, value in path.items():
            address = address.replace("{" + name + "}", value)
        return Asked(method=one.method, path=address, query=pairs, media_type=media, body=raw)

    yield with_(values, query, body)
    for value in ODD:
        for name in values:
            yield with_({**values, name: quote(_text(value), safe="") or "%20"}, query, body)
        for name in _fields(one.query):
            others = [pair for pair in query if pair[0] != name]
            yield with_(values, [*others, (name, _text(value))], body)
        for name in _fields(one.body):
            changed = {**_required(one.body), name: value}
            yield with_(values, query, json.dumps(changed).encode())


async def try_everything(registry: Registry, name: str) -> None:
    """Ask the routes of one noun for everything; fails at the first answer that must not be."""
    tried = refused = 0
    for one in registry.routes:
        if one.name.partition(".")[0] != name:
            continue
        for asked in _asked(one):
            tried += 1
            try:
                answered = await call(registry, OPERATOR, asked)
            except OperationError as problem:
                refused += 1
                if problem.status >= 500:
                    pytest.fail(f"{asked}: {problem.status} {problem.detail}")
                continue
            if not isinstance(answered.content, bytes):
                async for piece in answered.content:
                    assert isinstance(piece, bytes)
            elif one.result is not None:
                msgspec.json.decode(answered.content, type=one.result)
    assert refused < tried


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted({one.name.partition(".")[0] for one in all_routes()}))
async def test_odd_values_never_break_a_route(admin: AdminUnderTest, name: str) -> None:
    """No exception but an OperationError below 500, and every answer decodes as its type."""
    await try_everything(admin.services.registry, name)


async def test_control_a_reader_that_lets_an_exception_through_is_noticed(
    admin: AdminUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no refusal of ours would be a 500."""
    monkeypatch.setattr(
        calling, "read_json", lambda body, kind: msgspec.json.decode(body, type=kind)
    )
    with pytest.raises(msgspec.ValidationError):
        await try_everything(admin.services.registry, "accounts")
