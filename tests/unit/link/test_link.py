"""Facts go up exactly once in effect; settings and commands come down; either side may go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from relay.errors import StorageError
from relay.link import frames
from relay.link.hub import Hub
from relay.link.uplink import Uplink
from relay.settings import Change
from relay.spool.protocol import Batch, Spool


class Outbox:
    """The outbox half of a spool, in memory."""

    incarnation = "spool-a"

    def __init__(self) -> None:
        self.rows: list[Batch] = []
        self.forgotten = 0

    async def batches(self, after: int, limit: int) -> list[Batch]:
        return [row for row in self.rows if row.seq > after][:limit]

    async def more(self, after: int) -> None:
        await until(lambda: any(row.seq > after for row in self.rows))

    async def forget(self, upto: int) -> None:
        self.forgotten = max(self.forgotten, upto)
        self.rows = [row for row in self.rows if row.seq > upto]


class Ledger:
    """Marks and folded rows, in memory."""

    def __init__(self) -> None:
        self.mark = 0
        self.folded: list[bytes] = []
        self.folds = self.taken = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fails = 0  # so many folds from now on
        self.problem: Exception = StorageError("the disk is full")

    async def marks(self, spools: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(spools, self.mark)

    async def fold(self, _spool: str, batches: Sequence[Batch]) -> int:
        self.folds += 1
        self.taken += len(batches)
        await self.open.wait()
        if self.fails:
            self.fails -= 1
            raise self.problem
        for batch in batches:
            if batch.seq > self.mark:
                self.folded += batch.events
                self.mark = batch.seq
        return self.mark


class Receiver:
    """What comes down, written down."""

    settings_version = 3

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.suppressions_replaced = 0
        self.welcomed_version = 0

    def changed(self, changes: tuple[Change, ...]) -> None:
        self.changes += changes

    def welcomed(self, version: int) -> None:
        self.welcomed_version = version

    def suppressed(self) -> None:
        self.suppressions_replaced += 1

    def gauges(self) -> dict[str, float]:
        return {"waiting": 5.0}

    def counters(self) -> dict[str, int]:
        return {"accepted": 7}


def waiting(hub: Hub) -> int:
    """Count the rows of the one worker that wait to be folded."""
    return sum(len(frame.rows) for peer in hub.peers.values() for frame in peer.facts)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test's time limit bounds it."""
    while not condition():  # noqa: ASYNC110 - conditions of two sides, no one event
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running_hub(
    path: Path, ledger: Ledger, replay: Sequence[Change] = ()
) -> AsyncIterator[Hub]:
    hub = Hub(path, ledger.marks, ledger.fold, lambda: 4, lambda _after: replay)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@asynccontextmanager
async def running_uplink(
    path: Path, outbox: Outbox, receiver: Receiver, commands: dict[str, Any] | None = None
) -> AsyncIterator[Uplink]:
    uplink = Uplink(
        path, 0, lambda: {outbox.incarnation: cast(Spool, outbox)}, receiver, commands or {}
    )
    task = asyncio.create_task(uplink.run())
    try:
        yield uplink
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_facts_are_folded_in_order_and_then_forgotten(tmp_path: Path) -> None:
    ledger, outbox = Ledger(), Outbox()
    outbox.rows = [Batch(n, (b"event %d" % n,)) for n in range(1, 201)]
    path = tmp_path / "link.sock"
    async with running_hub(path, ledger), running_uplink(path, outbox, Receiver()):
        await until(lambda: outbox.forgotten == 200)
        assert path.stat().st_mode & 0o077 == 0
    assert ledger.folded == [b"event %d" % n for n in range(1, 201)]
    assert not path.exists()


