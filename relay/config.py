"""Settings read once at the start: `waypost.toml` plus the environment, frozen and validated.

Guarantees: what comes out can be run; an unknown key, a bad value or an impossible combination
raises ConfigError that names the file (or variable), the key and what was expected. Settings that
change while the relay runs (accounts, sending domains, switches) are not here but in `settings.py`.

Precedence: environment over file over default. The variable of `submission.listen` is
`WAYPOST_SUBMISSION_LISTEN`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from relay.errors import ConfigError

_LAST_PORT = 65535
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_ENDPOINT = r"^(|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5})$"
_NODE_NAME = r"^[a-z0-9][a-z0-9-]{0,30}$"
_HOSTNAME = r"^[A-Za-z0-9.-]{1,253}$"
_BASE_URL = r"^https?://[^/?#\s]+$"
_RETURN_PATH = r"^[a-z0-9.-]{1,180}$"
_IN_WORDS = {
    _ENDPOINT: 'expected "host:port", an IPv6 address in brackets, or "" for none',
    _NODE_NAME: "expected up to 31 lower-case letters, digits and hyphens",
    _HOSTNAME: "expected a host name of letters, digits, dots and hyphens",
    _BASE_URL: 'expected "http://host" or "https://host" without a path',
    _RETURN_PATH: "expected a domain in lower case, up to 180 characters",
}
Endpoint = Annotated[str, msgspec.Meta(pattern=_ENDPOINT)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of all sections: frozen, unknown keys refused."""


class Node(Section, frozen=True):
    """This installation."""

    name: Annotated[str, msgspec.Meta(pattern=_NODE_NAME)] = "node1"
    number: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0
    hostname: Annotated[str, msgspec.Meta(pattern=_HOSTNAME)] = "waypost.test"
    data_dir: str = "var"
    workers: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Submission(Section, frozen=True):
    """Where applications hand in mail."""

    listen: Endpoint = "127.0.0.1:2587"
    tls_listen: Endpoint = "127.0.0.1:2465"
    plain_listen: Endpoint = ""
    certificate: str = ""
    private_key: str = ""
    max_message_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=1 << 30)] = 26_214_400
    max_recipients: Annotated[int, msgspec.Meta(ge=100, le=100_000)] = 1000
    max_connections: Positive = 10_000
    max_connections_per_address: Positive = 50
    max_messages_per_connection: Positive = 1000
    max_errors: Positive = 20
    idle_seconds: Annotated[int, msgspec.Meta(ge=1)] = 300
    session_seconds: Annotated[int, msgspec.Meta(ge=1)] = 3600
    allow_long_lines: bool = False
    plain_auth: bool = False
    max_inflight_bytes: Positive = 268_435_456
    trusted_proxies: tuple[str, ...] = ()


class Inbound(Section, frozen=True):
    """Where bounces, complaints and unsubscribe mails come back."""

    listen: Endpoint = "127.0.0.1:2526"
    max_message_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 26_214_400
    maildir: str = ""
    trust_words: bool = False
    soft_bounces: Count = 5
    soft_bounce_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 14


class Tracking(Section, frozen=True):
    """The public tracking host."""

    listen: Endpoint = "127.0.0.1:8081"
    base_url: Annotated[str, msgspec.Meta(pattern=_BASE_URL)] = "http://127.0.0.1:8081"
    certificate: str = ""
    private_key: str = ""
    certificates: str = ""
    check_seconds: Count = 300
    trusted_proxies: tuple[str, ...] = ()


class Admin(Section, frozen=True):
    """API, metrics and report, for the operator."""

    listen: Endpoint = "127.0.0.1:8080"
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    behind_proxy: bool = False


class DeliverySection(Section, frozen=True):
    """How mail leaves."""

    mode: Literal["sandbox", "smarthost", "mx"] = "sandbox"
    smarthost: Endpoint = ""
    smarthost_tls: Literal["none", "opportunistic", "required", "verified"] = "opportunistic"
    smarthost_login: str = ""
    smarthost_password: str = ""
    return_path_domain: Annotated[str, msgspec.Meta(pattern=_RETURN_PATH)] = "bounce.waypost.test"
    connections: Positive = 20
    messages_per_connection: Positive = 1000
    retry_first_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    retry_max_seconds: Annotated[float, msgspec.Meta(gt=0)] = 14_400.0
    lifetime_seconds: Annotated[float, msgspec.Meta(gt=0)] = 432_000.0
    failure_notices: bool = False
    delay_notice_seconds: Annotated[float, msgspec.Meta(gt=0)] = 14_400.0
    timeout_scale: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1.0
    nameservers: tuple[str, ...] = ()
    allow_private_hosts: bool = False
    mx_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 25
    source_addresses: tuple[str, ...] = ()
    providers: str = ""
    pause_first_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    pause_max_seconds: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    mx_tls: Literal["none", "opportunistic", "required", "verified"] = "opportunistic"
    tls_destinations: tuple[str, ...] = ()
    mta_sts: bool = True
    mta_sts_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 443
    dnssec_resolver: bool = False
    authorities: str = ""
    pools: tuple[str, ...] = ()
    pool_domains: tuple[str, ...] = ()
    warm_up: tuple[str, ...] = ()
    sign_signed: bool = False


