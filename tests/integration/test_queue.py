"""The queue in the operator's hand, through the API of a running relay whose next hop is away."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.sink import Sink
from tests.harness.provision import must, provision
from tests.harness.relay_under_test import RelayUnderTest

pytestmark = pytest.mark.timeout(120)

MAIL = "From: news@shop.test\r\nSubject: Hi\r\nX-Waypost-Campaign: {campaign}\r\n\r\nHello\r\n"


@dataclass
class Queued:
    """A relay with mail that waits for a sink that is not there yet."""

    relay: RelayUnderTest
    address: tuple[str, int]
    ids: dict[str, str]

    async def list(self, path: str = "/queue/deliveries") -> list[dict[str, Any]]:
        answer = await must(self.relay, "GET", path)
        assert answer["silent"] == []
        return list(answer["items"])

    async def change(self, action: str, **which: object) -> int:
        answer = await must(self.relay, "POST", "/queue", {"action": action, **which})
        assert answer["silent"] == []
        return int(answer["changed"])

    async def states(self) -> dict[str, str]:
        return {one["recipient"]: one["state"] for one in await self.list()}


def _submit(relay: RelayUnderTest, recipient: str, campaign: str) -> str:
    host, port = relay.address("plain")
    with smtplib.SMTP(host, port) as smtp:
        smtp.ehlo()
        smtp.mail("news@shop.test")
        smtp.rcpt(recipient)
        _, reply = smtp.data(MAIL.format(campaign=campaign))
    return reply.decode().rpartition(" ")[2]


@pytest.fixture
async def queued(tmp_path: Path) -> AsyncIterator[Queued]:
    probe = Sink()
    address = await probe.start()
    await probe.close()
    delivery = {
        "mode": "smarthost",
        "smarthost": f"{address[0]}:{address[1]}",
        "smarthost_tls": "none",
        "retry_first_seconds": 600.0,
        "retry_max_seconds": 600.0,
    }
    relay = RelayUnderTest(tmp_path, settings={"delivery": delivery}, workers=2)
    async with relay:
        await provision(relay, untracked=("shop.test",), passwordless=True)
        ids = {}
        for number in range(6):
            recipient = f"r{number}@inbox.test"
            campaign = "spring" if number < 4 else "autumn"
            ids[recipient] = await asyncio.to_thread(_submit, relay, recipient, campaign)
        up = Queued(relay, address, ids)

        async def put_off() -> bool:
            waiting = await up.list()
            return len(waiting) == 6 and all(one["attempts"] == 1 for one in waiting)

        await relay.until(put_off, "six deliveries to be put off")
        yield up


async def test_what_waits_is_shown_and_can_be_changed(queued: Queued) -> None:
    (line,) = await queued.list("/queue")
    assert (line["waiting"], line["destination"]) == (6, "smarthost")
    assert line["oldest"] is not None
    assert "refused" in line["last_reply"].lower()
    campaigns = await queued.list("/queue/campaigns")
    assert {one["campaign"]: one["waiting"] for one in campaigns} == {"spring": 4, "autumn": 2}

    shown = await must(queued.relay, "GET", f"/queue/messages/{queued.ids['r0@inbox.test']}")
    assert (shown["subject"], len(shown["deliveries"])) == ("Hi", 1)
    status, _ = await queued.relay.ask("GET", "/api/v1/queue/messages/aaaaaaaaaaaaa")
    assert status == 404

    assert await queued.change("hold", campaign="spring") == 4
    assert list((await queued.states()).values()).count("held") == 4
    assert await queued.change("release", message=queued.ids["r0@inbox.test"]) == 1
    assert await queued.change("cancel", message=queued.ids["r1@inbox.test"]) == 1
    status, answer = await queued.relay.ask("POST", "/api/v1/queue", {"action": "cancel"})
    assert status == 422, answer

    sink = Sink()
    await sink.start(*queued.address)
    try:
        assert await queued.change("retry", everything=True) == 3

        async def arrived() -> bool:
            return len(sink.got) == 3

        await queued.relay.until(arrived, "what was not held to arrive")
        assert await queued.change("release", campaign="spring") == 2
        assert await queued.change("retry", everything=True) >= 0

        async def all_of_it() -> bool:
            return len(sink.got) == 5

        await queued.relay.until(all_of_it, "what was released to arrive")
    finally:
        await sink.close()
    recipients = sorted(one.recipients[0] for one in sink.got)
    assert recipients == [f"r{number}@inbox.test" for number in (0, 2, 3, 4, 5)]

    async def counted() -> bool:
        wanted = "measures=delivered&measures=failed"
        answer = await must(queued.relay, "GET", f"/domains/shop.test/stats?{wanted}")
        return bool(answer["rows"][0]["values"] == {"delivered": 5, "failed": 1})

    await queued.relay.until(counted, "the cancelled one to be counted as failed")


async def test_a_paused_campaign_waits_and_goes_on(queued: Queued) -> None:
    account = (await must(queued.relay, "GET", "/domains/shop.test"))["account"]
    pause = {"kind": "campaign", "value": "spring", "account": account}
    made = await must(queued.relay, "POST", "/pauses", pause)
    sink = Sink()
    await sink.start(*queued.address)
    try:
        await asyncio.sleep(1.0)  # the pause reaches every worker within a second
        await queued.change("retry", everything=True)

        async def the_others() -> bool:
            return len(sink.got) == 2

        await queued.relay.until(the_others, "the other campaign to arrive")
        assert sorted(one.recipients[0] for one in sink.got) == ["r4@inbox.test", "r5@inbox.test"]
        await must(queued.relay, "DELETE", f"/pauses/{made['id']}")

        async def all_of_it() -> bool:
            return len(sink.got) == 6

        await queued.relay.until(all_of_it, "the paused campaign to go on")
    finally:
        await sink.close()
