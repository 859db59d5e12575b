"""Settings that change while the relay runs: accounts, credentials, sending domains, switches,
block lists.

Control owns them; every worker holds the same immutable `Settings` value, loaded from the snapshot
file and moved on by numbered changes. Acceptance reads one value at the end of DATA and stores its
version with the message.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Switch(StrEnum):
    """A tracking switch:

    for opens and for clicks, at an account and at a sending domain (DESIGN section 4).
    """

    ON = "on"
    OFF = "off"
    OPTIONAL = "optional"  # off unless the message asks
    INHERIT = "inherit"  # a domain takes its account's value; not allowed at an account


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the relay."""

    id: int
    name: str
    opens: Switch = Switch.OFF
    clicks: Switch = Switch.OFF
    suspended: bool = False
    any_sender: bool = False  # may use From domains that are not registered for it
    messages_per_hour: int = 0  # 0: no limit
    failure_notices: str = "inherit"  # on, off, or inherit: as the node's settings say


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What an application logs in with over SMTP.

    The secret is kept as SHA-256 (it has 128 random bits or more).
    """

    id: int
    account: int
    login: str
    secret_sha256: bytes
    dialect: str = (
        "waypost"  # vendor whose control headers this credential may use besides X-Waypost-*
    )
    networks: tuple[str, ...] = ()  # CIDR networks it may come from; empty: any
    passwordless: bool = False  # clients from `networks` need no AUTH (allow-listed)
    revoked: bool = False


class DkimKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key:

    selector, algorithm (rsa or ed25519) and the private key, encrypted under the key ring.
    """

    selector: str
    algorithm: str
    sealed: bytes
    active: bool = True


class SendingDomain(msgspec.Struct, frozen=True, kw_only=True):
    """The domain of From:, registered for one account."""

    id: int
    account: int
    name: str  # A-label, lower case
    opens: Switch = Switch.INHERIT
    clicks: Switch = Switch.INHERIT
    outlook_links: bool = True  # links inside Outlook's conditional comments
    text_links: bool = False  # links in plain-text parts
    unsubscribe: bool = False  # add List-Unsubscribe where the mail lacks it
    unsubscribe_scope: str = "domain"  # account, domain or campaign
    tracking_url: str = ""  # "" takes the node's default, such as "https://t.shop.test"
    tracking_ok: bool = True  # False: its host failed its check, mail goes out untracked
    return_path: str = ""  # domain of the return path; "" takes the node's default
    privacy: str = "full"  # full, noaddress, aggregate
    pool: str = ""  # of source addresses; "" takes what the node's settings say
    failure_notices: str = "inherit"  # on, off, or inherit: as its account's
    dkim: tuple[DkimKey, ...] = ()


class Blocks(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracking host answers with 410, and departure does not track any more."""

    campaigns: frozenset[int] = frozenset()  # campaign hashes
    domains: frozenset[int] = frozenset()  # sending-domain ids
    destinations: frozenset[str] = (
        frozenset()
    )  # exact URLs, or hosts written as "host:example.test"


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch must not send now:

    accounts by id, campaigns as (account, name), domains and destinations by name.
    """

    accounts: frozenset[int] = frozenset()
    campaigns: frozenset[tuple[int, str]] = frozenset()
    domains: frozenset[str] = frozenset()
    destinations: frozenset[str] = frozenset()


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    """Tracking hosts that are no sending domain's own."""

    failing: frozenset[str] = frozenset()  # URLs as in tracking.base_url that failed their check


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it at one version. Versions grow by one with each change."""

    version: int = 0
    accounts: dict[int, Account] = {}
    credentials: dict[str, Credential] = {}  # by login
    domains: dict[str, SendingDomain] = {}  # by name
    blocks: Blocks = Blocks()
    pause: Pause = Pause()
    hosts: Hosts = Hosts()


def tracking_host(
    settings: Settings, domain: SendingDomain | None, default: str
) -> tuple[str, bool]:
    """Give the tracking URL of a domain's mail, its own or the node's default, and whether links
    may name it: False for a host that failed its check.
    """
    own = domain.tracking_url if domain is not None else ""
    if domain is not None and not domain.tracking_ok:
        return own or default, False
    return own or default, bool(own) or default not in settings.hosts.failing


def effective(account: Account, domain: SendingDomain | None, what: str) -> tuple[Switch, str]:
    """Give the switch in force for "opens" or "clicks", and the level that decided ("account"
    or "sending domain").
    """
    if domain is not None:
        own: Switch = getattr(domain, what)
        if own is not Switch.INHERIT:
            return own, "sending domain"
    inherited: Switch = getattr(account, what)
    return inherited, "account"


def tells_failures(settings: Settings, account: int, domain: str, *, usual: bool) -> bool:
    """Tell whether a sender that asked for nothing gets failure notices: the sending domain's word,
    else the account's, else what is `usual` on this node.
    """
    known = settings.domains.get(domain)
    owner = settings.accounts.get(account)
    for said in (known, owner):
        if said is not None and said.failure_notices != "inherit":
            return said.failure_notices == "on"
    return usual


class Change(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One numbered step of the change feed: `version` is the version that it leads to.

    `table` names a field of `Settings`; `key` its row (None for `blocks`, `pause` and `hosts`,
    which are replaced whole); `value` is the new row as msgpack, None removes it.
    """

    version: int
    table: str
    key: int | str | None = None
    value: bytes | None = None


_ROWS: dict[str, type[Account | Credential | SendingDomain | Blocks | Pause | Hosts]] = {
    "accounts": Account,
    "credentials": Credential,
    "domains": SendingDomain,
    "blocks": Blocks,
    "pause": Pause,
    "hosts": Hosts,
}
_EMPTY: dict[str, Blocks | Pause | Hosts] = {"blocks": Blocks(), "pause": Pause(), "hosts": Hosts()}


def advance(settings: Settings, change: Change) -> Settings:
    """Apply the next change; raises ValueError if another one is missing before it."""
    if change.version != settings.version + 1:
        raise ValueError(f"change {change.version} does not follow version {settings.version}")
    kind = _ROWS[change.table]
    value = None if change.value is None else msgspec.msgpack.decode(change.value, type=kind)
    if change.key is None:
        whole = value or _EMPTY[change.table]
        return msgspec.structs.replace(settings, version=change.version, **{change.table: whole})
    rows = dict(getattr(settings, change.table))
    if value is None:
        rows.pop(change.key, None)
    else:
        rows[change.key] = value
    return msgspec.structs.replace(settings, version=change.version, **{change.table: rows})
