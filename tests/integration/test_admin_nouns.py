"""Accounts, credentials, keys, domains, lists, paging: the rules of each noun over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.control.publish import read_snapshot
from tests.harness.admin import AdminUnderTest, admin_under_test
from tracking.tokens import campaign_hash


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with one account."""
    async with admin_under_test(tmp_path) as made:
        await made.account("Shop")
        yield made


async def test_an_account_is_changed_and_suspended(admin: AdminUnderTest) -> None:
    """Workers see it; a name is taken once; tracking is not changed here."""
    changed = {"name": "Shop 2", "suspended": True, "messages_per_hour": 100, "any_sender": True}
    answer = await admin.ask("PATCH", "/accounts/1", changed)
    assert {name: answer.json[name] for name in changed} == changed
    held = admin.services.publisher.settings.accounts[1]
    assert (held.name, held.suspended, held.messages_per_hour) == ("Shop 2", True, 100)
    assert (await admin.ask("POST", "/accounts", {"name": "Shop 2"})).status == 409
    await admin.account("Shop")
    assert (await admin.ask("PATCH", "/accounts/2", {"name": "Shop 2"})).status == 409
    assert (await admin.ask("PATCH", "/accounts/1", {"opens": "on"})).status == 422


async def test_a_refused_change_leaves_nothing(admin: AdminUnderTest) -> None:
    """Neither rows nor audit nor version."""
    before = admin.services.publisher.settings
    audited = len((await admin.ask("GET", "/audit")).json["items"])
    assert (await admin.ask("POST", "/accounts", {"name": "Shop"})).status == 409
    assert admin.services.publisher.settings == before
    assert len((await admin.ask("GET", "/audit")).json["items"]) == audited


async def test_a_password_is_strong_and_shown_once(admin: AdminUnderTest) -> None:
    """160 bits in base32; revoked, the workers see that."""
    made = (await admin.ask("POST", "/credentials", {"account": 1, "login": "shop@web"})).json
    assert re.fullmatch(r"[a-z2-7]{32}", made["password"])
    again = await admin.ask("POST", "/credentials", {"account": 1, "login": "shop@web"})
    assert again.status == 409
    held = [admin.services.publisher.settings.credentials["shop@web"].revoked]
    assert (await admin.ask("DELETE", "/credentials/1")).json["revoked_at"]
    held.append(admin.services.publisher.settings.credentials["shop@web"].revoked)
    assert held == [False, True]
    assert (await admin.ask("DELETE", "/credentials/1")).status == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"networks": ["192.0.2.0/24"], "passwordless": True}, 201),
        ({"networks": ["2001:db8::/32"]}, 201),
        ({"networks": [], "passwordless": True}, 422),
        ({"networks": ["0.0.0.0/0"], "passwordless": True}, 422),
        ({"networks": ["::/0"], "passwordless": True}, 422),
        ({"networks": ["192.0.2.1/24"]}, 422),
        ({"networks": ["here"]}, 422),
        ({"dialect": "pigeon"}, 422),
        ({"login": "a b"}, 422),
        ({"login": "a\n"}, 422),
        ({"login": ""}, 422),
    ],
)
async def test_what_a_credential_may_be(
    admin: AdminUnderTest, body: dict[str, Any], status: int
) -> None:
    """Networks are networks; nothing as wide as the internet goes without a password."""
    assert (await admin.ask("POST", "/credentials", {"account": 1, **body})).status == status


