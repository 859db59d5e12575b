"""Limits, revocation and PROXY through a running relay with two workers."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from tests.harness.provision import Tenant
from tests.harness.sink_route import SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
MAIL = "From: news@plain.test\r\nSubject: Hi\r\n\r\nHello\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    """One relay for all tests; each has an account of its own."""
    submission: dict[str, object] = {"trusted_proxies": ["127.0.0.1/32"]}
    folder = tmp_path_factory.mktemp("limits")
    async with sink_route(folder, submission=submission) as up:
        yield up


async def account(route: SinkRoute, name: str) -> Tenant:
    """Make an account that may send from anywhere, with a login."""
    number = (await route.ask("POST", "/accounts", {"name": name, "any_sender": True}))["id"]
    made = await route.ask("POST", "/credentials", {"account": number, "login": name})
    return Tenant(account=number, login=name, password=made["password"])


@contextmanager
def client(route: SinkRoute, tenant: Tenant, prelude: bytes) -> Iterator[smtplib.SMTP]:
    """Connect, as a trusted proxy that says first for whom, and log in."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    smtp = Prefaced(prelude, *route.relay.address("submission"))
    try:
        smtp.starttls(context=trusting)
        smtp.login(tenant.login, tenant.password)
        yield smtp
    finally:
        smtp.close()


class Prefaced(smtplib.SMTP):
    """A client behind a proxy that says first who it is."""

    def __init__(self, prelude: bytes, host: str, port: int) -> None:
        self._prelude = prelude
        super().__init__(host, port, timeout=20)

    def getreply(self) -> tuple[int, bytes]:
        if self._prelude and self.sock is not None:
            self.sock.sendall(self._prelude)
            self._prelude = b""
        return super().getreply()


def preface(address: str) -> bytes:
    """Give a PROXY line (version 1)."""
    return f"PROXY TCP4 {address} 127.0.0.1 5555 2587\r\n".encode()


async def test_an_hour_s_messages_are_counted_by_all_workers(route: SinkRoute) -> None:
    """Each on a connection of its own, so that both workers take some."""
    tenant = await account(route, "hourly")
    await route.ask("PATCH", f"/accounts/{tenant.account}", {"messages_per_hour": 6})
    behind = preface("198.51.100.7")

    def send() -> int:
        with client(route, tenant, behind) as smtp:
            try:
                smtp.sendmail("news@plain.test", ["ann@inbox.test"], MAIL)
            except smtplib.SMTPSenderRefused as refused:
                return refused.smtp_code
        return 250

    codes = [await asyncio.to_thread(send) for _ in range(10)]
    assert codes == [250] * 6 + [450] * 4
    made = {"name": "app", "scopes": ["send"], "account": tenant.account}
    await route.ask("POST", "/api-keys", made)
    status, said = await route.relay.ask(
        "POST",
        "/api/v1/messages",
        {
            "account": tenant.account,
            "raw": base64.b64encode(MAIL.encode()).decode(),
            "recipients": ["ann@inbox.test"],
        },
    )
    assert (status, said["reply"][:9]) == (429, "450 4.7.1")
    await route.ask("PATCH", f"/accounts/{tenant.account}", {"messages_per_hour": 0})

    async def again() -> bool:
        return await asyncio.to_thread(send) == 250

    await route.relay.until(again, "the limit to be lifted", 20)


async def test_a_login_revoked_meanwhile_ends_the_open_session(route: SinkRoute) -> None:
    tenant = await account(route, "dismissed")
    behind = preface("198.51.100.7")
    listed = await route.ask("GET", "/credentials")
    (number,) = [one["id"] for one in listed["items"] if one["login"] == tenant.login]
    with client(route, tenant, behind) as smtp:
        await asyncio.to_thread(smtp.sendmail, "news@plain.test", ["ann@inbox.test"], MAIL)
        await route.ask("DELETE", f"/credentials/{number}")

        async def refused() -> bool:
            code, _ = await asyncio.to_thread(smtp.mail, "news@plain.test")
            if code == 250:
                await asyncio.to_thread(smtp.rset)
            return code == 530

        await route.relay.until(refused, "the session to lose its login", 20)
    with pytest.raises(smtplib.SMTPAuthenticationError), client(route, tenant, behind):
        pass


async def test_the_address_that_a_proxy_names_is_the_client_s(route: SinkRoute) -> None:
    """A login that may come from one network only; the harness itself is the trusted proxy."""
    asked = {"account": route.tenant.account, "login": "branch", "networks": ["203.0.113.0/24"]}
    made = await route.ask("POST", "/credentials", asked)
    branch = Tenant(account=route.tenant.account, login="branch", password=made["password"])

    def send(address: str) -> None:
        with client(route, branch, preface(address)) as smtp:
            smtp.sendmail("news@plain.test", ["ann@inbox.test"], MAIL)

    await asyncio.to_thread(send, "203.0.113.9")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(send, "198.51.100.9")
