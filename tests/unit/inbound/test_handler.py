"""The inbound handler where our own reading fails: the mail is kept and acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from bounces.read import read
from bounces.report import Report
from bounces.verp import ReturnKind, mint
from metrics.events import Event, Kind
from relay.errors import StorageError
from relay.inbound.handler import InboundHandler
from relay.inbound.kept import Kept
from relay.mail.keyring import KeyRing
from relay.sandbox.returns import Returned, delivery_report

RING = KeyRing.of(b"a secret of thirty-two bytes, ok")
BOUNCE = mint(17, 3, "bounce.relay.test", RING)
UNSUBSCRIBE = mint(17, 3, "bounce.relay.test", RING, kind=ReturnKind.UNSUBSCRIBE)
ABOUT = Returned(
    sender=BOUNCE.decode(),
    recipient="ann@inbox.test",
    content=b"Subject: Hi\r\n\r\nHi\r\n",
    at=1.8e9,
)
MAIL = delivery_report(ABOUT, status="5.1.1", diagnostic="550 5.1.1 No such user here")
Recipient = Callable[[int, Report], str]


def broken_read(_message: bytes) -> Report:
    raise ValueError("a fault of ours")


def broken_recipient(_delivery: int, _report: Report) -> str:
    raise ValueError("a fault of ours")


def nobody(_delivery: int, _report: Report) -> str:
    return ""


class Inside:
    """A handler, what it recorded and what it kept."""

    def __init__(
        self,
        folder: Path,
        *,
        reads: Callable[[bytes], Report] = read,
        recipient: Recipient = nobody,
    ) -> None:
        self.facts: list[Event] = []
        self.folder = folder
        self.handler = InboundHandler(
            keyring=RING,
            record=self._record,
            kept=Kept(folder),
            clock=lambda: 7,
            recipient=recipient,
            reads=reads,
        )

    async def _record(self, facts: Sequence[Event]) -> None:
        self.facts += facts

    async def take(self, address: bytes) -> str:
        """Hand in the mail at a signed address; give the reply."""
        envelope = SimpleNamespace(content=MAIL, rcpt_tos=[])
        reply = await self.handler.handle_RCPT(None, None, envelope, address.decode(), [])
        assert reply.startswith("250"), reply
        return await self.handler.handle_DATA(None, None, envelope)

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.glob("*.eml")]


async def test_a_mail_that_can_be_read_is_not_kept(tmp_path: Path) -> None:
    inside = Inside(tmp_path)
    assert (await inside.take(BOUNCE)).startswith("250")
    assert [fact.kind for fact in inside.facts] == [Kind.BOUNCED]
    assert inside.kept() == []


@pytest.mark.parametrize("part", ["reading", "meaning"])
async def test_a_mail_that_breaks_us_is_kept_counted_and_acknowledged(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    inside = (
        Inside(tmp_path, reads=broken_read)
        if part == "reading"
        else Inside(tmp_path, recipient=broken_recipient)
    )
    assert (await inside.take(BOUNCE)).startswith("250")
    assert inside.facts == []
    assert inside.kept() == [MAIL]
    assert inside.handler.counts["other"] == 1
    assert inside.handler.counts["bounce"] == 0
    assert "a fault of ours" in caplog.text


async def test_whoever_writes_to_an_unsubscribe_address_is_heard_all_the_same(
    tmp_path: Path,
) -> None:
    """The address alone says what is wanted."""
    inside = Inside(tmp_path, reads=broken_read)
    assert (await inside.take(UNSUBSCRIBE)).startswith("250")
    assert [fact.kind for fact in inside.facts] == [Kind.UNSUBSCRIBED]
    assert inside.kept() == [MAIL]


@pytest.mark.parametrize("problem", [MemoryError(), OSError(5, "the disk"), StorageError("away")])
async def test_what_is_no_fault_of_the_mail_passes(tmp_path: Path, problem: Exception) -> None:
    """The session answers 451 then, and the mail comes again."""

    def fails(_message: bytes) -> Report:
        raise problem

    inside = Inside(tmp_path, reads=fails)
    with pytest.raises(type(problem)):
        await inside.take(BOUNCE)
    assert inside.kept() == []
