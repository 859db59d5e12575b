"""The sandbox as a process: takes all mail of the relay and lets recipients at `*.sandbox.test`
act out their parts.

Guarantees: nothing leaves the machine; mail to any other address is accepted and kept nowhere;
acts wait in a bounded queue, and one that finds it full is dropped and counted, so that a flood of
mail costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relay.sandbox.actor import Actor, Doors, Manner, Played
from relay.sandbox.faults import Fault, Stage
from relay.sandbox.part import Part, acts, part_of, refusal_of
from relay.sandbox.receiver import Receiver
from relay.sandbox.session import Arrival, Manners, Options
from relay.sandbox.sink import Tries
from relay.sandbox.web import Web

_log = logging.getLogger("waypost.sandbox")


def _no_played(_played: Played) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How the sandbox behaves; times in seconds."""

    tracking: tuple[str, int]  # the tracking listener on this machine
    tracking_hosts: frozenset[str]  # hosts of tracking URLs, with port where the URL has one
    delay: float = 0.2  # before each act
    actors: int = 8  # parts played at the same time
    backlog: int = 10_000  # acts that may wait
    hostname: str = "mx.sandbox.test"
    tls: ssl.SSLContext | None = None
    played: Callable[[Played], None] = field(default=_no_played)


async def serve_sandbox(
    listener: socket.socket, inbound: tuple[str, int], options: SandboxOptions
) -> None:
    """Serve on a bound socket until cancelled; `inbound` is the relay's door for mail that comes
    back.
    """
    stage = _Stage(inbound, options)
    async with asyncio.TaskGroup() as tasks:
        for number in range(options.actors):
            tasks.create_task(stage.play(), name=f"sandbox actor {number}")
        await Receiver(stage.manners()).serve(listener)


class _Stage:
    """What the receiver hands over, and the actors who wait for it."""

    def __init__(self, inbound: tuple[str, int], options: SandboxOptions) -> None:
        web = Web(listener=options.tracking, hosts=options.tracking_hosts)
        self._actor = Actor(Doors(inbound=inbound, web=web, hostname=options.hostname))
        self._manner = Manner(
            open_after=options.delay, click_after=options.delay, return_after=options.delay
        )
        self._options = options
        self._tries = Tries(refusal_of)
        self._waiting: asyncio.Queue[tuple[Arrival, bytes, Part]] = asyncio.Queue(options.backlog)
        self._dropped = 0

    def manners(self) -> Manners:
        """Say how the receiver behaves."""
        options = self._options
        return Manners(
            take=self._take,
            faults=self._faults,
            tls=options.tls,
            options=Options(hostname=options.hostname),
        )

    async def play(self) -> None:
        """Play what arrives, one after another, for ever."""
        while True:
            arrival, recipient, part = await self._waiting.get()
            for played in await self._actor.act(arrival, recipient, part, self._manner):
                _log.log(
                    logging.DEBUG if played.done else logging.WARNING,
                    "%s %s: %s",
                    played.recipient,
                    played.what,
                    played.reply,
                )
                self._options.played(played)

    def _faults(self, stage: Stage, recipient: bytes) -> Fault | None:
        return self._tries(stage, recipient) if recipient else None

    async def _take(self, arrival: Arrival, decision: str) -> None:
        if not decision.startswith("250"):
            return
        for recipient, part in _parts(arrival):
            try:
                self._waiting.put_nowait((arrival, recipient, part))
            except asyncio.QueueFull:
                self._dropped += 1
                if self._dropped.bit_count() == 1:  # at 1, 2, 4, 8 ...: a flood makes few lines
                    _log.warning("%d acts dropped: too many wait", self._dropped)


def _parts(arrival: Arrival) -> Iterator[tuple[bytes, Part]]:
    """Give the recipients of a message that have something to do."""
    for recipient in arrival.recipients:
        if acts(recipient) and (part := part_of(recipient)) is not Part.ACCEPT:
            yield recipient, part
