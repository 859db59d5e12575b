"""What worker and control say to each other: length-prefixed msgpack frames on a unix socket.

A frame is four octets of length (big-endian) and one tagged msgpack value. Guarantees: a frame over
the bound or of an unknown kind raises `LinkError`; the reader never allocates more than the bound.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from relay.errors import WaypostError
from relay.settings import Change

MAX_FRAME = 64 * 1024 * 1024
_LENGTH_OCTETS = 4


class LinkError(WaypostError):
    """The other side of the link said something that is not a frame of ours."""


class Frame(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Root of all frames; the tag is the class name."""


class Hello(Frame, frozen=True):
    """Worker to control, first: who this is and which settings it works from."""

    worker: int
    pid: int
    version: int
    spools: tuple[str, ...]  # incarnations it will send facts of


class Welcome(Frame, frozen=True):
    """Control to worker, in answer: how far the ledger has each spool's facts."""

    marks: dict[str, int]
    version: int


class Facts(Frame, frozen=True):
    """Worker to control: outbox rows of one spool, in order."""

    spool: str
    rows: tuple[tuple[int, tuple[bytes, ...]], ...]  # (sequence, encoded events)


class Folded(Frame, frozen=True):
    """Control to worker: the ledger has this spool's facts up to here; forget them."""

    spool: str
    upto: int


class Changed(Frame, frozen=True):
    """Control to worker: settings moved on."""

    changes: tuple[Change, ...]


class Suppressed(Frame, frozen=True):
    """Control to worker: the suppression table was replaced; map it again."""


class Command(Frame, frozen=True):
    """Control to worker: do this and answer. `args` are plain msgpack values."""

    id: int
    name: str
    args: dict[str, str | int | float | bool | list[str | int] | None] = {}
    payload: bytes = b""  # what is too large or too exact for args: a message handed in


class Answer(Frame, frozen=True):
    """Worker to control: the answer to a command, msgpack-encoded; `error` is "" when it worked."""

    id: int
    result: bytes = b""
    error: str = ""


class Status(Frame, frozen=True):
    """Worker to control, about every second: gauges and counters since the worker started."""

    worker: int
    gauges: dict[str, float]
    counters: dict[str, int]


AnyFrame = Hello | Welcome | Facts | Folded | Changed | Suppressed | Command | Answer | Status
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyFrame] = msgspec.msgpack.Decoder(AnyFrame)


def encode(frame: AnyFrame) -> bytes:
    """Give a frame as it goes over the socket."""
    payload = _ENCODER.encode(frame)
    return len(payload).to_bytes(_LENGTH_OCTETS, "big") + payload


def send(writer: asyncio.StreamWriter, frame: AnyFrame) -> None:
    """Queue a frame for sending. One for a link that is lost is dropped: whoever reads from that
    link hears of it, and facts are sent again on the next one.
    """
    # uvloop raises RuntimeError for a closed transport, where asyncio drops what is written
    with contextlib.suppress(RuntimeError):
        writer.write(encode(frame))


async def read(reader: asyncio.StreamReader) -> AnyFrame:
    """Read one frame; raises LinkError for nonsense and EOFError when the other side is gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_OCTETS), "big")
        if length > MAX_FRAME:
            raise LinkError(f"a frame of {length} octets; at most {MAX_FRAME} are expected")
        payload = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise EOFError("the other side of the link is gone") from None
    try:
        return _DECODER.decode(payload)
    except msgspec.DecodeError as problem:
        raise LinkError(f"not a frame: {problem}") from None
