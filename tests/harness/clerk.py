"""Acceptance with a real spool around it, for tests: what goes in, and what then lies in the
spool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from metrics.events import Event
from relay.acceptance.accept import Acceptance, Node
from relay.acceptance.submission import Recipient, Submission
from relay.clock import now
from relay.mail.addresses import parse_address
from relay.mail.keyring import KeyRing
from relay.message import Delivery, Message
from relay.recipients import RecipientIndex
from relay.settings import Account, Credential, SendingDomain, Settings, Switch
from relay.spool.local import LocalSpool, open_spool
from relay.suppressions import RecipientHash, Suppressions

CREDENTIAL = Credential(id=1, account=1, login="app", secret_sha256=b"")
RING = KeyRing.of(b"a fixed secret of the tests, 32+")


def settings(
    *, opens: Switch = Switch.OFF, clicks: Switch = Switch.OFF, **domain: object
) -> Settings:
    """Give one account with the sending domain shop.test, its switches set at the domain."""
    shop = SendingDomain(id=7, account=1, name="shop.test", opens=opens, clicks=clicks)
    shop = msgspec.structs.replace(shop, **domain)
    return Settings(
        version=5,
        accounts={1: Account(id=1, name="main"), 2: Account(id=2, name="other")},
        credentials={"app": CREDENTIAL},
        domains={
            "shop.test": shop,
            "other.test": SendingDomain(id=8, account=2, name="other.test"),
        },
    )


@dataclass(slots=True)
class Onward:
    """Dispatch that takes nothing: everything waits in the spool."""

    takes: bool = False
    offered: list[Delivery] = field(default_factory=list)

    def room(self, _deliveries: int) -> bool:
        return self.takes

    def offer(self, _message: Message, deliveries: Sequence[Delivery]) -> None:
        self.offered += deliveries

    def destination(self, recipient_domain: str, _message: Message) -> str:
        return recipient_domain


@dataclass(slots=True)
class Clerk:
    """Acceptance under test."""

    acceptance: Acceptance
    spool: LocalSpool
    suppressions: Suppressions
    onward: Onward
    hashes: RecipientHash
    index: RecipientIndex

    async def hand_in(
        self, content: bytes, *recipients: str, credential: Credential = CREDENTIAL
    ) -> Message:
        """Submit a message from news@shop.test."""
        return await self.acceptance.accept(
            Submission(
                content=content,
                sender=parse_address(b"news@shop.test"),
                recipients=[Recipient(mailbox=parse_address(one.encode())) for one in recipients],
                credential=credential,
                helo="client.test",
            )
        )

    async def events(self) -> list[Event]:
        """Read every fact in the outbox."""
        decode = msgspec.msgpack.Decoder(Event).decode
        return [
            decode(event) for batch in await self.spool.batches(0, 1000) for event in batch.events
        ]


@asynccontextmanager
async def clerk(folder: Path, have: Settings) -> AsyncIterator[Clerk]:
    """Open a spool in `folder` and put acceptance in front of it."""
    suppressions = Suppressions(folder / "suppressions.table")
    hashes, onward = RecipientHash(RING), Onward()
    index = RecipientIndex(folder / "recipients", 3)
    async with open_spool(folder / "spool", 3) as spool:
        spool.tell_recipients(index)
        yield Clerk(
            acceptance=Acceptance(
                node=Node(
                    name="node1",
                    hostname="mx.relay.test",
                    tracking_url="https://t.relay.test",
                    own_hosts=lambda: frozenset({"t.relay.test"}),
                ),
                settings=lambda: have,
                suppressions=suppressions,
                recipient_hash=hashes.of,
                spool=spool,
                onward=onward,
                clock=now,
            ),
            spool=spool,
            suppressions=suppressions,
            onward=onward,
            hashes=hashes,
            index=index,
        )
    index.close()
