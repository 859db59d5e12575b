"""What a change of tracking switches will do, domain by domain, said before it is done. Pure.

Guarantees: `foresee` counts each domain once per switch, by the value in force before and after;
the sentences say the whole of it in numbers, the lists name the domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.control.operations.words import Entry
from relay.settings import Switch

_MEANS = {
    ("opens", Switch.ON): "will start counting opens",
    ("opens", Switch.OFF): "will stop counting opens",
    ("opens", Switch.OPTIONAL): "will count opens only where the message asks",
    ("clicks", Switch.ON): "will start rewriting links",
    ("clicks", Switch.OFF): "will stop rewriting links",
    ("clicks", Switch.OPTIONAL): "will rewrite links only where the message asks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A domain's own switches before and after, and what they mean under its account."""

    domain: str
    before: dict[str, Switch]  # own values, by "opens" and "clicks"
    after: dict[str, Switch]


class Effect(Entry, frozen=True):
    """One switch in force at one domain that the change moves."""

    domain: str
    switch: str  # "opens" or "clicks"
    before: Switch
    after: Switch


class Kept(Entry, frozen=True):
    """A domain that keeps its own value instead of its account's new one."""

    domain: str
    switch: str
    value: Switch


class Consequence(Entry, frozen=True):
    """What a change will do."""

    summary: tuple[str, ...]
    effects: tuple[Effect, ...]
    keep_own: tuple[Kept, ...]
    offer: str  # how to take along those that keep their own value; "" where there are none


def foresee(
    account_before: dict[str, Switch],
    account_after: dict[str, Switch],
    standings: Sequence[Standing],
    *,
    account_changes: bool,
    other_domains: bool,
    settings_changed: Sequence[str] = (),
) -> Consequence:
    """Compare the switches in force before and after.

    `account_changes`: the account's own switches are being set, so domains with a value of their
    own are worth a word. `other_domains`: the account may send from domains that are not
    registered. `settings_changed`: domains whose settings change without a switch in force moving.
    """
    effects, kept = [], []
    for standing in standings:
        for switch in ("opens", "clicks"):
            own_before, own_after = standing.before[switch], standing.after[switch]
            before = _in_force(own_before, account_before[switch])
            after = _in_force(own_after, account_after[switch])
            if before is not after:
                effects.append(
                    Effect(domain=standing.domain, switch=switch, before=before, after=after)
                )
            moved = account_changes and account_before[switch] is not account_after[switch]
            if moved and own_after is not Switch.INHERIT:
                kept.append(Kept(domain=standing.domain, switch=switch, value=own_after))
    summary = _sentences(effects)
    if kept:
        count = len({one.domain for one in kept})
        summary.append(f"{_domains(count)} {'keeps its' if count == 1 else 'keep their'} own value")
    if other_domains and account_changes and account_before != account_after:
        summary.append("mail from domains that are not registered takes the account's new values")
    if settings_changed:
        summary.append(
            f"{_domains(len(settings_changed))} will take the other settings that were asked for"
        )
    return Consequence(
        summary=tuple(summary) or ("nothing would change",),
        effects=tuple(effects),
        keep_own=tuple(kept),
        offer='send the same with "reset": true, and these domains take the account\'s values'
        if kept
        else "",
    )


def _in_force(own: Switch, inherited: Switch) -> Switch:
    return inherited if own is Switch.INHERIT else own


def _sentences(effects: Sequence[Effect]) -> list[str]:
    said = []
    for (switch, value), meaning in _MEANS.items():
        count = sum(1 for one in effects if one.switch == switch and one.after is value)
        if count:
            said.append(f"{_domains(count)} {meaning}")
    return said


def _domains(count: int) -> str:
    return "1 domain" if count == 1 else f"{count} domains"
