"""What is said before a switch is what the switch will do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from relay.control.operations.consequences import Standing, foresee
from relay.settings import Account, SendingDomain, Switch, effective

_own = some.fixed_dictionaries(
    {"opens": some.sampled_from(list(Switch)), "clicks": some.sampled_from(list(Switch))}
)
_account = some.fixed_dictionaries(
    {
        "opens": some.sampled_from([Switch.ON, Switch.OFF, Switch.OPTIONAL]),
        "clicks": some.sampled_from([Switch.ON, Switch.OFF, Switch.OPTIONAL]),
    }
)


@given(_account, _account, some.lists(some.tuples(_own, _own), max_size=5))
def test_effects_are_what_acceptance_will_find(
    before: dict[str, Switch],
    after: dict[str, Switch],
    owns: list[tuple[dict[str, Switch], dict[str, Switch]]],
) -> None:
    """The same rule as `relay.settings.effective`, before and after, for every domain."""
    standings = [
        Standing(domain=f"d{number}.test", before=old, after=new)
        for number, (old, new) in enumerate(owns)
    ]
    found = foresee(before, after, standings, account_changes=True, other_domains=False)
    said = {(one.domain, one.switch): (one.before, one.after) for one in found.effects}
    for standing in standings:
        for switch in ("opens", "clicks"):
            then = _in_force(before, standing.before, switch)
            now = _in_force(after, standing.after, switch)
            expected = (then, now) if then is not now else None
            assert said.get((standing.domain, switch)) == expected


def _in_force(account: dict[str, Switch], own: dict[str, Switch], switch: str) -> Switch:
    return effective(
        Account(id=1, name="a", opens=account["opens"], clicks=account["clicks"]),
        SendingDomain(id=1, account=1, name="d.test", opens=own["opens"], clicks=own["clicks"]),
        switch,
    )[0]


def test_the_sentences() -> None:
    """Numbers first, then who keeps an own value, then mail from other domains."""
    off, on = Switch.OFF, Switch.ON
    inherit = {"opens": Switch.INHERIT, "clicks": Switch.INHERIT}
    own = {"opens": Switch.INHERIT, "clicks": off}
    standings = [Standing(domain=f"d{n}.test", before=inherit, after=inherit) for n in range(12)]
    standings += [Standing(domain=f"k{n}.test", before=own, after=own) for n in range(3)]
    found = foresee(
        {"opens": off, "clicks": off},
        {"opens": off, "clicks": on},
        standings,
        account_changes=True,
        other_domains=True,
    )
    assert found.summary == (
        "12 domains will start rewriting links",
        "3 domains keep their own value",
        "mail from domains that are not registered takes the account's new values",
    )
    assert [one.domain for one in found.keep_own] == ["k0.test", "k1.test", "k2.test"]
