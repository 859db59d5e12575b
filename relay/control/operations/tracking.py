"""Tracking switches: set for an account, for one domain or for many, always asked for twice.

Guarantees: the first call changes nothing; it says what would happen and gives a code. The second
call, with the code, does exactly that, in one transaction with its audit row, or nothing at all
(DESIGN section 4). Domains that keep a value of their own are named, with the offer to reset them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, select, update

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.accounts import AccountEntry, account_entry, account_for
from relay.control.operations.confirmation import Confirmations
from relay.control.operations.consequences import Consequence, Standing, foresee
from relay.control.operations.words import AccountId, Body, DomainName, Entry, domain_name
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError
from relay.ledger.settings_tables import accounts, domains
from relay.settings import Switch

MAX_DOMAINS = 10_000
_SWITCHES = ("opens", "clicks")


class TrackingChange(Body, frozen=True):
    """What to switch. With `domains` it is for these, without it is for the account."""

    account: AccountId | None = None  # may be left out with a key that is bound to one
    domains: Annotated[tuple[DomainName, ...], msgspec.Meta(max_length=MAX_DOMAINS)] = ()
    opens: Literal["on", "off", "optional", "inherit"] | None = None
    clicks: Literal["on", "off", "optional", "inherit"] | None = None
    outlook_links: bool | None = None  # for domains: links in Outlook's conditional comments
    text_links: bool | None = None  # for domains: links in plain-text parts
    reset: bool = False  # for an account: its domains give up their own values
    confirm: Annotated[str, msgspec.Meta(max_length=64)] = ""  # the code of the first call


class TrackingAnswer(Entry, frozen=True):
    """What would happen, with the code to make it happen; or what has happened."""

    done: bool
    account: int
    consequence: Consequence
    confirm: str  # send the same again with this to do it; "" when done or nothing would change
    version: int  # of the settings that this answer is about


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountEntry
    account_values: dict[str, str]
    domain_values: dict[int, dict[str, Any]]  # by domain id
    consequence: Consequence
    empty: bool


class Tracking:
    """The operation on tracking switches."""

    def __init__(self, changes: Changes, confirmations: Confirmations) -> None:
        """Take the door to the ledger and the maker of codes."""
        self._changes = changes
        self._confirmations = confirmations

    @route("POST", "/tracking", scope=Scope.WRITE)
    async def set_(self, caller: Caller, body: TrackingChange) -> TrackingAnswer:
        """Change tracking switches: first without `confirm` to see what it does, then with it."""
        _check(caller, body)
        if body.confirm:
            return await self._do(caller, body)
        # The version first: a change that comes in between makes the code void, not wrong.
        version = self._changes.version
        plan = await self._changes.read(lambda connection: _plan(connection, caller, body))
        code = ""
        if not plan.empty:
            said = _canonical(plan.account.id, body)
            code = self._confirmations.code(said, caller.name, version, self._changes.now())
        return TrackingAnswer(
            done=False,
            account=plan.account.id,
            consequence=plan.consequence,
            confirm=code,
            version=version,
        )

    async def _do(self, caller: Caller, body: TrackingChange) -> TrackingAnswer:
        def work(change: Change) -> _Plan:
            plan = _plan(change.connection, caller, body)
            said = _canonical(plan.account.id, body)
            self._confirmations.check(body.confirm, said, caller.name, change.version, change.at)
            if plan.empty:
                raise ConflictError("nothing would change any more", field="confirm")
            _carry_out(change, plan, body)
            return plan

        plan = await self._changes.make(caller, work)
        return TrackingAnswer(
            done=True,
            account=plan.account.id,
            consequence=plan.consequence,
            confirm="",
            version=self._changes.version,
        )


def _check(caller: Caller, body: TrackingChange) -> None:
    asked = (body.opens, body.clicks, body.outlook_links, body.text_links)
    if all(value is None for value in asked):
        raise InvalidError("say what to switch: opens, clicks, outlook_links or text_links")
    if body.domains:
        if body.reset:
            raise InvalidError('to reset domains set them to "inherit"', field="reset")
        return
    caller.demand_all_domains()
    if "inherit" in asked:
        raise InvalidError("an account has nothing to inherit from; expected on, off or optional")
    if body.outlook_links is not None or body.text_links is not None:
        raise InvalidError("outlook_links and text_links are set for domains", field="domains")


def _plan(connection: Connection, caller: Caller, body: TrackingChange) -> _Plan:
    rows = _chosen(connection, caller, body)
    asked = body.account
    if asked is None and rows and body.domains:
        asked = rows[0].account
    account = account_entry(connection, account_for(connection, caller, asked))
    if not body.domains:
        everyone = select(domains).where(domains.c.account == account.id, domains.c.removed_at == 0)
        rows = list(connection.execute(everyone.order_by(domains.c.id)))
    elif any(row.account != account.id for row in rows):
        raise InvalidError("the domains belong to different accounts", field="domains")
    switches = {name: getattr(body, name) for name in _SWITCHES if getattr(body, name) is not None}
    for_domains: dict[str, Any] = dict(switches)
    if not body.domains:
        for_domains = dict.fromkeys(switches, "inherit") if body.reset else {}
    others = {"outlook_links": body.outlook_links, "text_links": body.text_links}
    for_domains |= {name: value for name, value in others.items() if value is not None}
    return _weigh(account, rows, {} if body.domains else switches, for_domains)


def _chosen(connection: Connection, caller: Caller, body: TrackingChange) -> list[Row[Any]]:
    names = sorted({domain_name(typed, "domains") for typed in body.domains})
    rows: list[Row[Any]] = []
    for start in range(0, len(names), 500):  # SQLite bounds the parameters of a statement
        part = names[start : start + 500]
        found = select(domains).where(domains.c.name.in_(part), domains.c.removed_at == 0)
        rows += [row for row in connection.execute(found) if caller.sees(row.account, row.name)]
    missing = set(names) - {row.name for row in rows}
    if missing:
        listed = ", ".join(sorted(missing)[:10])
        raise NotFoundError(f"there is no such sending domain: {listed}", field="domains")
    return sorted(rows, key=lambda row: int(row.id))


def _weigh(
    account: AccountEntry,
    rows: list[Row[Any]],
    account_asked: dict[str, str],
    domain_asked: dict[str, Any],
) -> _Plan:
    before = {"opens": account.opens, "clicks": account.clicks}
    after = before | {name: Switch(value) for name, value in account_asked.items()}
    account_values = {name: after[name].value for name in after if after[name] is not before[name]}
    domain_values, standings, quiet = {}, [], []
    for row in rows:
        changed = {name: new for name, new in domain_asked.items() if getattr(row, name) != new}
        if changed:
            domain_values[row.id] = changed
        own = {name: Switch(getattr(row, name)) for name in _SWITCHES}
        fresh = {name: Switch(changed.get(name, own[name])) for name in _SWITCHES}
        standings.append(Standing(domain=row.name, before=own, after=fresh))
        if changed.keys() - set(_SWITCHES):
            quiet.append(row.name)
    consequence = foresee(
        before,
        after,
        standings,
        account_changes=bool(account_asked),
        other_domains=account.any_sender,
        settings_changed=quiet,
    )
    return _Plan(
        account=account,
        account_values=account_values,
        domain_values=domain_values,
        consequence=consequence,
        empty=not account_values and not domain_values,
    )


def _carry_out(change: Change, plan: _Plan, body: TrackingChange) -> None:
    account = plan.account
    if plan.account_values:
        statement = update(accounts).where(accounts.c.id == account.id)
        change.connection.execute(statement.values(**plan.account_values))
    before = _own_values(change.connection, list(plan.domain_values))
    for id_, values in plan.domain_values.items():
        change.connection.execute(update(domains).where(domains.c.id == id_).values(**values))
    after = _own_values(change.connection, list(plan.domain_values))
    held = {"opens": account.opens, "clicks": account.clicks}
    change.audit(
        "tracking.set",
        ", ".join(body.domains) if body.domains else account.name,
        account=account.id,
        before={"account": held, "domains": before},
        after={
            "account": held | plan.account_values,
            "domains": after,
            "summary": plan.consequence.summary,
        },
    )


def _own_values(connection: Connection, ids: list[int]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), 500):
        wanted = select(domains).where(domains.c.id.in_(ids[start : start + 500]))
        for row in connection.execute(wanted):
            values[row.name] = {
                name: getattr(row, name) for name in (*_SWITCHES, "outlook_links", "text_links")
            }
    return values


def _canonical(account: int, body: TrackingChange) -> bytes:
    """Give the change as bytes that only the same change gives."""
    names = tuple(sorted({domain_name(typed, "domains") for typed in body.domains}))
    same = msgspec.structs.replace(body, account=account, domains=names, confirm="")
    return msgspec.json.encode(same)
