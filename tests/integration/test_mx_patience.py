"""How long a relay waits, and what waiting costs: one relay whose time limits are a fiftieth of the
usual ones. Case numbers are those of the list in docs/delivery.md.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from tests.harness.mx_world import MxWorld, Sender, mx_world, sender_in
from tests.harness.scripted_mx import Act, Answer
from tests.harness.tls_policies import server_context

pytestmark = [
    pytest.mark.long,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]


@dataclass
class Stage:
    """The world and the relay that sends into it."""

    world: MxWorld
    sender: Sender


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with mx_world() as world:
        folder = tmp_path_factory.mktemp("patience")
        async with sender_in(world, folder, timeout_scale=0.02) as sender:
            yield Stage(world, sender)


async def test_an_answer_in_time_counts_and_one_that_is_late_is_ambiguous(stage: Stage) -> None:
    """S07: ten minutes for the answer to the final dot, here twelve seconds."""
    slow = await stage.world.server("slow.test")
    slow.answer(dot="hold:250 2.0.0 at last")
    await stage.sender.submit("a@slow.test")
    await slow.stalled.wait()
    slow.release.set()  # late, yet within the limit
    await stage.sender.become(slow_test="delivered")
    assert len(slow.messages) == 1

    late = await stage.world.server("late.test")
    late.answer(dot="hold:250 2.0.0 too late")
    await stage.sender.submit("a@late.test")
    await stage.sender.become(late_test="delivered", seconds=60)
    story = await stage.sender.story("late.test")
    assert [event["kind"] for event in story] == ["accepted", "deferred", "delivered"]
    assert len(late.messages) == 2  # the one that nobody answered, and its only repetition
    late.release.set()


async def test_hosts_that_say_nothing_are_left_for_the_next(stage: Stage) -> None:
    """S09: connected and never greeted; SYN never answered. S11: a handshake that stalls."""
    world = stage.world
    mute = await world.server("mute.test")
    mute.answer(banner=[Act.STALL] * 50)
    world.domain("beside-mute.test", "10 mx.mute.test.", "20 mx.good.test.")
    stalls = await world.server("stalls.test", tls=server_context(trustme.CA().issue_cert("x")))
    stalls.answer(tls=[Act.STALL] * 2)
    hole = world.address()
    world.dns.zone["hole.test"] = {"A": [hole]}
    world.domain("beside-hole.test", "10 hole.test.", "20 mx.good.test.")
    with black_hole(hole, world.port):
        names = ("beside-mute.test", "beside-hole.test", "stalls.test")
        await stage.sender.submit(*(f"a@{name}" for name in names))
        await stage.sender.stages_become(dict.fromkeys(names, "delivered"), 90)
    assert mute.messages == []


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """Make a port whose queue of connections is full: the kernel drops every further SYN."""
    with ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind((host, port))
        full.listen(0)
        for _ in range(3):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((host, port))
        yield


FAULTS: dict[str, dict[str, Answer]] = {
    "banner": {"banner": "421 4.3.2 busy"},
    "ehlo": {"ehlo": "451 4.3.0 later"},
    "mail": {"mail": "451 4.3.0 later"},
    "rcpt": {"rcpt": "450 4.2.1 later"},
    "data": {"data": "451 4.3.0 later"},
    "dot": {"dot": "451 4.3.0 later"},
    "reset": {"mail": Act.RESET},
    "gone": {"dot": Act.DROP},
}


async def test_two_hundred_healthy_mails_arrive_beside_two_hundred_that_meet_faults(
    stage: Stage,
) -> None:
    """The frame of the S cases: eight faults, each for 25 mails; healed, everything arrives once,
    what was ambiguous perhaps more often.
    """
    well = await stage.world.server("well.test")
    sick = {name: await stage.world.server(f"sick-{name}.test") for name in FAULTS}
    for name, fault in FAULTS.items():
        for at, answer in fault.items():
            sick[name].answer(**{at: [answer] * 100_000})
    mails = [
        f"a{n}@{name}.test" for n in range(25) for name in ("well", *map("sick-{}".format, sick))
    ]
    mails += [f"b{n}@well.test" for n in range(175)]
    await stage.sender.submit(*mails)

    async def healthy() -> bool:
        return len(well.messages) >= 200

    await stage.sender.relay.until(healthy, "healthy mail to arrive", 60)
    assert {one["destination"] for one in await stage.sender.queue()} == {
        f"sick-{name}.test" for name in FAULTS
    }
    for server in sick.values():
        server.heal()
    names = dict.fromkeys((f"sick-{name}.test" for name in FAULTS), "delivered")
    await stage.sender.stages_become(names, 120)

    async def empty() -> bool:
        return not await stage.sender.queue()

    await stage.sender.relay.until(empty, "the queue to be empty", 120)
    for name, server in {"well": well, **sick}.items():
        taken = [m.recipients for m in server.messages if m.accepted]
        assert len(taken) == len(set(taken)) == (200 if name == "well" else 25), name


async def test_huge_answers_are_cut(stage: Stage) -> None:
    """N04: 300 hosts; those beyond the bound are not even looked up."""
    world = stage.world
    good = world.servers["good.test"]
    world.domain("many.test", *(f"10 h{number}.many.test." for number in range(300)))
    for number in range(300):
        addresses = [f"127.7.{number % 250}.{n}" for n in range(1, 51)]
        world.dns.zone[f"h{number}.many.test"] = {"A": [good.host, *addresses]}
    await stage.sender.submit("a@many.test")
    await stage.sender.become(many_test="delivered", seconds=90)
    asked = [name for name, kind in world.dns.asked if name.endswith("many.test")]
    assert len(asked) <= 1 + 2 * 20


async def test_mail_outlives_a_resolver_that_is_dead_for_a_while(stage: Stage) -> None:
    """N07: 300 mails to 60 domains while nobody answers: put off, no busy loop, and all arrive."""
    world = stage.world
    names = [f"quiet{number}.test" for number in range(60)]
    for name in names:
        world.domain(name, "10 mx.good.test.")
    mails = [f"{who}@{name}" for name in names for who in "abcde"]
    good = world.servers["good.test"]
    before = len(good.messages)
    world.dns.silent = True
    world.dns.asked.clear()
    await stage.sender.submit(*mails)
    await stage.sender.stages_become(dict.fromkeys(names, "deferred"), 120)
    assert len(good.messages) == before
    asked = sum(world.dns.asked.values())
    world.dns.silent = False
    await stage.sender.stages_become(dict.fromkeys(names, "delivered"), 120)

    async def all_there() -> bool:
        return len(good.messages) == before + len(mails)

    await stage.sender.relay.until(all_there, "all mail to arrive", 60)
    assert len({m.recipients for m in good.messages[before:]}) == len(mails)
    assert asked < 40 * len(names)  # five mails of a domain share each question and its failure


async def test_slow_destinations_leave_room_for_quick_ones(stage: Stage) -> None:
    """S19, scaled: 1,500 destinations that never answer the dot, and mail to a quick one."""
    world = stage.world
    tar = await world.server("tar.test")
    tar.answer(dot=["hold:250 2.0.0 at last"] * 3000)
    names = [f"slow{number}.test" for number in range(1500)]
    for name in names:
        world.domain(name, f"10 mx.{name}.")
        world.dns.zone[f"mx.{name}"] = {"A": [tar.host]}
    await stage.sender.submit(*(f"a@{name}" for name in names))

    worker = stage.sender.relay.pids()["worker-0"]
    most = resident = 0

    async def held() -> bool:
        nonlocal most, resident
        most = max(most, open_files(worker))
        resident = max(resident, resident_kilobytes(worker))
        return most >= 500

    await stage.sender.relay.until(held, "connections to slow servers", 60)
    quick = await world.server("quick.test")
    await stage.sender.submit(*(f"b{number}@quick.test" for number in range(200)))

    async def all_there() -> bool:
        await held()
        return len(quick.messages) == 200

    await stage.sender.relay.until(all_there, "quick mail to arrive while slow mail waits", 60)
    tar.release.set()

    async def empty() -> bool:
        await held()
        return not await stage.sender.queue()

    await stage.sender.relay.until(empty, "slow mail to arrive", 120)
    got = {m.recipients[0].decode() for m in tar.messages}
    assert got == {f"a@{name}" for name in names}
    assert most < 1000 + 100  # DispatchOptions.lanes, and the worker's own files
    assert resident < 400_000


def resident_kilobytes(pid: int) -> int:
    """Give the memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def open_files(pid: int) -> int:
    """Count the open files of a process, connections among them."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
