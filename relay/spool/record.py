"""The form of one message in a segment file, which proves on reading that it is whole.

A record is a header of 24 octets (magic, CRC-32 of all that follows it, message id, length of the
encoded Message, length of the content), then the Message in MessagePack, then the content. A
damaged record raises; half a message is never given out.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from relay.message import Message
from relay.spool.protocol import DamagedContentError

_HEADER = struct.Struct(">4sIQII")
_MAGIC = b"WPm1"
HEADER_SIZE = _HEADER.size

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """Give the Message as it lies in a record."""
    return _encoder.encode(message)


def pack(message_id: int, envelope: bytes, content: bytes) -> bytes:
    """Give the header that goes in front of `envelope` and `content`."""
    sizes = struct.pack(">QII", message_id, len(envelope), len(content))
    crc = zlib.crc32(content, zlib.crc32(envelope, zlib.crc32(sizes)))
    return _HEADER.pack(_MAGIC, crc, message_id, len(envelope), len(content))


def peek(header: bytes) -> tuple[int, int]:
    """Give message id and whole length of the record whose header this is.

    Raises DamagedContentError when it is none.
    """
    if len(header) < HEADER_SIZE or not header.startswith(_MAGIC):
        raise DamagedContentError("no record starts here")
    _, _, message_id, envelope, content = _HEADER.unpack_from(header)
    return message_id, HEADER_SIZE + envelope + content


def unpack(raw: bytes, message_id: int) -> tuple[Message, bytes]:
    """Read a whole record; raises DamagedContentError unless it is intact and of this message."""
    found, length = peek(raw)
    _, crc, _, envelope, _ = _HEADER.unpack_from(raw)
    if found != message_id or length != len(raw) or zlib.crc32(memoryview(raw)[8:]) != crc:
        raise DamagedContentError(f"the record of message {message_id} is damaged")
    split = HEADER_SIZE + envelope
    try:
        message = _decoder.decode(memoryview(raw)[HEADER_SIZE:split])
    except msgspec.DecodeError as error:
        raise DamagedContentError(f"the record of message {message_id}: {error}") from error
    return message, raw[split:]
