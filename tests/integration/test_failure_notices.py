"""Failure notices through a running relay: who asks is told, by mail of our own; nobody else is."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from typing import cast

import pytest
import pytest_asyncio

from tests.harness.provision import Tenant, must, provision
from tests.harness.relay_under_test import RelayUnderTest
from tests.harness.scripted_mx import EXTENSIONS, Received, ScriptedMx

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
MAIL = "From: news@{}\r\nMessage-ID: <7@shop.test>\r\nSubject: Hi\r\n\r\nHello\r\n"
NO_DSN = tuple(one for one in EXTENSIONS if one != "DSN")


@dataclass
class Stage:
    """One relay and its next hop for all tests; each test has a sender of its own."""

    relay: RelayUnderTest
    mx: ScriptedMx
    tenant: Tenant

    async def submit(
        self, to: str, *, sender: str, mail: Sequence[str] = (), rcpt: Sequence[str] = ()
    ) -> None:
        """Submit one mail with DSN parameters."""
        domain = sender.partition("@")[2] or "shop.test"

        def talk() -> None:
            with smtplib.SMTP(*self.relay.address("plain")) as smtp:
                smtp.ehlo("client.test")
                smtp.mail(sender, list(mail))
                code, said = smtp.rcpt(to, list(rcpt))
                assert code == 250, said
                code, said = smtp.data(MAIL.format(domain))
                assert code == 250, said

        await asyncio.to_thread(talk)

    def told(self, sender: str) -> list[Received]:
        """Give the notices that came to a sender."""
        to = (sender.encode(),)
        return [one for one in self.mx.messages if not one.sender and one.recipients == to]

    async def notices(self, sender: str, count: int = 1) -> list[Received]:
        """Wait for so many notices to a sender."""

        async def there() -> bool:
            return len(self.told(sender)) >= count

        await self.relay.until(there, f"{count} notices to {sender}", 40)
        return self.told(sender)

    async def settled(self) -> None:
        """Wait until nothing is in the queue."""

        async def empty() -> bool:
            return not (await must(self.relay, "GET", "/queue"))["items"]

        await self.relay.until(empty, "the queue to be empty", 20)

    async def ended(self, recipient: str, state: str) -> None:
        """Wait until the delivery to a recipient is known to have this state."""

        async def known() -> bool:
            found = await must(self.relay, "GET", f"/deliveries?recipient={recipient}")
            return [one["state"] for one in found["items"]] == [state]

        await self.relay.until(known, f"{recipient} to be {state}", 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with ScriptedMx() as mx:
        delivery: dict[str, object] = {
            "mode": "smarthost",
            "smarthost": f"127.0.0.1:{mx.port}",
            "smarthost_tls": "none",
            "messages_per_connection": 1,  # so that what the next hop offers is asked each time
            "lifetime_seconds": 3.0,
            # Less than the first wait between attempts, and nothing expires after two of them: the
            # second failed attempt tells of the delay however long the machine stalls.
            "delay_notice_seconds": 0.1,
        }
        folder = tmp_path_factory.mktemp("notices")
        async with RelayUnderTest(folder, settings={"delivery": delivery}) as relay:
            domains = ("on.test", "off.test", "silent.test")
            tenant = await provision(relay, untracked=domains, passwordless=True)
            yield Stage(relay, mx, tenant)


def read(notice: Received) -> tuple[EmailMessage, Message]:
    """Give a notice and its machine-readable recipient group."""
    parsed = message_from_bytes(notice.content, policy=default)
    groups = cast(list[Message], cast(Message, parsed.get_payload(1)).get_payload())
    return parsed, groups[1]


UNKNOWN = "550 5.1.1 no such user"


async def test_a_failure_is_told_to_who_asked(stage: Stage) -> None:
    stage.mx.answer_recipients({"gone@inbox.test": UNKNOWN})
    sender = "asks@shop.test"
    await stage.submit(
        "gone@inbox.test",
        sender=sender,
        mail=("RET=FULL", "ENVID=order+2B17"),
        rcpt=("NOTIFY=FAILURE", "ORCPT=rfc822;first@inbox.test"),
    )
    (got,) = await stage.notices(sender)
    parsed, group = read(got)
    await stage.settled()
    assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert group["Original-Recipient"] == "rfc822; first@inbox.test"
    assert "Original-Envelope-Id: order+17" in parsed.as_string()
    assert "Hello" in parsed.as_string()
    # Our own mail is nobody's statistics.
    found = await must(stage.relay, "GET", f"/deliveries?recipient={sender}")
    assert found["items"] == []


async def test_nobody_else_is_told(stage: Stage) -> None:
    stage.mx.answer_recipients({f"gone{n}@inbox.test": UNKNOWN for n in range(4)})
    sender = "silent@shop.test"
    await stage.submit("gone0@inbox.test", sender=sender)
    await stage.submit("gone1@inbox.test", sender=sender, rcpt=("NOTIFY=NEVER",))
    await stage.submit("gone2@inbox.test", sender=sender, rcpt=("NOTIFY=SUCCESS,DELAY",))
    await stage.submit("gone3@inbox.test", sender="", rcpt=("NOTIFY=FAILURE",))
    for n in range(4):
        await stage.ended(f"gone{n}@inbox.test", "bounced")
    await stage.settled()
    assert stage.told(sender) == []


async def test_domain_and_account_decide_where_the_sender_said_nothing(stage: Stage) -> None:
    """The domain's word goes before the account's, that before the node's (which is no)."""
    senders = ("on.test", "off.test", "silent.test")
    for name in ("on", "off"):
        await must(stage.relay, "PATCH", f"/domains/{name}.test", {"failure_notices": name})

    async def told() -> list[int]:
        for domain in senders:
            to = f"{domain}-{len(stage.mx.commands)}@inbox.test"
            stage.mx.answer_recipients({to: UNKNOWN})
            await stage.submit(to, sender=f"news@{domain}")
            await stage.ended(to, "bounced")
        await stage.settled()
        return [len(stage.told(f"news@{domain}")) for domain in senders]

    assert await told() == [1, 0, 0]
    account = f"/accounts/{stage.tenant.account}"
    await must(stage.relay, "PATCH", account, {"failure_notices": "on"})
    assert await told() == [2, 0, 1]
    await must(stage.relay, "PATCH", account, {"failure_notices": "inherit"})


