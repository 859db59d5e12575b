"""Servers that others wrote take delivery from a running relay: Postfix, Exim and OpenSMTPD. What
each of them stores is what was submitted, byte for byte, behind header fields that we and they add.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.fake_dns import FakeDns
from tests.harness.mail_servers import arrived, exim_box, opensmtpd_box, postfix_box, unpacked
from tests.harness.mx_world import MxWorld, Sender, sender_in
from tests.harness.odd_mails import odd_mails
from tests.harness.provision import must

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SERVERS = {"postfix": postfix_box, "exim": exim_box, "opensmtpd": opensmtpd_box}
_FIELDS = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*:.*\n(?:[ \t].*\n)*)+")


@dataclass
class Hops:
    """A relay whose MX hosts are those servers."""

    sender: Sender
    boxes: dict[str, Path]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hops(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hops]:
    """Run all of them once."""
    unpacked()
    folder = tmp_path_factory.mktemp("hops")
    boxes = {}
    async with FakeDns({}) as dns, AsyncExitStack() as running:
        world = MxWorld(dns, running)
        for name, start in SERVERS.items():
            host = world.address()
            world.port = world.port or free_port(host)
            boxes[name] = running.enter_context(start(folder, host, world.port))
            world.domain(f"{name}.test", f"10 mx.{name}.test.")
            dns.zone[f"mx.{name}.test"] = {"A": [host]}
        async with sender_in(world, folder / "relay") as sender:
            yield Hops(sender, boxes)


def free_port(host: str) -> int:
    """Give a port that is free at an address."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def hand_in(address: tuple[str, int], domain: str, mails: list[tuple[str, bool, bytes]]) -> None:
    """Submit all over one connection."""
    with smtplib.SMTP(*address) as client:
        for local, utf8, content in mails:
            options = ["BODY=8BITMIME", *(["SMTPUTF8"] if utf8 else [])]
            client.sendmail("news@shop.test", [f"{local}@{domain}"], content, options)


async def check(hops: Hops, server: str, count: int) -> None:
    """Send so many odd mails; each is stored as it was submitted."""
    box = hops.boxes[server]
    # OpenSMTPD knows no SMTPUTF8: such a mail would be refused by it, rightly
    mails = [mail for mail in odd_mails(count) if server != "opensmtpd" or not mail[1]]
    before = set((box / "new").glob("*"))
    address = hops.sender.relay.address("plain")
    await asyncio.to_thread(hand_in, address, f"{server}.test", mails)

    async def all_there() -> bool:
        return len(set((box / "new").glob("*")) - before) >= len(mails)

    await hops.sender.relay.until(all_there, f"{len(mails)} mails in {server}", 60 + count / 5)
    stored = arrived(set((box / "new").glob("*")) - before)
    wanted = {number(content): content.replace(b"\r\n", b"\n") for _, _, content in mails}
    assert stored.keys() == wanted.keys()
    for key, content in wanted.items():
        assert stored[key].endswith(content), key
        assert _FIELDS.fullmatch(stored[key].removesuffix(content)), key


def number(content: bytes) -> int:
    """Give the number in the Subject."""
    return int(content.partition(b"Subject: ")[2].partition(b"\r\n")[0])


@pytest.mark.parametrize("server", SERVERS)
async def test_a_hundred_odd_mails_arrive_unchanged(hops: Hops, server: str) -> None:
    await check(hops, server, 100)


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
async def test_a_thousand_odd_mails_arrive_unchanged(hops: Hops, server: str) -> None:
    await check(hops, server, 1000)


async def test_exim_is_spoken_to_in_tls(hops: Hops) -> None:
    """It makes a certificate of its own; opportunistic TLS takes it."""
    await check(hops, "exim", 1)
    stored = [path.read_bytes() for path in (hops.boxes["exim"] / "new").glob("*")]
    assert stored
    assert all(b"with utf8esmtps" in one or b"with esmtps" in one for one in stored)


async def test_a_utf_8_address_bounces_where_smtputf8_is_unknown(hops: Hops) -> None:
    mail = ("jörg", True, b"Subject: 1\r\nFrom: <news@shop.test>\r\n\r\nHello\r\n")
    address = hops.sender.relay.address("plain")
    await asyncio.to_thread(hand_in, address, "opensmtpd.test", [mail])

    async def told() -> bool:
        answer = await must(hops.sender.relay, "GET", "/deliveries?state=bounced")
        return [one["recipient"] for one in answer["items"]] == ["jörg@opensmtpd.test"]

    await hops.sender.relay.until(told, "the bounce", 40)
    (one,) = (await must(hops.sender.relay, "GET", "/deliveries?state=bounced"))["items"]
    story = await must(hops.sender.relay, "GET", f"/deliveries/{one['id']}")
    assert story["events"][-1]["enhanced"] == "5.6.7"
