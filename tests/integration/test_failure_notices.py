"""Failure notices through a running relay: who asks is told, by mail of our own; nobody else is."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from pathlib import Path
from typing import cast

import pytest

from tests.harness.provision import must, provision
from tests.harness.relay_under_test import RelayUnderTest
from tests.harness.scripted_mx import EXTENSIONS, Received, ScriptedMx

pytestmark = pytest.mark.timeout(120)
MAIL = "From: news@shop.test\r\nMessage-ID: <7@shop.test>\r\nSubject: Hi\r\n\r\nHello\r\n"
NO_DSN = tuple(one for one in EXTENSIONS if one != "DSN")


@asynccontextmanager
async def relay_before(
    mx: ScriptedMx, folder: Path, **delivery: object
) -> AsyncIterator[RelayUnderTest]:
    settings: dict[str, object] = {
        "mode": "smarthost",
        "smarthost": f"127.0.0.1:{mx.port}",
        "smarthost_tls": "none",
        **delivery,
    }
    async with RelayUnderTest(folder, settings={"delivery": settings}) as relay:
        await provision(relay, passwordless=True)
        yield relay


async def submit(
    relay: RelayUnderTest,
    to: str,
    *,
    sender: str = "news@shop.test",
    mail: Sequence[str] = (),
    rcpt: Sequence[str] = (),
) -> None:
    """Submit one mail with DSN parameters."""

    def talk() -> None:
        with smtplib.SMTP(*relay.address("plain")) as smtp:
            smtp.ehlo("client.test")
            smtp.mail(sender, list(mail))
            code, said = smtp.rcpt(to, list(rcpt))
            assert code == 250, said
            code, said = smtp.data(MAIL)
            assert code == 250, said

    await asyncio.to_thread(talk)


async def notice(relay: RelayUnderTest, mx: ScriptedMx) -> tuple[Received, EmailMessage, Message]:
    """Wait for a mail from the null sender; give it with its machine-readable recipient group."""

    async def there() -> bool:
        return any(not one.sender for one in mx.messages)

    await relay.until(there, "a notice to arrive", 20)
    (got,) = [one for one in mx.messages if not one.sender]
    parsed = message_from_bytes(got.content, policy=default)
    groups = cast(list[Message], cast(Message, parsed.get_payload(1)).get_payload())
    return got, parsed, groups[1]


async def settled(relay: RelayUnderTest) -> None:
    """Wait until nothing is in the queue."""

    async def empty() -> bool:
        return not (await must(relay, "GET", "/queue"))["items"]

    await relay.until(empty, "the queue to be empty", 20)


async def test_a_failure_is_told_to_who_asked(tmp_path: Path) -> None:
    async with ScriptedMx() as mx:
        mx.answer_recipients({"gone@inbox.test": "550 5.1.1 no such user"})
        async with relay_before(mx, tmp_path) as relay:
            await submit(
                relay,
                "gone@inbox.test",
                mail=("RET=FULL", "ENVID=order+2B17"),
                rcpt=("NOTIFY=FAILURE", "ORCPT=rfc822;first@inbox.test"),
            )
            got, parsed, group = await notice(relay, mx)
            await settled(relay)
            deliveries = await must(relay, "GET", "/deliveries")
    assert got.recipients == (b"news@shop.test",)
    assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert group["Original-Recipient"] == "rfc822; first@inbox.test"
    assert "Original-Envelope-Id: order+17" in parsed.as_string()
    assert "Hello" in parsed.as_string()
    # Our own mail is nobody's statistics.
    assert [one["recipient"] for one in deliveries["items"]] == ["gone@inbox.test"]


async def test_nobody_else_is_told(tmp_path: Path) -> None:
    async with ScriptedMx() as mx:
        mx.answer_recipients({f"gone{n}@inbox.test": "550 5.1.1 no such user" for n in range(4)})
        async with relay_before(mx, tmp_path) as relay:
            await submit(relay, "gone0@inbox.test")
            await submit(relay, "gone1@inbox.test", rcpt=("NOTIFY=NEVER",))
            await submit(relay, "gone2@inbox.test", rcpt=("NOTIFY=SUCCESS,DELAY",))
            await submit(relay, "gone3@inbox.test", sender="", rcpt=("NOTIFY=FAILURE",))

            async def bounced() -> bool:
                found = await must(relay, "GET", "/deliveries?state=bounced")
                return len(found["items"]) == 4

            await relay.until(bounced, "the bounces to be known", 20)
            await settled(relay)
    assert mx.messages == []


async def test_a_notice_that_fails_is_not_answered_by_another(tmp_path: Path) -> None:
    async with ScriptedMx() as mx:
        refused = "550 5.1.1 no such user"
        mx.answer_recipients({"gone@inbox.test": refused, "news@shop.test": refused})
        async with relay_before(mx, tmp_path, failure_notices=True) as relay:
            await submit(relay, "gone@inbox.test")

            async def tried() -> bool:
                return any(b"news@shop.test" in one for one in mx.commands)

            await relay.until(tried, "the notice to be tried", 20)
            await settled(relay)
    assert sum(one.upper().startswith(b"MAIL FROM:<>") for one in mx.commands) == 1


async def test_expiry_and_delay_are_told_once_each(tmp_path: Path) -> None:
    async with ScriptedMx() as mx:
        mx.answer_recipients({"full@inbox.test": "452 4.2.2 full"})
        settings = {"lifetime_seconds": 3.0, "delay_notice_seconds": 1.0}
        async with relay_before(mx, tmp_path, **settings) as relay:
            await submit(relay, "full@inbox.test", rcpt=("NOTIFY=FAILURE,DELAY",))

            async def both() -> bool:
                return len(mx.messages) >= 2

            await relay.until(both, "two notices", 40)
            await settled(relay)
    told = [message_from_bytes(one.content, policy=default).as_string() for one in mx.messages]
    assert ["Action: delayed" in one for one in told] == [True, False]
    assert ["Action: failed" in one for one in told] == [False, True]
    assert "Will-Retry-Until: " in told[0]
    assert "Status: 5.4.7" in told[1]


@pytest.mark.parametrize(("extensions", "told"), [(EXTENSIONS, False), (NO_DSN, True)])
async def test_success_is_relayed_where_the_next_hop_lacks_dsn(
    tmp_path: Path, extensions: tuple[str, ...], told: bool
) -> None:
    async with ScriptedMx(extensions=extensions) as mx, relay_before(mx, tmp_path) as relay:
        await submit(relay, "ann@inbox.test", rcpt=("NOTIFY=SUCCESS",))

        async def delivered() -> bool:
            found = await must(relay, "GET", "/deliveries?state=delivered")
            return len(found["items"]) == 1

        await relay.until(delivered, "the delivery to be known", 20)
        await settled(relay)
        if told:
            _, _, group = await notice(relay, mx)
            assert (group["Action"], group["Status"]) == ("relayed", "2.0.0")
        else:
            assert [bool(one.sender) for one in mx.messages] == [True]
