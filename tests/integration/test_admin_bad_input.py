"""The admin listener against hostile and broken requests: rows X of the bad inputs."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.control.route import MAX_BODY
from tests.harness.admin import AdminUnderTest, admin_under_test

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with one account."""
    async with admin_under_test(tmp_path) as made:
        await made.account("Shop")
        yield made


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "", "localhost@evil.test", "[::2]"]
)
async def test_x03_a_foreign_host_is_refused(admin: AdminUnderTest, host: str) -> None:
    """DNS rebinding: the Host names somebody else, even for health and for a right key."""
    key = await admin.key(None, ["admin"])
    for path in ("/healthz", "/metrics", "/openapi.json", "/accounts"):
        answer = await admin.ask("GET", path, key=key, headers={"Host": host})
        assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
async def test_x03_our_own_hosts_are_answered(admin: AdminUnderTest, host: str) -> None:
    """The control: the allow-list lets its own through, with any port."""
    assert (await admin.ask("GET", "/healthz", key="", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b'{"name":"a","name":"b"}', 400),
        (b'{"name":"a","messages_per_hour":NaN}', 400),
        (b'{"name":"a","messages_per_hour":Infinity}', 400),
        (b'{"name":"a","messages_per_hour":1e400}', 422),
        (b'{"name":"a","messages_per_hour":-1}', 422),
        (b'{"name":"a","messages_per_hour":1.5}', 422),
        (b'{"name":"a","messages_per_hour":99999999999999999999999}', 422),
        (b'{"name":"a","messages_per_hour":"5"}', 422),
        (b'{"name":"\\ud800"}', 400),
        (b'{"name":"\xff"}', 400),
        (b'{"name":"a\\u0000b"}', 422),
        (b'{"name":"a\\nb"}', 422),
        (b'{"name":""}', 422),
        (b'{"name":"' + b"a" * 101 + b'"}', 422),
        (b'{"name":7}', 422),
        (b'{"name":"a","surprise":1}', 422),
        (b'{"name":"a"} x', 400),
        (b"[" * 10_000 + b"]" * 10_000, 400),
        (b'{"name":' * 10_000 + b"1" + b"}" * 10_000, 400),
        (b'{"name":"a","messages_per_hour":' + b"9" * 5000 + b"}", 400),
        ('{"name":"a"}'.encode("utf-16"), 400),
        (b'\xef\xbb\xbf{"name":"a"}', 400),
    ],
)
async def test_x08_broken_json_is_refused(admin: AdminUnderTest, raw: bytes, status: int) -> None:
    """400 for what is no JSON, 422 for a value that does not fit; never 500, nothing is made."""
    answer = await admin.ask("POST", "/accounts", raw=raw, headers=JSON)
    assert answer.status == status, answer.text
    assert len((await admin.ask("GET", "/accounts")).json["items"]) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/jsonp",
        "",
    ],
)
async def test_x08_other_media_types_are_refused(admin: AdminUnderTest, content_type: str) -> None:
    """A browser's form cannot reach an operation (CSRF), nor can a wrong charset."""
    answer = await admin.ask(
        "POST", "/accounts", raw=b'{"name":"a"}', headers={"Content-Type": content_type}
    )
    assert answer.status == 415


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_x08_utf_8_may_be_said(admin: AdminUnderTest, content_type: str) -> None:
    """The control: the charset that JSON has anyway may be named."""
    answer = await admin.ask(
        "POST", "/accounts", raw=b'{"name":"a"}', headers={"Content-Type": content_type}
    )
    assert answer.status == 201


async def test_x08_a_body_too_large_is_refused(admin: AdminUnderTest) -> None:
    """By its announced length, and by what really comes when none is announced."""
    raw = b'{"name":"' + b"a" * MAX_BODY + b'"}'
    assert (await admin.ask("POST", "/accounts", raw=raw, headers=JSON)).status == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    async with admin.unix.post(
        "http://operator/api/v1/accounts", data=pieces(), headers=JSON
    ) as response:
        assert response.status == 413


