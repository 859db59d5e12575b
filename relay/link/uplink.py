"""The worker's end of the link: sends facts until the ledger has them, applies what control sends
down.

Guarantees: facts of each spool go up in order and are forgotten only after control said that they
are folded; a lost connection is made again with a growing pause and nothing is lost or counted
twice (the ledger keeps a high-water mark). A worker runs without control: it works from its
snapshot, and the outbox grows to its bound.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from relay.link import frames
from relay.settings import Change
from relay.spool.protocol import Batch, Spool

_log = logging.getLogger(__name__)

_ROWS_PER_FRAME = 256
_OCTETS_PER_FRAME = 4 * 1024 * 1024
_UNACKNOWLEDGED_FRAMES = 4
_GATHER_SECONDS = 0.05  # a fold costs control about the same for one row as for a few
_BUSY_SECONDS = 0.25  # the same, where much goes up: then most facts of a delivery go together
_BUSY_EVENTS = 20  # in a frame
_STATUS_SECONDS = 1.0
_RECONNECT_SECONDS = (0.05, 2.0)
"""The pause between connections grows from the first to the second, unless one was of use."""


class Receiver(Protocol):
    """What the worker does with what comes down."""

    @property
    def settings_version(self) -> int:
        """Give the version of the settings in force."""
        ...

    def changed(self, changes: tuple[Change, ...]) -> None:
        """Take steps of the change feed."""
        ...

    def welcomed(self, version: int) -> None:
        """Hear which version of the settings control has published; the snapshot holds it."""
        ...

    def suppressed(self) -> None:
        """Map the suppression table again."""
        ...

    def gauges(self) -> dict[str, float]:
        """Give the worker's present state for control's metrics."""
        ...

    def counters(self) -> dict[str, int]:
        """Give the worker's counters since it started."""
        ...


Commands = Mapping[str, Callable[[frames.Command], Awaitable[object]]]


class Uplink:
    """One worker's connection to control, made again for as long as `run` runs."""

    def __init__(
        self,
        path: Path,
        worker: int,
        spools: Callable[[], Mapping[str, Spool]],
        receiver: Receiver,
        commands: Commands,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the socket's path, the worker's index, its spools by incarnation and what to do
        with frames; `sleep` passes the pause before the next connection, seconds.
        """
        self._path = path
        self._worker = worker
        self._spools = spools
        self._receiver = receiver
        self._commands = commands
        self._sleep = sleep
        self._room = asyncio.Semaphore(_UNACKNOWLEDGED_FRAMES)
        self._answering: set[asyncio.Task[None]] = set()
        self._renewed = asyncio.Event()
        self._acknowledged = False  # facts, over this connection
        self.connected = False

    def renew(self) -> None:
        """Connect anew, to name the spools that there are by now."""
        self._renewed.set()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        pause = _RECONNECT_SECONDS[0]
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await self._sleep(pause)
                pause = min(pause * 2, _RECONNECT_SECONDS[1])
                continue
            began = asyncio.get_running_loop().time()
            self._acknowledged = False
            try:
                await self._converse(reader, writer)
            except (OSError, EOFError, frames.LinkError) as problem:
                _log.warning("link to control lost: %s", problem)
            finally:
                lasted = asyncio.get_running_loop().time() - began
                # Else control is there, and the ledger is not or does not take what we send.
                if self._acknowledged or (self.connected and lasted > _RECONNECT_SECONDS[1]):
                    pause = _RECONNECT_SECONDS[0]
                self.connected = False
                writer.close()
            await self._sleep(pause)
            pause = min(pause * 2, _RECONNECT_SECONDS[1])

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._renewed.clear()
        spools = self._spools()
        hello = frames.Hello(
            worker=self._worker,
            pid=os.getpid(),
            version=self._receiver.settings_version,
            spools=tuple(spools),
        )
        frames.send(writer, hello)
        welcome = await frames.read(reader)
        if not isinstance(welcome, frames.Welcome):
            raise frames.LinkError("expected Welcome after Hello")
        self._receiver.welcomed(welcome.version)
        for incarnation, mark in welcome.marks.items():
            if incarnation in spools:
                await spools[incarnation].forget(mark)
        self._room = asyncio.Semaphore(_UNACKNOWLEDGED_FRAMES)
        self.connected = True
        jobs = {
            asyncio.create_task(self._send_facts(spool, welcome.marks.get(name, 0), writer))
            for name, spool in spools.items()
        }
        jobs.add(asyncio.create_task(self._send_status(writer)))
        jobs.add(asyncio.create_task(self._receive(reader, writer)))
        jobs.add(asyncio.create_task(self._until_renewed()))
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _until_renewed(self) -> None:
        await self._renewed.wait()

    async def _send_facts(self, spool: Spool, after: int, writer: asyncio.StreamWriter) -> None:
        events = 0
        while True:
            batches = await spool.batches(after, _ROWS_PER_FRAME)
            if not batches:
                await spool.more(after)
                await asyncio.sleep(_BUSY_SECONDS if events > _BUSY_EVENTS else _GATHER_SECONDS)
                continue
            rows = _within_frame(batches)
            events = sum(len(row[1]) for row in rows)
            await self._room.acquire()
            frames.send(writer, frames.Facts(spool=spool.incarnation, rows=rows))
            await writer.drain()
            after = rows[-1][0]

    async def _send_status(self, writer: asyncio.StreamWriter) -> None:
        while True:
            status = frames.Status(
                worker=self._worker,
                gauges=self._receiver.gauges(),
                counters=self._receiver.counters(),
            )
            frames.send(writer, status)
            await writer.drain()
            await asyncio.sleep(_STATUS_SECONDS)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            match await frames.read(reader):
                case frames.Folded(spool=name, upto=upto):
                    spool = self._spools().get(name)
                    self._acknowledged = True
                    if spool is not None:
                        await spool.forget(upto)
                    self._room.release()
                case frames.Changed(changes=changes):
                    self._receiver.changed(changes)
                case frames.Suppressed():
                    self._receiver.suppressed()
                case frames.Command() as command:
                    task = asyncio.create_task(self._answer(command, writer))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
                case other:
                    raise frames.LinkError(f"{type(other).__name__} is not for a worker")

    async def _answer(self, command: frames.Command, writer: asyncio.StreamWriter) -> None:
        run = self._commands.get(command.name)
        if run is None:
            answer = frames.Answer(id=command.id, error=f"{command.name}: no such command")
        else:
            try:
                result = await run(command)
                answer = frames.Answer(id=command.id, result=msgspec.msgpack.encode(result))
            except Exception as problem:  # noqa: BLE001 - the asker gets it; a command must not end a worker
                _log.exception("command %s failed", command.name)
                answer = frames.Answer(id=command.id, error=f"{command.name}: {problem}")
        frames.send(writer, answer)


def _within_frame(batches: list[Batch]) -> tuple[tuple[int, tuple[bytes, ...]], ...]:
    """Take as many rows as fit a frame with room to spare, at least one."""
    rows: list[tuple[int, tuple[bytes, ...]]] = []
    octets = 0
    for batch in batches:
        octets += sum(map(len, batch.events))
        if rows and octets > _OCTETS_PER_FRAME:
            break
        rows.append((batch.seq, batch.events))
    return tuple(rows)