async def test_rows_that_were_folded_but_not_forgotten_are_not_sent_again(tmp_path: Path) -> None:
    ledger, outbox = Ledger(), Outbox()
    ledger.mark = 2
    outbox.rows = [Batch(n, (b"event %d" % n,)) for n in range(1, 4)]
    path = tmp_path / "link.sock"
    async with running_hub(path, ledger), running_uplink(path, outbox, Receiver()):
        await until(lambda: outbox.forgotten == 3)
    assert ledger.folded == [b"event 3"]


async def test_frames_that_wait_are_folded_together(tmp_path: Path) -> None:
    ledger, outbox = Ledger(), Outbox()
    ledger.open.clear()
    outbox.rows = [Batch(n, (b"event %d" % n,)) for n in range(1, 1025)]  # four frames of 256
    path = tmp_path / "link.sock"
    async with running_hub(path, ledger) as hub, running_uplink(path, outbox, Receiver()):
        await until(lambda: ledger.taken + waiting(hub) == 1024)
        ledger.open.set()
        await until(lambda: outbox.forgotten == 1024)
        outbox.rows.append(Batch(1025, (b"event 1025",)))  # every frame was acknowledged
        await until(lambda: outbox.forgotten == 1025)
    assert ledger.folded == [b"event %d" % n for n in range(1, 1026)]
    assert ledger.folds <= 3  # the first, what came meanwhile, and the last row


@pytest.mark.parametrize("problem", [StorageError("the disk is full"), ValueError("a bug")])
@pytest.mark.parametrize("fails", [1, 3])
async def test_nothing_is_folded_behind_what_could_not_be(
    tmp_path: Path, problem: Exception, fails: int
) -> None:
    ledger, outbox = Ledger(), Outbox()
    ledger.fails, ledger.problem = fails, problem
    ledger.open.clear()
    outbox.rows = [Batch(n, (b"event %d" % n,)) for n in range(1, 1025)]
    path = tmp_path / "link.sock"
    async with running_hub(path, ledger) as hub, running_uplink(path, outbox, Receiver()):
        await until(lambda: ledger.taken + waiting(hub) == 1024)
        ledger.open.set()
        await until(lambda: outbox.forgotten == 1024)  # sent again over a new connection
    assert ledger.folded == [b"event %d" % n for n in range(1, 1025)]


