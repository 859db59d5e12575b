"""Control's end of the link: takes facts from all workers, folds them, and sends settings and
commands down.

Guarantees: a worker hears `Folded` only after the ledger's commit; frames of a spool that wait
meanwhile are folded together, in their order, and none after one that failed; a slow or dead worker
delays nobody else; commands are broadcast and every connected worker's answer is collected within a
time limit; what only one worker may do is given to one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from relay.errors import StorageError, WaypostError
from relay.link import frames
from relay.settings import Change
from relay.spool.protocol import Batch

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_IN_FORCE_SECONDS = 2.0
_LOOK_SECONDS = 0.02
_MOST_WAITING = 16
"""Frames of a worker that wait to be folded; a worker sends four before it waits itself."""


class NoAnswerError(WaypostError):
    """One worker was asked and did not answer; whether it did as asked is not known."""


@dataclass(slots=True)
class Peer:
    """One connected worker:

    its socket, what it last said of itself, the commands it owes answers to.
    """

    worker: int
    pid: int
    writer: asyncio.StreamWriter
    version: int
    gauges: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    heard: float = 0.0  # monotonic seconds
    owed: dict[int, asyncio.Future[frames.Answer]] = field(default_factory=dict)
    facts: deque[frames.Facts] = field(default_factory=deque)  # not folded yet
    folding: asyncio.Task[None] | None = None
    failed: bool = False  # a fold failed: what came behind it must come again


class Hub:
    """Listens for workers on a unix socket (mode 0600)."""

    def __init__(
        self,
        path: Path,
        marks: Callable[[Sequence[str]], Awaitable[dict[str, int]]],
        fold: Callable[[str, Sequence[Batch]], Awaitable[int]],
        version: Callable[[], int],
        replay: Callable[[int], Sequence[Change]],
    ) -> None:
        """Take the ledger's marks and fold, the settings version, and the changes since a
        version.
        """
        self._path = path
        self._marks = marks
        self._fold = fold
        self._version = version
        self._replay = replay
        self._ids = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._folding = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_seen: dict[int, float] = {}  # monotonic, of workers that are gone
        self._began = 0.0
        self.peers: dict[int, Peer] = {}

    async def start(self) -> None:
        """Listen; a socket file left by an earlier process is replaced."""
        self._began = asyncio.get_running_loop().time()
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close the listener and every connection, and take the socket away."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for peer in list(self.peers.values()):
            peer.writer.close()
        await server.wait_closed()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def publish(self, changes: Sequence[Change]) -> None:
        """Send steps of the change feed to every worker."""
        for peer in self.peers.values():
            frames.send(peer.writer, frames.Changed(changes=tuple(changes)))

    async def in_force(self, workers: int = 0, seconds: float = _IN_FORCE_SECONDS) -> None:
        """Wait until `workers` are connected and have taken what was published, within a limit.

        A worker that is still connecting serves by an older snapshot until it has; one that has
        been away for longer than the limit reads the new one when it comes. Frames are taken in
        order, so an answer to what was asked behind the changes says that they were.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._expected(workers, loop.time() - seconds) and loop.time() < deadline:  # noqa: ASYNC110 - rare
            await asyncio.sleep(_LOOK_SECONDS)
        await self.ask("settings.version", seconds=max(_LOOK_SECONDS, deadline - loop.time()))

    def _expected(self, workers: int, since: float) -> bool:
        """Tell whether a worker is missing that may be connecting: it was here since then."""
        return any(
            index not in self.peers and self._last_seen.get(index, self._began) > since
            for index in range(workers)
        )

    def suppressed(self) -> None:
        """Tell every worker that the suppression table was replaced."""
        for peer in self.peers.values():
            frames.send(peer.writer, frames.Suppressed())

    async def ask(
        self, name: str, args: dict[str, Any] | None = None, seconds: float = _ANSWER_SECONDS
    ) -> dict[int, Any]:
        """Broadcast a command; give each worker's answer by its index.

        A worker that does not answer in time, or says that it failed, is there with an
        `{"error": text}`.
        """
        waiting: dict[int, asyncio.Future[frames.Answer]] = {}
        number, asked = next(self._ids), list(self.peers.values())
        command = frames.Command(id=number, name=name, args=args or {})
        for peer in asked:
            waiting[peer.worker] = peer.owed[number] = asyncio.get_running_loop().create_future()
            frames.send(peer.writer, command)
        try:
            if waiting:
                await asyncio.wait(waiting.values(), timeout=seconds)
        finally:
            for peer in asked:
                peer.owed.pop(number, None)
        return {worker: _outcome(future) for worker, future in waiting.items()}

    def connected(self) -> list[int]:
        """Give the indexes of the workers that are connected now."""
        return sorted(self.peers)

    async def ask_one(
        self, worker: int, name: str, payload: bytes, seconds: float = _ANSWER_SECONDS
    ) -> Any:
        """Give a command to one worker and give its answer.

        Raises NoAnswerError when none came in time or the link was lost meanwhile, KeyError when
        the worker is not connected (it was not asked then).
        """
        peer = self.peers[worker]
        command = frames.Command(id=next(self._ids), name=name, payload=payload)
        future: asyncio.Future[frames.Answer] = asyncio.get_running_loop().create_future()
        peer.owed[command.id] = future
        frames.send(peer.writer, command)
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            peer.owed.pop(command.id, None)
        if not future.done() or future.cancelled():
            raise NoAnswerError(f"worker {worker} did not answer")
        answer = future.result()
        if answer.error:
            raise NoAnswerError(f"worker {worker}: {answer.error}")
        return msgspec.msgpack.decode(answer.result)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: Peer | None = None
        try:
            peer = await self._greet(reader, writer)
            while True:
                await self._take(peer, await frames.read(reader))
        except (OSError, EOFError) as problem:
            _log.info("worker %s: link closed: %s", peer.worker if peer else "?", problem)
        except (frames.LinkError, StorageError) as problem:
            _log.warning("worker %s: %s", peer.worker if peer else "?", problem)
        except asyncio.CancelledError:
            pass  # the server is being closed; asyncio logs a cancelled handler as an error
        finally:
            if peer is not None and self.peers.get(peer.worker) is peer:
                del self.peers[peer.worker]
                self._last_seen[peer.worker] = asyncio.get_running_loop().time()
            if peer is not None:
                for future in peer.owed.values():
                    future.cancel()
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Peer:
        hello = await frames.read(reader)
        if not isinstance(hello, frames.Hello):
            raise frames.LinkError("expected Hello")
        marks = await self._marks(hello.spools)
        frames.send(writer, frames.Welcome(marks=marks, version=self._version()))
        missed = self._replay(hello.version)
        if missed:
            frames.send(writer, frames.Changed(changes=tuple(missed)))
        peer = Peer(
            worker=hello.worker,
            pid=hello.pid,
            writer=writer,
            version=hello.version,
            heard=time.monotonic(),
        )
        self.peers[peer.worker] = peer
        return peer

    async def _take(self, peer: Peer, frame: frames.AnyFrame) -> None:
        peer.heard = time.monotonic()
        match frame:
            case frames.Facts():
                await self._take_facts(peer, frame)
            case frames.Status(gauges=gauges, counters=counters):
                peer.gauges, peer.counters = gauges, counters
            case frames.Answer() as answer:
                future = peer.owed.pop(answer.id, None)
                if future is not None and not future.done():
                    future.set_result(answer)
            case other:
                raise frames.LinkError(f"{type(other).__name__} is not for control")

    async def _take_facts(self, peer: Peer, frame: frames.Facts) -> None:
        if peer.failed:
            raise frames.LinkError("facts behind some that were not folded")
        peer.facts.append(frame)
        if peer.folding is None or peer.folding.done():
            peer.folding = asyncio.create_task(self._fold_waiting(peer))
            self._tasks.add(peer.folding)
            peer.folding.add_done_callback(self._tasks.discard)
        if len(peer.facts) >= _MOST_WAITING:
            await asyncio.wait([peer.folding])

    async def _fold_waiting(self, peer: Peer) -> None:
        """Fold what a worker sent until nothing waits: frames of one spool in one transaction.

        When that fails, for whatever reason, the link is closed; the worker sends again what it did
        not hear of. Going on would move the mark past what was not folded.
        """
        ended_well = False
        try:
            while peer.facts:
                async with self._folding:
                    together = _of_one_spool(peer.facts)
                    spool = together[0].spool
                    batches = [Batch(*row) for frame in together for row in frame.rows]
                    upto = await self._fold(spool, batches)
                for _ in together:
                    frames.send(peer.writer, frames.Folded(spool=spool, upto=upto))
                await peer.writer.drain()
            ended_well = True
        except (WaypostError, OSError) as problem:
            _log.warning("worker %s: facts not folded: %s", peer.worker, problem)
        except Exception:  # noqa: BLE001 - the border of a task: our bug, or facts no fold can take
            _log.exception("worker %s: facts not folded", peer.worker)
        finally:
            if not ended_well:
                peer.failed = True
                peer.facts.clear()
                peer.writer.close()


def _of_one_spool(waiting: deque[frames.Facts]) -> list[frames.Facts]:
    """Take from the front what belongs to the same spool."""
    taken = [waiting.popleft()]
    while waiting and waiting[0].spool == taken[0].spool:
        taken.append(waiting.popleft())
    return taken


def _outcome(future: asyncio.Future[frames.Answer]) -> object:
    if not future.done() or future.cancelled():
        return {"error": "no answer in time"}
    answer = future.result()
    if answer.error:
        return {"error": answer.error}
    return msgspec.msgpack.decode(answer.result)
