"""MTA-STS policies kept over a restart.

A policy once seen is believed for its max_age (RFC 8461 section 3.3); whoever forgets it with each
restart can be talked out of TLS.

Guarantees: one line of JSON for each fetched policy, appended whole, so that workers may share the
file; the last line of a domain counts; lines that cannot be read are passed over. Bounded: a file
beyond twice the bound is written anew when it is loaded. Losing it loses nothing but the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import msgspec

from relay.delivery.mx.sts import KnownPolicy, StsPolicy

_log = logging.getLogger(__name__)
_MOST = 10_000  # policies
_LONGEST_LINE = 65_536  # octets


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    id: str
    mode: str
    hosts: tuple[str, ...]
    max_age: int
    until: float  # seconds since the epoch


class StsFile:
    """The file of a node's policies."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time, most: int = _MOST) -> None:
        """Keep them at `path`; `clock` gives seconds since the epoch."""
        self._path = path
        self._clock = clock
        self._most = most

    def load(self) -> Iterator[KnownPolicy]:
        """Give what is still to be believed, the oldest first."""
        now = self._clock()
        lines = 0
        found: dict[str, _Line] = {}
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            for raw in iter(lambda: file.readline(_LONGEST_LINE), b""):
                lines += 1
                with contextlib.suppress(msgspec.DecodeError):  # torn by a crash, or damaged
                    line = msgspec.json.decode(raw, type=_Line)
                    found.pop(line.domain, None)
                    found[line.domain] = line
        kept = [line for line in found.values() if now < line.until <= now + line.max_age]
        kept = kept[-self._most :]
        if lines > 2 * self._most:
            self._rewrite(kept)
        for line in kept:
            policy = StsPolicy(mode=line.mode, max_age=line.max_age, hosts=line.hosts)
            yield KnownPolicy(
                domain=line.domain, policy=policy, policy_id=line.id, seconds=line.until - now
            )

    async def keep(self, known: KnownPolicy) -> None:
        """Append a policy."""
        policy = known.policy
        line = _Line(
            domain=known.domain,
            id=known.policy_id,
            mode=policy.mode,
            hosts=policy.hosts,
            max_age=policy.max_age,
            until=self._clock() + known.seconds,
        )
        try:
            await asyncio.to_thread(self._append, msgspec.json.encode(line) + b"\n")
        except OSError as problem:
            _log.warning("%s: a policy could not be kept: %s", self._path, problem.strerror)

    def _append(self, line: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def _rewrite(self, kept: list[_Line]) -> None:
        fresh = self._path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
        fresh.chmod(0o600)
        fresh.replace(self._path)
