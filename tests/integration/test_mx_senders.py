"""Being a good sender, through a running relay: bounds by provider over all workers, pools of
addresses, warm-up; and spools whose worker is gone.
"""

from __future__ import annotations

import contextlib
import smtplib
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness.mx_world import mx_world, sender_in
from tests.harness.provision import must

pytestmark = pytest.mark.timeout(150)

PROVIDERS = """
[[provider]]
name = "big"
hosts = ["big.test"]
domains = []
connections = 2
per_second = {rate}
messages_per_connection = 3
basis = "assumed"
source = "this test"
seen = 2026-11-20
"""


async def test_a_provider_is_bounded_over_all_its_domains_and_all_workers(tmp_path: Path) -> None:
    table = tmp_path / "providers.toml"
    table.write_text(PROVIDERS.format(rate=0))
    async with mx_world() as world:
        big = await world.server("big.test")
        names = [f"customer{number}.test" for number in range(12)]
        for name in names:
            world.domain(name, "10 mx.big.test.")
        async with sender_in(world, tmp_path / "relay", workers=2, providers=str(table)) as sender:
            await sender.submit(*(f"a@{name}" for name in names))  # now all owners are known
            await sender.stages_become(dict.fromkeys(names, "delivered"))
            big.most = 0
            await sender.submit(*(f"b{number}@{name}" for number in range(6) for name in names))

            async def all_there() -> bool:
                return len(big.messages) == 7 * len(names)

            await sender.relay.until(all_there, "all mail to arrive")
            assert (await must(sender.relay, "GET", "/deliveries?limit=1"))["items"]
        assert big.most <= 2 * (2 + 1)  # one more for the other worker; some that say QUIT
        sessions: dict[int, int] = {}
        for message in big.messages:
            sessions[message.session] = sessions.get(message.session, 0) + 1
        assert max(sessions.values()) <= 3


async def test_a_provider_s_rate_holds(tmp_path: Path) -> None:
    table = tmp_path / "providers.toml"
    table.write_text(PROVIDERS.format(rate=4))
    async with mx_world() as world:
        big = await world.server("big.test")
        async with sender_in(world, tmp_path / "relay", providers=str(table)) as sender:
            await sender.submit("a@big.test")
            await sender.become(big_test="delivered")
            began = time.monotonic()
            await sender.submit(*(f"b{number}@big.test" for number in range(13)))

            async def all_there() -> bool:
                return len(big.messages) == 14

            await sender.relay.until(all_there, "all mail to arrive")
            assert time.monotonic() - began > 2  # 13 mails at 4 per second and 1 at once


async def test_pools_and_warm_up_choose_the_address(tmp_path: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    async with mx_world() as world:
        good = world.servers["good.test"]
        usual, bulk, other, fresh = (world.address() for _ in range(4))
        ready = await world.server("ready.test")
        async with sender_in(
            world,
            tmp_path,
            source_addresses=[usual],
            pools=[f"bulk={bulk} {other}", f"new={fresh}"],
            pool_domains=["news.test=bulk"],
            warm_up=[f"{fresh}={today}"],
        ) as sender:
            await sender.submit("a@good.test", sender="else.test")
            await sender.become(good_test="delivered")
            assert set(good.peers) == {usual}
            await sender.submit("b@good.test")
            await sender.submit("c@good.test", fields="X-Waypost-Pool: none\r\n")

            async def three() -> bool:
                return len(good.messages) == 3

            await sender.relay.until(three, "three mails to arrive")
            assert set(good.peers) - {usual} <= {bulk, other}
            assert set(good.peers) != {usual}
            many = [f"d{number}@ready.test" for number in range(60)]
            await sender.submit(*many, fields="X-Waypost-Pool: new\r\n")

            async def full() -> bool:
                listed = await must(sender.relay, "GET", "/queue")
                waiting = sum(line["waiting"] for line in listed["items"])
                return len(ready.messages) == 50 and waiting == 10

            await sender.relay.until(full, "the first day's mails to arrive")
            assert set(ready.peers) == {fresh}
        assert len(ready.messages) == 50


async def test_a_spool_without_a_worker_is_emptied_by_another(tmp_path: Path) -> None:
    async with mx_world() as world:
        late = await world.server("late.test")
        late.answer(rcpt=["451 4.3.0 later"] * 8)
        folder = tmp_path / "relay"
        names = [f"a{number}@late.test" for number in range(8)]
        async with sender_in(
            world, folder, workers=3, retry_first_seconds=3.0, retry_max_seconds=3.0
        ) as sender:
            for name in names:
                await sender.submit(name)  # a connection each: idle workers take them

            async def put_off() -> bool:
                return late.commands.count(b"QUIT") > 0 and not late._answers["rcpt"]

            await sender.relay.until(put_off, "all mail to be put off once")
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


async def test_connections_and_failed_logins_are_counted_over_all_workers(tmp_path: Path) -> None:
    async with mx_world() as world:
        over = {"submission": {"max_connections_per_address": 6, "plain_auth": True}}
        async with sender_in(world, tmp_path, workers=3, over=over) as sender:
            with contextlib.ExitStack() as held:
                admitted = 0
                for _ in range(15):
                    client = smtplib.SMTP()
                    code, _ = client.connect(*sender.relay.address("submission"))
                    held.callback(client.close)
                    admitted += code == 220
            assert 6 <= admitted <= 6 + 2
            refusals = 0
            for _ in range(16):
                with contextlib.suppress(smtplib.SMTPServerDisconnected):
                    host, port = sender.relay.address("submission")
                    client = smtplib.SMTP(host, port, source_address=("127.9.9.9", 0))
                    client.ehlo()  # from an address that nobody allow-listed
                    code, _ = client.docmd("AUTH PLAIN", "AHRlbmFudAB3cm9uZw==")
                    refusals += code == 421
                    client.close()
            assert refusals >= 16 - 10 - 2


async def test_mail_that_waited_for_a_smarthost_goes_by_mx_once_that_is_set(tmp_path: Path) -> None:
    async with mx_world() as world:
        nobody = f"{world.address()}:{world.port}"
        async with sender_in(world, tmp_path, mode="smarthost", smarthost=nobody) as sender:
            await sender.submit("a@good.test", "b@good.test")
            await sender.become(good_test="deferred")
        async with sender_in(world, tmp_path, provisioned=True) as sender:
            await sender.become(good_test="delivered")

            async def both() -> bool:
                return len(world.servers["good.test"].messages) == 2

            await sender.relay.until(both, "what waited to arrive")