async def test_a_worker_that_stays_away_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "link.sock"
    async with running_hub(path, Ledger()) as hub:
        async with running_uplink(path, Outbox(), Receiver()):
            await until(lambda: bool(hub.peers))
        await until(lambda: not hub.peers)
        await hub.in_force(workers=1, seconds=0.1)  # it may come back within the limit
        at_once = asyncio.create_task(hub.in_force(workers=1, seconds=0.1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert at_once.done()


async def test_published_changes_are_waited_for_until_every_worker_has_them(tmp_path: Path) -> None:
    path, receiver, held = tmp_path / "link.sock", Receiver(), asyncio.Event()
    change = Change(version=4, table="pause", key=None, value=b"")

    async def version(_command: frames.Command) -> object:
        await held.wait()
        return len(receiver.changes)

    commands = {"settings.version": version}
    async with running_hub(path, Ledger()) as hub:
        await hub.in_force()  # nobody to wait for
        early = asyncio.create_task(hub.in_force(workers=1, seconds=30))
        held.set()
        async with running_uplink(path, Outbox(), receiver, commands):
            await early
            assert hub.peers
            held.clear()
            hub.publish([change])
            waiting = asyncio.create_task(hub.in_force(seconds=30))
            await until(lambda: receiver.changes == [change])
            assert not waiting.done()
            held.set()
            await waiting
            held.clear()
            await hub.in_force(seconds=0.01)  # one that hangs is not waited for without end
            assert hub.peers[0].owed == {}


async def test_control_may_come_later_and_go_away(tmp_path: Path) -> None:
    ledger, outbox, receiver = Ledger(), Outbox(), Receiver()
    outbox.rows = [Batch(1, (b"event 1",))]
    path = tmp_path / "link.sock"
    async with running_uplink(path, outbox, receiver) as uplink:
        async with running_hub(path, ledger):
            await until(lambda: outbox.forgotten == 1)
        await until(lambda: not uplink.connected)
        outbox.rows.append(Batch(2, (b"event 2",)))
        async with running_hub(path, ledger):
            await until(lambda: outbox.forgotten == 2)
    assert ledger.folded == [b"event 1", b"event 2"]


class Pauses:
    """What lies between the connections of an uplink: noted, and over when `go` is set."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self.go.wait()
        self.go.clear()

    async def count(self, number: int) -> None:
        """Let pauses pass until there have been so many; the last one goes on."""
        while len(self.seconds) < number:
            self.go.set()
            await asyncio.sleep(0)


async def test_the_pause_between_connections_grows_until_one_is_of_use(tmp_path: Path) -> None:
    """A control that cannot fold is not asked without end; one that can is asked at once again."""
    ledger, outbox, pauses = Ledger(), Outbox(), Pauses()
    path = tmp_path / "link.sock"
    spools = {outbox.incarnation: cast(Spool, outbox)}
    uplink = Uplink(path, 0, lambda: spools, Receiver(), {}, sleep=pauses.sleep)
    running = asyncio.create_task(uplink.run())
    await pauses.count(7)  # nobody is there
    assert pauses.seconds == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    outbox.rows = [Batch(1, (b"event 1",))]
    ledger.fails = 2
    async with running_hub(path, ledger):
        await pauses.count(9)  # it is, and breaks off twice, for it cannot fold
        assert pauses.seconds[7:] == [2.0, 2.0]
        pauses.go.set()
        await until(lambda: outbox.forgotten == 1)
    await pauses.count(10)  # it went away after it had been of use
    assert pauses.seconds[9] == 0.05
    running.cancel()
    await asyncio.wait([running])


async def test_changes_and_suppressions_come_down(tmp_path: Path) -> None:
    missed = [Change(version=4, table="blocks")]
    path, receiver = tmp_path / "link.sock", Receiver()
    async with (
        running_hub(path, Ledger(), missed) as hub,
        running_uplink(path, Outbox(), receiver),
    ):
        await until(lambda: receiver.changes == missed)
        hub.publish([Change(version=5, table="pause")])
        hub.suppressed()
        await until(lambda: receiver.suppressions_replaced == 1)
        await until(lambda: hub.peers[0].counters == {"accepted": 7})
    assert [change.version for change in receiver.changes] == [4, 5]
    assert receiver.welcomed_version == 4


async def test_commands_are_answered_by_every_worker(tmp_path: Path) -> None:
    async def add(command: frames.Command) -> object:
        return {"sum": cast(int, command.args["a"]) + cast(int, command.args["b"])}

    async def fail(_command: frames.Command) -> object:
        raise RuntimeError("no")

    path = tmp_path / "link.sock"
    async with (
        running_hub(path, Ledger()) as hub,
        running_uplink(path, Outbox(), Receiver(), {"add": add, "fail": fail}),
    ):
        await until(lambda: bool(hub.peers))
        assert await hub.ask("add", {"a": 2, "b": 3}) == {0: {"sum": 5}}
        assert await hub.ask("fail") == {0: {"error": "fail: no"}}
        assert await hub.ask("nothing") == {0: {"error": "nothing: no such command"}}


@pytest.mark.parametrize(
    "octets",
    [b"\xff\xff\xff\xff", b"\0\0\0\x02\xc0\xc0", b"\0\0\0\x03abc"],
    ids=["too long", "not a frame", "not msgpack"],
)
async def test_nonsense_is_a_link_error(octets: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    reader.feed_eof()
    with pytest.raises(frames.LinkError):
        await frames.read(reader)


async def test_the_end_is_an_end() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\0\0")
    reader.feed_eof()
    with pytest.raises(EOFError):
        await frames.read(reader)
