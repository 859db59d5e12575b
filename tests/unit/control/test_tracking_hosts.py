"""The check of tracking hosts: what counts as reached, and that verdicts become settings."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.control import tracking_hosts
from relay.control.publish import read_snapshot
from relay.control.tracking_hosts import DEFAULT, TrackingHosts, probe
from relay.settings import SendingDomain, tracking_host
from relay.submission.tls import self_signed, server_context
from tests.harness.admin import admin_under_test


@asynccontextmanager
async def _listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_name_that_does_not_exist_and_a_closed_port_are_said() -> None:
    assert await probe("http://nowhere.invalid")
    async with _listening() as port:
        assert await probe(f"http://localhost:{port}") == ""
    assert await probe(f"http://localhost:{port}")
    assert await probe("http://localhost:99999")


async def test_a_certificate_nobody_trusts_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, chain = self_signed("localhost", now=datetime.datetime.now(datetime.UTC))
    pem = tmp_path / "host.pem"
    pem.write_bytes(chain + key)
    context = server_context()
    context.load_cert_chain(pem)
    async with _listening(context) as port:
        assert "certificate" in await probe(f"https://localhost:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert await probe(f"https://localhost:{port}") == ""


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
        assert tracking_host(publisher.settings, None, url) == (url, True)
        await hosts.check()
        assert hosts.failing == {DEFAULT: "certificate"}
        assert tracking_host(publisher.settings, None, url) == (url, False)
        own = SendingDomain(id=1, account=1, name="a.test", tracking_url="https://t.a.test")
        assert tracking_host(publisher.settings, own, url) == ("https://t.a.test", True)
        assert read_snapshot(admin.snapshot).hosts.failing == {url}
        await hosts.check()
        assert not hosts.failing
        assert tracking_host(publisher.settings, None, url) == (url, True)
        listed = (await admin.ask("GET", "/audit?action=tracking-host")).json["items"]
        assert [entry["after"]["tracking_ok"] for entry in listed] == [True, False]
        answers += ["no answer", "no answer"]
        await hosts.check()
        await TrackingHosts(changes, 0, scripted, default=url).keep_checking()
        assert tracking_host(publisher.settings, None, url) == (url, True)
