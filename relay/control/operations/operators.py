"""Operators: the people who sign in to the page with a name and a password.

Guarantees: a password is kept as an argon2id hash and shown at most once (when it was made here);
one hash is reckoned at a time and never on the event loop, and a name that does not exist costs
the same as one that does. An operator bound to an account sees that account alone. Removing one, or
giving a new password, ends the sessions: `caller_of` is asked at every request.
Leaves to others: sessions, cookies and the throttling of attempts (`relay.web.page.sessions`).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown, shown_or_none
from relay.control.operations.accounts import account_entry
from relay.control.operations.words import AccountId, Body, Entry, Login
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, NotFoundError
from relay.ledger.operator_tables import operators, page_layouts

Password = Annotated[str, msgspec.Meta(min_length=12, max_length=200)]
_GENERATED_OCTETS = 15
_EVERYTHING = frozenset({Scope.ADMIN})
_OF_AN_ACCOUNT = frozenset({Scope.READ, Scope.WRITE})
_READS = frozenset({Scope.READ})


class OperatorEntry(Entry, frozen=True):
    """An operator as it is shown."""

    id: int
    name: str
    account: int | None  # None: all accounts
    reads_only: bool
    created_at: datetime
    used_at: datetime | None  # signed in last


class NewOperator(Body, frozen=True):
    """What an operator is made from; without a password one is made and shown once."""

    name: Login
    account: AccountId | None = None
    reads_only: bool = False
    password: Password | None = None


class NewPassword(Body, frozen=True):
    """A new password; without one, one is made and shown once."""

    password: Password | None = None


class MadeOperator(Entry, frozen=True):
    """An operator with the password that was made for it, "" if it was given."""

    operator: OperatorEntry
    password: str


class SignedIn(NamedTuple):
    """Who signed in; `proof` changes with the password, so that old sessions end."""

    id: int
    proof: str


class Operators:
    """Operations on operators."""

    def __init__(self, changes: Changes, hasher: PasswordHasher | None = None) -> None:
        """Take the door to the ledger, and how passwords are hashed."""
        self._changes = changes
        self._hasher = hasher or PasswordHasher()
        self._turn = asyncio.Lock()  # hashing takes 64 MiB: one at a time
        self._nobody = ""

    @route("GET", "/operators", scope=Scope.ADMIN)
    async def list_(self, caller: Caller, query: PageQuery) -> Page[OperatorEntry]:
        """List operators."""
        caller.demand_all_accounts()
        wanted = select(operators).where(operators.c.id > after(query)).order_by(operators.c.id)
        wanted = wanted.limit(query.limit + 1)

        def work(connection: Connection) -> list[OperatorEntry]:
            return [_entry(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("POST", "/operators", scope=Scope.ADMIN, status=201)
    async def create(self, caller: Caller, body: NewOperator) -> MadeOperator:
        """Make an operator; a password that was not given is made and shown, this once."""
        caller.demand_all_accounts()
        password = body.password or _made()
        hashed = await self._hash(password)

        def work(change: Change) -> OperatorEntry:
            if body.account is not None:
                account_entry(change.connection, body.account)
            row = {
                "name": body.name,
                "account": body.account,
                "reads_only": body.reads_only,
                "password_hash": hashed,
                "created_at": change.at,
            }
            wanted = insert(operators).values(row).returning(operators.c.id)
            try:
                id_ = change.connection.execute(wanted).scalar_one()
            except IntegrityError:
                raise ConflictError(
                    f"there is an operator named {body.name!r} already", field="name"
                ) from None
            entry = _entry(_row(change.connection, id_))
            change.audit("operator.create", entry.name, account=entry.account, after=entry)
            return entry

        entry = await self._changes.make(caller, work, settings=False)
        return MadeOperator(operator=entry, password="" if body.password else password)

    @route("POST", "/operators/{operator}/password", scope=Scope.ADMIN)
    async def password(self, caller: Caller, operator: int, body: NewPassword) -> MadeOperator:
        """Give an operator a new password; this ends its sessions."""
        caller.demand_all_accounts()
        password = body.password or _made()
        hashed = await self._hash(password)

        def work(change: Change) -> OperatorEntry:
            entry = _entry(_row(change.connection, operator))
            wanted = update(operators).where(operators.c.id == operator)
            change.connection.execute(wanted.values(password_hash=hashed))
            change.audit("operator.password", entry.name, account=entry.account)
            return entry

        entry = await self._changes.make(caller, work, settings=False)
        return MadeOperator(operator=entry, password="" if body.password else password)

    @route("DELETE", "/operators/{operator}", scope=Scope.ADMIN)
    async def remove(self, caller: Caller, operator: int) -> None:
        """Remove an operator and end its sessions."""
        caller.demand_all_accounts()

        def work(change: Change) -> None:
            entry = _entry(_row(change.connection, operator))
            change.connection.execute(delete(operators).where(operators.c.id == operator))
            own = page_layouts.c.operator == operator
            change.connection.execute(delete(page_layouts).where(own))
            change.audit("operator.remove", entry.name, account=entry.account, before=entry)

        await self._changes.make(caller, work, settings=False)

    async def sign_in(self, name: str, password: str) -> SignedIn | None:
        """Say who this is; None for a wrong name or a wrong password, at the same cost."""
        wanted = select(operators).where(operators.c.name == name)
        row = await self._changes.read(lambda connection: connection.execute(wanted).one_or_none())
        if not self._nobody:
            self._nobody = await self._hash(_made())
        hashed = row.password_hash if row is not None else self._nobody
        async with self._turn:
            right = await asyncio.to_thread(self._fits, hashed, password)
        if row is None or not right:
            return None
        used = update(operators).where(operators.c.id == row.id).values(used_at=self._changes.now())
        await self._changes.note(lambda connection: connection.execute(used))
        return SignedIn(row.id, row.password_hash)

    async def caller_of(self, who: SignedIn) -> Caller | None:
        """Give the caller behind a session; None once it was removed or has another password."""
        wanted = select(operators).where(operators.c.id == who.id)
        row = await self._changes.read(lambda connection: connection.execute(wanted).one_or_none())
        if row is None or row.password_hash != who.proof:
            return None
        scopes = _EVERYTHING if row.account is None else _OF_AN_ACCOUNT
        return Caller(
            name=f"operator:{row.id}:{row.name}",
            scopes=_READS if row.reads_only else scopes,
            account=row.account,
        )

    async def _hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    def _fits(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _made() -> str:
    text = base64.b32encode(secrets.token_bytes(_GENERATED_OCTETS)).decode().lower()
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def _row(connection: Connection, operator: int) -> Row[Any]:
    row = connection.execute(select(operators).where(operators.c.id == operator)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such operator")
    return row


def _entry(row: Row[Any]) -> OperatorEntry:
    return OperatorEntry(
        id=row.id,
        name=row.name,
        account=row.account,
        reads_only=row.reads_only,
        created_at=shown(row.created_at),
        used_at=shown_or_none(row.used_at),
    )
