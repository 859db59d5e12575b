"""The admin API through its real doors: what a first operator does, in order."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from relay.control.publish import read_snapshot
from relay.mail.keyring import KeyRing
from relay.sealing import unseal_dkim
from relay.settings import Settings, Switch, advance
from tests.harness.admin import admin_under_test


async def test_from_nothing_to_a_domain_that_tracks(tmp_path: Path) -> None:
    """Account, credential, domain, switch: each is in the snapshot and in the feed."""
    async with admin_under_test(tmp_path) as admin:
        account = await admin.account("Shop")
        made = (await admin.ask("POST", "/credentials", {"account": account})).json
        login, password = made["credential"]["login"], made["password"]
        domain = await admin.domain("Shop.Test.", account)
        assert domain["name"] == "shop.test"
        asked = {"domains": ["shop.test"], "clicks": "on", "opens": "on"}
        first = (await admin.ask("POST", "/tracking", asked)).json
        assert not first["done"]
        assert "1 domain will start rewriting links" in first["consequence"]["summary"]
        second = await admin.ask("POST", "/tracking", {**asked, "confirm": first["confirm"]})
        assert second.json["done"], second.text

        settings = read_snapshot(admin.snapshot)
        assert admin.snapshot.stat().st_mode & 0o777 == 0o600
        assert (
            settings.credentials[login].secret_sha256 == hashlib.sha256(password.encode()).digest()
        )
        assert settings.domains["shop.test"].clicks is Switch.ON
        ring = KeyRing.load(tmp_path / "keyring.json")
        for key in settings.domains["shop.test"].dkim:
            assert unseal_dkim(ring, "shop.test", key)

        followed = Settings()
        for step in admin.fed:
            followed = advance(followed, step)
        assert followed == settings == admin.services.publisher.settings


async def test_a_restart_finds_everything_again(tmp_path: Path) -> None:
    """The snapshot is made again from the ledger, the feed goes on where it was."""
    async with admin_under_test(tmp_path) as admin:
        account = await admin.account("Shop")
        await admin.domain("shop.test", account)
        before = admin.services.publisher.settings
    (tmp_path / "settings.msgpack").unlink()
    async with admin_under_test(tmp_path) as admin:
        assert read_snapshot(admin.snapshot) == before
        assert [step.version for step in admin.services.publisher.replay(0)] == [1, 2]
        await admin.account("Other")
        assert admin.services.publisher.version == before.version + 1


async def test_health_needs_no_key_and_says_nothing_more(tmp_path: Path) -> None:
    """Health, readiness and the document are open to whoever reaches the listener."""
    async with admin_under_test(tmp_path) as admin:
        for path in ("/healthz", "/readyz", "/openapi.json", "/metrics"):
            assert (await admin.ask("GET", path, key="")).status == 200
        refused = await admin.ask("GET", "/accounts", key="")
        assert refused.status == 401
        assert refused.headers["Content-Type"].startswith("application/problem+json")
        assert msgspec.json.decode(refused.text)["type"] == "urn:waypost:problem:key"
