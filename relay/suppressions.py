"""Who must not get mail, as workers look it up: a memory-mapped table from control and an overlay
of what is newer.

The table is a file of sorted 64-bit keyed hashes with one reason each; it holds no address. A hash
stands for a recipient in one scope (an account, one of its sending domains, one of its campaigns),
so that one lookup per scope answers. Guarantees: lookups never block and never fail; a new table
replaces the old one atomically; the chance that a recipient is mistaken for a suppressed one is
entries / 2**64. The overlay holds what notice files told since the table was made.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from relay.mail.addresses import AddressError, parse_address
from relay.mail.keyring import KeyRing
from relay.mail.mac import Signer

REASONS = (
    "manual",
    "hard-bounce",
    "soft-bounces",
    "complaint",
    "unsubscribe",
    "import",
    "no-tracking",
)
NO_TRACKING = "no-tracking"  # the reason of entries that stop tracking and not mail
_LABEL = "suppression"
_MOST_CLEAR = 20_000
_HEADER = struct.Struct("<8sQQ")  # magic, entries, moment it stands for
_MAGIC = b"WPSUPPR1"


class RecipientHash:
    """Turns addresses into 64-bit numbers under the key ring's first secret, the same for ever."""

    def __init__(self, ring: KeyRing) -> None:
        """Take the ring."""
        key = ring.key(min(ring.ids), _LABEL)
        if key is None:
            raise ValueError("the key ring has lost its first key")
        self._mac = Signer(key)

    def of(self, recipient: str) -> int:
        """Give the number of an address; upper and lower case, U-labels and A-labels are the
        same."""
        text = recipient.lower()
        if not text.isascii():
            local, at, domain = text.rpartition("@")
            with contextlib.suppress(AddressError):
                text = (
                    local
                    + at
                    + parse_address(b"x@" + domain.encode("utf-8", "surrogatepass")).routing_domain
                )
        return int.from_bytes(self._mac(text.encode("utf-8", "surrogatepass"))[:8], "little")


def entry_in_account(account: int, recipient: int) -> int:
    """Give the table's hash for a recipient suppressed for a whole account."""
    return _entry(b"a%d" % account, recipient)


def entry_in_domain(account: int, domain: str, recipient: int) -> int:
    """Give the table's hash for a recipient suppressed for one sending domain."""
    return _entry(b"d%d\0%s" % (account, domain.encode("utf-8")), recipient)


def entry_in_campaign(campaign_hash: int, recipient: int) -> int:
    """Give the table's hash for a recipient suppressed for one campaign (its hash names the
    account too).
    """
    return _entry(b"c%d" % campaign_hash, recipient)


def entry_untracked(account: int, recipient: int) -> int:
    """Give the table's hash for a recipient whom an account must not track; mail goes on."""
    return _entry(b"t%d" % account, recipient)


def _entry(scope: bytes, recipient: int) -> int:
    said = b"%s\0%s" % (scope, recipient.to_bytes(8, "little"))
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "little")


def write_table(path: Path, entries: Iterable[tuple[int, str]], as_of: int) -> int:
    """Write a table of (hash, reason) that stands for the moment `as_of` (microseconds); give its
    length.

    The file is 0600 and replaced atomically after an fsync.
    """
    rows = sorted(dict(entries).items())
    hashes = array("Q", (hash_ for hash_, _ in rows))
    reasons = bytes(REASONS.index(reason) for _, reason in rows)
    fresh = path.with_suffix(".fresh")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(_HEADER.pack(_MAGIC, len(rows), as_of))
            out.write(hashes.tobytes())
            out.write(reasons)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return len(rows)


class Table:
    """One table file, mapped. Raises ValueError for a file that is not one."""

    def __init__(self, path: Path) -> None:
        """Map the file; the mapping outlives its replacement."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, count, self.as_of = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or len(self._map) != _HEADER.size + 9 * count:
            raise ValueError(f"{path}: not a suppression table")
        view = memoryview(self._map)
        self._hashes = view[_HEADER.size : _HEADER.size + 8 * count].cast("Q")
        self._reasons = view[_HEADER.size + 8 * count :]
        untracked = bytes((REASONS.index(NO_TRACKING),))
        self.any_untracked = self._map.find(untracked, _HEADER.size + 8 * count) >= 0

    def __len__(self) -> int:
        return len(self._hashes)

    def reason(self, entry: int) -> str:
        """Give the reason of an entry, "" where it is not in the table."""
        at = bisect_left(self._hashes, entry)
        if at < len(self._hashes) and self._hashes[at] == entry:
            return REASONS[self._reasons[at]]
        return ""


class Suppressions:
    """What one worker knows: the table and the overlay."""

    def __init__(self, path: Path) -> None:
        """Map the table if there is one; without it nobody is suppressed but by the overlay."""
        self._path = path
        self._table: Table | None = None
        self._overlay: dict[int, tuple[int, str]] = {}  # entry: (moment, reason; "" for removed)
        self._told_untracked = False
        self._clear: set[int] = set()  # deliveries found clear since the last change
        self.reload()

    def __len__(self) -> int:
        return (len(self._table) if self._table else 0) + len(self._overlay)

    def reload(self) -> None:
        """Map the table anew and forget what of the overlay it contains."""
        try:
            table = Table(self._path)
        except FileNotFoundError:
            return
        self._table = table
        self._clear.clear()
        self._overlay = {
            entry: told for entry, told in self._overlay.items() if told[0] >= table.as_of
        }

    def note(self, entry: int, reason: str, at: int) -> None:
        """Put an entry ("" as reason removes it) into force now."""
        known = self._overlay.get(entry)
        self._clear.clear()
        self._told_untracked |= reason == NO_TRACKING
        if known is None or known[0] <= at:
            self._overlay[entry] = (at, reason)

    def reason(self, account: int, domain: str, campaign_hash: int, recipient: int) -> str:
        """Say why a recipient must not get mail of this account, domain and campaign; "" if it
        may.
        """
        return (
            self._look_up(entry_in_account(account, recipient))
            or self._look_up(entry_in_domain(account, domain, recipient))
            or (self._look_up(entry_in_campaign(campaign_hash, recipient)) if campaign_hash else "")
        )

    def found_clear(self, delivery: int) -> None:
        """Remember that `reason` said "" about the recipient of a delivery."""
        if len(self._clear) >= _MOST_CLEAR:
            self._clear.clear()
        self._clear.add(delivery)

    def still_clear(self, delivery: int) -> bool:
        """Tell whether a delivery was found clear and nothing has changed since; asked once."""
        if delivery in self._clear:
            self._clear.remove(delivery)
            return True
        return False

    @property
    def any_untracked(self) -> bool:
        """Tell whether anybody withdrew from tracking; without one, nobody need be looked up."""
        return self._told_untracked or (self._table is not None and self._table.any_untracked)

    def untracked(self, account: int, recipient: int) -> bool:
        """Tell whether a recipient must not be tracked by an account."""
        return bool(self._look_up(entry_untracked(account, recipient)))

    def _look_up(self, entry: int) -> str:
        told = self._overlay.get(entry)
        if told is not None:
            return told[1]
        return self._table.reason(entry) if self._table is not None else ""