async def test_only_the_operator_lets_networks_in_without_a_password(
    admin: AdminUnderTest,
) -> None:
    """It decides whose mail a whole network's mail is."""
    key = await admin.key(1, ["write"])
    body = {"networks": ["192.0.2.0/24"], "passwordless": True}
    assert (await admin.ask("POST", "/credentials", body, key=key)).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "scopes": ["admin"], "account": 1}, 422),
        ({"name": "x", "scopes": ["read"], "domains": ["a.test"]}, 422),
        ({"name": "x", "scopes": []}, 422),
        ({"name": "x", "scopes": ["everything"]}, 422),
        ({"name": "x", "scopes": ["none"]}, 422),
        ({"name": "x", "scopes": ["read"], "account": 9}, 404),
        ({"name": "x", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ({"name": "x", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00"}, 422),
    ],
)
async def test_what_a_key_may_be(admin: AdminUnderTest, body: dict[str, Any], status: int) -> None:
    """`admin` is for all accounts; domains belong to an account; moments have a zone."""
    assert (await admin.ask("POST", "/api-keys", body)).status == status


async def test_a_key_has_its_prefix_and_256_bits(admin: AdminUnderTest) -> None:
    """Leak scanners find it; lists show its first characters only."""
    key = await admin.key(None, ["read"])
    assert re.fullmatch(r"wpk_[a-z2-7]{52}", key)
    listed = await admin.ask("GET", "/api-keys")
    assert listed.json["items"][0]["starts_with"] == key[:10]
    assert key not in listed.text


@pytest.mark.parametrize(
    "name",
    ["", "localhost", "a b.test", "-a.test", "a..test", "192.0.2.1", "[192.0.2.1]", "a.test/x",
     "x@a.test", "a" * 64 + ".test", "a.test\u0000", "*.test", "a_b.test\n"],
)  # fmt: skip
async def test_what_is_no_sending_domain(admin: AdminUnderTest, name: str) -> None:
    """One strict grammar; nothing else is registered."""
    assert (await admin.ask("POST", "/domains", {"name": name, "account": 1})).status == 422


async def test_a_domain_belongs_to_one_account_at_a_time(admin: AdminUnderTest) -> None:
    """Removed and added again by its account it has its id; by another one a new id."""
    await admin.account("Other")
    first = await admin.domain("Bücher.test", 1)
    assert first["name"] == "xn--bcher-kva.test"
    taken = await admin.ask("POST", "/domains", {"name": "bücher.test", "account": 2})
    assert taken.status == 409
    await admin.ask("POST", "/blocks", {"kind": "domain", "value": "bücher.test"})
    assert (await admin.ask("DELETE", "/domains/b%C3%BCcher.test")).status == 204
    settings = admin.services.publisher.settings
    assert settings.domains == {}
    assert settings.blocks.domains == {first["id"]}
    again = await admin.domain("bücher.test", 1)
    assert again["id"] == first["id"]
    assert {key["selector"] for key in again["dkim"]}.isdisjoint(
        key["selector"] for key in first["dkim"]
    )
    await admin.ask("DELETE", "/domains/xn--bcher-kva.test")
    other = await admin.domain("bücher.test", 2)
    assert other["id"] != first["id"]
    assert other["account"] == 2


async def test_keys_are_rotated_with_an_overlap(admin: AdminUnderTest) -> None:
    """New ones wait until they are published; the old ones go when they are not in use."""
    entry = await admin.domain("shop.test", 1)
    old = [key["selector"] for key in entry["dkim"]]
    entry = (await admin.ask("POST", "/domains/shop.test/dkim")).json
    new = [key["selector"] for key in entry["dkim"] if key["selector"] not in old]
    assert {key["selector"] for key in entry["dkim"] if key["active"]} == set(old)
    for selector in new:
        await admin.ask("POST", f"/domains/shop.test/dkim/{selector}/activate")
    held = read_snapshot(admin.snapshot).domains["shop.test"]
    assert {key.selector for key in held.dkim if key.active} == set(new)
    for selector in old:
        removed = await admin.ask("DELETE", f"/domains/shop.test/dkim/{selector}")
        assert removed.status == 200
    assert (await admin.ask("DELETE", f"/domains/shop.test/dkim/{new[0]}")).status == 200
    last = await admin.ask("DELETE", f"/domains/shop.test/dkim/{new[1]}")
    assert last.status == 409  # the last one in use
    assert (await admin.ask("DELETE", "/domains/shop.test/dkim/nothing")).status == 404


async def test_the_records_to_publish(admin: AdminUnderTest) -> None:
    """DKIM, SPF, DMARC; a return path and a tracking host of its own bring theirs."""
    await admin.domain("shop.test", 1)
    own = {"return_path": "Bounce.Shop.test", "tracking_url": "https://t.shop.test"}
    assert (await admin.ask("PATCH", "/domains/shop.test", own)).status == 200
    answer = (await admin.ask("GET", "/domains/shop.test/dns")).json
    by_purpose = {one["purpose"]: one for one in answer["records"]}
    assert by_purpose["spf"]["value"] == "v=spf1 ip4:192.0.2.7 a:mx.relay.test ~all"
    assert by_purpose["dmarc"]["name"] == "_dmarc.shop.test"
    assert by_purpose["return-path-mx"]["line"] == "bounce.shop.test. IN MX 10 mx.relay.test."
    assert by_purpose["tracking"]["line"] == "t.shop.test. IN CNAME t.relay.test."
    dkim = [one for one in answer["records"] if one["purpose"] == "dkim"]
    assert [one["value"].split(";")[1] for one in dkim] == [" k=rsa", " k=ed25519"]
    pieces = re.findall(r'"([^"]*)"', dkim[0]["line"])
    assert len(pieces) == 2
    assert max(map(len, pieces)) <= 255
    assert "".join(pieces) == dkim[0]["value"]


@pytest.mark.parametrize(
    "body",
    [
        {"tracking_url": "http://"},
        {"tracking_url": "javascript:alert(1)"},
        {"tracking_url": "https://t.shop.test/path"},
        {"tracking_url": "https://user@t.shop.test"},
        {"tracking_url": "https://t.shop.test\n"},
        {"return_path": "no domain"},
        {"privacy": "none"},
        {"unsubscribe_scope": "all"},
        {"clicks": "on"},
    ],
)
async def test_what_a_domain_cannot_be_changed_to(
    admin: AdminUnderTest, body: dict[str, Any]
) -> None:
    """Hosts are hosts, switches need their confirmation."""
    await admin.domain("shop.test", 1)
    assert (await admin.ask("PATCH", "/domains/shop.test", body)).status == 422


async def test_blocks_and_pauses_reach_the_settings(admin: AdminUnderTest) -> None:
    """Each kind in its own field; removed, it is gone."""
    entry = await admin.domain("shop.test", 1)
    blocks = [
        {"kind": "campaign", "value": "spring", "account": 1},
        {"kind": "domain", "value": "SHOP.test"},
        {"kind": "destination", "value": "https://evil.test/x?y=1#z"},
        {"kind": "destination", "value": "host:Evil.test"},
    ]
    pauses = [
        {"kind": "account", "account": 1},
        {"kind": "campaign", "value": "spring", "account": 1},
        {"kind": "domain", "value": "shop.test"},
        {"kind": "destination", "value": "inbox.test"},
    ]
    for path, bodies in (("/blocks", blocks), ("/pauses", pauses)):
        for body in bodies:
            assert (await admin.ask("POST", path, body)).status == 201
            assert (await admin.ask("POST", path, body)).status == 409
    settings = admin.services.publisher.settings
    assert settings.blocks.campaigns == {campaign_hash(1, "spring")}
    assert settings.blocks.domains == {entry["id"]}
    assert settings.blocks.destinations == {"https://evil.test/x?y=1#z", "host:evil.test"}
    assert settings.pause.accounts == {1}
    assert settings.pause.campaigns == {(1, "spring")}
    assert settings.pause.domains == {"shop.test"}
    assert settings.pause.destinations == {"inbox.test"}
    for number in range(1, 5):
        assert (await admin.ask("DELETE", f"/blocks/{number}")).status == 204
        assert (await admin.ask("DELETE", f"/pauses/{number}")).status == 204
    settings = admin.services.publisher.settings
    assert not settings.blocks.campaigns | settings.blocks.domains
    assert not settings.pause.accounts
    assert settings.blocks.destinations == settings.pause.destinations == frozenset()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/blocks", {"kind": "campaign", "value": "", "account": 1}, 422),
        ("/blocks", {"kind": "campaign", "value": "spring"}, 404),
        ("/blocks", {"kind": "domain", "value": "unknown.test"}, 404),
        ("/blocks", {"kind": "destination", "value": "evil.test"}, 422),
        ("/blocks", {"kind": "destination", "value": "host:"}, 422),
        ("/blocks", {"kind": "destination", "value": "https://a\r\nb"}, 422),
        ("/blocks", {"kind": "account", "account": 1}, 422),
        ("/pauses", {"kind": "account", "account": 1, "value": "x"}, 422),
        ("/pauses", {"kind": "destination", "value": "http://x.test"}, 422),
    ],
)
async def test_what_is_no_line(
    admin: AdminUnderTest, path: str, body: dict[str, Any], status: int
) -> None:
    """Refused with what was expected."""
    assert (await admin.ask("POST", path, body)).status == status