class Sandbox(Section, frozen=True):
    """The sink that takes all mail while `delivery.mode` is "sandbox"."""

    listen: Endpoint = "127.0.0.1:2625"
    delay_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.2


class SpoolSection(Section, frozen=True):
    """Where accepted mail waits."""

    outbox_max_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = 1_073_741_824
    segment_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = 67_108_864
    cache_bytes: Count = 67_108_864
    disk_reserve_bytes: Count = 268_435_456
    window: Annotated[int, msgspec.Meta(ge=1)] = 5000


class Ledger(Section, frozen=True):
    """Where facts are kept and counted."""

    url: str = ""
    event_days: Positive = 90


Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Brakes(Section, frozen=True):
    """When too many complain or bounce."""

    check_seconds: Count = 60
    window_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 24
    min_messages: Positive = 500
    complaint_warn: Rate = 0.0008
    complaint_stop: Rate = 0.0025
    bounce_warn: Rate = 0.05
    bounce_stop: Rate = 0.1
    pause: Literal["off", "campaign", "domain"] = "off"


class Config(Section, frozen=True):
    """All sections."""

    node: Node = Node()
    submission: Submission = Submission()
    inbound: Inbound = Inbound()
    tracking: Tracking = Tracking()
    admin: Admin = Admin()
    delivery: DeliverySection = DeliverySection()
    sandbox: Sandbox = Sandbox()
    spool: SpoolSection = SpoolSection()
    ledger: Ledger = Ledger()
    brakes: Brakes = Brakes()

    @property
    def data_dir(self) -> Path:
        """Give the directory that holds everything the relay writes."""
        return Path(self.node.data_dir).resolve()

    @property
    def workers(self) -> int:
        """Give the number of workers: as set, or one per core."""
        return self.node.workers or max(1, os.cpu_count() or 1)

    @property
    def sending_addresses(self) -> tuple[str, ...]:
        """Give every address that mail may leave from, those of pools included."""
        named = [one for pool in self.delivery.pools for one in pool.partition("=")[2].split()]
        return tuple(dict.fromkeys((*self.delivery.source_addresses, *named)))

    @property
    def ledger_url(self) -> str:
        """Give the ledger's database URL: as set, or SQLite in the data directory."""
        return self.ledger.url or f"sqlite:///{self.data_dir / 'ledger.sqlite'}"


