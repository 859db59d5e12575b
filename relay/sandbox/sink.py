"""A sink: a receiving server that writes down every message and its decision before it replies.

Guarantees: a line in the record for each message (JSON: number, sender, recipients, sha256 and
size of the exact octets, decision, time, and the first 200 octets of the Message-ID), flushed to
the kernel before the client learns the decision, so that a crash of whatever is under test cannot
leave a reply without a record. With `keep`, the octets themselves lie in `keep/<number>.eml`.
Faults go by name (faults.py). Counting tries is bounded: the oldest recipients are forgotten
first.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from relay.sandbox.faults import Fault, How, Stage, fault_of
from relay.sandbox.receiver import Receiver
from relay.sandbox.session import Arrival, Manners, Options, Take, Told, no_take, no_told

_MESSAGE_ID = re.compile(rb"(?im)^Message-ID:[ \t]*(?:\r\n[ \t]+)?(<[^<>\r\n]{1,200}>)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One line of a sink's record."""

    number: int
    at: float
    sender: str
    recipients: tuple[str, ...]
    message_id: str
    sha256: str
    size: int
    decision: str
    tls: str = ""

    @property
    def taken(self) -> bool:
        """Tell whether the client was told that the message was taken."""
        return self.decision.startswith("250")

    @property
    def uncertain(self) -> bool:
        """Tell whether the message was taken in whole and the client was told nothing."""
        return self.decision in ("drop", "reset")

    def line(self) -> str:
        """Give the line as it stands in the record."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}) + "\n"


def read_record(path: Path) -> list[Got]:
    """Read a sink's record back; a torn last line is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        fields = json.loads(line)
        fields["recipients"] = tuple(fields["recipients"])
        found.append(Got(**fields))
    return found


class Tries:
    """Counts how often a fault was shown to each recipient, for those that pass after some."""

    def __init__(
        self, named: Callable[[bytes], Fault | None] = fault_of, *, limit: int = 1_000_000
    ) -> None:
        """Take what reads a fault from an address; remember at most `limit` recipients."""
        self._named = named
        self._seen: OrderedDict[tuple[Stage, bytes], int] = OrderedDict()
        self._limit = limit

    def __call__(self, stage: Stage, recipient: bytes) -> Fault | None:
        """Give the fault that the address names for this stage, unless it has been shown often
        enough.
        """
        fault = self._named(recipient)
        if fault is None or fault.stage is not stage:
            return None
        if not fault.tries:
            return fault
        seen = self._seen.get((stage, recipient), 0)
        if seen >= fault.tries:
            return None
        self._seen[stage, recipient] = seen + 1
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return fault


class Sink:
    """A receiver with a record; `got` holds the same in memory, `bodies` too unless `keep_bodies`
    is false.
    """

    def __init__(
        self,
        record: Path | None = None,
        *,
        keep: Path | None = None,
        keep_bodies: bool = True,
        take: Take = no_take,
        told: Told = no_told,
        tls: ssl.SSLContext | None = None,
        options: Options | None = None,
    ) -> None:
        """Prepare; `record` is appended to, `keep` is made. `take` and `told` get each arrival
        after the record has it.
        """
        self.got: list[Got] = []
        self.bodies: list[bytes] = []
        self.script: list[Fault] = []  # faults for the stages before a recipient is known, used up
        self._tries = Tries()
        self._also_take = take
        self._keep = keep
        self._keep_bodies = keep_bodies
        self._record: TextIO | None = None
        if record is not None:
            record.parent.mkdir(parents=True, exist_ok=True)
            self._record = record.open("a", encoding="utf-8")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        self.receiver = Receiver(
            Manners(
                take=self._take,
                faults=self._faults,
                told=told,
                tls=tls,
                options=options or Options(hostname="sink.test"),
            )
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Open the door and give its address."""
        return await self.receiver.start(host, port)

    async def close(self) -> None:
        """Close the door and the record."""
        await self.receiver.close()
        if self._record is not None:
            self._record.close()
            self._record = None

    def _faults(self, stage: Stage, recipient: bytes) -> Fault | None:
        if recipient:
            return self._tries(stage, recipient)
        if self.script and self.script[0].stage is stage:
            return self.script.pop(0)
        return None

    async def _take(self, arrival: Arrival, decision: str) -> None:
        found = _MESSAGE_ID.search(arrival.content[:65_536])
        got = Got(
            number=arrival.number,
            at=arrival.at,
            sender=arrival.sender.decode("utf-8", "replace"),
            recipients=tuple(r.decode("utf-8", "replace") for r in arrival.recipients),
            message_id=found[1].decode("utf-8", "replace") if found else "",
            sha256=hashlib.sha256(arrival.content).hexdigest(),
            size=len(arrival.content),
            decision=decision,
            tls=arrival.tls,
        )
        if self._keep is not None:
            (self._keep / f"{arrival.number:06}.eml").write_bytes(arrival.content)
        if self._record is not None:
            self._record.write(got.line())
            self._record.flush()
        self.got.append(got)
        if self._keep_bodies:
            self.bodies.append(arrival.content)
        await self._also_take(arrival, decision)


def scripted(how: How, stage: Stage, reply: str = "", seconds: float = 0.0) -> Fault:
    """Make a fault for `Sink.script`: it is shown once, at the next connection or command that
    reaches its stage.
    """
    return Fault(how=how, stage=stage, reply=reply, seconds=seconds)
