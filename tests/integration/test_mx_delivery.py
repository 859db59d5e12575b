"""Delivery by MX through one running relay: what DNS says, what servers do, what becomes of mail.

Each test has domains of its own. Case numbers are those of the list in docs/delivery.md.
"""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.mx_world import MxWorld, Sender, mx_world, sender_in
from tests.harness.scripted_mx import EXTENSIONS, Act

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

LATER = "451 4.3.0 later"
NEVER = "554 5.7.1 never"


@dataclass
class Stage:
    """The world, the relay that sends into it, and an address that the relay sends from."""

    world: MxWorld
    sender: Sender
    own: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with mx_world() as world:
        own = world.address()
        folder = tmp_path_factory.mktemp("mx")
        async with sender_in(world, folder, source_addresses=[own]) as sender:
            yield Stage(world, sender, own)


async def test_what_dns_says_decides_where_mail_goes(stage: Stage) -> None:
    """N01, N02, N03, N05, S18 by name and by address."""
    world, sender = stage.world, stage.sender
    target = await world.server("target.test")
    zone = world.dns.zone
    zone["implicit.test"] = {"A": [target.host]}
    world.domain("null.test", "0 .")
    zone["null.test"]["A"] = [target.host]
    world.domain("alias.test", "10 other.test.")
    zone["other.test"] = {"CNAME": ["mx.target.test."]}
    world.domain("forged.test", "10 mx.target.test.")
    world.domain("truncate.test", "10 mx.target.test.")
    world.domain("own.test", "10 relay.test.")
    world.domain("own-address.test", "10 me.test.")
    zone["me.test"] = {"A": [stage.own]}
    world.domain("late-own.test", "5 mx.target.test.", "10 relay.test.")
    world.domain("gone.test", "10 nowhere.test.")
    world.domain("backup.test", "10 dead.test.", "20 mx.target.test.")
    zone["dead.test"] = {"A": [world.address()]}  # nobody listens there
    names = ["target", "implicit", "alias", "forged", "truncate", "late-own", "backup"]
    names += ["nx", "null", "own", "own-address", "gone", "servfail.x", "refused.x", "tcprefuse.x"]
    await sender.submit(*(f"a@{name}.test" for name in names))
    arriving = dict.fromkeys(names[:7], "delivered")
    ended = dict.fromkeys(names[7:12], "bounced")
    waiting = dict.fromkeys(names[12:], "deferred")
    wanted = {f"{name}.test": state for name, state in (arriving | ended | waiting).items()}
    await sender.stages_become(wanted)
    for name, code in {
        "nx": "5.1.2",
        "null": "5.1.10",
        "own": "5.4.6",
        "own-address": "5.4.6",
        "gone": "5.4.4",
        "servfail.x": "4.4.3",
    }.items():
        told = [e for e in await sender.story(f"{name}.test") if e["kind"] != "accepted"]
        assert told[0]["enhanced"] == code, name
    assert len(target.messages) == 7


SESSION = ("banner", "ehlo")
MESSAGE = ("mail", "rcpt", "data", "dot")


async def _stages(
    world: MxWorld, prefix: str, reply: str | Act, stages: tuple[str, ...]
) -> list[str]:
    """Make a domain for each stage whose server answers so there once."""
    names = []
    for stage in stages:
        names.append(f"{prefix}-{stage}.test")
        (await world.server(names[-1])).answer(**{stage: reply})
    return names