async def test_an_account_cannot_block_for_the_whole_node(admin: AdminUnderTest) -> None:
    """Destinations are everybody's; an account blocks and pauses its own."""
    await admin.domain("shop.test", 1)
    key = await admin.key(1, ["read", "write"])
    body = {"kind": "destination", "value": "https://rival.test/"}
    assert (await admin.ask("POST", "/blocks", body, key=key)).status == 403
    body = {"kind": "destination", "value": "inbox.test"}
    assert (await admin.ask("POST", "/pauses", body, key=key)).status == 403
    await admin.ask("POST", "/pauses", body)
    assert (await admin.ask("DELETE", "/pauses/1", key=key)).status == 404


async def test_pages_give_each_item_once(admin: AdminUnderTest) -> None:
    """Also when items come and go between pages."""
    for number in range(7):
        await admin.account(f"account {number}")
    seen: list[str] = []
    cursor = ""
    while True:
        answer = (await admin.ask("GET", f"/accounts?limit=3&cursor={cursor}")).json
        seen += [entry["name"] for entry in answer["items"]]
        cursor = answer["next"]
        if not cursor:
            break
        await admin.account(f"late {len(seen)}")
    assert seen[:8] == ["Shop", *(f"account {number}" for number in range(7))]
    assert len(seen) == len(set(seen))


async def test_the_audit_log_pages_backwards(admin: AdminUnderTest) -> None:
    """The newest first, and each change once."""
    for number in range(4):
        await admin.account(f"account {number}")
    first = (await admin.ask("GET", "/audit?limit=2")).json
    second = (await admin.ask("GET", f"/audit?limit=50&cursor={first['next']}")).json
    subjects = [row["subject"] for row in first["items"] + second["items"]]
    assert subjects == ["account 3", "account 2", "account 1", "account 0", "Shop"]


async def test_search_for_domains_takes_wildcards_as_text(admin: AdminUnderTest) -> None:
    """A percent sign finds nothing but itself."""
    for name in ("shop.test", "shop.example.test", "other.test"):
        await admin.domain(name, 1)
    found = (await admin.ask("GET", "/domains?search=SHOP")).json["items"]
    assert [entry["name"] for entry in found] == ["shop.test", "shop.example.test"]
    assert (await admin.ask("GET", "/domains?search=%25")).json["items"] == []
