"""MTA-STS policies kept over a restart.

A policy once seen is believed for its max_age (RFC 8461 section 3.3); whoever forgets it with each
restart can be talked out of TLS.

Guarantees: one line of JSON for each fetched policy, appended whole, so that workers may share the
file; the last line of a domain counts; lines that cannot be read are passed over, and a file that
cannot be read is as good as none. Bounded: a file beyond its octets, or with twice the policies, is
written anew without what is no longer believed; the lock of the file keeps what others append
meanwhile. Losing it loses nothing but the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import msgspec

from relay.delivery.mx.sts import KnownPolicy, StsPolicy

_log = logging.getLogger(__name__)
_MOST = 10_000  # policies
_MOST_OCTETS = 16 << 20
_LONGEST_LINE = 65_536  # octets
_TRIES = 100  # at the lock of a file that others replace
# torn by a crash, or damaged
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    id: str
    mode: str
    hosts: tuple[str, ...]
    max_age: int
    until: float  # seconds since the epoch


class StsFile:
    """The file of a node's policies."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time,
        most: int = _MOST,
        octets: int = _MOST_OCTETS,
    ) -> None:
        """Keep at most so many policies and octets at `path`; `clock` gives seconds since the
        epoch.
        """
        self._path = path
        self._clock = clock
        self._most = most
        self._octets = octets

    def load(self) -> Iterator[KnownPolicy]:
        """Give what is still to be believed, the oldest first."""
        now = self._clock()
        for line in self._believed(now):
            policy = StsPolicy(mode=line.mode, max_age=line.max_age, hosts=line.hosts)
            yield KnownPolicy(
                domain=line.domain, policy=policy, policy_id=line.id, seconds=line.until - now
            )

    def _believed(self, now: float) -> list[_Line]:
        kept: list[_Line] = []
        try:
            kept, lines = self._read(now)
            if lines > 2 * self._most or self._path.stat().st_size > self._octets:
                with self._locked():
                    self._rewrite(now)
        except FileNotFoundError:
            pass  # nothing was kept yet
        except OSError as problem:
            _log.warning("%s: policies kept there: %s", self._path, problem.strerror)
        return kept

    def _read(self, now: float) -> tuple[list[_Line], int]:
        """Give what is still to be believed, and the number of lines."""
        lines = 0
        found: dict[str, _Line] = {}
        with self._path.open("rb") as file:
            for raw in iter(lambda: file.readline(_LONGEST_LINE), b""):
                lines += 1
                with contextlib.suppress(*_UNREADABLE):
                    line = msgspec.json.decode(raw, type=_Line)
                    found.pop(line.domain, None)
                    found[line.domain] = line
        kept = [line for line in found.values() if now < line.until <= now + line.max_age]
        return kept[-self._most :], lines

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
        with self._locked() as file:
            size = os.fstat(file).st_size
            if os.write(file, line) != len(line):
                os.ftruncate(file, size)  # half a line would spoil the next one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if size + len(line) > self._octets:
                self._rewrite(self._clock())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Give the file, open for appending, while nobody else writes to it or replaces it."""
        for _ in range(_TRIES):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_current(file):
                    yield file
                    return
            finally:
                os.close(file)
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _is_current(self, file: int) -> bool:
        """Tell whether the file was not replaced while we waited for its lock."""
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _rewrite(self, now: float) -> None:
        """Write the newest of what is believed anew, at most half the octets; under the lock."""
        newest: list[bytes] = []
        room = self._octets // 2
        for line in reversed(self._read(now)[0]):
            text = msgspec.json.encode(line) + b"\n"
            room -= len(text)
            if room < 0:
                break
            newest.append(text)
        fresh = self._path.with_suffix(".fresh")
        fresh.touch(mode=0o600)
        fresh.write_bytes(b"".join(reversed(newest)))
        fresh.replace(self._path)
