"""Settings read once at the start, as one frozen value with its defaults and bounds.

`config_file.py` reads it. Settings that change while the relay runs (accounts, sending domains,
switches) are not here but in `settings.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_ENDPOINT = r"^(|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5})$"
_NODE_NAME = r"^[a-z0-9][a-z0-9-]{0,30}$"
_HOSTNAME = r"^[A-Za-z0-9.-]{1,253}$"
_BASE_URL = r"^https?://[^/?#\s]+$"
_RETURN_PATH = r"^[a-z0-9.-]{1,180}$"
IN_WORDS = {
    _ENDPOINT: 'expected "host:port", an IPv6 address in brackets, or "" for none',
    _NODE_NAME: "expected up to 31 lower-case letters, digits and hyphens",
    _HOSTNAME: "expected a host name of letters, digits, dots and hyphens",
    _BASE_URL: 'expected "http://host" or "https://host" without a path',
    _RETURN_PATH: "expected a domain in lower case, up to 180 characters",
}
"""What a pattern expects, for people."""
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
    allow_private_hosts: bool = False
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
