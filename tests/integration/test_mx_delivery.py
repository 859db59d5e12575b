"""Delivery by MX through a running relay: what DNS says, what servers do, what becomes of mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.mx_world import MxWorld, mx_world, sender_in
from tests.harness.scripted_mx import Act

pytestmark = pytest.mark.timeout(150)

LATER = "451 4.3.0 later"
NEVER = "554 5.7.1 never"


async def test_what_dns_says_decides_where_mail_goes(tmp_path: Path) -> None:
    """Cases N01, N02, N03, N05 and S18 of the reliability plan."""
    async with mx_world() as world:
        good = world.servers["good.test"]
        zone = world.dns.zone
        zone["implicit.test"] = {"A": [good.host]}
        world.domain("null.test", "0 .")
        zone["null.test"]["A"] = [good.host]
        world.domain("alias.test", "10 other.test.")
        zone["other.test"] = {"CNAME": ["mx.good.test."]}
        world.domain("forged.test", "10 mx.good.test.")
        world.domain("truncate.test", "10 mx.good.test.")
        world.domain("own.test", "10 relay.test.")
        world.domain("late-own.test", "5 mx.good.test.", "10 relay.test.")
        world.domain("gone.test", "10 nowhere.test.")
        world.domain("backup.test", "10 dead.test.", "20 mx.good.test.")
        zone["dead.test"] = {"A": [world.address()]}  # nobody listens there
        names = ["good", "implicit", "alias", "forged", "truncate", "late-own", "backup"]
        names += ["nx", "null", "own", "gone", "servfail.x", "refused.x", "tcprefuse.x"]
        async with sender_in(world, tmp_path) as sender:
            await sender.submit(*(f"a@{name}.test" for name in names))
            arriving = dict.fromkeys(names[:7], "delivered")
            ended = dict.fromkeys(names[7:11], "bounced")
            waiting = dict.fromkeys(names[11:], "deferred")
            wanted = {f"{name}.test": state for name, state in (arriving | ended | waiting).items()}
            await sender.stages_become(wanted)
            for name, code in {
                "nx": "5.1.2",
                "null": "5.1.10",
                "own": "5.4.6",
                "gone": "5.4.4",
                "servfail.x": "4.4.3",
            }.items():
                told = [e for e in await sender.story(f"{name}.test") if e["kind"] != "accepted"]
                assert told[0]["enhanced"] == code, name
        assert len(good.messages) == 7


async def test_private_addresses_are_refused_without_a_connection(tmp_path: Path) -> None:
    """Case N03: a relay that follows every MX would be a port scanner."""
    async with mx_world() as world:
        inside = ("10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "127.0.0.1")  # noqa: S104 - refused
        names = []
        for number, address in enumerate(inside):
            names.append(f"inside{number}.test")
            world.domain(names[-1], f"10 mx.{names[-1]}.")
            world.dns.zone[f"mx.{names[-1]}"] = {"A": [address]}
        world.domain("mapped.test", "10 mx.mapped.test.")
        world.dns.zone["mx.mapped.test"] = {"AAAA": ["::ffff:127.0.0.1"]}
        names += ["mapped.test", "good.test"]
        async with sender_in(world, tmp_path, allow_private_hosts=False) as sender:
            await sender.submit(*(f"a@{name}" for name in names))
            await sender.stages_become(dict.fromkeys(names, "bounced"))
            assert (await sender.story("good.test"))[-1]["enhanced"] == "5.4.4"
        assert world.servers["good.test"].sessions == 0


SESSION = ("banner", "ehlo")
MESSAGE = ("mail", "rcpt", "data", "dot")


async def _stages(world: MxWorld, prefix: str, reply: str, stages: tuple[str, ...]) -> list[str]:
    """Make a domain for each stage whose server gives `reply` there once."""
    names = []
    for stage in stages:
        names.append(f"{prefix}-{stage}.test")
        (await world.server(names[-1])).answer(**{stage: reply})
    return names


async def test_what_servers_do_decides_what_becomes_of_mail(tmp_path: Path) -> None:
    """Cases S01, S02, S05, S06, S09, S10, S14, S17: one server each, healthy mail beside them."""
    async with mx_world() as world:
        later = await _stages(world, "later", LATER, SESSION + MESSAGE)
        never = await _stages(world, "never", NEVER, MESSAGE)
        (await world.server("cut-before.test")).answer(content=Act.DROP)
        (await world.server("cut-after.test")).answer(dot=Act.DROP)
        (await world.server("reset.test")).answer(mail=Act.RESET)
        (await world.server("fin.test")).answer(banner=Act.DROP)
        (await world.server("leaving.test")).answer(rcpt="421 4.3.2 leaving")
        old = await world.server("old.test", extensions=())
        old.answer(ehlo=["502 5.5.1 what?"] * 9)
        small = await world.server("small.test", extensions=("SIZE 50",))
        refusing = [f"10 no{number}.test." for number in range(100)]
        world.domain("crowd.test", *refusing)
        dead = world.address()
        for number in range(100):
            world.dns.zone[f"no{number}.test"] = {"A": [dead]}
        # a host that says "never" at the banner may have a brother who takes mail
        (await world.server("grim.test")).answer(banner=[NEVER] * 500)
        world.domain("brother.test", "10 mx.grim.test.", "20 mx.good.test.")

        arriving = [*later, "cut-before.test", "cut-after.test", "reset.test", "fin.test"]
        arriving += ["leaving.test", "old.test", "brother.test", "good.test"]
        ending = [*never, "small.test"]
        async with sender_in(world, tmp_path) as sender:
            names = [*arriving, *ending, "crowd.test", "grim.test"]
            await sender.submit(*(f"a@{name}" for name in names))
            wanted = dict.fromkeys(arriving, "delivered") | dict.fromkeys(ending, "bounced")
            waiting = dict.fromkeys(("crowd.test", "grim.test"), "deferred")
            await sender.stages_become(wanted | waiting)
            for name in later:
                kinds = [event["kind"] for event in await sender.story(name)]
                assert kinds == ["accepted", "deferred", "delivered"], name
                assert (await sender.story(name))[1]["reply"] == LATER, name
        for name in ("never-rcpt.test", "never-data.test", "never-dot.test"):
            assert world.servers[name].sessions == 1, name  # bounced once, not tried again
        assert [m.accepted for m in world.servers["cut-after.test"].messages] == [False, True]
        assert world.servers["cut-before.test"].sessions == 2
        assert len(world.servers["cut-before.test"].messages) == 1
        assert small.messages == []
        assert [m.recipients for m in old.messages] == [(b"a@old.test",)]


async def test_a_server_that_throttles_is_given_rest_and_gets_all(tmp_path: Path) -> None:
    """Case S15: nothing bounces, the pace falls, and returns."""
    async with mx_world() as world:
        slow = await world.server("slow.test")
        slow.answer(rcpt=["250 2.1.5 ok"] * 3)
        slow.answer(rcpt=["421 4.7.0 try again later, rate limited"] * 4)
        many = [f"a{number}@slow.test" for number in range(40)]
        async with sender_in(world, tmp_path) as sender:
            await sender.submit(*many, "a@good.test")

            async def all_there() -> bool:
                return len({m.recipients for m in slow.messages}) == len(many)

            await sender.relay.until(all_there, "throttled mail to arrive", 60)
            await sender.become(good_test="delivered", slow_test="delivered")
        assert len(slow.messages) == len(many)


@pytest.mark.long
async def test_huge_answers_odd_names_slow_servers_and_a_dead_resolver(tmp_path: Path) -> None:
    """Cases N04, N06, N07 and S07: bounded, without a crash, and nothing lost."""
    async with mx_world() as world:
        good = world.servers["good.test"]
        world.domain("crowd.test", *(f"10 h{number}.crowd.test." for number in range(300)))
        for number in range(300):
            world.dns.zone[f"h{number}.crowd.test"] = {"A": [good.host]}
        slow = await world.server("slow.test")
        slow.answer(dot="hold:250 2.0.0 at last")  # later than anybody waits
        label = "x" * 63
        world.domain(f"{label}.test", "10 mx.good.test.")
        world.domain("xn--bcher-kva.test", "10 mx.good.test.")
        odd = [f"{label}.test", "xn--bcher-kva.test"]
        gone = [".".join(["a" * 60] * 3 + ["test"]), "xn--99999999999.test"]
        world.dns.silent = True
        async with sender_in(world, tmp_path, timeout_scale=0.02) as sender:
            names = ["good.test", "crowd.test", "slow.test", *odd, *gone]
            await sender.submit(*(f"a@{name}" for name in names))
            await sender.become(good_test="deferred")
            assert set((await sender.stages()).values()) <= {"waiting", "deferred"}
            world.dns.silent = False
            delivered = dict.fromkeys(["good.test", "crowd.test", "slow.test", *odd], "delivered")
            await sender.stages_become(delivered | dict.fromkeys(gone, "bounced"), 60)
            assert [e["kind"] for e in await sender.story("slow.test")].count("delivered") == 1
        slow.release.set()
        assert len(slow.messages) == 2  # the first reply was not waited for: ambiguous, sent again
        asked = [name for name, kind in world.dns.asked if name.endswith("crowd.test")]
        assert len(asked) <= 1 + 2 * 20  # hosts beyond the bound are not even looked up
