"""The key ring in the operator's hand: which keys there are, and a fresh one.

Guarantees: a rotation is on disk before it is answered; workers sign with the new key as soon as
they were told and verify with it in any case; what older keys signed stays good, because keys are
never taken out. Secrets are never shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.words import Entry
from relay.control.route import route
from relay.errors import ConflictError, UnavailableError
from relay.mail.keyring import KeyRing, KeyRingError

Ask = Callable[[str, dict[str, Any]], Awaitable[Mapping[int, Any]]]


class KeyEntry(Entry, frozen=True):
    """One key of the ring."""

    id: int
    signs: bool  # the newest signs; all verify


class KeyRingEntry(Entry, frozen=True):
    """The ring, oldest key first."""

    items: tuple[KeyEntry, ...]


class Keys:
    """Operations on the key ring."""

    def __init__(self, changes: Changes, ring: KeyRing, ask: Ask) -> None:
        """Take the audit's door, the ring and the link to the workers."""
        self._changes = changes
        self._ring = ring
        self._ask = ask

    @route("GET", "/keys", scope=Scope.ADMIN)
    async def list_(self, caller: Caller) -> KeyRingEntry:
        """List the keys that sign and verify links and return paths."""
        caller.demand_all_accounts()
        return self._listed()

    @route("POST", "/keys/rotate", scope=Scope.ADMIN)
    async def rotate(self, caller: Caller) -> KeyRingEntry:
        """Add a fresh key that signs from now on; older keys go on verifying."""
        caller.demand_all_accounts()
        try:
            fresh = await asyncio.to_thread(self._ring.rotate)
        except KeyRingError as problem:
            raise ConflictError(str(problem)) from None
        except OSError as problem:
            raise UnavailableError(f"the key ring was not written: {problem.strerror}") from None
        await self._ask("keys.reload", {})

        def work(change: Change) -> None:
            change.audit("keys.rotate", f"key {fresh}", account=None)

        await self._changes.make(caller, work, settings=False)
        return self._listed()

    def _listed(self) -> KeyRingEntry:
        current = self._ring.current
        return KeyRingEntry(
            items=tuple(KeyEntry(id=id_, signs=id_ == current) for id_ in self._ring.ids)
        )
