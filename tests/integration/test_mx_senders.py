"""Being a good sender, through a running relay: bounds by provider over all workers, pools of
addresses, warm-up; and spools whose worker is gone.
"""

from __future__ import annotations

import contextlib
import smtplib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.mx_world import MxWorld, Sender, mx_world, sender_in
from tests.harness.provision import must

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

PROVIDER = """
[[provider]]
name = "{name}"
hosts = ["{name}.test"]
domains = []
connections = 2
per_second = {rate}
messages_per_connection = {messages}
basis = "assumed"
source = "this test"
seen = 2026-11-20
"""


@dataclass
class Stage:
    """A relay of two workers with two providers, pools, and an address that warms up."""

    world: MxWorld
    sender: Sender
    usual: str
    bulk: tuple[str, str]
    other: str
    fresh: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("senders")
    table = folder / "providers.toml"
    big = PROVIDER.format(name="big", rate=0, messages=3)
    table.write_text(big + PROVIDER.format(name="measured", rate=4, messages=100))
    today = datetime.now(UTC).date().isoformat()
    async with mx_world() as world:
        usual, first, second, other, fresh = (world.address() for _ in range(5))
        async with sender_in(
            world,
            folder / "relay",
            workers=2,
            providers=str(table),
            source_addresses=[usual],
            pools=[f"bulk={first} {second}", f"other={other}", f"new={fresh}"],
            pool_domains=["pooled.test=bulk"],
            warm_up=[f"{fresh}={today}"],
            over={"submission": {"max_connections_per_address": 6, "plain_auth": True}},
        ) as sender:
            yield Stage(world, sender, usual, (first, second), other, fresh)


async def test_a_provider_is_bounded_over_all_its_domains_and_all_workers(stage: Stage) -> None:
    big = await stage.world.server("big.test")
    names = [f"customer{number}.test" for number in range(12)]
    for name in names:
        stage.world.domain(name, "10 mx.big.test.")
    await stage.sender.submit(*(f"a@{name}" for name in names))  # now all owners are known
    await stage.sender.stages_become(dict.fromkeys(names, "delivered"))
    big.most = 0
    await stage.sender.submit(*(f"b{number}@{name}" for number in range(6) for name in names))

    async def all_there() -> bool:
        return len(big.messages) == 7 * len(names)

    await stage.sender.relay.until(all_there, "all mail to arrive")
    assert big.most <= 2 * (2 + 1)  # one more for the other worker; some that say QUIT
    sessions: dict[int, int] = {}
    for message in big.messages:
        sessions[message.session] = sessions.get(message.session, 0) + 1
    assert max(sessions.values()) <= 3


async def test_a_provider_s_rate_holds(stage: Stage) -> None:
    measured = await stage.world.server("measured.test")
    await stage.sender.submit("a@measured.test")
    await stage.sender.become(measured_test="delivered")
    began = time.monotonic()
    await stage.sender.submit(*(f"b{number}@measured.test" for number in range(13)))

    async def all_there() -> bool:
        return len(measured.messages) == 14

    await stage.sender.relay.until(all_there, "all mail to arrive")
    assert time.monotonic() - began > 1  # 13 mails at 4 per second, some at once; never sooner


async def test_pools_choose_the_address(stage: Stage) -> None:
    """The message's word goes before the domain's, that before the file's."""
    pooled = await stage.world.server("pooled.test")
    relay = stage.sender.relay

    async def from_where(sender: str, fields: str = "") -> str:
        count = len(pooled.messages)
        await stage.sender.submit("a@pooled.test", sender=sender, fields=fields)

        async def one_more() -> bool:
            return len(pooled.messages) > count

        await relay.until(one_more, "the mail to arrive")
        return pooled.peer_of[pooled.messages[count].session]

    account = (await must(relay, "GET", "/accounts?name=tenant"))["items"][0]["id"]
    await must(relay, "POST", "/domains", {"name": "pooled.test", "account": account})
    assert await from_where("else.test") == stage.usual
    assert await from_where("pooled.test") in stage.bulk
    await must(relay, "PATCH", "/domains/pooled.test", {"pool": "other"})
    assert await from_where("pooled.test") == stage.other
    assert await from_where("pooled.test", "X-Waypost-Pool: bulk\r\n") in stage.bulk
    assert await from_where("pooled.test", "X-Waypost-Pool: nowhere\r\n") == stage.other
    status, answer = await relay.ask(
        "PATCH", "/api/v1/domains/pooled.test", {"pool": "nonexistent"}
    )
    assert status == 422, answer
    assert "bulk, new, other" in str(answer)


async def test_a_new_address_begins_slowly(stage: Stage) -> None:
    ready = await stage.world.server("ready.test")
    many = [f"d{number}@ready.test" for number in range(60)]
    await stage.sender.submit(*many, fields="X-Waypost-Pool: new\r\n")

    async def full() -> bool:
        listed = await must(stage.sender.relay, "GET", "/queue")
        waiting = sum(line["waiting"] for line in listed["items"])
        return len(ready.messages) == 50 and waiting == 10

    await stage.sender.relay.until(full, "the first day's mails to arrive")
    assert set(ready.peers) == {stage.fresh}
    assert len(ready.messages) == 50


async def test_connections_and_failed_logins_are_counted_over_all_workers(stage: Stage) -> None:
    door = stage.sender.relay.address("submission")
    with contextlib.ExitStack() as held:
        admitted = 0
        for _ in range(15):
            client = smtplib.SMTP(source_address=("127.9.9.8", 0))
            code, _ = client.connect(*door)
            held.callback(client.close)
            admitted += code == 220
    assert 6 <= admitted <= 6 + 1
    refusals = 0
    for _ in range(16):
        with contextlib.suppress(smtplib.SMTPServerDisconnected):
            # from an address that nobody allow-listed
            client = smtplib.SMTP(*door, source_address=("127.9.9.9", 0))
            client.ehlo()
            code, _ = client.docmd("AUTH PLAIN", "AHRlbmFudAB3cm9uZw==")
            refusals += code == 421
            client.close()
    assert refusals >= 16 - 10 - 1


async def test_spools_without_a_worker_are_emptied_by_another_way(tmp_path: Path) -> None:
    """Three workers put mail off because their smarthost is gone; one worker with MX delivery takes
    over all three spools, and what waited goes the new way.
    """
    async with mx_world() as world:
        late = await world.server("late.test")
        folder = tmp_path / "relay"
        names = [f"a{number}@late.test" for number in range(8)]
        nobody = f"{world.address()}:{world.port}"
        async with sender_in(
            world, folder, workers=3, mode="smarthost", smarthost=nobody
        ) as sender:
            for name in names:
                await sender.submit(name)  # a connection each: idle workers take them
            for name in names:
                await sender.recipient_becomes(name, "deferred")
        spools = {path.parent.name for path in (folder / "var" / "spool").glob("*/spool.sqlite")}
        assert spools == {"0", "1", "2"}
        async with sender_in(world, folder, workers=1, provisioned=True) as sender:

            async def all_there() -> bool:
                return {m.recipients[0].decode() for m in late.messages} == set(names)

            await sender.relay.until(all_there, "orphaned mail to arrive")

            async def all_told() -> bool:
                answer = await must(sender.relay, "GET", "/deliveries?limit=50")
                return [one["state"] for one in answer["items"]] == ["delivered"] * len(names)

            await sender.relay.until(all_told, "orphaned facts to rise")
            assert (await must(sender.relay, "GET", "/queue"))["items"] == []
        assert len(late.messages) == len(names)
