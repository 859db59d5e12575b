"""Control's operations give the same on both databases, down to what the workers get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.control.publish import read_snapshot
from relay.control.suppression_feed import expire
from relay.settings import Settings, Switch, advance
from tests.harness.admin import AdminUnderTest, admin_under_test


async def _made(admin: AdminUnderTest, path: str, body: dict[str, Any]) -> Any:
    answer = await admin.ask("POST", path, body)
    assert answer.status in (200, 201), answer.text
    return answer.json


@pytest.mark.timeout(120)
async def test_the_whole_way_on_both(ledger_url: str, tmp_path: Path) -> None:
    """Every table is written, read, refused and searched once; the feed leads to the snapshot."""
    async with admin_under_test(tmp_path, url=ledger_url) as admin:
        shop = await admin.account("Shop")
        assert (await admin.ask("POST", "/accounts", {"name": "Shop"})).status == 409
        made = await _made(admin, "/credentials", {"account": shop, "networks": ["10.0.0.0/8"]})
        login = made["credential"]["login"]
        again = await admin.ask("POST", "/credentials", {"account": shop, "login": login})
        assert again.status == 409
        key = await admin.key(shop, ["read", "write"])
        for name in ("shop.test", "second.test"):
            await admin.domain(name, shop)
        assert (await admin.ask("DELETE", "/domains/second.test")).status == 204
        await admin.domain("second.test", shop)
        asked = {"account": shop, "clicks": "on"}
        code = (await _made(admin, "/tracking", asked))["confirm"]
        assert (await _made(admin, "/tracking", {**asked, "confirm": code}))["done"]
        assert (await admin.ask("POST", "/tracking", {**asked, "confirm": code})).status == 409
        await _made(admin, "/blocks", {"kind": "domain", "value": "shop.test"})
        await _made(admin, "/pauses", {"kind": "account", "account": shop})
        await _made(admin, "/suppressions", {"account": shop, "recipient": "a_n@inbox.test"})
        raw = b"recipient,scope,within\nbob@inbox.test,campaign,spring\nno,,\n"
        answer = await admin.ask(
            "POST",
            f"/suppressions/import?account={shop}",
            raw=raw,
            headers={"Content-Type": "text/csv"},
        )
        assert (answer.json["added"], answer.json["refused"]) == (1, 1)
        found = await admin.ask("GET", "/suppressions?search=A_N", key=key)
        assert [one["recipient"] for one in found.json["items"]] == ["a_n@inbox.test"]
        assert "bob@inbox.test" in (await admin.ask("GET", "/suppressions/export", key=key)).text
        assert await expire(admin.services.changes) == 0
        assert await admin.feed.write() == 2
        found = await admin.ask("GET", "/domains?search=SECOND", key=key)
        assert len(found.json["items"][0]["dkim"]) == 2
        audited = (await admin.ask("GET", "/audit?limit=500", key=key)).json["items"]
        assert audited[-1]["action"] == "account.create"
        assert (await admin.ask("GET", "/domains/shop.test/stats", key=key)).status == 200

        settings = read_snapshot(admin.snapshot)
        followed = Settings()
        for step in admin.fed:
            followed = advance(followed, step)
        assert followed == settings
        assert settings.accounts[shop].clicks is Switch.ON
        assert set(settings.domains) == {"shop.test", "second.test"}
        assert settings.pause.accounts == {shop}
    async with admin_under_test(tmp_path, url=ledger_url) as admin:
        assert admin.services.publisher.settings == settings
        assert len(admin.services.publisher.replay(0)) == settings.version
