"""Credentials: what applications log in with over SMTP.

Guarantees: a password has 160 random bits, is shown once, in the answer that made it, and is kept
as SHA-256 (enough for random secrets; clients that log in per message must be cheap). A revoked
credential stays listed; it does not come back.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown, shown_or_none
from relay.control.operations.accounts import account_for
from relay.control.operations.words import AccountId, Body, Entry, Login, Note
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError
from relay.ledger.settings_tables import credentials

_PASSWORD_OCTETS = 20
_WIDEST = {4: 8, 6: 16}  # no credential may cover half the internet
Dialect = Literal[
    "waypost", "mailgun", "sendgrid", "sparkpost", "postmark", "ses", "mandrill", "brevo",
    "mailjet", "postal", "alidm", "kumomta", "zonemta", "powermta", "smtpeter",
    "campaignmonitor", "sendmachine", "unosend",
]  # fmt: skip
Networks = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=100)
]


class CredentialEntry(Entry, frozen=True):
    """A credential as it is shown: without its password."""

    id: int
    account: int
    login: str
    description: str
    dialect: str
    networks: tuple[str, ...]
    passwordless: bool
    created_at: datetime
    revoked_at: datetime | None


class NewCredential(Body, frozen=True):
    """What a credential is made from."""

    account: AccountId | None = None  # may be left out with a key that is bound to one
    login: Login | None = None  # made up if left out
    description: Note = ""
    dialect: Dialect = "waypost"  # whose control headers it may use besides X-Waypost-*
    networks: Networks = ()  # where it may come from; empty: anywhere
    passwordless: bool = False  # clients from `networks` need no login


class MadeCredential(Entry, frozen=True):
    """A new credential with its password, which is not shown again."""

    credential: CredentialEntry
    password: str


class CredentialQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which credentials."""

    account: AccountId | None = None
    login: str = ""


class Credentials:
    """Operations on credentials."""

    def __init__(
        self, changes: Changes, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        """Take the door to the ledger and the source of passwords."""
        self._changes = changes
        self._random = random

    @route("GET", "/credentials", scope=Scope.READ)
    async def list_(self, caller: Caller, query: CredentialQuery) -> Page[CredentialEntry]:
        """List credentials, revoked ones too."""
        caller.demand_all_domains()
        wanted = select(credentials).where(credentials.c.id > after(query))
        if query.account is not None:
            caller.own("account", query.account)
            wanted = wanted.where(credentials.c.account == query.account)
        if caller.account is not None:
            wanted = wanted.where(credentials.c.account == caller.account)
        if query.login:
            wanted = wanted.where(credentials.c.login == query.login)
        wanted = wanted.order_by(credentials.c.id).limit(query.limit + 1)

        def work(connection: Connection) -> list[CredentialEntry]:
            return [_entry(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("GET", "/credentials/{credential}", scope=Scope.READ)
    async def show(self, caller: Caller, credential: int) -> CredentialEntry:
        """Show one credential."""
        return await self._changes.read(lambda connection: _read(connection, caller, credential))

    @route("POST", "/credentials", scope=Scope.WRITE, status=201)
    async def create(self, caller: Caller, body: NewCredential) -> MadeCredential:
        """Make a credential; the answer shows its password, this once."""
        caller.demand_all_domains()
        networks = _checked_networks(caller, body)
        password = base64.b32encode(self._random(_PASSWORD_OCTETS)).decode("ascii").lower()

        def work(change: Change) -> MadeCredential:
            account = account_for(change.connection, caller, body.account)
            login = body.login or f"u{account}-{self._random(5).hex()}"
            row = {
                "account": account,
                "login": login,
                "secret_sha256": hashlib.sha256(password.encode()).digest(),
                "description": body.description,
                "dialect": body.dialect,
                "networks": msgspec.json.encode(networks).decode(),
                "passwordless": body.passwordless,
                "created_at": change.at,
            }
            try:
                made = change.connection.execute(
                    insert(credentials).values(row).returning(credentials.c.id)
                )
            except IntegrityError:
                raise ConflictError(f"the login {login!r} is taken", field="login") from None
            entry = _read(change.connection, caller, made.scalar_one())
            change.audit("credential.create", login, account=account, after=entry)
            return MadeCredential(credential=entry, password=password)

        return await self._changes.make(caller, work)

    @route("DELETE", "/credentials/{credential}", scope=Scope.WRITE)
    async def revoke(self, caller: Caller, credential: int) -> CredentialEntry:
        """Revoke a credential, in open sessions too."""

        def work(change: Change) -> CredentialEntry:
            before = _read(change.connection, caller, credential)
            if before.revoked_at is not None:
                raise ConflictError("it is revoked already")
            statement = update(credentials).where(credentials.c.id == credential)
            change.connection.execute(statement.values(revoked_at=change.at))
            entry = _read(change.connection, caller, credential)
            change.audit(
                "credential.revoke",
                entry.login,
                account=entry.account,
                before=before,
                after=entry,
            )
            return entry

        return await self._changes.make(caller, work)


def _checked_networks(caller: Caller, body: NewCredential) -> tuple[str, ...]:
    if body.passwordless:
        caller.demand_all_accounts()  # it decides whose mail a whole network's mail is
        if not body.networks:
            raise InvalidError("without a password there must be networks", field="networks")
    regular = []
    for text in body.networks:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as problem:
            raise InvalidError(f"not a network: {problem}", field="networks") from None
        if body.passwordless and network.prefixlen < _WIDEST[network.version]:
            raise InvalidError(f"{text} is too wide to go without a password", field="networks")
        regular.append(str(network))
    return tuple(regular)


def _read(connection: Connection, caller: Caller, credential: int) -> CredentialEntry:
    found = connection.execute(select(credentials).where(credentials.c.id == credential))
    row = found.one_or_none()
    if row is None or caller.domains or not caller.sees(row.account):
        raise NotFoundError("there is no such credential")
    return _entry(row)


def _entry(row: Row[Any]) -> CredentialEntry:
    return CredentialEntry(
        id=row.id,
        account=row.account,
        login=row.login,
        description=row.description,
        dialect=row.dialect,
        networks=msgspec.json.decode(row.networks, type=tuple[str, ...]),
        passwordless=row.passwordless,
        created_at=shown(row.created_at),
        revoked_at=shown_or_none(row.revoked_at),
    )
