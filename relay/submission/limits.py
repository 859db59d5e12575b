"""Counts over many connections: how many there are, failed logins, content that waits.

The counts themselves stand behind `Tally`, because several workers may share them in one table;
`LocalTally` is that of a single process. What happens at a limit is a fixed reply.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from relay.submission import replies
from relay.submission.patience import Patience


class Tally(Protocol):
    """Numbers by key. `sum` is over all who share the tally; `add` and `sub` are one's own part."""

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """Add; with a `lifetime` the key is forgotten that many seconds later."""
        ...

    def sub(self, key: bytes, amount: int = 1) -> None:
        """Take away; a key at zero is forgotten."""
        ...

    def sum(self, key: bytes) -> int:
        """The number now; 0 for an unknown key."""
        ...


class LocalTally:
    """A tally of one process, bounded: of the keys with a lifetime the oldest go first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, size: int = 100_000) -> None:
        """`clock` gives seconds; `size` bounds the keys that have a lifetime."""
        self._clock = clock
        self._size = size
        self._counts: dict[bytes, int] = {}
        self._passing: dict[bytes, tuple[float, int]] = {}

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """See Tally."""
        if not lifetime:
            self._counts[key] = self._counts.get(key, 0) + amount
            return
        count = self.sum(key) + amount
        ends, _ = self._passing.pop(key, (self._clock() + lifetime, 0))
        if len(self._passing) >= self._size:
            self._passing.pop(next(iter(self._passing)))
        self._passing[key] = (ends, count)

    def sub(self, key: bytes, amount: int = 1) -> None:
        """See Tally."""
        left = self._counts.get(key, 0) - amount
        if left > 0:
            self._counts[key] = left
        else:
            self._counts.pop(key, None)

    def sum(self, key: bytes) -> int:
        """See Tally."""
        passing = self._passing.get(key)
        if passing is not None:
            ends, count = passing
            if ends > self._clock():
                return count
            del self._passing[key]
        return self._counts.get(key, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """How much all connections together may take. Counts, octets, seconds."""

    connections: int = 10_000
    connections_per_address: int = 50
    reserved: float = 0.1
    """The part of `connections` kept for doors with a login; beyond it there is stress."""
    own_connections: int = 1 << 30
    """What this process may hold of `connections`: its descriptors must suffice for other work."""
    processes: int = 1
    """How many take connections from the same sockets."""
    failures_per_address: int = 10
    address_window: float = 600.0
    failures_per_account: int = 50
    account_window: float = 3600.0
    login_seconds: float = 5.0
    """In which a stranger may log in before having to make room for others."""
    inflight: int = 268_435_456
    """Octets of content being read or stored at one time."""


def address_key(address: str) -> bytes:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.encode("utf-8", "replace")
    if parsed.version == 4:
        return parsed.packed
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.packed
    return parsed.packed[:8]


class Stranger(Protocol):
    """A connection on which nobody logged in yet."""

    patience: Patience

    def give_way(self) -> None:
        """End; the place is free when this returns."""
        ...


class Gate:
    """Admits connections and logins, and counts what they take.

    One gate serves all doors of a process. `connections` shared by all workers come from the
    tally; `inflight` is this process's own memory.
    """

    def __init__(self, limits: GateLimits, tally: Tally | None = None) -> None:
        """`tally`: shared counts; a LocalTally if none is given."""
        self.limits = limits
        self.inflight = 0
        self.strangers: dict[Stranger, None] = {}  # not logged in yet; oldest first
        self._own = 0
        self._tally = tally if tally is not None else LocalTally()

    @property
    def stressed(self) -> bool:
        """Whether so many connections are open that strangers get little patience."""
        return self._tally.sum(b"connections") > self.limits.connections * (
            1 - self.limits.reserved
        )

    @property
    def ahead(self) -> bool:
        """Whether this process has more than its share of the connections that are open."""
        return self._own * self.limits.processes > self._tally.sum(b"connections")

    def admit(self, address: str, *, with_login: bool) -> bytes | None:
        """Count a new connection; the reply that refuses it, or None. Pair each None with `leave`.

        `with_login`: the door can tell customers from strangers, so it may use the reserve.
        """
        limits, tally = self.limits, self._tally
        key = b"from" + address_key(address)
        if tally.sum(key) >= limits.connections_per_address:
            return replies.TOO_MANY_CONNECTIONS
        room = limits.connections if with_login else limits.connections * (1 - limits.reserved)
        if tally.sum(b"connections") >= room or self._own >= limits.own_connections:
            return replies.TOO_BUSY
        self._own += 1
        tally.add(key)
        tally.add(b"connections")
        return None

    def make_room(self, now: float) -> bool:
        """End the connection that has been open longest without a login; False: there is none.

        Without this a crowd that never logs in could keep every customer out.
        """
        oldest = next(iter(self.strangers), None)
        if oldest is None or now - oldest.patience.began < self.limits.login_seconds:
            return False
        # Its connection is lost a turn later, and until then others may need room too.
        del self.strangers[oldest]
        oldest.give_way()
        return True

    def leave(self, address: str) -> None:
        """The connection is gone."""
        self._own -= 1
        self._tally.sub(b"from" + address_key(address))
        self._tally.sub(b"connections")

    def login_refusal(self, address: str, login: bytes) -> bytes | None:
        """The reply to a login that is not even tried, or None."""
        limits = self.limits
        if self._tally.sum(_failed_from(address)) >= limits.failures_per_address:
            return replies.TOO_MANY_FAILED_LOGINS
        if self._tally.sum(_failed_for(login)) >= limits.failures_per_account:
            return replies.AUTH_LATER
        return None

    def note_failure(self, address: str, login: bytes) -> None:
        """Count a failed login."""
        limits = self.limits
        self._tally.add(_failed_from(address), lifetime=limits.address_window)
        self._tally.add(_failed_for(login), lifetime=limits.account_window)

    @property
    def has_room(self) -> bool:
        """Whether another message may come in."""
        return self.inflight < self.limits.inflight


def _failed_from(address: str) -> bytes:
    return b"fail-from" + address_key(address)


def _failed_for(login: bytes) -> bytes:
    # Hashed, so that a key has one length and a tally shared in a file holds no names.
    return b"fail-for" + blake2b(login.lower(), digest_size=16).digest()