async def test_a_notice_that_fails_is_not_answered_by_another(stage: Stage) -> None:
    sender = "lost@on.test"
    await must(stage.relay, "PATCH", "/domains/on.test", {"failure_notices": "on"})

    def tries() -> int:
        return sum(one.upper().startswith(b"MAIL FROM:<>") for one in stage.mx.commands)

    before = tries()
    stage.mx.answer_recipients({"lost@inbox.test": UNKNOWN, sender: UNKNOWN})
    await stage.submit("lost@inbox.test", sender=sender)

    async def tried() -> bool:
        return any(sender.encode() in one for one in stage.mx.commands if b"RCPT" in one)

    await stage.relay.until(tried, "the notice to be tried", 20)
    await stage.settled()
    assert tries() == before + 1


async def test_expiry_and_delay_are_told_once_each(stage: Stage) -> None:
    stage.mx.answer_recipients({"full@inbox.test": "452 4.2.2 full"})
    sender = "waits@shop.test"
    await stage.submit("full@inbox.test", sender=sender, rcpt=("NOTIFY=FAILURE,DELAY",))
    got = await stage.notices(sender, 2)
    await stage.settled()
    told = [message_from_bytes(one.content, policy=default).as_string() for one in got]
    assert ["Action: delayed" in one for one in told] == [True, False]
    assert ["Action: failed" in one for one in told] == [False, True]
    assert "Will-Retry-Until: " in told[0]
    assert "Status: 5.4.7" in told[1]


@pytest.mark.parametrize(("extensions", "told"), [(EXTENSIONS, False), (NO_DSN, True)])
async def test_success_is_relayed_where_the_next_hop_lacks_dsn(
    stage: Stage, extensions: tuple[str, ...], told: bool
) -> None:
    stage.mx.extensions = extensions
    sender = f"glad{told:d}@shop.test"
    await stage.submit(f"ann{told:d}@inbox.test", sender=sender, rcpt=("NOTIFY=SUCCESS",))
    await stage.ended(f"ann{told:d}@inbox.test", "delivered")
    await stage.settled()
    if told:
        (got,) = await stage.notices(sender)
        _, group = read(got)
        assert (group["Action"], group["Status"]) == ("relayed", "2.0.0")
    else:
        assert stage.told(sender) == []
