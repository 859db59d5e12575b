"""Who made a hit: a person, a privacy prefetch, an image proxy or a scanner.

`classify` is a pure function of a hit and the other hits of the same delivery, by the rules in
`machines.toml`. Since a burst shows only when its last hit is in, the same hit may get another
verdict later; whoever keeps hits asks again for all of a delivery when one arrives.

Guarantees: every verdict names its rule; nothing is dropped; the cost of one verdict is bounded
(`MAX_OTHERS` hits of a delivery are looked at, texts up to `MAX_TEXT` characters).
Leaves to others: recording, and how the natures are counted. A proxy's fetch is a person's open.
"""

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Literal, NamedTuple

Nature = Literal["human", "prefetch", "proxy", "scanner", "unknown"]
MAX_OTHERS = 500
MAX_TEXT = 1024
_SECOND = 1_000_000


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


class TextRule(NamedTuple):
    """A rule about a header's or user agent's text."""

    rule: str
    nature: Nature
    how: str
    text: str
    sample: str
    header: str
    kinds: frozenset[str]

    def takes(self, text: str) -> bool:
        """Say whether this text falls under the rule."""
        if self.how == "is":
            return text == self.text
        lowered = text[:MAX_TEXT].lower()
        if self.how == "starts":
            return lowered.startswith(self.text)
        if self.how == "ends":
            return text[-MAX_TEXT:].lower().endswith(self.text)
        return self.text in lowered


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NetworkRule(NamedTuple):
    """A rule about the client's address."""

    rule: str
    nature: Nature
    ranges: tuple[Network, ...]
    sample: str


class Behaviour(NamedTuple):
    """Times in microseconds and counts that tell a machine by what it does."""

    burst_links: int
    burst: int
    burst_open: int
    too_soon_click: int
    too_soon_open: int
    head: int
    revisit: int


class Rules(NamedTuple):
    """All rules in their order."""

    headers: tuple[TextRule, ...]
    agents: tuple[TextRule, ...]
    networks: tuple[NetworkRule, ...]
    behaviour: Behaviour


class RulesError(ValueError):
    """The rules cannot be read; the text names the rule and what was expected."""


@lru_cache(maxsize=1)
def builtin() -> Rules:
    """Give the rules that come with Waypost."""
    return parse(resources.files("tracking").joinpath("machines.toml").read_text("utf-8"))


def parse(text: str) -> Rules:
    """Read rules from TOML; raises RulesError for what is missing or unknown."""
    try:
        table = tomllib.loads(text)
        behaviour = table["behaviour"]
        times = {
            name: round(behaviour[f"{name}_seconds"] * _SECOND)
            for name in Behaviour._fields
            if name != "burst_links"
        }
        return Rules(
            tuple(_text_rule(each) for each in table.get("header", ())),
            tuple(_text_rule(each) for each in table.get("agent", ())),
            tuple(_network_rule(each) for each in table.get("network", ())),
            Behaviour(burst_links=int(behaviour["burst_links"]), **times),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise RulesError(f"machine rules: {error!r}") from error


def _text_rule(table: Mapping[str, object]) -> TextRule:
    how = str(table["how"])
    if how not in ("is", "starts", "ends", "contains"):
        raise RulesError(
            f"rule {table['rule']!r}: how = {how!r}, expected is, starts, ends, contains"
        )
    text = str(table["text"])
    kinds = table.get("kinds", ("open", "click"))
    if not isinstance(kinds, list | tuple):
        raise RulesError(f"rule {table['rule']!r}: kinds, expected a list")
    return TextRule(
        rule=str(table["rule"]),
        nature=_nature(table),
        how=how,
        text=text if how == "is" else text.lower(),
        sample=str(table["sample"]),
        header=str(table.get("header", "")).lower(),
        kinds=frozenset(map(str, kinds)),
    )


def _network_rule(table: Mapping[str, object]) -> NetworkRule:
    ranges = table["ranges"]
    if not isinstance(ranges, list):
        raise RulesError(f"rule {table['rule']!r}: ranges, expected a list")
    try:
        networks = tuple(ipaddress.ip_network(str(each)) for each in ranges)
    except ValueError as error:
        raise RulesError(f"rule {table['rule']!r}: {error}") from error
    return NetworkRule(str(table["rule"]), _nature(table), networks, str(table["sample"]))


def _nature(table: Mapping[str, object]) -> Nature:
    match table["nature"]:
        case "prefetch":
            return "prefetch"
        case "proxy":
            return "proxy"
        case "scanner":
            return "scanner"
        case other:
            raise RulesError(f"rule {table['rule']!r}: nature = {other!r}")


def classify(hit: Hit, others: Sequence[Hit], rules: Rules | None = None) -> Verdict:
    """Say what made a hit, from itself and the other hits of its delivery (in any order)."""
    known = rules or builtin()
    if hit.method.upper() != "GET":
        return Verdict("scanner", f"method-{hit.method.lower()[:16]}")
    own = _by_itself(hit, known)
    if own is not None:
        return own
    near = others[-MAX_OTHERS:]
    seen = _by_company(hit, near, known.behaviour)
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
    for each in rules.agents:
        if hit.kind in each.kinds and each.takes(hit.user_agent):
            return Verdict(each.nature, each.rule)
    address = _address(hit.address)
    if address is not None:
        for network in rules.networks:
            if any(address in each for each in network.ranges):
                return Verdict(network.nature, network.rule)
    if hit.sent_at is not None:
        behaviour = rules.behaviour
        soon = behaviour.too_soon_open if hit.kind == "open" else behaviour.too_soon_click
        if hit.at - hit.sent_at < soon:
            return Verdict("scanner", "too-soon")
    return None


def _by_company(hit: Hit, others: Iterable[Hit], behaviour: Behaviour) -> Verdict | None:
    """Judge by what else happened to the delivery."""
    clicks = [each for each in others if each.kind == "click" and each.method.upper() == "GET"]
    if hit.kind == "click":
        if _in_burst(hit, clicks, behaviour):
            return Verdict("scanner", "burst")
    elif any(
        0 <= each.at - hit.at <= behaviour.burst_open
        and same_visitor(each, hit)
        and _in_burst(each, clicks, behaviour)
        for each in clicks
    ):
        return Verdict("scanner", "burst-open")
    for each in others:
        if (
            each.method.upper() == "HEAD"
            and abs(each.at - hit.at) <= behaviour.head
            and same_visitor(each, hit)
        ):
            return Verdict("scanner", "head-first")
    return None


def _in_burst(hit: Hit, clicks: Sequence[Hit], behaviour: Behaviour) -> bool:
    """Say whether enough distinct links were hit within one short window around this hit."""
    near = sorted(
        (each.at, each.link) for each in clicks if abs(each.at - hit.at) <= behaviour.burst
    )
    near.append((hit.at, hit.link))
    near.sort()
    for first, (start, _) in enumerate(near):
        if start > hit.at:
            return False
        links = {link for at, link in near[first:] if at - start <= behaviour.burst}
        if hit.at - start <= behaviour.burst and len(links) >= behaviour.burst_links:
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
