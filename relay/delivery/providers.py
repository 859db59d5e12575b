"""Who runs a recipient domain's MX, and how many connections, messages and deliveries they want.

The table is data (`providers.toml`): dated, with the source and what it rests on beside each row. A
host belongs to the provider with the longest matching name ending.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from relay.errors import ConfigError

TABLE = Path(__file__).with_name("providers.toml")


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider and its limits per sending address; `per_second` 0 keeps no rate."""

    name: str
    hosts: tuple[str, ...]
    domains: tuple[str, ...]
    connections: int
    per_second: float
    messages_per_connection: int
    basis: Literal["published", "reported", "assumed"]
    source: str
    seen: date


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: tuple[Provider, ...]


@dataclass(frozen=True, slots=True)
class Providers:
    """The table, by MX host, by recipient domain, by name."""

    by_name: dict[str, Provider]
    by_ending: dict[str, Provider]
    by_domain: dict[str, Provider]

    def of_host(self, host: str) -> Provider | None:
        """Give the provider of an MX host (lower case, no final dot), None for an unknown one."""
        return _longest(self.by_ending, host)

    def of_domain(self, domain: str) -> Provider | None:
        """Give the provider of a recipient domain that is listed as its own, without asking DNS."""
        return self.by_domain.get(domain)

    def name_of_host(self, host: str) -> str:
        """Give the provider's name, "" for an unknown host; fits `MxHosts.provider_of`."""
        provider = self.of_host(host)
        return provider.name if provider is not None else ""

    def messages(self, name: str) -> int:
        """Give the messages a provider wants per connection, 0 for no wish; fits `Transport`."""
        provider = self.by_name.get(name)
        return provider.messages_per_connection if provider is not None else 0


def load_providers(path: Path = TABLE) -> Providers:
    """Read a table; raises ConfigError with the file and what is wrong in it."""
    try:
        table = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _Table)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return Providers(
        {provider.name: provider for provider in table.provider},
        dict(_pairs(table.provider, "hosts", path)),
        dict(_pairs(table.provider, "domains", path)),
    )


def _pairs(
    providers: Iterable[Provider], what: Literal["hosts", "domains"], path: Path
) -> Iterable[tuple[str, Provider]]:
    seen: set[str] = set()
    for provider in providers:
        for name in getattr(provider, what):
            if name in seen:
                raise ConfigError(f"{path}: {name} stands in {what} of two providers")
            seen.add(name)
            yield name, provider


def _longest(endings: dict[str, Provider], name: str) -> Provider | None:
    while name:
        provider = endings.get(name)
        if provider is not None:
            return provider
        name = name.partition(".")[2]
    return None
