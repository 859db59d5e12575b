"""Mail handed in over HTTP goes the very same way as over SMTP, and gets the same answers."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.harness.programs import need_program
from tests.harness.provision import must
from tests.harness.sink_route import SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
HTML = '<html><body><a href="https://www.shop.test/a">a</a></body></html>'
RAW = b"From: Shop <news@plain.test>\r\nTo: ann@inbox.test\r\nSubject: Hi\r\n\r\nHello\r\n.\r\n"


class Api:
    """An application with an API key."""

    def __init__(self, route: SinkRoute, key: str) -> None:
        self.route = route
        self.key = key

    async def post(
        self,
        body: object = None,
        *,
        raw: bytes | None = None,
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, str]:
        """Hand in; give status, answer and Retry-After."""
        host, port = self.route.relay.address("admin")
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if raw is not None:
            sent["Content-Type"] = "message/rfc822"
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://{host}:{port}/api/v1/messages{query}", headers=sent, json=body, data=raw
            ) as answer,
        ):
            said = await answer.json(content_type=None)
            return answer.status, said, answer.headers.get("Retry-After", "")


async def application(route: SinkRoute, *domains: str) -> Api:
    """Make a key that may send."""
    asked: dict[str, object] = {"name": "app", "scopes": ["send"], "account": route.tenant.account}
    made = await must(route.relay, "POST", "/api-keys", {**asked, "domains": list(domains)})
    return Api(route, made["key"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    """One relay of two workers for all tests."""
    folder = tmp_path_factory.mktemp("handing-in")
    async with sink_route(folder, tracked=("news.test", "fields.test")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def route(up: SinkRoute) -> SinkRoute:
    """Give it once all its workers serve and nothing of the test before is on its way."""
    await up.relay.until(up.relay.is_ready, "all workers to serve")

    async def empty() -> bool:
        return not (await must(up.relay, "GET", "/queue"))["items"]

    await up.relay.until(empty, "the queue to be empty")
    up.sink.bodies.clear()
    return up


async def arrived(route: SinkRoute, count: int) -> list[bytes]:
    """Wait until so many messages are in the sink."""

    async def enough() -> bool:
        return len(route.sink.bodies) >= count

    await route.relay.until(enough, f"{count} messages to arrive")
    return route.sink.bodies


async def test_fields_become_a_tracked_signed_mail(route: SinkRoute) -> None:
    api = await application(route)
    status, said, _ = await api.post(
        {
            "from": "Shop <news@fields.test>",
            "to": ["Ann <ann@inbox.test>"],
            "bcc": ["bob@inbox.test"],
            "subject": "Grüße",
            "text": "see html",
            "html": HTML,
            "options": {"campaign": "spring", "tags": ["a"]},
        }
    )
    assert (status, said["recipients"]) == (202, 2)
    assert said["reply"] == f"250 2.0.0 Accepted as {said['message']}"
    bodies = await arrived(route, 2)
    for body in bodies:
        assert b"with HTTP id " + said["message"].encode() in body
        assert body.startswith(b"DKIM-Signature:")
        assert b"X-Waypost" not in body
        assert b"bob@inbox.test" not in body
        assert b"https://www.shop.test/a" not in body
    await route.stats_become("fields.test", requested=2, delivered=2)


async def test_raw_arrives_as_it_was_given(route: SinkRoute) -> None:
    api = await application(route)
    query = "?sender=bounce@plain.test&recipient=ann@inbox.test&recipient=bob@inbox.test"
    assert (await api.post(raw=RAW, query=query))[0] == 202
    unix = RAW.replace(b"\r\n", b"\n")
    assert (await api.post(raw=unix, query="?recipient=cem@inbox.test"))[0] == 202
    packed = {"raw": base64.b64encode(RAW).decode(), "recipients": ["dora@inbox.test"]}
    assert (await api.post(packed))[0] == 202
    assert all(body.endswith(RAW) for body in await arrived(route, 4))


async def test_what_smtp_refuses_is_refused_with_the_same_words(route: SinkRoute) -> None:
    api = await application(route)
    query = "?recipient=ann@inbox.test"
    for raw, reply in (
        (RAW + b"a\nb\r\n", "550 5.5.2"),
        (RAW + b"a\0b\r\n", "550 5.6.0"),
        (RAW + b"x" * 1200 + b"\r\n", "500 5.5.2"),
        (b"Received: x\r\n" * 102 + RAW, "554 5.4.6"),
        (b"From: another@x.test\r\n" + RAW, "550 5.6.0"),
        (b"X-Waypost-Schedule: nonsense\r\n" + RAW, "550 5.6.0"),
    ):
        status, said, _ = await api.post(raw=raw, query=query)
        assert (status, said["type"].rpartition(":")[2]) == (422, "refused"), said
        assert said["reply"].startswith(reply), said
    for body in (
        {"from": "news@news.test", "to": ["ann@inbox.test"], "subject": "a\r\nBcc: x@y.test"},
        {"from": "news@news.test"},
        {"from": "news@news.test", "to": ["nobody"]},
        {"raw": "%", "recipients": ["ann@inbox.test"]},
        {"raw": "", "from": "a@news.test", "subject": "x", "to": ["ann@inbox.test"]},
        {"from": "n@news.test", "to": ["a@b.test"], "notify": ["never", "failure"]},
    ):
        status, said, _ = await api.post(body)
        assert (status, said.get("type", "").rpartition(":")[2]) == (422, "invalid"), said
    assert route.sink.bodies == []


async def test_a_key_sends_for_what_it_is_bound_to(route: SinkRoute) -> None:
    api = await application(route, "news.test")
    mail = {"from": "n@news.test", "to": ["ann@inbox.test"], "text": "x"}
    assert (await api.post(mail))[0] == 202
    assert (await api.post({**mail, "from": "n@plain.test"}))[0] == 403
    assert (await api.post({**mail, "account": route.tenant.account + 1}))[0] == 404
    reader = {"name": "r", "scopes": ["read"], "account": route.tenant.account}
    made = await must(route.relay, "POST", "/api-keys", reader)
    assert (await Api(route, made["key"]).post(mail))[0] == 403
    assert (await Api(route, "wpk_nobody").post(mail))[0] == 401
    path = f"/accounts/{route.tenant.account}"
    await must(route.relay, "PATCH", path, {"suspended": True})

    async def refused() -> bool:
        status, said, _ = await api.post(mail)
        return status == 422 and said["reply"].startswith("550 5.7.1")

    await route.relay.until(refused, "the suspended account to be refused")
    await must(route.relay, "PATCH", path, {"suspended": False})

    async def taken() -> bool:
        return (await api.post(mail))[0] == 202

    await route.relay.until(taken, "the account to send again")


async def test_one_key_one_message(route: SinkRoute) -> None:
    api = await application(route)
    mail = {"from": "n@plain.test", "to": ["ann@inbox.test"], "text": "x", "html": "<p>x"}
    once = {"Idempotency-Key": "order-17"}
    first = await api.post(mail, headers=once)
    again = await asyncio.gather(*(api.post(mail, headers=once) for _ in range(4)))
    assert first[0] == 202
    assert {said["message"] for status, said, _ in again if status == 202} == {first[1]["message"]}
    assert {status for status, _, _ in again} <= {202, 409}
    assert (await api.post({**mail, "text": "y"}, headers=once))[0] == 409
    refused = {"Idempotency-Key": "order-18"}
    bad = {**mail, "options": {"not_before": "2199-01-01T00:00:00Z"}}
    assert [(await api.post(bad, headers=refused))[0] for _ in range(2)] == [422, 422]
    assert (await api.post(mail, headers={"Idempotency-Key": "x" * 300}))[0] == 422
    await arrived(route, 1)
    assert len(route.sink.bodies) == 1


async def test_another_worker_takes_what_one_cannot(route: SinkRoute) -> None:
    """One of two workers is gone: nobody is told of it. Both are: 503 with Retry-After."""
    api = await application(route)
    mail = {"from": "n@plain.test", "to": ["ann@inbox.test"], "text": "x"}
    supervisor = route.relay.pids()["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)  # so that nobody starts a new worker
    try:
        for name in ("worker-0", "worker-1"):
            before = await answered_by(api, mail)
            assert before[0] == 202
            os.kill(route.relay.pids()[name], signal.SIGKILL)
            if name == "worker-0":
                assert [(await api.post(mail))[0] for _ in range(4)].count(202) >= 3
        status, said, later = await answered_by(api, mail)
        assert (status, said["type"].rpartition(":")[2]) == (503, "no-room")
        assert int(later) > 0
    finally:
        os.kill(supervisor, signal.SIGCONT)


async def answered_by(api: Api, mail: dict[str, Any]) -> tuple[int, Any, str]:
    """Ask until the outcome is known: a worker that is killed just then may leave it open."""
    while True:
        answer = await api.post(mail)
        if answer[0] != 503 or not answer[1]["type"].endswith("outcome-unknown"):
            return answer


async def test_curl_and_the_command(route: SinkRoute, tmp_path: Path) -> None:
    curl = need_program("curl")
    api = await application(route)
    host, port = route.relay.address("admin")
    file = tmp_path / "mail.eml"
    file.write_bytes(RAW.replace(b"\r\n", b"\n"))
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(curl, "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {api.key}"),
            *("-H", "Content-Type: message/rfc822", "--data-binary", f"@{file}"),
            f"http://{host}:{port}/api/v1/messages?recipient=ann%40inbox.test",
        ],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = await command(route, "send", str(file), "--to", "bob@inbox.test", "--account", "tenant")
    assert said[0] == 0, said
    assert "250 2.0.0 Accepted as " in said[1]
    said = await command(route, "send", str(file), "--to", "nobody", "--account", "tenant")
    assert said[0] == 1

    async def both() -> bool:
        return sum(body.endswith(RAW) for body in route.sink.bodies) == 2

    await route.relay.until(both, "both mails to arrive as they were given")


async def command(route: SinkRoute, *arguments: str) -> tuple[int, str]:
    """Run a waypost command against the relay."""
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--config", str(route.relay.config)),
        *arguments,
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
