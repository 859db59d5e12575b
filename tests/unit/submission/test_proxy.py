"""The PROXY protocol: only from configured peers, read exactly, kept across STARTTLS."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.submission import proxy
from relay.submission.proxy import SIGNATURE, ProxyError, is_trusted, networks, parse_v1, parse_v2
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import PLAIN, Talk, open_door

LOCAL = networks(["127.0.0.0/8"])
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n"
ADDRESSES4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + b"\x9c\x40\x00\x19"
V2 = SIGNATURE + b"\x21\x11" + len(ADDRESSES4).to_bytes(2, "big") + ADDRESSES4
ADDRESSES6 = ipaddress.ip_address("2001:db8::7").packed * 2 + b"\0\1\0\2"
V2_6 = SIGNATURE + b"\x21\x21" + (len(ADDRESSES6) + 5).to_bytes(2, "big") + ADDRESSES6 + b"\4\0\2ab"


def test_version_1() -> None:
    assert parse_v1(V1) == "203.0.113.7"
    assert parse_v1(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n") == "2001:db8::7"
    assert parse_v1(b"PROXY UNKNOWN\r\n") is None
    assert parse_v1(b"PROXY UNKNOWN whatever is here\r\n") is None


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        b"PROXY TCP4 999.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    ],
)
def test_wrong_version_1(line: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_v1(line)


def test_version_2() -> None:
    assert parse_v2(V2[:16], V2[16:]) == "203.0.113.7"
    assert parse_v2(V2_6[:16], V2_6[16:]) == "2001:db8::7"
    assert parse_v2(SIGNATURE + b"\x20\x00\x00\x00", b"") is None
    assert parse_v2(SIGNATURE + b"\x21\x00\x00\x00", b"") is None
    for head in (b"\x11\x11", b"\x22\x11", b"\x21\x31", b"\x21\x12"):
        with pytest.raises(ProxyError):
            parse_v2(SIGNATURE + head + b"\x00\x0c", ADDRESSES4)
    with pytest.raises(ProxyError):
        parse_v2(V2[:16], V2[16:-1])


@given(st.binary(min_size=4, max_size=120))
def test_any_bytes_are_an_address_or_a_proxy_error(data: bytes) -> None:
    for line in (data, b"PROXY TCP4 " + data + b"\r\n"):
        with contextlib.suppress(ProxyError):
            assert parse_v1(line) is None or parse_v1(line) != ""
    with contextlib.suppress(ProxyError):
        found = parse_v2(SIGNATURE + data[:4], data[4:])
        assert found is None or str(ipaddress.ip_address(found)) == found


def test_trust() -> None:
    trusted = networks(["10.0.0.0/8", "2001:db8::/32"])
    assert is_trusted("10.1.2.3", trusted)
    assert is_trusted("::ffff:10.1.2.3", trusted)
    assert is_trusted("2001:db8::1", trusted)
    assert not is_trusted("192.0.2.1", trusted)
    assert not is_trusted("10.1.2.3", ())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("pieces", [1, 50])
@pytest.mark.parametrize(
    ("header", "address"),
    [(V1, "203.0.113.7"), (V2, "203.0.113.7"), (V2_6, "2001:db8::7")],
    ids=["v1", "v2", "v2-ipv6"],
)
async def test_client_behind_a_trusted_proxy_is_known(
    header: bytes, address: str, pieces: int, tls: bool, server_tls: ServerTls
) -> None:
    async with open_door(server_tls, proxies=LOCAL) as opened:
        talk = await Talk.connect((opened.secure if tls else opened.listener).port)
        size = -(-len(header) // pieces)
        await talk.send([header[at : at + size] for at in range(0, len(header), size)])
        if tls:
            await talk.start_tls(opened.trust)
        assert (await talk.reply()).startswith("220")
        session = next(iter(opened.door.sessions))
        assert session.session.peer_address == address
        assert (await talk.say(b"EHLO c.test\r\n")).startswith("250")
        await talk.close()


async def test_c32_address_is_kept_across_starttls(server_tls: ServerTls) -> None:
    async with open_door(server_tls, proxies=LOCAL) as opened:
        talk = await Talk.connect(opened.listener.port)
        await talk.send([V1 + b"EHLO c.test\r\nSTARTTLS\r\n"])
        replies = [await talk.reply() for _ in range(3)]
        assert replies[2].startswith("220 2.0.0")
        await talk.start_tls(opened.trust)
        for line in (b"EHLO c.test\r\n", PLAIN, b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"):
            await talk.say(line)
        await talk.say(b"DATA\r\n")
        await talk.say(b"x\r\n.\r\n")
        await talk.close()
    assert opened.recorder.sessions[0].peer_address == "203.0.113.7"
    assert opened.recorder.sessions[0].tls is not None


async def test_c31_unknown_means_the_proxy_itself(server_tls: ServerTls) -> None:
    async with open_door(server_tls, proxies=LOCAL) as opened:
        talk = await Talk.connect(opened.listener.port)
        await talk.send([b"PROXY UNKNOWN\r\n"])
        assert (await talk.reply()).startswith("220")
        assert next(iter(opened.door.sessions)).session.peer_address == "127.0.0.1"
        await talk.close()


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + b"\x21\x11\xff\xff" + b"a" * 100,
        b"PROXY TCP4 " + b"1" * 97,
        b"EHLO client.test\r\n",
        b"\r\n" * 20,
        V1.replace(b"\r\n", b"\n") + b"NOOP\r\n" * 20,
    ],
    ids=["v2-long", "v1-108", "none", "empty", "bare-lf"],
)
async def test_c31_wrong_header_closes_without_a_word(data: bytes, server_tls: ServerTls) -> None:
    async with open_door(server_tls, proxies=LOCAL) as opened:
        talk = await Talk.connect(opened.listener.port)
        await talk.send([data])
        assert await talk.rest() == []
        await talk.close()
    assert opened.counts["proxy_refused"] == 1


async def test_c31_drip_is_cut(server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy.SECONDS <= 3
    monkeypatch.setattr(proxy, "SECONDS", 0.05)
    async with open_door(server_tls, proxies=LOCAL) as opened:
        talk = await Talk.connect(opened.listener.port)
        await talk.send([SIGNATURE])
        assert await talk.rest() == []
        await talk.close()


async def test_header_from_others_is_a_protocol_error(server_tls: ServerTls) -> None:
    async with open_door(server_tls, proxies=networks(["192.0.2.0/24"])) as opened:
        talk = await opened.connect()
        assert (await talk.say(V1)).startswith("500")
        assert next(iter(opened.door.sessions)).session.peer_address == "127.0.0.1"
        await talk.close()
