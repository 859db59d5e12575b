"""How mail leaves by this node's settings: hosts, TLS, source addresses, as delivery wants them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import ip_address
from pathlib import Path

from dns.resolver import NoResolverConfiguration

from relay.config import Config
from relay.delivery.deadlines import TIMEOUTS
from relay.delivery.hello import Login
from relay.delivery.mx.lookup import MxHosts
from relay.delivery.mx.own import own_addresses
from relay.delivery.mx.owners import Owners
from relay.delivery.mx.policy import TlsPolicies
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from relay.delivery.mx.sts import HttpsFetch, StsPolicies
from relay.delivery.mx.sts_file import StsFile
from relay.delivery.providers import TABLE, Providers, load_providers
from relay.delivery.route import Hosts, Route, Smarthost, Smarthosts, TlsLevel
from relay.delivery.session import Opener
from relay.delivery.sources import Sources, Tally
from relay.delivery.tls import TlsContexts
from relay.dispatch.limits import Limits
from relay.errors import ConfigError
from relay.layout import split_endpoint

POOL_MARK = "/"
"""Parts a recipient domain from the pool that serves it, in the name of a destination."""

SMARTHOST = "smarthost"
"""The destination of everything while one next hop takes all mail."""

_UNKNOWN_LANES = 5  # before DNS was asked whose hosts a domain has


@dataclass(slots=True, kw_only=True)
class NextHops:
    """Where mail goes, from where, and how much at once."""

    config: Config
    hosts: Hosts
    owners: Owners | None  # None: a smarthost takes everything
    smarthost: Smarthost | None
    providers: Providers
    sources: Sources
    levels: Mapping[str, TlsLevel]

    def route(self, destination: str, source: str) -> Route:
        """Give the route of a destination from one of our addresses."""
        domain = destination.partition(POOL_MARK)[0]
        usual = (
            self.config.delivery.smarthost_tls if self.smarthost else self.config.delivery.mx_tls
        )
        tls = self.levels.get(domain, TlsLevel[usual.upper()])
        return Route(destination=domain, smarthost=self.smarthost, tls=tls, source=source)

    @property
    def in_sandbox(self) -> bool:
        """Tell whether nothing leaves the machine."""
        return self.config.delivery.mode == "sandbox"

    def pool(self, destination: str) -> str:
        """Give the pool in a destination's name, "" for the usual one."""
        return destination.partition(POOL_MARK)[2]

    def limits(self, destination: str) -> Limits:
        """Give the bounds of a destination: those of whoever runs its hosts, per own address."""
        most = self.config.delivery.connections
        if self.owners is None:
            return Limits(concurrency=most, initial=min(_UNKNOWN_LANES, most))
        domain, _, pool = destination.partition(POOL_MARK)
        owner, provider = self.owners.of(domain)
        addresses = self.sources.count(pool)
        if provider is not None:
            most = min(most, provider.connections)
        return Limits(
            concurrency=most * addresses,
            initial=min(_UNKNOWN_LANES, most),
            per_second=provider.per_second * addresses if provider is not None else 0.0,
            group=f"{owner}{POOL_MARK}{pool}" if owner else "",
        )


def next_hops(config: Config, tally: Tally) -> NextHops:
    """Read the settings; raises ConfigError for what cannot work."""
    delivery = config.delivery
    smarthost = _smarthost(config)
    providers = load_providers(Path(delivery.providers) if delivery.providers else TABLE)
    owners = None if smarthost else Owners(_mx_hosts(config, providers), providers)
    return NextHops(
        config=config,
        hosts=owners or Smarthosts(),
        owners=owners,
        smarthost=smarthost,
        providers=providers,
        sources=Sources(
            pools=pools(config),
            warming=_warming(config),
            tally=tally,
            today=lambda: datetime.now(UTC).date(),
        ),
        levels=_levels(config),
    )


def opener(config: Config) -> Opener:
    """Give what opens sessions; raises ConfigError."""
    scale = config.delivery.timeout_scale
    return Opener(
        name=config.node.hostname,
        timeouts={stage: seconds * scale for stage, seconds in TIMEOUTS.items()},
        connect_seconds=30.0 * scale,
        handshake_seconds=30.0 * scale,
        contexts=TlsContexts(_authorities(config)),
    )