async def test_what_servers_do_decides_what_becomes_of_mail(stage: Stage) -> None:
    """S01, S02, S05, S06, S09 (FIN and RST in each phase), S10, S17: healthy mail beside them."""
    world, sender = stage.world, stage.sender
    later = await _stages(world, "later", LATER, SESSION + MESSAGE)
    never = await _stages(world, "never", NEVER, MESSAGE)
    cut = await _stages(world, "fin", Act.DROP, SESSION + MESSAGE)
    cut += await _stages(world, "reset", Act.RESET, SESSION + MESSAGE)
    (await world.server("cut-before.test")).answer(content=Act.DROP)
    (await world.server("leaving.test")).answer(rcpt="421 4.3.2 leaving")
    refusing = [f"10 no{number}.test." for number in range(100)]
    world.domain("crowd.test", *refusing)
    dead = world.address()
    for number in range(100):
        world.dns.zone[f"no{number}.test"] = {"A": [dead]}
    # a host that says "never" at the banner may have a brother who takes mail
    (await world.server("grim.test")).answer(banner=[NEVER] * 500)
    world.domain("brother.test", "10 mx.grim.test.", "20 mx.good.test.")

    arriving = [*later, *cut, "cut-before.test", "leaving.test", "brother.test", "good.test"]
    names = [*arriving, *never, "crowd.test", "grim.test"]
    await sender.submit(*(f"a@{name}" for name in names))
    wanted = dict.fromkeys(arriving, "delivered") | dict.fromkeys(never, "bounced")
    waiting = dict.fromkeys(("crowd.test", "grim.test"), "deferred")
    await sender.stages_become(wanted | waiting)
    for name in later:
        kinds = [event["kind"] for event in await sender.story(name)]
        assert kinds == ["accepted", "deferred", "delivered"], name
        assert (await sender.story(name))[1]["reply"] == LATER, name
    for name in ("never-rcpt.test", "never-data.test", "never-dot.test"):
        assert world.servers[name].sessions == 1, name  # bounced once, not tried again
    for name in cut:  # ambiguous only where the final dot was taken
        taken = [m.accepted for m in world.servers[name].messages]
        assert taken == ([False, True] if name.endswith("-dot.test") else [True]), name
    assert world.servers["cut-before.test"].sessions == 2
    assert len(world.servers["cut-before.test"].messages) == 1


async def test_each_recipient_of_a_message_has_its_own_end(stage: Stage) -> None:
    """S03: 250, 450 and 550 for recipients of one message, pipelined and one by one."""
    answers = {"later": "450 4.2.1 busy", "gone": "550 5.1.1 unknown"}
    for domain, extensions in (("mixed.test", EXTENSIONS), ("plain.test", ("8BITMIME",))):
        mx = await stage.world.server(domain, extensions=extensions)
        mx.answer_recipients({f"{who}@{domain}": reply for who, reply in answers.items()})

    for domain in ("mixed.test", "plain.test"):
        to = [f"{who}@{domain}" for who in ("ann", *answers)]
        await stage.sender.submit(*to, together=True)
        wanted = {"ann": "delivered", "later": "deferred", "gone": "bounced"}
        for who, state in wanted.items():
            await stage.sender.recipient_becomes(f"{who}@{domain}", state)
        mx = stage.world.servers[domain]
        assert [m.recipients for m in mx.messages] == [(f"ann@{domain}".encode(),)]
    assert stage.world.servers["plain.test"].commands.count(b"DATA") == 1  # none for the refused


async def test_what_a_server_offers_is_all_that_is_used(stage: Stage) -> None:
    """S13, S14."""
    world, sender = stage.world, stage.sender
    old = await world.server("old.test", extensions=())
    old.answer(ehlo=["502 5.5.1 what?"] * 9)
    small = await world.server("small.test", extensions=("SIZE 50",))
    ascii_only = await world.server("ascii.test", extensions=("8BITMIME", "PIPELINING"))
    seven = await world.server("seven.test", extensions=("PIPELINING",))
    await sender.submit("a@old.test", "a@small.test", "a@seven.test", text="Grüße\r\n")
    await sender.submit("ü@ascii.test")
    wanted = {"old.test": "delivered", "seven.test": "delivered"}
    await sender.stages_become(wanted | {"small.test": "bounced", "ascii.test": "bounced"})
    assert (await sender.story("small.test"))[-1]["enhanced"] == "5.3.4"
    assert (await sender.story("ascii.test", local="ü"))[-1]["enhanced"] == "5.6.7"
    assert small.messages == ascii_only.messages == []
    assert [m.recipients for m in old.messages] == [(b"a@old.test",)]
    assert old.early == []
    assert "Grüße".encode() in seven.messages[0].content  # as every large sender does
    assert b"BODY=" not in seven.messages[0].mail


