"""Tables of what control decides: accounts, credentials, sending domains, switches, lists, audit.

Guarantees: ids are never given twice (tokens in mail carry them for years), so accounts and sending
domains are never deleted, only marked. Times are microseconds since the epoch, 0 for "never".
Lists inside a row (networks, scopes) are JSON text. `version` has one row: the settings version,
moved in the transaction that makes the change; `changes` is the change feed that workers follow,
one row per version. The facts have their tables in `tables.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

settings_metadata = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up in INTEGER keys only


def _id() -> Column[int]:
    return Column("id", _ID, primary_key=True, autoincrement=True)


def _account(*, required: bool = True) -> Column[int]:
    return Column("account", _ID, ForeignKey("accounts.id"), nullable=not required)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger(), nullable=False, server_default="0")


def _flag(name: str, *, default: bool = False) -> Column[bool]:
    written = text("true") if default else text("false")
    return Column(name, Boolean(), nullable=False, server_default=written)


def _text(name: str, length: int, default: str = "") -> Column[str]:
    return Column(name, String(length), nullable=False, server_default=default)


version = Table(
    "settings_version",
    settings_metadata,
    Column("id", Integer(), primary_key=True),  # always 1
    _number("settings"),
)

changes = Table(
    "settings_changes",
    settings_metadata,
    Column("version", BigInteger(), primary_key=True, autoincrement=False),
    Column("change", LargeBinary(), nullable=False),  # relay.settings.Change as msgpack
)

accounts = Table(
    "accounts",
    settings_metadata,
    _id(),
    Column("name", String(100), nullable=False, unique=True),
    _text("opens", 10, "off"),
    _text("clicks", 10, "off"),
    _flag("suspended"),
    _flag("any_sender"),
    _number("messages_per_hour"),
    _text("failure_notices", 10, "inherit"),
    _number("created_at"),
    sqlite_autoincrement=True,
)

credentials = Table(
    "credentials",
    settings_metadata,
    _id(),
    _account(),
    Column("login", String(100), nullable=False, unique=True),
    Column("secret_sha256", LargeBinary(), nullable=False),
    _text("description", 200),
    _text("dialect", 20, "waypost"),
    Column("networks", Text(), nullable=False, server_default="[]"),
    _flag("passwordless"),
    _number("created_at"),
    _number("revoked_at"),
    Index("credentials_by_account", "account", "id"),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    settings_metadata,
    _id(),
    _account(required=False),
    _text("name", 100),
    _text("shown", 20),  # the first characters, so that people recognise a key
    Column("secret_sha256", LargeBinary(), nullable=False, unique=True),
    Column("scopes", Text(), nullable=False),
    Column("domains", Text(), nullable=False, server_default="[]"),
    _number("created_at"),
    _number("expires_at"),
    _number("revoked_at"),
    _number("used_at"),
    sqlite_autoincrement=True,
)

domains = Table(
    "sending_domains",
    settings_metadata,
    _id(),
    _account(),
    Column("name", String(253), nullable=False),  # A-label, lower case
    _text("opens", 10, "inherit"),
    _text("clicks", 10, "inherit"),
    _flag("outlook_links", default=True),
    _flag("text_links"),
    _flag("unsubscribe"),
    _text("unsubscribe_scope", 10, "domain"),
    _text("tracking_url", 300),
    _flag("tracking_ok", default=True),
    _text("return_path", 253),
    _text("privacy", 20, "full"),
    _text("pool", 100),
    _text("failure_notices", 10, "inherit"),
    _number("created_at"),
    _number("removed_at"),
    # A name belongs to one account at a time; a removed domain keeps its row and its id.
    Index(
        "sending_domains_by_name",
        "name",
        unique=True,
        sqlite_where=text("removed_at = 0"),
        postgresql_where=text("removed_at = 0"),
    ),
    Index("sending_domains_by_account", "account", "id"),
    sqlite_autoincrement=True,
)

dkim_keys = Table(
    "dkim_keys",
    settings_metadata,
    _id(),
    Column("domain", _ID, ForeignKey("sending_domains.id"), nullable=False),
    Column("selector", String(63), nullable=False),
    _text("algorithm", 10),
    Column("record", Text(), nullable=False),  # what DNS must say; public
    Column("sealed", LargeBinary(), nullable=False),  # the private key, under the key ring
    _flag("active", default=True),
    _number("created_at"),
    Index("dkim_keys_by_selector", "domain", "selector", unique=True),
    sqlite_autoincrement=True,
)

blocks = Table(
    "blocks",
    settings_metadata,
    _id(),
    _account(required=False),
    _text("kind", 12),  # campaign, domain, destination
    Column("value", Text(), nullable=False),
    _text("reason", 200),
    _number("created_at"),
    Index("blocks_by_value", "kind", "value"),
    sqlite_autoincrement=True,
)

pauses = Table(
    "pauses",
    settings_metadata,
    _id(),
    _account(required=False),
    _text("kind", 12),  # account, campaign, domain, destination
    Column("value", Text(), nullable=False),
    _text("reason", 200),
    _number("created_at"),
    Index("pauses_by_value", "kind", "value"),
    sqlite_autoincrement=True,
)

suppressions = Table(
    "suppressions",
    settings_metadata,
    _id(),
    _account(),
    _text("scope", 10),  # account, domain, campaign
    _text("within", 253),  # the domain's or the campaign's name; "" for the account's scope
    _text("recipient", 320),  # "" once the recipient was erased: the key still suppresses
    Column("recipient_key", String(32), nullable=False),  # keyed hash of the address, hex
    _text("reason", 20),  # hard-bounce, complaint, unsubscribe, manual, import, soft-bounces
    _text("note", 200),
    _number("event_at"),  # the event that made it: its time, kind and delivery
    _text("event_kind", 16),
    _number("event_delivery"),
    _number("created_at"),
    _number("expires_at"),
    Index(
        "suppressions_by_recipient",
        "account",
        "recipient_key",
        "scope",
        "within",
        unique=True,
    ),
    Index("suppressions_by_account", "account", "id"),
    Index("suppressions_by_expiry", "expires_at"),
    sqlite_autoincrement=True,
)

unlinked = Table(  # facts that suppress a recipient whose acceptance has not arrived yet
    "suppressing_facts",
    settings_metadata,
    Column("delivery", BigInteger(), primary_key=True, autoincrement=False),
    Column("reason", String(20), primary_key=True),
    _text("scope", 10),
    _text("kind", 16),
    _number("at"),
    Index("suppressing_facts_by_time", "at"),
)

audit = Table(
    "audit",
    settings_metadata,
    _id(),
    _number("at"),
    _text("actor", 120),
    _text("action", 40),
    Column("account", BigInteger(), nullable=True),
    _text("subject", 300),
    Column("before", Text(), nullable=False, server_default="null"),
    Column("after", Text(), nullable=False, server_default="null"),
    Index("audit_by_account", "account", "id"),
    sqlite_autoincrement=True,
)
