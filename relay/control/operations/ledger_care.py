"""Care of the ledger: erasing a recipient everywhere, and checking that the sums hold.

Guarantees: after an erasure no row, event, conversation or suppression holds the address; numbers
stay, and the address stays suppressed where it was, by its key alone.
"""

from __future__ import annotations

from sqlalchemy import update

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.suppression_rows import SuppressionKeys
from relay.control.operations.words import Body, Entry, Text, regular_address
from relay.control.route import route
from relay.ledger.engine import Ledger
from relay.ledger.erasure import erase_recipient
from relay.ledger.settings_tables import suppressions
from relay.ledger.sums import check_sums


class Erasure(Body, frozen=True):
    """Whom to erase."""

    recipient: Text


class Erased(Entry, frozen=True):
    """What was erased."""

    deliveries: int
    suppressions: int  # which stay in force by their key


class Sums(Entry, frozen=True):
    """Whether events, rows, cubes and counters agree."""

    hold: bool
    differences: tuple[str, ...]


class LedgerCare:
    """Operations on the ledger as a whole."""

    def __init__(self, ledger: Ledger, changes: Changes, keys: SuppressionKeys) -> None:
        """Take the ledger, the door for changes, and what turns addresses into keys."""
        self._ledger = ledger
        self._changes = changes
        self._keys = keys

    @route("POST", "/erasures", scope=Scope.ADMIN)
    async def erase(self, caller: Caller, body: Erasure) -> Erased:
        """Erase a recipient everywhere; statistics and suppressions stay."""
        caller.demand_all_accounts()
        recipient = regular_address(body.recipient)
        key = self._keys.of(recipient)
        deliveries = await erase_recipient(self._ledger, recipient)

        def work(change: Change) -> Erased:
            theirs = (suppressions.c.recipient_key == key) & (suppressions.c.recipient != "")
            done = change.connection.execute(
                update(suppressions).where(theirs).values(recipient="", note="")
            )
            erased = Erased(deliveries=deliveries, suppressions=done.rowcount)
            change.audit("recipient.erase", f"recipient {key}", account=None, after=erased)
            return erased

        return await self._changes.make(caller, work, settings=False)

    @route("GET", "/sums", scope=Scope.ADMIN)
    async def sums(self, caller: Caller) -> Sums:
        """Count everything anew from the events and name every difference; takes its time."""
        caller.demand_all_accounts()
        differences = tuple(await check_sums(self._ledger))
        return Sums(hold=not differences, differences=differences)
