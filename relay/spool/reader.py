"""Reads message records back from their segments; each proves itself before it is given out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from relay.message import Message
from relay.spool import record
from relay.spool.protocol import DamagedContentError

Wanted = tuple[int, int, int, int]  # message, segment, offset, length
Found = tuple[Message, bytes]


def read(directory: Path, wanted: Wanted) -> Found:
    """Give one message; raises DamagedContentError where the record is not whole or not there."""
    message, segment, offset, length = wanted
    try:
        fd = os.open(directory / f"{segment:08d}.seg", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DamagedContentError(f"segment {segment} of message {message} is gone") from None
    try:
        return record.unpack(os.pread(fd, length, offset), message)
    finally:
        os.close(fd)


def read_many(directory: Path, wanted: Sequence[Wanted]) -> list[Found]:
    """Give those of several messages that can be read; the others are left to `read`."""
    found: list[Found] = []
    for one in wanted:
        try:
            found.append(read(directory, one))
        except DamagedContentError:
            continue
    return found