SECRETS = frozenset({("delivery", "smarthost_password"), ("ledger", "url")})
"""Settings that are masked wherever they are shown."""


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file (None: defaults only) and the environment; raises ConfigError."""
    source = str(path) if path else "defaults"
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as problem:
            raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise ConfigError(f"{path}: not valid TOML: {problem}") from None
    try:
        from_file = msgspec.convert(raw, Config)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"{source}: {_explain(problem)}") from None
    overlaid = _overlay(msgspec.to_builtins(from_file), environment)
    try:
        config = msgspec.convert(overlaid, Config, strict=False)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"environment: {_explain(problem, variable=True)}") from None
    _check_combinations(config, source)
    return config


def setting_names() -> list[str]:
    """List every setting as "section.key", for the documentation test and for `waypost check`."""
    return [
        f"{section}.{key}"
        for section, kind in get_type_hints(Config).items()
        for key in get_type_hints(kind)
    ]


def masked(config: Config) -> dict[str, dict[str, Any]]:
    """Give the effective settings by section with secrets replaced by `***`."""
    shown: dict[str, dict[str, Any]] = msgspec.to_builtins(config)
    for section, key in SECRETS:
        value = str(shown[section][key])
        if section == "ledger":  # a database URL: only its password is secret
            shown[section][key] = re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", value)
        elif value:
            shown[section][key] = "***"
    return shown


def _overlay(settings: dict[str, dict[str, Any]], environment: Mapping[str, str]) -> dict[str, Any]:
    known = {_variable(name): name for name in setting_names()}
    ignored = re.compile(r"^WAYPOST_(TEST|BENCH|BREAK)(_|$)|^WAYPOST_(CONFIG|CORPORA)$")
    for variable, text in environment.items():
        if not variable.startswith("WAYPOST_") or ignored.search(variable):
            continue
        if variable not in known:
            raise ConfigError(
                f"environment: {variable} is not a setting; `waypost check` lists them"
            )
        section, key = known[variable].split(".")
        if isinstance(settings[section][key], list | tuple):
            settings[section][key] = [part.strip() for part in text.split(",") if part.strip()]
        elif isinstance(settings[section][key], bool):
            settings[section][key] = text.lower()
        else:
            settings[section][key] = text
    return settings


def _explain(problem: msgspec.ValidationError, *, variable: bool = False) -> str:
    """Say which key (or which variable of the environment) is wrong and what was expected."""
    found = re.match(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$", str(problem), re.DOTALL)
    what, where = (found["what"], found["where"]) if found else (str(problem), "")
    unknown = re.match(r"Object contains unknown field `(.*)`", what)
    if unknown:
        return f"{(where + '.') if where else ''}{unknown[1]}: there is no such setting"
    pattern = re.match(r"Expected `str` matching regex '(.*)'$", what, re.DOTALL)
    if pattern:
        what = _IN_WORDS.get(pattern[1].replace("\\\\", "\\"), what)
    if variable and where:
        where = f"{_variable(where.partition('[')[0])} ({where})"
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what


def _variable(name: str) -> str:
    return "WAYPOST_" + name.replace(".", "_").upper()


def _check_combinations(config: Config, source: str) -> None:
    delivery = config.delivery
    if delivery.mode == "smarthost" and not delivery.smarthost:
        raise ConfigError(
            f'{source}: delivery.smarthost: expected "host:port", '
            'because delivery.mode is "smarthost"'
        )
    if bool(delivery.smarthost_login) != bool(delivery.smarthost_password):
        raise ConfigError(
            f"{source}: delivery.smarthost_login: login and password go together or not at all"
        )
    if delivery.retry_max_seconds < delivery.retry_first_seconds:
        raise ConfigError(
            f"{source}: delivery.retry_max_seconds: expected at least delivery.retry_first_seconds"
        )
    for name in ("submission", "tracking"):
        section = getattr(config, name)
        if bool(section.certificate) != bool(section.private_key):
            raise ConfigError(
                f"{source}: {name}.certificate: it goes together with {name}.private_key"
            )
    if config.tracking.certificates and not config.tracking.certificate:
        raise ConfigError(
            f"{source}: tracking.certificates: it goes together with tracking.certificate"
        )
    for kind in ("complaint", "bounce"):
        warn, stop = getattr(config.brakes, f"{kind}_warn"), getattr(config.brakes, f"{kind}_stop")
        if warn > stop:
            raise ConfigError(
                f"{source}: brakes.{kind}_warn: expected at most brakes.{kind}_stop ({stop})"
            )
    _check_doors(config, source)


def _check_doors(config: Config, source: str) -> None:
    host = config.admin.listen.rpartition(":")[0]
    loopback = host in ("", "localhost", "[::1]") or host.startswith("127.")
    if not loopback and not config.admin.behind_proxy:
        raise ConfigError(
            f"{source}: admin.listen: a public address needs admin.behind_proxy = true "
            "(TLS ends at the proxy)"
        )
    if config.ledger.url and not re.match(
        r"^(sqlite:///|postgresql(\+psycopg)?://)", config.ledger.url
    ):
        raise ConfigError(
            f'{source}: ledger.url: expected "sqlite:///PATH" or '
            '"postgresql://USER:PASSWORD@HOST/DATABASE"'
        )
    taken: dict[str, str] = {}
    for name, section in msgspec.structs.asdict(config).items():
        for key, value in msgspec.structs.asdict(section).items():
            if not key.endswith("listen") or not value or value.endswith(":0"):
                continue
            if int(value.rpartition(":")[2]) > _LAST_PORT:
                raise ConfigError(f"{source}: {name}.{key}: expected a port up to {_LAST_PORT}")
            if value in taken:
                raise ConfigError(
                    f"{source}: {name}.{key}: {value} is taken by {taken[value]} already"
                )
            taken[value] = f"{name}.{key}"
