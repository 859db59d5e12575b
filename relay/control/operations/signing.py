"""Operations on the DKIM keys of a sending domain: made, taken into use, removed.

Guarantees: a domain that signs goes on signing: the last key in use cannot be removed. Every change
is audited with the domain before and after it.
"""

from __future__ import annotations

from sqlalchemy import delete, update

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.dkim_keys import DkimKeyEntry, KeyMaker, store_key
from relay.control.operations.domains import DomainEntry, audited, domain_entry
from relay.control.route import route
from relay.errors import ConflictError, NotFoundError
from relay.ledger.settings_tables import dkim_keys


class Signing:
    """Keys that sign."""

    def __init__(self, changes: Changes, keys: KeyMaker) -> None:
        """Take the way to change settings, and who makes keys."""
        self._changes = changes
        self._keys = keys

    @route("POST", "/domains/{domain}/dkim", scope=Scope.WRITE, status=201)
    async def add_keys(self, caller: Caller, domain: str) -> DomainEntry:
        """Make another pair of DKIM keys, not in use until it is activated (publish it first)."""
        known = await self._changes.read(
            lambda connection: domain_entry(connection, caller, domain)
        )
        fresh = await self._keys.pair(known.name, self._changes.now())

        def work(change: Change) -> DomainEntry:
            before = domain_entry(change.connection, caller, domain)
            for key in fresh:
                store_key(change, before.id, key, active=False)
            return audited(change, "dkim.add", before)

        return await self._changes.make(caller, work)

    @route("POST", "/domains/{domain}/dkim/{selector}/activate", scope=Scope.WRITE)
    async def activate_key(self, caller: Caller, domain: str, selector: str) -> DomainEntry:
        """Sign with this key from now on, in place of the others of its algorithm."""

        def work(change: Change) -> DomainEntry:
            before = domain_entry(change.connection, caller, domain)
            chosen = _key_of(before, selector)
            own = dkim_keys.c.domain == before.id
            same = dkim_keys.c.algorithm == chosen.algorithm
            change.connection.execute(
                update(dkim_keys).where(own, same).values(active=dkim_keys.c.selector == selector)
            )
            return audited(change, "dkim.activate", before)

        return await self._changes.make(caller, work)

    @route("DELETE", "/domains/{domain}/dkim/{selector}", scope=Scope.WRITE)
    async def remove_key(self, caller: Caller, domain: str, selector: str) -> DomainEntry:
        """Destroy a key, but not the last one in use; its DNS record may go some days later."""

        def work(change: Change) -> DomainEntry:
            before = domain_entry(change.connection, caller, domain)
            chosen = _key_of(before, selector)
            if chosen.active and sum(key.active for key in before.dkim) == 1:
                raise ConflictError("this key alone is in use; activate another one first")
            own = dkim_keys.c.domain == before.id
            change.connection.execute(
                delete(dkim_keys).where(own, dkim_keys.c.selector == selector)
            )
            return audited(change, "dkim.remove", before)

        return await self._changes.make(caller, work)


def _key_of(entry: DomainEntry, selector: str) -> DkimKeyEntry:
    for key in entry.dkim:
        if key.selector == selector:
            return key
    raise NotFoundError("there is no such DKIM key")
