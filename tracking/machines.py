"""Who made a hit: a person, a privacy prefetch, an image proxy or a scanner.

`classify` is a pure function of a hit and the other hits of the same delivery, by the rules in
`machines.toml`. Since a burst shows only when its last hit is in, the same hit may get another
verdict later; whoever keeps hits asks again for all of a delivery when one arrives.

Guarantees: every verdict names its rule; nothing is dropped; the cost of one verdict is bounded
(`MAX_OTHERS` hits of a delivery are looked at).
Leaves to others: the rules themselves (`machine_rules.py`), recording, and how the natures are
counted. A proxy's fetch is a person's open.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

from tracking.machine_rules import Behaviour, Nature, NetworkRule, Rules, builtin

MAX_OTHERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One request for a link or pixel of a delivery.

    `at` and `sent_at` are microseconds since the epoch (`sent_at` None when not known); `kind` is
    "open" or "click"; `headers` has lower-case names, of which Purpose, Sec-Purpose, X-Purpose
    and X-Moz are of interest; `address` is the client's, "" where it is not kept.
    """

    at: int
    kind: str
    delivery: int
    link: int = 0
    method: str = "GET"
    user_agent: str = ""
    address: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent_at: int | None = None


class Verdict(NamedTuple):
    """What made a hit, and the rule that says so."""

    kind: Nature
    rule: str


def classify(hit: Hit, others: Sequence[Hit], rules: Rules | None = None) -> Verdict:
    """Say what made a hit, from itself and the other hits of its delivery (in any order)."""
    known = rules or builtin()
    if hit.method.upper() != "GET":
        return Verdict("scanner", f"method-{hit.method.lower()[:16]}")
    own = _by_itself(hit, known)
    if own is not None:
        return own
    near = others[-MAX_OTHERS:]
    seen = _by_company(hit, near, known)
    if seen is not None:
        return seen
    if not hit.user_agent:
        return Verdict("unknown", "no-user-agent")
    return Verdict("human", "none")


def _by_itself(hit: Hit, rules: Rules) -> Verdict | None:
    for each in rules.headers:
        value = hit.headers.get(each.header)
        if value and hit.kind in each.kinds and each.takes(value):
            return Verdict(each.nature, each.rule)
    usual = rules is builtin()
    own = (_usual_agent if usual else partial(_by_agent, rules=rules))(hit.user_agent, hit.kind)
    if own is not None:
        return own
    after = None if hit.sent_at is None else hit.at - hit.sent_at
    for network in (_usual_networks if usual else partial(_networks, rules=rules))(
        hit.address, hit.kind
    ):
        if network.within is None or after is None or after <= network.within:
            return Verdict(network.nature, network.rule)
    behaviour = rules.behaviour
    soon = behaviour.too_soon_open if hit.kind == "open" else behaviour.too_soon_click
    if after is not None and after < soon:
        return Verdict("scanner", "too-soon")
    return None


def _by_agent(user_agent: str, kind: str, rules: Rules) -> Verdict | None:
    """Judge by the user agent alone."""
    for each in rules.agents:
        if kind in each.kinds and each.takes(user_agent):
            return Verdict(each.nature, each.rule)
    return None


def _networks(address: str, kind: str, rules: Rules) -> tuple[NetworkRule, ...]:
    """Give the rules about networks that an address lies in."""
    found = _address(address)
    if found is None:
        return ()
    return tuple(
        network
        for network in rules.networks
        if kind in network.kinds and any(found in each for each in network.ranges)
    )


@lru_cache(maxsize=4096)
def _usual_agent(user_agent: str, kind: str) -> Verdict | None:
    """Remember what the built-in rules say: the same few hundred agents make nearly all hits."""
    return _by_agent(user_agent, kind, builtin())


@lru_cache(maxsize=16_384)
def _usual_networks(address: str, kind: str) -> tuple[NetworkRule, ...]:
    """Remember the built-in rules of an address."""
    return _networks(address, kind, builtin())