def pools(config: Config) -> dict[str, tuple[str, ...]]:
    """Give the addresses of each pool, "" being the usual one; raises ConfigError."""
    found = {"": config.delivery.source_addresses}
    for name, addresses in _pairs("pools", config.delivery.pools):
        found[name] = tuple(addresses.split())
    for name, some in found.items():
        for address in some:
            try:
                ip_address(address)
            except ValueError:
                where = f"delivery.pools: {name}" if name else "delivery.source_addresses"
                raise ConfigError(f"{where}: {address!r} is not an IP address") from None
        if name and not some:
            raise ConfigError(f"delivery.pools: {name}: expected at least one address")
    return found


def pool_domains(config: Config) -> dict[str, str]:
    """Give the pool of each sending domain that has one; raises ConfigError."""
    known = pools(config)
    found = dict(_pairs("pool_domains", config.delivery.pool_domains))
    for domain, pool in found.items():
        if pool not in known:
            raise ConfigError(f"delivery.pool_domains: {domain}: there is no pool {pool!r}")
    return found


def _pairs(setting: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.strip() or POOL_MARK in name or not value.strip():
            raise ConfigError(f'delivery.{setting}: {one!r}: "name=value" is expected')
        pairs.append((name.strip().lower(), value.strip()))
    return pairs


def _warming(config: Config) -> dict[str, date]:
    found = {}
    for address, day in _pairs("warm_up", config.delivery.warm_up):
        try:
            found[address] = date.fromisoformat(day)
        except ValueError:
            raise ConfigError(f"delivery.warm_up: {address}: {day!r} is not a date") from None
    return found


def _levels(config: Config) -> dict[str, TlsLevel]:
    found = {}
    for domain, level in _pairs("tls_destinations", config.delivery.tls_destinations):
        if level.upper() not in TlsLevel.__members__:
            expected = "none, opportunistic, required or verified"
            raise ConfigError(f"delivery.tls_destinations: {domain}: expected {expected}")
        found[domain] = TlsLevel[level.upper()]
    return found


def _authorities(config: Config) -> ssl.SSLContext | None:
    file = config.delivery.authorities
    if not file:
        return None
    try:
        context = ssl.create_default_context(cafile=file)
    except OSError as problem:  # SSLError is one
        raise ConfigError(f"delivery.authorities: {file} cannot be used: {problem}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _mx_hosts(config: Config, providers: Providers) -> MxHosts:
    delivery = config.delivery
    settings = ResolverSettings(
        nameservers=delivery.nameservers, validates=delivery.dnssec_resolver
    )
    try:
        resolver = Resolver(settings)
    except (NoResolverConfiguration, ValueError) as problem:
        raise ConfigError(f"delivery.nameservers: {problem}") from None
    sts = None
    if delivery.mta_sts:
        fetch = HttpsFetch(
            resolver,
            context=_authorities(config),
            port=delivery.mta_sts_port,
            allow_private=delivery.allow_private_hosts,
        )
        kept = StsFile(config.data_dir / "mta-sts.jsonl") if config.data_dir.is_dir() else None
        sts = StsPolicies(resolver, fetch, keeper=kept)
    sources = [address for some in pools(config).values() for address in some]
    submission = config.submission
    doors = (config.inbound.listen, submission.plain_listen, submission.listen)
    return MxHosts(
        resolver=resolver,
        policies=TlsPolicies(
            resolver=resolver, sts=sts, dane=delivery.dnssec_resolver, port=delivery.mx_port
        ),
        own_names=frozenset({config.node.hostname.lower()}),
        own_addresses=own_addresses(sources, doors, delivery.mx_port),
        allow_private=delivery.allow_private_hosts,
        port=delivery.mx_port,
        provider_of=providers.name_of_host,
    )


def _smarthost(config: Config) -> Smarthost | None:
    delivery = config.delivery
    if delivery.mode == "mx":
        return None
    endpoint = config.sandbox.listen if delivery.mode == "sandbox" else delivery.smarthost
    host, port = split_endpoint(endpoint)
    login = None
    if delivery.smarthost_login:
        login = Login(
            login=delivery.smarthost_login.encode(), password=delivery.smarthost_password.encode()
        )
    return Smarthost(host=host, port=port, login=login)