async def test_w13_a_compressed_body_is_not_taken(admin: AdminUnderTest) -> None:
    """No gzip bomb is ever opened."""
    bomb = gzip.compress(b" " * 10_000_000)
    answer = await admin.ask(
        "POST", "/accounts", raw=bomb, headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert answer.status in (400, 413, 415)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/accounts/", 404),
        ("GET", "/accounts/x", 404),
        ("GET", "/accounts/-1", 404),
        ("GET", "/accounts/0", 404),
        ("GET", "/accounts/1e3", 404),
        ("GET", "/accounts/%31", 200),
        ("GET", "/accounts/٣", 404),
        ("GET", "/accounts/99999999999999999999", 404),
        ("GET", "/domains/%00", 404),
        ("GET", "/domains/%ff", 404),
        ("GET", "/domains/" + "a" * 3000, 404),
        ("GET", "/domains/..%2f..%2fetc", 404),
        ("PUT", "/accounts", 405),
        ("DELETE", "/accounts/1", 405),
        ("GET", "/accounts?limit=0", 422),
        ("GET", "/accounts?limit=501", 422),
        ("GET", "/accounts?limit=1&limit=2", 422),
        ("GET", "/accounts?cursor=%00", 422),
        ("GET", "/accounts?cursor=LTU", 422),
        ("GET", "/accounts?surprise=1", 422),
        ("GET", "/accounts/1?surprise=1", 422),
        ("GET", "/audit?account=0", 422),
        ("GET", "/stats?zone=../../etc/passwd", 422),
        ("GET", "/stats?zone=%00", 422),
        ("GET", "/stats?since=yesterday", 422),
        ("GET", "/stats?since=0001-01-01", 422),
        ("GET", "/stats?since=2026-11-02&until=2026-11-01", 422),
        ("GET", "/stats?measures=sent;drop", 422),
        ("GET", "/stats?measures=", 422),
        ("GET", "/stats?group_by=recipient", 422),
        ("GET", "/stats?account=x", 422),
        ("GET", "/stats?limit=-1", 422),
    ],
)
async def test_odd_addresses_have_plain_answers(
    admin: AdminUnderTest, method: str, path: str, status: int
) -> None:
    """An id that cannot exist does not exist; a parameter that is unknown is named."""
    answer = await admin.ask(method, path)
    assert answer.status == status, answer.text
    if status == 405:
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    "head",
    [
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.test\r\n\r\n",
        "POST /api/v1/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET http://evil.test/healthz HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + "a" * 20_000 + "\r\n\r\n",
        "GET /" + "a" * 20_000 + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "\x00\x01\x02\r\n\r\n",
    ],
    ids=["two hosts", "CL and TE", "absolute form", "long header", "long line", "no host", "noise"],
)
async def test_broken_http_is_refused(admin: AdminUnderTest, head: str) -> None:
    """Framing tricks end with an error, and the connection with them or not, but never with 200."""
    port = int(admin.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode("latin-1"))
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert line.split()[1].startswith(b"4"), line


async def test_every_answer_carries_the_guarding_headers(admin: AdminUnderTest) -> None:
    """No sniffing, no framing, no caching; errors too."""
    for path in ("/healthz", "/openapi.json", "/accounts", "/nothing", "/suppressions/export"):
        answer = await admin.ask("GET", path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_an_unexpected_error_says_nothing_of_itself(
    admin: AdminUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text goes to the log; the answer names the incident."""

    async def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(admin.services.changes, "read", broken)
    answer = await admin.ask("GET", "/accounts")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert answer.json["incident"]


async def test_the_document_names_every_route(admin: AdminUnderTest) -> None:
    """OpenAPI 3.1, made from the registry: nothing is left out, references resolve."""
    document = (await admin.ask("GET", "/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    named = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert named == {(one.method, one.path) for one in admin.services.registry.routes}
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in document["components"]["schemas"]
