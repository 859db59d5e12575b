"""What a spool promises while it runs, and what it still knows when it is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from relay.clock import SECOND
from relay.errors import SpoolFullError, StorageError
from relay.message import Delivery, Disposition, Settlement, State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.lock import SpoolHeldError
from relay.spool.options import SpoolOptions
from relay.spool.protocol import IllegalMoveError, Selection
from tests.harness.spooled import START, WallClock, done, message_to, put, retry

OPTIONS = SpoolOptions(disk_reserve=0)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


def opened(path: Path, clock: WallClock, options: SpoolOptions = OPTIONS) -> LocalSpool:
    return open_spool(path / "3", 3, options, clock=clock)


@pytest.fixture
async def spool(tmp_path: Path, clock: WallClock) -> AsyncIterator[LocalSpool]:
    async with opened(tmp_path, clock) as found:
        yield found


async def claim_all(spool: LocalSpool, now: int) -> list[Delivery]:
    due = await spool.due(now, 1000)
    return await spool.claim([(queue.id, 1000) for queue in due.queues], now)


def without_state(delivery: Delivery) -> Delivery:
    return msgspec.structs.replace(delivery, state=State.WAITING)


async def test_a_message_is_given_back_as_it_was(spool: LocalSpool) -> None:
    message, deliveries = message_to(spool, "inbox.test")
    await spool.accept(message, b"Subject: x\r\n\r\n\x00\xff\r\n", deliveries, [])
    assert await spool.load(message.id) == (message, b"Subject: x\r\n\r\n\x00\xff\r\n")


async def test_it_is_read_from_disk_after_a_restart(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock) as spool:
        first, deliveries = message_to(spool, "inbox.test", "mail.test")
        await spool.accept(first, b"one", deliveries, [b"a"])
        waiting = await put(spool, "inbox.test", state=State.WAITING, content=b"two")
    async with opened(tmp_path, clock) as spool:
        found = await claim_all(spool, clock())
        assert [without_state(d) for d in found if d.message != first.id] == waiting
        again = [d for d in found if d.message == first.id]
        assert [d.ambiguous for d in again] == [True, True]
        assert sorted(d.id for d in again) == [d.id for d in deliveries]
        assert await spool.load(first.id) == (first, b"one")
        assert (await spool.load(waiting[0].message))[1] == b"two"


async def test_what_was_claimed_when_a_process_died_can_be_held(
    tmp_path: Path, clock: WallClock
) -> None:
    async with opened(tmp_path, clock) as spool:
        await put(spool, "inbox.test")
    holding = SpoolOptions(disk_reserve=0, hold_ambiguous=True)
    async with opened(tmp_path, clock, holding) as spool:
        (found,) = await spool.waiting(Selection(), 9)
        assert (found.state, found.ambiguous) == (State.HELD, True)
        assert spool.totals == (0, 0, 1)


async def test_a_message_leaves_with_its_last_delivery(spool: LocalSpool) -> None:
    one, two = await put(spool, "inbox.test", "mail.test")
    await spool.settle([done(one)])
    await spool.load(one.message)
    await spool.settle([done(two)])
    with pytest.raises(KeyError):
        await spool.load(one.message)
    assert await spool.destinations() == []


async def test_what_is_put_off_waits_until_its_time(spool: LocalSpool, clock: WallClock) -> None:
    (delivery,) = await put(spool, "inbox.test")
    later = clock() + 300 * SECOND
    await spool.settle([retry(delivery, later)])
    due = await spool.due(clock(), 10)
    assert (due.queues, due.later) == ([], later)
    clock.forward(300)
    (again,) = await claim_all(spool, clock())
    assert (again.attempt, again.last_reply, again.ambiguous) == (1, "451 4.7.1 later", False)
    assert again.starts_at == START


async def test_returned_means_as_if_not_claimed(spool: LocalSpool, clock: WallClock) -> None:
    await put(spool, "inbox.test", state=State.WAITING)
    (claimed,) = await claim_all(spool, clock())
    settlement = Settlement(
        delivery=claimed.id, message=claimed.message, disposition=Disposition.RETURN, attempt=9
    )
    await spool.settle([settlement])
    assert await claim_all(spool, clock()) == [claimed]


async def test_facts_share_the_fate_of_the_change(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock) as spool:
        (delivery,) = await put(spool, "inbox.test", events=[b"accepted"])
        await spool.settle([done(delivery, b"delivered")])
        await spool.record([b"opened"])
        assert spool.record_soon([b"clicked"])
        assert spool.outbox_bytes == len(b"accepteddeliveredopened")
    async with opened(tmp_path, clock) as spool:
        batches = await spool.batches(0, 10)
        assert [b.seq for b in batches] == [1, 2, 3, 4]
        assert [e for b in batches for e in b.events] == [
            b"accepted",
            b"delivered",
            b"opened",
            b"clicked",
        ]
        await spool.forget(3)
        assert [b.seq for b in await spool.batches(0, 10)] == [4]
        assert spool.outbox_bytes == len(b"clicked")


async def test_a_group_commit_is_one_outbox_row(spool: LocalSpool) -> None:
    await asyncio.gather(*(put(spool, "inbox.test", events=[b"%d" % n]) for n in range(50)))
    batches = await spool.batches(0, 100)
    assert len(batches) < 5
    assert sorted(int(e) for b in batches for e in b.events) == list(range(50))


async def test_sequence_numbers_are_never_used_twice(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock) as spool:
        await spool.record([b"one"])
        await spool.forget(1)
        incarnation = spool.incarnation
    async with opened(tmp_path, clock) as spool:
        await spool.record([b"two"])
        assert [b.seq for b in await spool.batches(0, 10)] == [2]
        assert spool.incarnation == incarnation


async def test_whoever_waits_for_facts_is_woken(spool: LocalSpool) -> None:
    waiting = asyncio.ensure_future(spool.more(0))
    await spool.record([b"one"])
    await waiting
    await spool.more(0)


@pytest.mark.parametrize("set_back", [0, 3600, 10 * 86400])
async def test_ids_are_never_given_twice(tmp_path: Path, clock: WallClock, set_back: int) -> None:
    seen: list[int] = []
    for _ in range(4):
        async with opened(tmp_path, clock) as spool:
            for delivery in [*await put(spool, "a.test"), *await put(spool, "b.test")]:
                await spool.settle([done(delivery)])
                seen += (delivery.message, delivery.id)
            await spool.forget(spool.last_seq)
        clock.forward(-set_back)
    assert seen == sorted(set(seen))


async def test_only_what_is_claimed_can_be_settled(spool: LocalSpool) -> None:
    (delivery,) = await put(spool, "inbox.test")
    spool.settle_soon(done(delivery))
    with pytest.raises(IllegalMoveError):
        spool.settle_soon(done(delivery))
    with pytest.raises(IllegalMoveError):
        await spool.settle([done(delivery)])
    (waiting,) = await put(spool, "inbox.test", state=State.WAITING)
    with pytest.raises(IllegalMoveError):
        spool.settle_soon(done(waiting))


async def test_a_second_owner_is_turned_away(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock):
        with pytest.raises(SpoolHeldError, match="in use"):
            opened(tmp_path, clock)
    async with opened(tmp_path, clock):
        pass


async def test_a_copied_spool_is_refused(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock):
        pass
    (tmp_path / "3").rename(tmp_path / "4")
    with pytest.raises(StorageError, match="holds spool number 3, not 4"):
        open_spool(tmp_path / "4", 4, OPTIONS)


async def test_an_acceptance_whose_caller_left_goes_back_to_the_queue(
    spool: LocalSpool, clock: WallClock
) -> None:
    message, deliveries = message_to(spool, "inbox.test")
    spool.accept(message, b"x", deliveries, []).cancel()
    await spool.record([b"later"])
    await spool.record([b"later still"])
    (found,) = await claim_all(spool, clock())
    assert found.id == deliveries[0].id


async def test_a_claim_whose_caller_left_goes_back_to_the_queue(
    spool: LocalSpool, clock: WallClock
) -> None:
    await put(spool, "inbox.test", state=State.WAITING)
    due = await spool.due(clock(), 10)
    claiming = asyncio.ensure_future(spool.claim([(due.queues[0].id, 5)], clock()))
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    await spool.record([b"later"])
    await spool.record([b"later still"])
    assert len(await claim_all(spool, clock())) == 1


async def test_recording_nothing_is_a_fence(spool: LocalSpool) -> None:
    spool.record_soon([b"hit"])
    await spool.record([])
    assert [b.events for b in await spool.batches(0, 9)] == [(b"hit",)]


async def test_a_message_to_nobody_leaves_only_its_facts(spool: LocalSpool) -> None:
    message, _ = message_to(spool)
    await spool.accept(message, b"x", [], [b"excluded"])
    with pytest.raises(KeyError):
        await spool.load(message.id)
    assert [b.events for b in await spool.batches(0, 9)] == [(b"excluded",)]


# -- bounds ------------------------------------------------------------------------------------


async def test_the_outbox_has_a_bound(tmp_path: Path, clock: WallClock) -> None:
    options = SpoolOptions(disk_reserve=0, outbox_bytes=100)
    async with opened(tmp_path, clock, options) as spool:
        (delivery,) = await put(spool, "inbox.test", events=[b"e" * 100])
        assert spool.refuses() == "outbox full"
        with pytest.raises(SpoolFullError, match="outbox full"):
            await put(spool, "inbox.test")
        with pytest.raises(SpoolFullError, match="outbox full"):
            await spool.record([b"hit"])
        assert spool.record_soon([b"hit"]) is False
        await spool.settle([done(delivery, b"delivered")])  # what was promised goes on
        await spool.forget(spool.last_seq)
        assert spool.refuses() == ""
        await put(spool, "inbox.test")


async def test_the_disk_reserve_refuses_new_mail_only(tmp_path: Path, clock: WallClock) -> None:
    options = SpoolOptions(disk_reserve=1 << 60)
    async with opened(tmp_path, clock, options) as spool:
        assert spool.refuses() == "disk reserve"
        with pytest.raises(SpoolFullError, match="disk reserve"):
            await put(spool, "inbox.test")
        await spool.record([b"unsubscribed"])


async def test_what_waits_to_be_written_has_a_bound(tmp_path: Path, clock: WallClock) -> None:
    options = SpoolOptions(disk_reserve=0, pending_bytes=1000)
    async with opened(tmp_path, clock, options) as spool:
        results = await asyncio.gather(
            *(put(spool, "inbox.test", content=b"x" * 600) for _ in range(5)),
            return_exceptions=True,
        )
        assert [isinstance(r, SpoolFullError) for r in results] == [False] * 2 + [True] * 3
        await put(spool, "inbox.test", content=b"x" * 600)


async def test_a_draining_spool_takes_no_new_mail(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock) as spool:
        await put(spool, "inbox.test", state=State.WAITING)
    async with opened(tmp_path, clock, SpoolOptions(draining=True, disk_reserve=0)) as spool:
        assert spool.refuses() == "draining"
        with pytest.raises(SpoolFullError):
            await put(spool, "inbox.test")
        await spool.settle([done(d) for d in await claim_all(spool, clock())])
        assert await spool.destinations() == []


async def test_a_closed_spool_says_so(tmp_path: Path, clock: WallClock) -> None:
    async with opened(tmp_path, clock) as spool:
        pass
    assert spool.refuses() == "closed"
    with pytest.raises(StorageError, match="closed"):
        await put(spool, "inbox.test")
    with pytest.raises(StorageError, match="closed"):
        await spool.destinations()


# -- queues ------------------------------------------------------------------------------------


async def test_a_queue_is_a_destination_of_an_account_and_campaign(spool: LocalSpool) -> None:
    for campaign in ("spring", "summer"):
        for account in (1, 2):
            await put(
                spool,
                "inbox.test",
                "mail.test",
                state=State.WAITING,
                account=account,
                campaign=campaign,
            )
    assert len(await spool.queues(Selection(), 100)) == 8
    some = await spool.queues(Selection(destination="mail.test", account=2), 100)
    assert sorted(key.campaign for key, _ in some) == ["spring", "summer"]
    (inbox, mail) = sorted(await spool.destinations())
    assert (inbox.destination, inbox.waiting, inbox.oldest) == ("inbox.test", 4, START)
    assert (mail.destination, mail.waiting, mail.held) == ("mail.test", 4, 0)


async def test_claims_take_the_longest_due_of_a_queue_first(
    spool: LocalSpool, clock: WallClock
) -> None:
    ids = []
    for minutes in (3, 1, 2):
        when = clock() - minutes * 60 * SECOND
        ids.append((await put(spool, "a.test", state=State.WAITING, not_before=when))[0].id)
    (queue,) = (await spool.due(clock(), 10)).queues
    assert queue.waiting == 3
    taken = await spool.claim([(queue.id, 2)], clock())
    assert [d.id for d in taken] == [ids[0], ids[2]]
    (left,) = await spool.destinations()
    assert (left.waiting, left.claimed) == (1, 2)


async def test_due_passes_over_what_is_excluded(spool: LocalSpool, clock: WallClock) -> None:
    await put(spool, "slow.test", "fast.test", state=State.WAITING)
    due = await spool.due(clock(), 10, exclude={"slow.test"})
    assert [q.key.destination for q in due.queues] == ["fast.test"]


async def test_paused_queues_are_not_due_old_and_new(spool: LocalSpool, clock: WallClock) -> None:
    await put(spool, "a.test", state=State.WAITING, campaign="spring")
    await spool.pause(lambda key: key.campaign == "spring")
    await put(spool, "b.test", state=State.WAITING, campaign="spring")
    await put(spool, "b.test", state=State.WAITING, campaign="summer")
    due = await spool.due(clock(), 10)
    assert [q.key.campaign for q in due.queues] == ["summer"]
    await spool.pause(lambda key: False)
    assert len((await spool.due(clock(), 10)).queues) == 3


async def test_waiting_deliveries_are_listed_by_id(spool: LocalSpool) -> None:
    first = await put(spool, "a.test", "b.test", state=State.WAITING)
    second = await put(spool, "a.test", state=State.WAITING)
    everything = await spool.waiting(Selection(), 10)
    assert everything == first + second
    assert await spool.waiting(Selection(destination="a.test"), 10, after=first[0].id) == second
    assert await spool.waiting(Selection(message=first[0].message), 1) == first[:1]
    assert await spool.waiting(Selection(delivery=second[0].id), 9) == second
    assert await spool.waiting(Selection(message=1), 9) == []


async def test_a_job_that_raises_harms_nobody_else(spool: LocalSpool) -> None:
    await put(spool, "a.test", state=State.WAITING)

    def broken(_: Delivery) -> Settlement | None:
        raise ZeroDivisionError

    results = await asyncio.gather(
        put(spool, "b.test", state=State.WAITING),
        spool.change(Selection(destination="a.test"), broken),
        put(spool, "c.test", state=State.WAITING),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert sorted(w.destination for w in await spool.destinations()) == [
        "a.test",
        "b.test",
        "c.test",
    ]
