"""The demo's far side: a sink that takes the relay's mail and recipients who act, every act
written down.

Guarantees: what was received and what was played is known exactly, and on disk (JSON lines) when a
folder is given; a recipient acts only after the relay has had the reply to its mail.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from relay.sandbox.actor import Actor, Doors, Manner, Played
from relay.sandbox.faults import Fault, Stage
from relay.sandbox.part import Part, part_of, refusal_of
from relay.sandbox.session import Arrival
from relay.sandbox.sink import Got, Sink, Tries
from relay.sandbox.web import Web

_ACTORS = 8


class Cast:
    """Sink and players."""

    def __init__(
        self, inbound: tuple[str, int], tracking: tuple[str, int], keep: Path | None
    ) -> None:
        """Take the relay's doors; keep what arrives and what is played under `keep`."""
        self._sink = Sink(
            record=keep / "received.jsonl" if keep else None,
            keep=keep / "received" if keep else None,
            told=self._told,
        )
        refusals = Tries(refusal_of)

        def faults(stage: Stage, recipient: bytes) -> Fault | None:
            fault = refusals(stage, recipient) if recipient else None
            if fault is not None:
                self._note_refusal(recipient, fault)
            return fault

        self._sink.receiver.manners.faults = faults
        hosts = frozenset({f"{tracking[0]}:{tracking[1]}"})
        self._actor = Actor(Doors(inbound=inbound, web=Web(listener=tracking, hosts=hosts)))
        self._manner = Manner(open_after=0.05, click_after=0.05, return_after=0.05)
        self._scenes: asyncio.Queue[tuple[Arrival, bytes, Part]] = asyncio.Queue()
        self._record = (keep / "played.jsonl").open("w", encoding="utf-8") if keep else None
        self._acting: list[asyncio.Task[None]] = []
        self.played: list[Played] = []
        self.busy = 0

    @property
    def got(self) -> list[Got]:
        """Give what the sink has taken or refused at the dot, in order."""
        return self._sink.got

    @property
    def bodies(self) -> list[bytes]:
        """Give the exact octets, in the order of `got`."""
        return self._sink.bodies

    @property
    def quiet(self) -> bool:
        """Tell whether nobody acts and nobody waits to act."""
        return not self.busy and self._scenes.empty()

    async def start(self) -> tuple[str, int]:
        """Open the sink; give its address."""
        self._acting = [asyncio.create_task(self._play()) for _ in range(_ACTORS)]
        return await self._sink.start()

    async def close(self) -> None:
        """Close everything."""
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)
        await self._sink.close()
        if self._record is not None:
            self._record.close()

    def _told(self, arrival: Arrival, decision: str) -> None:
        if not decision.startswith("250"):
            return
        for recipient in arrival.recipients:
            part = part_of(recipient)
            if part not in (Part.ACCEPT, Part.DEFER):
                self._scenes.put_nowait((arrival, recipient, part))

    async def _play(self) -> None:
        while True:
            arrival, recipient, part = await self._scenes.get()
            self.busy += 1
            try:
                for played in await self._actor.act(arrival, recipient, part, self._manner):
                    self._note(played)
            finally:
                self.busy -= 1

    def _note_refusal(self, recipient: bytes, fault: Fault) -> None:
        permanent = fault.reply.startswith("5")
        self._note(
            Played(
                what="bounced" if permanent else "deferred",
                recipient=recipient.decode("utf-8", "replace"),
                message_id="",
                at=0.0,
                done=True,
                status=fault.reply[4:9],
                reply=fault.reply,
            )
        )

    def _note(self, played: Played) -> None:
        self.played.append(played)
        if self._record is not None:
            self._record.write(played.line())
            self._record.flush()
