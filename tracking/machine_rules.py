"""The rules by which machines are told from people, read from data (`machines.toml`).

Guarantees: what is missing, unknown or no network is refused with the rule's name; texts are looked
at up to `MAX_TEXT` characters.
Leaves to others: what the rules are put to (`machines.py`).
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Literal, NamedTuple

Nature = Literal["human", "prefetch", "proxy", "scanner", "unknown"]
MAX_TEXT = 1024
_SECOND = 1_000_000


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
    """A rule about the client's address.

    `within` is the time after sending, in microseconds, in which the network's hits are the
    machine's; None for always.
    """

    rule: str
    nature: Nature
    ranges: tuple[Network, ...]
    sample: str
    kinds: frozenset[str]
    within: int | None


class Behaviour(NamedTuple):
    """Times in microseconds and counts that tell a machine by what it does."""

    burst_links: int
    burst: int
    burst_open: int
    unopened_links: int
    unopened: int
    walk_links: int
    walk: int
    too_soon_click: int
    too_soon_open: int
    head: int
    second_look: int
    revisit: int


_COUNTS = ("burst_links", "unopened_links", "walk_links")


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
            if name not in _COUNTS
        }
        return Rules(
            tuple(_text_rule(each) for each in table.get("header", ())),
            tuple(_text_rule(each) for each in table.get("agent", ())),
            tuple(_network_rule(each) for each in table.get("network", ())),
            Behaviour(**{name: int(behaviour[name]) for name in _COUNTS}, **times),
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
    return TextRule(
        rule=str(table["rule"]),
        nature=_nature(table),
        how=how,
        text=text if how == "is" else text.lower(),
        sample=str(table["sample"]),
        header=str(table.get("header", "")).lower(),
        kinds=_kinds(table),
    )


def _network_rule(table: Mapping[str, object]) -> NetworkRule:
    ranges = table["ranges"]
    if not isinstance(ranges, list):
        raise RulesError(f"rule {table['rule']!r}: ranges, expected a list")
    try:
        networks = tuple(ipaddress.ip_network(str(each)) for each in ranges)
    except ValueError as error:
        raise RulesError(f"rule {table['rule']!r}: {error}") from error
    within = table.get("within_seconds")
    if within is not None and not isinstance(within, int | float):
        raise RulesError(f"rule {table['rule']!r}: within_seconds, expected a number")
    return NetworkRule(
        rule=str(table["rule"]),
        nature=_nature(table),
        ranges=networks,
        sample=str(table["sample"]),
        kinds=_kinds(table),
        within=None if within is None else round(within * _SECOND),
    )


def _kinds(table: Mapping[str, object]) -> frozenset[str]:
    kinds = table.get("kinds", ("open", "click"))
    if not isinstance(kinds, list | tuple) or not {"open", "click"}.issuperset(kinds):
        raise RulesError(f"rule {table['rule']!r}: kinds = {kinds!r}, expected open and click")
    return frozenset(kinds)


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
