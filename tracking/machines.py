"""Who made a hit: a person, a privacy prefetch, an image proxy or a scanner.

`classify` is a pure function of a hit and the other hits of the same delivery, by the rules in
`machines.toml`; `classify_all` is the same for all hits of a delivery at once. Since a burst shows
only when its last hit is in, the same hit may get another verdict later; whoever keeps hits asks
again for all of a delivery when one arrives.

Guarantees: every verdict names its rule; nothing is dropped; the cost of one verdict is bounded
(`MAX_OTHERS` hits of a delivery are looked at), that of all together grows as sorting them does.
Leaves to others: the rules themselves (`machine_rules.py`), which clicks are a sweep (`sweeps.py`),
recording, and how the natures are counted. A proxy's fetch is a person's open.
"""

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

from tracking.machine_rules import Nature, NetworkRule, Rules, builtin
from tracking.sweeps import Click, second_looks, sweeps

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
    own = _alone(hit, known)
    if own is not None:
        return own
    near = (hit, *others[-MAX_OTHERS:])
    alone = (own, *(_alone(each, known) for each in near[1:]))
    return _together(0, hit, _Company(near, alone, known))


def classify_all(hits: Sequence[Hit], rules: Rules | None = None) -> list[Verdict]:
    """Say what made each of all hits of a delivery (in any order), what `classify` says of it and
    the others, at the price of looking at each once.
    """
    known = rules or builtin()
    alone = [_alone(hit, known) for hit in hits]
    company = _Company(hits, alone, known)
    return [own or _together(at, hits[at], company) for at, own in enumerate(alone)]


def _together(at: int, hit: Hit, company: "_Company") -> Verdict:
    """Judge a hit that says nothing by itself by its company."""
    seen = company.says(at, hit)
    if seen is not None:
        return seen
    if not hit.user_agent:
        return Verdict("unknown", "no-user-agent")
    return Verdict("human", "none")


def _alone(hit: Hit, rules: Rules) -> Verdict | None:
    if hit.method.upper() != "GET":
        return Verdict("scanner", f"method-{hit.method.lower()[:16]}")
    return _by_itself(hit, rules)


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


class _Company:
    """All hits of a delivery, and what they say of each other."""

    def __init__(self, hits: Sequence[Hit], alone: Sequence[Verdict | None], rules: Rules) -> None:
        """Take the hits, and what each of them is by itself."""
        self._behaviour = behaviour = rules.behaviour
        gets = [at for at, hit in enumerate(hits) if _is_get(hit)]
        at_clicks = [at for at in gets if hits[at].kind == "click"]
        clicks = [_click(hits[at]) for at in at_clicks]
        first_open = min((hits[at].at for at in gets if hits[at].kind == "open"), default=None)
        swept = sweeps(clicks, first_open, behaviour)
        people = (n for n, at in enumerate(at_clicks) if alone[at] is None and not swept[n])
        seconds = second_looks(clicks, people, behaviour.second_look)
        self._swept = dict(zip(at_clicks, swept, strict=True))
        self._second = {at_clicks[n] for n in seconds}
        self._sweeping = _moments(hits[at] for at, rule in self._swept.items() if rule)
        self._heads = _moments(hit for hit in hits if hit.method.upper() == "HEAD")

    def says(self, at: int, hit: Hit) -> Verdict | None:
        """Judge the hit at an index by what else happened to the delivery."""
        behaviour = self._behaviour
        if swept := self._swept.get(at):
            return Verdict("scanner", swept)
        sweeping = self._sweeping.get(_visitor(hit), ())
        if hit.kind == "open" and _any(sweeping, hit.at, hit.at + behaviour.burst_open):
            return Verdict("scanner", "burst-open")
        heads = self._heads.get(_visitor(hit), ())
        if _any(heads, hit.at - behaviour.head, hit.at + behaviour.head):
            return Verdict("scanner", "head-first")
        return Verdict("unknown", "second-look") if at in self._second else None


def _is_get(hit: Hit) -> bool:
    return hit.method.upper() == "GET"


def _visitor(hit: Hit) -> tuple[str, str]:
    return hit.user_agent, network(hit.address)


def _click(hit: Hit) -> Click:
    return Click(hit.at, hit.link, *_visitor(hit))


def _moments(hits: Iterable[Hit]) -> dict[tuple[str, str], list[int]]:
    """Give when each visitor came, in order."""
    found: dict[tuple[str, str], list[int]] = {}
    for hit in hits:
        found.setdefault(_visitor(hit), []).append(hit.at)
    for moments in found.values():
        moments.sort()
    return found


def _any(moments: Sequence[int], since: int, until: int) -> bool:
    """Say whether one of these moments, which are in order, lies between two (both included)."""
    at = bisect_left(moments, since)
    return at < len(moments) and moments[at] <= until


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