def _by_company(hit: Hit, others: Sequence[Hit], rules: Rules) -> Verdict | None:
    """Judge by what else happened to the delivery."""
    behaviour = rules.behaviour
    company = _Company(hit, others, behaviour)
    if hit.kind == "click":
        swept = company.swept(hit)
        if swept:
            return Verdict("scanner", swept)
    elif any(
        0 <= each.at - hit.at <= behaviour.burst_open
        and same_visitor(each, hit)
        and company.swept(each)
        for each in company.clicks
    ):
        return Verdict("scanner", "burst-open")
    for each in others:
        if (
            each.method.upper() == "HEAD"
            and abs(each.at - hit.at) <= behaviour.head
            and same_visitor(each, hit)
        ):
            return Verdict("scanner", "head-first")
    if hit.kind == "click" and any(
        _looks_again(hit, each, behaviour)
        and _by_itself(each, rules) is None
        and not company.swept(each)
        for each in company.clicks
    ):
        return Verdict("unknown", "second-look")
    return None


def _looks_again(hit: Hit, first: Hit, behaviour: Behaviour) -> bool:
    """Say whether another visitor, in network and in user agent, was on this link just before.

    One of the two is a person, the other a scanner that follows or precedes; which is not known,
    so that the later one is nobody's.
    """
    return (
        first.link == hit.link
        and 0 <= hit.at - first.at <= behaviour.second_look
        and first.user_agent != hit.user_agent
        and network(first.address) != network(hit.address)
    )


class _Company:
    """The clicks of a delivery, and which of them swept over its links as no person does."""

    def __init__(self, hit: Hit, others: Sequence[Hit], behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.clicks = [each for each in others if each.kind == "click" and _is_get(each)]
        opens = [each.at for each in (*others, hit) if each.kind == "open" and _is_get(each)]
        first_open = min(opens, default=None)
        self.unopened = [each for each in self.clicks if first_open is None or each.at < first_open]
        self.first_open = first_open

    def swept(self, click: Hit) -> str:
        """Give the rule by which a click belongs to a sweep, "" when to none."""
        behaviour = self.behaviour
        if _together(click, self.clicks, behaviour.burst_links, behaviour.burst):
            return "burst"
        before_open = self.first_open is None or click.at < self.first_open
        if before_open and _together(
            click, self.unopened, behaviour.unopened_links, behaviour.unopened
        ):
            return "links-unopened"
        return "walk" if _walks(click, self.clicks, behaviour) else ""


def _is_get(hit: Hit) -> bool:
    return hit.method.upper() == "GET"


def _walks(click: Hit, clicks: Sequence[Hit], behaviour: Behaviour) -> bool:
    """Say whether this click is one of a walk: one link after the next, none left out."""
    steps = {(each.at, each.link) for each in clicks if same_visitor(each, click)}
    own = (click.at, click.link)
    run: list[tuple[int, int]] = []
    length = 0
    for step in sorted(steps | {own}):
        at, link = step
        if run and at - run[-1][0] <= behaviour.walk and 0 <= link - run[-1][1] <= 1:
            length += link - run[-1][1]
        elif own in run:
            break
        else:
            run, length = [], 1
        run.append(step)
    return own in run and length >= behaviour.walk_links


def _together(hit: Hit, clicks: Sequence[Hit], wanted: int, span: int) -> bool:
    """Say whether so many distinct links were hit within one window around this hit."""
    near = sorted((each.at, each.link) for each in clicks if abs(each.at - hit.at) <= span)
    near.append((hit.at, hit.link))
    near.sort()
    if len({link for _, link in near}) < wanted:
        return False
    for first, (start, _) in enumerate(near):
        if start > hit.at:
            return False
        links = {link for at, link in near[first:] if at - start <= span}
        if hit.at - start <= span and len(links) >= wanted:
            return True
    return False


def repeats(hit: Hit, others: Iterable[Hit], rules: Rules | None = None) -> bool:
    """Say whether an earlier hit of the same visitor on the same link is the same event."""
    revisit = (rules or builtin()).behaviour.revisit
    return any(
        each.kind == hit.kind
        and each.link == hit.link
        and 0 <= hit.at - each.at <= revisit
        and (each.at < hit.at or each is not hit)
        and same_visitor(each, hit)
        for each in others
    )


def same_visitor(one: Hit, other: Hit) -> bool:
    """Say whether two hits come from the same network (/24 or /48) with the same user agent."""
    return one.user_agent == other.user_agent and network(one.address) == network(other.address)


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Give an address's /24 (IPv4) or /48 (IPv6), "" for what is no address."""
    found = _address(address)
    if found is None:
        return ""
    prefix = 24 if found.version == 4 else 48
    return str(ipaddress.ip_network((found, prefix), strict=False))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not text or len(text) > 64:
        return None
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
