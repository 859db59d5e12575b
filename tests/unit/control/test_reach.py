"""Where control connects to see whether a tracking host can be reached, and where it does not."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.control import reach
from relay.control.reach import Reach
from relay.submission.tls import self_signed, server_context
from tests.harness.admin import admin_under_test

ANYWHERE = Reach(anywhere=True)


@asynccontextmanager
async def _listening(
    context: ssl.SSLContext | None = None, connected: list[str] | None = None
) -> AsyncIterator[int]:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connected is not None:
            connected.append(writer.get_extra_info("sockname")[0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_name_that_does_not_exist_and_a_closed_port_are_said() -> None:
    assert await ANYWHERE.why_not("http://nowhere.invalid")
    async with _listening() as port:
        assert await ANYWHERE.why_not(f"http://localhost:{port}") == ""
    assert await ANYWHERE.why_not(f"http://localhost:{port}")
    assert await ANYWHERE.why_not("http://localhost:99999")
    assert await ANYWHERE.why_not(f"http://{'a' * 70}.test")


async def test_a_certificate_nobody_trusts_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, chain = self_signed("localhost", now=datetime.datetime.now(datetime.UTC))
    pem = tmp_path / "host.pem"
    pem.write_bytes(chain + key)
    context = server_context()
    context.load_cert_chain(pem)
    async with _listening(context) as port:
        assert "certificate" in await ANYWHERE.why_not(f"https://localhost:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert await ANYWHERE.why_not(f"https://localhost:{port}") == ""


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "224.0.0.1",
        "255.255.255.255",
        "0x7f.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
    ],
)
async def test_x06_addresses_that_are_not_public_are_not_connected_to(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[str] = []
    async with _listening(connected=connected) as port:
        monkeypatch.setattr(reach, "_WEB_PORTS", frozenset({port}))
        assert "public address" in await Reach().why_not(f"http://{host}:{port}")
        assert connected == []
        # The control: the same check, told that it may, does connect.
        assert await ANYWHERE.why_not(f"http://127.0.0.1:{port}") == ""
        assert connected == ["127.0.0.1"]


@pytest.mark.parametrize("port", [0, 22, 25, 587, 6379, 8080, 65536])
async def test_x06_ports_that_are_not_the_webs_are_refused(port: int) -> None:
    assert "port" in Reach("https://t.relay.test").objection(f"http://t.shop.test:{port}")
    assert "port" in await Reach().why_not(f"http://t.shop.test:{port}")


def test_the_nodes_own_port_is_good_for_every_host() -> None:
    known = Reach("https://t.relay.test:8443")
    assert known.objection("https://t.shop.test:8443") == ""
    assert known.objection("https://t.shop.test") == ""
    assert Reach("http://127.0.0.1:9").objection("http://127.0.0.1:9") == ""
    assert Reach("http://127.0.0.1:9").objection("http://127.0.0.1:9/") != ""


class _Names:
    """A resolver whose answers change."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)

    async def getaddrinfo(self, _host: str, port: int, **_: object) -> list[object]:
        found = self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]


async def test_x06_the_address_that_was_looked_at_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that changes from public to private between look and connection gains nothing: it is
    resolved once. Of mixed answers only the public ones are tried.
    """
    loop = asyncio.get_running_loop()
    tried: list[str] = []

    async def connect(host: str, *_: object, **__: object) -> tuple[object, object]:
        tried.append(host)
        raise OSError("closed")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    names = _Names(("9.9.9.9", "10.0.0.1"), ("127.0.0.1",))
    monkeypatch.setattr(loop, "getaddrinfo", names.getaddrinfo)
    assert await Reach().why_not("http://rebinding.test") == "closed"
    assert tried == ["9.9.9.9"]
    assert "no public address" in await Reach().why_not("http://rebinding.test")
    assert tried == ["9.9.9.9"]


async def test_unknown_and_private_names_cannot_be_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else tenants could ask which names exist inside."""
    unknown = await Reach().why_not("http://nowhere.invalid")
    monkeypatch.setattr(
        asyncio.get_running_loop(), "getaddrinfo", _Names(("10.1.2.3",)).getaddrinfo
    )
    private = await Reach().why_not("http://db.internal.invalid")
    assert unknown.replace("nowhere", "x") == private.replace("db.internal", "x")


async def test_x06_such_hosts_are_refused_when_they_are_set(tmp_path: Path) -> None:
    async with admin_under_test(tmp_path) as admin:
        await admin.domain("shop.test", await admin.account("Shop"))
        admin.services.domains.objection = Reach("https://t.relay.test").objection
        for url in ("http://169.254.169.254", "https://t.shop.test:6379", "http://127.0.0.1:80"):
            reply = await admin.ask("PATCH", "/domains/shop.test", {"tracking_url": url})
            assert (reply.status, reply.json["field"]) == (422, "tracking_url"), reply.json
        good = {"tracking_url": "https://t.shop.test"}
        assert (await admin.ask("PATCH", "/domains/shop.test", good)).status == 200
