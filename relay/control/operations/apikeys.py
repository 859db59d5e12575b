"""API keys: what programs use the admin API with.

Guarantees: a key has 256 random bits behind the fixed prefix `wpk_` (leak scanners find it), is
shown once and kept as SHA-256. It is bound to an account, and may be bound to some of its sending
domains; only keys bound to none may have the scope `admin`. `caller_of` says who a key is.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from relay.clock import MINUTE
from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown, shown_or_none, stored
from relay.control.operations.accounts import account_entry
from relay.control.operations.words import AccountId, Body, DomainName, Entry, Name, domain_name
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError, StorageError
from relay.ledger.settings_tables import api_keys

_log = logging.getLogger(__name__)

PREFIX = "wpk_"
_KEY_OCTETS = 32
_SHOWN = 10
_USED_RESOLUTION = 5 * MINUTE  # last use is written no oftener than this
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ApiKeyEntry(Entry, frozen=True):
    """An API key as it is shown: its first characters only."""

    id: int
    name: str
    starts_with: str
    account: int | None
    domains: tuple[str, ...]
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


class NewApiKey(Body, frozen=True):
    """What a key is made from."""

    name: Name
    scopes: Annotated[
        tuple[Literal["send", "read", "write", "admin"], ...],
        msgspec.Meta(min_length=1, max_length=4),
    ]
    account: AccountId | None = None  # None: all accounts
    domains: Annotated[tuple[DomainName, ...], msgspec.Meta(max_length=100)] = ()
    expires_at: Moment | None = None


class MadeApiKey(Entry, frozen=True):
    """A new key with its text, which is not shown again."""

    api_key: ApiKeyEntry
    key: str


class ApiKeys:
    """Operations on API keys."""

    def __init__(
        self, changes: Changes, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        """Take the door to the ledger and the source of keys."""
        self._changes = changes
        self._random = random

    @route("GET", "/api-keys", scope=Scope.ADMIN)
    async def list_(self, caller: Caller, query: PageQuery) -> Page[ApiKeyEntry]:
        """List API keys, expired and revoked ones too."""
        caller.demand_all_accounts()
        wanted = select(api_keys).where(api_keys.c.id > after(query)).order_by(api_keys.c.id)
        wanted = wanted.limit(query.limit + 1)

        def work(connection: Connection) -> list[ApiKeyEntry]:
            return [_entry(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("POST", "/api-keys", scope=Scope.ADMIN, status=201)
    async def create(self, caller: Caller, body: NewApiKey) -> MadeApiKey:
        """Make a key; the answer shows it, this once."""
        caller.demand_all_accounts()
        if body.account is not None and "admin" in body.scopes:
            raise InvalidError('the scope "admin" concerns all accounts', field="scopes")
        if body.domains and body.account is None:
            raise InvalidError("domains belong to an account; say which", field="account")
        key = PREFIX + base64.b32encode(self._random(_KEY_OCTETS)).decode().rstrip("=").lower()
        domains = tuple(sorted({domain_name(typed, "domains") for typed in body.domains}))

        def work(change: Change) -> MadeApiKey:
            if body.account is not None:
                account_entry(change.connection, body.account)
            if body.expires_at is not None and stored(body.expires_at) <= change.at:
                raise InvalidError("that moment is past", field="expires_at")
            row = {
                "account": body.account,
                "name": body.name,
                "shown": key[:_SHOWN],
                "secret_sha256": hashlib.sha256(key.encode()).digest(),
                "scopes": msgspec.json.encode(sorted(set(body.scopes))).decode(),
                "domains": msgspec.json.encode(domains).decode(),
                "created_at": change.at,
                "expires_at": stored(body.expires_at),
            }
            made = change.connection.execute(insert(api_keys).values(row).returning(api_keys.c.id))
            entry = _read(change.connection, made.scalar_one())
            change.audit("api-key.create", entry.name, account=entry.account, after=entry)
            return MadeApiKey(api_key=entry, key=key)

        return await self._changes.make(caller, work)

    @route("GET", "/api-keys/{key}", scope=Scope.ADMIN)
    async def show(self, caller: Caller, key: int) -> ApiKeyEntry:
        """Show one key."""
        caller.demand_all_accounts()
        return await self._changes.read(lambda connection: _read(connection, key))

    @route("DELETE", "/api-keys/{key}", scope=Scope.ADMIN)
    async def revoke(self, caller: Caller, key: int) -> ApiKeyEntry:
        """Revoke a key."""
        caller.demand_all_accounts()

        def work(change: Change) -> ApiKeyEntry:
            before = _read(change.connection, key)
            if before.revoked_at is not None:
                raise ConflictError("it is revoked already")
            statement = update(api_keys).where(api_keys.c.id == key)
            change.connection.execute(statement.values(revoked_at=change.at))
            entry = _read(change.connection, key)
            change.audit(
                "api-key.revoke", entry.name, account=entry.account, before=before, after=entry
            )
            return entry

        return await self._changes.make(caller, work)

    async def caller_of(self, text: str) -> Caller | None:
        """Say who presents this key; None for one that is unknown, expired or revoked."""
        if not text.startswith(PREFIX) or not text.isascii():
            return None
        digest = hashlib.sha256(text.encode()).digest()
        wanted = select(api_keys).where(api_keys.c.secret_sha256 == digest)
        row = await self._changes.read(lambda connection: connection.execute(wanted).one_or_none())
        at = self._changes.now()
        if row is None or row.revoked_at or (row.expires_at and row.expires_at <= at):
            return None
        if at - row.used_at > _USED_RESOLUTION:
            used = update(api_keys).where(api_keys.c.id == row.id).values(used_at=at)
            try:
                await self._changes.note(lambda connection: connection.execute(used))
            except StorageError as problem:  # no reason to refuse somebody who only reads
                _log.warning("last use of API key %d not noted: %s", row.id, problem)
        entry = _entry(row)
        return Caller(
            name=f"api-key:{entry.id}:{entry.name}",
            scopes=frozenset(entry.scopes),
            account=entry.account,
            domains=frozenset(entry.domains),
        )


def _read(connection: Connection, key: int) -> ApiKeyEntry:
    row = connection.execute(select(api_keys).where(api_keys.c.id == key)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such API key")
    return _entry(row)


def _entry(row: Row[Any]) -> ApiKeyEntry:
    return ApiKeyEntry(
        id=row.id,
        name=row.name,
        starts_with=row.shown,
        account=row.account,
        domains=msgspec.json.decode(row.domains, type=tuple[str, ...]),
        scopes=msgspec.json.decode(row.scopes, type=tuple[Scope, ...]),
        created_at=shown(row.created_at),
        expires_at=shown_or_none(row.expires_at),
        revoked_at=shown_or_none(row.revoked_at),
        used_at=shown_or_none(row.used_at),
    )
