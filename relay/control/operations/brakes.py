"""Complaint and bounce rates of sending domains, and what the brakes make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from relay.control.brakes import Standing
from relay.control.caller import Caller, Scope
from relay.control.operations.words import AccountId, Entry
from relay.control.route import route


class BrakeEntry(Entry, frozen=True):
    """One rate of a sending domain within the window."""

    account: int
    sending_domain: str
    kind: str  # complaint, bounce
    rate: float
    count: int
    of: int  # delivered messages for complaints, sent messages for bounces
    level: str  # good, warned, stopped


class BrakeList(Entry, frozen=True):
    """Sending domains with enough mail in the window, worst first."""

    items: tuple[BrakeEntry, ...]


class BrakeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose."""

    account: AccountId | None = None


class Brakes:
    """Operations on the brakes."""

    def __init__(self) -> None:
        """Stand by; the watching task gives `standings`."""
        self.standings: Callable[[], Sequence[Standing]] = tuple

    @route("GET", "/brakes", scope=Scope.READ)
    async def list_(self, caller: Caller, query: BrakeQuery) -> BrakeList:
        """Show complaint and bounce rates of sending domains over the window."""
        if query.account is not None:
            caller.own("account", query.account)
        seen = [
            one
            for one in self.standings()
            if caller.sees(one.rate.account, one.rate.sending_domain)
            and query.account in (None, one.rate.account)
        ]
        seen.sort(key=lambda one: (-one.level, -one.rate.value))
        return BrakeList(
            items=tuple(
                BrakeEntry(
                    account=one.rate.account,
                    sending_domain=one.rate.sending_domain,
                    kind=one.rate.kind,
                    rate=one.rate.value,
                    count=one.rate.bad,
                    of=one.rate.of,
                    level=one.level.name.lower(),
                )
                for one in seen
            )
        )
