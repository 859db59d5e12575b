"""Any sequence of calls, closes and crashes gives what a simple model in memory gives."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relay.clock import SECOND
from relay.message import Delivery, Disposition, Settlement, State
from relay.spool import recovery
from relay.spool.database import Database
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import Selection
from tests.harness.spooled import WallClock, message_to

T = TypeVar("T")
OPTIONS = SpoolOptions(disk_reserve=0, segment_bytes=8_000, cache_bytes=5_000, soon_delay=0.0)
NAMES = ("a.test", "b.test", "c.test")
replace = msgspec.structs.replace


class SpoolMachine(RuleBasedStateMachine):
    """The model: deliveries by id, contents by message, facts in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.base = Path(tempfile.mkdtemp(prefix="spool-model-"))
        self.clock = WallClock()
        self.here: dict[int, Delivery] = {}
        self.held_at: dict[int, int] = {}
        self.contents: dict[int, bytes] = {}
        self.facts: list[bytes] = []
        self.forgotten = 0
        self.numbers = 0
        self.spool = self.opened(self.base / "spool")

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def opened(self, path: Path) -> LocalSpool:
        spool = open_spool(path, 9, OPTIONS, clock=self.clock)

        async def start() -> None:
            spool.start()

        self.run(start())
        return spool

    def teardown(self) -> None:
        self.run(self.spool.close())
        self.loop.close()
        shutil.rmtree(self.base)

    def fact(self) -> bytes:
        self.numbers += 1
        return b"fact %d" % self.numbers

    def claimed(self) -> list[Delivery]:
        return [d for d in self.here.values() if d.state is State.CLAIMED]

    def forget_messages(self) -> None:
        alive = {d.message for d in self.here.values()}
        self.contents = {m: c for m, c in self.contents.items() if m in alive}

    # -- what can happen -------------------------------------------------------------------

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        claimed=st.booleans(),
        size=st.integers(0, 5000),
        ahead=st.sampled_from([0, 0, 60]),
    )
    def accept(self, names: list[str], claimed: bool, size: int, ahead: int) -> None:
        now = self.clock()
        message, deliveries = message_to(
            self.spool,
            *names,
            now=now,
            state=State.CLAIMED if claimed else State.WAITING,
            not_before=now + ahead * SECOND,
        )
        content, fact = bytes([len(self.contents) % 251]) * size, self.fact()

        async def work() -> None:
            await self.spool.accept(message, content, deliveries, [fact])

        self.run(work())
        self.here.update((d.id, d) for d in deliveries)
        self.contents[message.id] = content
        self.facts.append(fact)

    @rule(data=st.data(), kind=st.sampled_from(Disposition), soon=st.booleans())
    @precondition(lambda self: self.claimed())
    def settle(self, data: st.DataObject, kind: Disposition, soon: bool) -> None:
        delivery = data.draw(st.sampled_from(self.claimed()))
        fact = self.fact()
        settlement = Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=kind,
            not_before=self.clock() + 30 * SECOND,
            attempt=delivery.attempt + 1,
            last_reply="451 later",
            events=(fact,),
        )

        async def work() -> None:
            if soon:
                self.spool.settle_soon(settlement)
                await self.spool.record([])
            else:
                await self.spool.settle([settlement])

        self.run(work())
        self.facts.append(fact)
        self.end(delivery, settlement)

    def end(self, delivery: Delivery, settlement: Settlement) -> None:
        kind = settlement.disposition
        if kind is Disposition.DONE:
            del self.here[delivery.id]
            self.forget_messages()
        elif kind is Disposition.RETURN:
            self.here[delivery.id] = replace(delivery, state=State.WAITING)
        else:
            held = kind is Disposition.HOLD
            self.here[delivery.id] = replace(
                delivery,
                state=State.HELD if held else State.WAITING,
                not_before=settlement.not_before,
                attempt=settlement.attempt,
                last_reply=settlement.last_reply,
                ambiguous=False,
            )
            self.held_at[delivery.id] = self.clock()

    @rule(count=st.integers(1, 4))
    def claim(self, count: int) -> None:
        now = self.clock()

        async def work() -> list[Delivery]:
            due = await self.spool.due(now, 100)
            return await self.spool.claim([(queue.id, count) for queue in due.queues], now)

        taken = self.run(work())
        due = [d for d in self.here.values() if d.state is State.WAITING and d.not_before <= now]
        for name in NAMES:
            ours = [d for d in taken if d.destination == name]
            theirs = sorted((d.not_before, d.id) for d in due if d.destination == name)
            assert [(d.not_before, d.id) for d in ours] == theirs[:count]
        for delivery in taken:
            self.here[delivery.id] = replace(self.here[delivery.id], state=State.CLAIMED)
            assert delivery == self.here[delivery.id]

    @rule(name=st.sampled_from(NAMES))
    def release(self, name: str) -> None:
        now = self.clock()

        def again(delivery: Delivery) -> Settlement | None:
            if delivery.state is not State.HELD:
                return None
            return Settlement(
                delivery=delivery.id,
                message=delivery.message,
                disposition=Disposition.RETRY,
                not_before=now,
                attempt=delivery.attempt,
                last_reply=delivery.last_reply,
            )

        count = self.run(self.spool.change(Selection(destination=name), again))
        held = [d for d in self.here.values() if (d.state, d.destination) == (State.HELD, name)]
        assert count == len(held)
        for delivery in held:
            self.here[delivery.id] = replace(
                delivery,
                state=State.WAITING,
                not_before=now,
                starts_at=delivery.starts_at + max(now - self.held_at[delivery.id], 0),
            )

    @rule(data=st.data())
    @precondition(lambda self: self.contents)
    def load(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(sorted(self.contents)))
        found, content = self.run(self.spool.load(message))
        assert (found.id, content) == (message, self.contents[message])

    @rule()
    def forget(self) -> None:
        seq = self.spool.last_seq
        self.run(self.spool.forget(seq))
        self.forgotten = seq
        self.facts.clear()

    @rule(seconds=st.sampled_from([1, 30, 100, -50]))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        last, incarnation = self.spool.last_seq, self.spool.incarnation
        if crash:  # what a killed process leaves: the files as they are
            copy = self.base / f"copy{self.numbers}-{last}-{len(list(self.base.iterdir()))}"
            self.run(self.spool.record([]))
            shutil.copytree(self.spool.path, copy)
            self.run(self.spool.close())
            self.spool = self.opened(copy)
        else:
            self.run(self.spool.close())
            self.spool = self.opened(self.spool.path)
        assert (self.spool.last_seq, self.spool.incarnation) == (last, incarnation)
        for delivery in self.claimed():
            self.here[delivery.id] = replace(delivery, state=State.WAITING, ambiguous=True)

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def what_waits_is_what_the_model_says(self) -> None:
        found = self.run(self.spool.waiting(Selection(), 10_000))
        expected = [d for d in self.here.values() if d.state is not State.CLAIMED]
        assert found == sorted(expected, key=lambda d: d.id)
        totals = self.spool.totals
        states = [d.state for d in self.here.values()]
        assert totals.waiting == states.count(State.WAITING)
        assert totals.held == states.count(State.HELD)
        assert totals.claimed == states.count(State.CLAIMED)

    @invariant()
    def facts_are_what_the_model_says(self) -> None:
        batches = self.run(self.spool.batches(self.forgotten, 10_000))
        assert [event for batch in batches for event in batch.events] == self.facts
        assert [b.seq for b in batches] == list(
            range(self.forgotten + 1, self.forgotten + 1 + len(batches))
        )
        assert self.spool.outbox_bytes == sum(map(len, self.facts))

    @invariant()
    def segments_are_bounded_by_what_lives(self) -> None:
        segments = list((self.spool.path / "segments").glob("*.seg"))
        assert len(segments) <= len(self.contents) + 4


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_control_a_start_that_forgets_what_was_claimed_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some sequence of steps shows it, without a search for the shortest."""

    def give_back(database: Database, *_others: object) -> int:
        database.begin()
        database.run("DELETE FROM claimed")
        database.commit()
        return 0

    monkeypatch.setattr(recovery, "_give_back", give_back)
    steps = settings(TestSpool.settings, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SpoolMachine, settings=steps)
