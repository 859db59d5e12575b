"""The check of tracking hosts: verdicts become settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.control import tracking_hosts
from relay.control.publish import read_snapshot
from relay.control.tracking_hosts import DEFAULT, TrackingHosts
from relay.settings import SendingDomain, tracking_host
from tests.harness.admin import admin_under_test


async def test_verdicts_become_settings_and_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure alone is not believed; a host that was just set waits for its check."""
    monkeypatch.setattr(tracking_hosts, "_AGAIN_SECONDS", 0.0)
    answers = {"https://t.shop.test": ["no answer", ""], "https://t.other.test": ["no", "no"]}

    async def scripted(url: str) -> str:
        return answers[url].pop(0) if answers[url] else ""

    async with admin_under_test(tmp_path) as admin:
        shop = await admin.account("Shop")
        told: list[bool] = []
        admin.services.domains.host_set = lambda: told.append(True)
        for name in ("shop.test", "other.test"):
            await admin.domain(name, shop)
            change = {"tracking_url": f"https://t.{name}"}
            reply = await admin.ask("PATCH", f"/domains/{name}", change)
            assert reply.json["tracking_ok"] is False
        assert told == [True, True]
        hosts = TrackingHosts(admin.services.changes, 300, scripted)
        await hosts.check()
        assert hosts.failing == {"other.test": "no"}
        domains = admin.services.publisher.settings.domains
        assert [domains[n].tracking_ok for n in ("shop.test", "other.test")] == [True, False]
        await hosts.check()
        assert admin.services.publisher.settings.domains["other.test"].tracking_ok
        listed = (await admin.ask("GET", "/audit?action=domain.tracking-host")).json["items"]
        assert [entry["subject"] for entry in listed] == ["other.test", "shop.test"]
        version = admin.services.publisher.version
        await hosts.check()  # nothing moved, nothing is published
        assert admin.services.publisher.version == version


async def test_the_default_host_is_checked_by_the_same_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose own host fails tracks nothing there; without checks no verdict stands."""
    monkeypatch.setattr(tracking_hosts, "_AGAIN_SECONDS", 0.0)
    url, answers = "https://t.relay.test", ["certificate", "certificate"]

    async def scripted(_url: str) -> str:
        return answers.pop(0) if answers else ""

    async with admin_under_test(tmp_path) as admin:
        changes, publisher = admin.services.changes, admin.services.publisher
        hosts = TrackingHosts(changes, 300, scripted, default=url)
        await admin.domain("shop.test", await admin.account("Shop"))

        async def shown() -> set[bool]:
            """Say what the list and the domain's own page tell of its host, the default one."""
            listed = (await admin.ask("GET", "/domains")).json["items"]
            return {(await admin.ask("GET", "/domains/shop.test")).json["tracking_ok"]} | {
                one["tracking_ok"] for one in listed
            }

        assert await shown() == {True}
        assert tracking_host(publisher.settings, None, url) == (url, True)
        await hosts.check()
        assert hosts.failing == {DEFAULT: "certificate"}
        assert tracking_host(publisher.settings, None, url) == (url, False)
        own = SendingDomain(id=1, account=1, name="a.test", tracking_url="https://t.a.test")
        assert tracking_host(publisher.settings, own, url) == ("https://t.a.test", True)
        assert read_snapshot(admin.snapshot).hosts.failing == {url}
        assert await shown() == {False}
        await hosts.check()
        assert not hosts.failing
        assert await shown() == {True}
        assert tracking_host(publisher.settings, None, url) == (url, True)
        listed = (await admin.ask("GET", "/audit?action=tracking-host")).json["items"]
        assert [entry["after"]["tracking_ok"] for entry in listed] == [True, False]
        answers += ["no answer", "no answer"]
        await hosts.check()
        await TrackingHosts(changes, 0, scripted, default=url).keep_checking()
        assert tracking_host(publisher.settings, None, url) == (url, True)