async def test_a_server_that_throttles_is_given_rest_and_gets_all(stage: Stage) -> None:
    """S15: nothing bounces, the pace falls, and returns."""
    slow = await stage.world.server("slow.test")
    slow.answer(rcpt=["250 2.1.5 ok"] * 3)
    slow.answer(rcpt=["421 4.7.0 try again later, rate limited"] * 4)
    many = [f"a{number}@slow.test" for number in range(40)]
    await stage.sender.submit(*many, "b@good.test")

    async def all_there() -> bool:
        return len({m.recipients for m in slow.messages}) == len(many)

    await stage.sender.relay.until(all_there, "throttled mail to arrive", 60)
    await stage.sender.become(slow_test="delivered")
    assert len(slow.messages) == len(many)


async def test_mail_that_comes_back_again_and_again_is_refused(stage: Stage) -> None:
    """S18 by Received: a host that forwards what it gets to us is told so in the end."""
    forwarder = await stage.world.server("circle.test")
    fields = "".join(f"Received: from a by b; {n}\r\n" for n in range(95))
    await stage.sender.submit("a@circle.test", fields=fields)
    answers: list[tuple[int, bytes]] = []
    while len(answers) < 10 and set(answers) <= {(250, b"2.0.0")}:
        async with asyncio.timeout(30):
            while len(forwarder.messages) == len(answers):
                forwarder.arrived.clear()
                await forwarder.arrived.wait()
        content = forwarder.messages[-1].content
        answers.append(await asyncio.to_thread(hand_back, stage, content))
    assert answers[-1] == (554, b"5.4.6")
    assert len(forwarder.messages) == len(answers) == 6


def hand_back(stage: Stage, content: bytes) -> tuple[int, bytes]:
    """Hand a mail to the relay again; give the code and enhanced code of its answer."""
    with smtplib.SMTP(*stage.sender.relay.address("plain")) as smtp:
        smtp.ehlo("circle.test")
        smtp.mail("news@news.test")
        smtp.rcpt("a@circle.test")
        code, text = smtp.data(content)
        return code, text.partition(b" ")[0]


async def test_odd_names_are_refused_or_found_without_harm(stage: Stage) -> None:
    """N06: what cannot be a domain is refused at the door; what can, is asked for."""
    world, sender = stage.world, stage.sender
    label = "x" * 63
    for name in (f"{label}.test", "xn--bcher-kva.test"):
        world.domain(name, "10 mx.good.test.")
    fine = {f"{label}.test": "delivered", "xn--bcher-kva.test": "delivered"}
    gone = [".".join(["a" * 60] * 3 + ["test"]), "xn--99999999999.test"]
    impossible = [f"{label}x.test", ".".join(["a" * 61] * 4) + ".test.x", "a..test", "%00.test"]

    def refused() -> list[int]:
        with smtplib.SMTP(*sender.relay.address("plain")) as smtp:
            smtp.ehlo("client.test")
            smtp.mail("news@news.test")
            return [smtp.rcpt(f"a@{name}")[0] for name in impossible]

    assert {code // 100 for code in await asyncio.to_thread(refused)} == {5}
    await sender.submit(*(f"a@{name}" for name in (*fine, *gone)))
    await sender.stages_become(fine | dict.fromkeys(gone, "bounced"))


async def test_private_addresses_are_refused_without_a_connection(tmp_path: Path) -> None:
    """N03: a relay that follows every MX would be a port scanner."""
    async with mx_world() as world:
        inside = ("10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "127.0.0.1")  # noqa: S104 - refused
        names = []
        for number, address in enumerate(inside):
            names.append(f"inside{number}.test")
            world.domain(names[-1], f"10 mx.{names[-1]}.")
            world.dns.zone[f"mx.{names[-1]}"] = {"A": [address]}
        world.domain("mapped.test", "10 mx.mapped.test.")
        world.dns.zone["mx.mapped.test"] = {"AAAA": ["::ffff:127.0.0.1"]}
        world.domain("localhost.test", "10 localhost.")
        world.dns.zone["localhost"] = {"A": ["127.0.0.1"], "AAAA": ["::1"]}
        names += ["mapped.test", "localhost.test", "good.test"]
        async with sender_in(world, tmp_path, allow_private_hosts=False) as sender:
            await sender.submit(*(f"a@{name}" for name in names))
            await sender.stages_become(dict.fromkeys(names, "bounced"))
            assert (await sender.story("good.test"))[-1]["enhanced"] == "5.4.4"
        assert world.servers["good.test"].sessions == 0
