"""Sending domains: the domains of From:, each registered for one account, with keys and records.

Guarantees: a name belongs to one account at a time; a removed domain keeps its id and its
statistics, and gets both back if the same account adds it again. Tracking switches are shown here
and changed by `tracking.py` alone, with its confirmation. To a caller of another account a domain
does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown
from relay.control.operations.accounts import account_for
from relay.control.operations.dkim_keys import DkimKeyEntry, KeyMaker, key_entry, store_key
from relay.control.operations.dns_records import DnsRecord, NodeNames, records
from relay.control.operations.words import AccountId, Body, DomainName, Entry, domain_name
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError
from relay.ledger.host_tables import failing_hosts
from relay.ledger.settings_tables import accounts, dkim_keys, domains
from relay.settings import Switch

Url = Annotated[
    str,
    msgspec.Meta(
        max_length=300, pattern=r"^(https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?)?(?![\s\S])"
    ),
]


class Effective(Entry, frozen=True):
    """A switch in force and the level that decided it."""

    value: Switch
    level: str  # "account" or "sending domain"


class DomainEntry(Entry, frozen=True):
    """A sending domain as it is shown."""

    id: int
    account: int
    name: str
    opens: Switch  # its own value
    clicks: Switch
    effective_opens: Effective
    effective_clicks: Effective
    outlook_links: bool
    text_links: bool
    unsubscribe: bool
    unsubscribe_scope: str
    tracking_url: str
    tracking_ok: bool  # whether its tracking host, its own or the node's, can be reached
    return_path: str
    privacy: str
    pool: str
    failure_notices: str
    dkim: tuple[DkimKeyEntry, ...]
    created_at: datetime


class NewDomain(Body, frozen=True):
    """What a sending domain is made from; it inherits its account's tracking."""

    name: DomainName
    account: AccountId | None = None  # may be left out with a key that is bound to one


class DomainChange(Body, frozen=True):
    """What to change of a domain besides tracking switches; what is left out stays."""

    unsubscribe: bool | None = None
    unsubscribe_scope: Literal["account", "domain", "campaign"] | None = None
    tracking_url: Url | None = None  # "" takes the node's default
    return_path: Annotated[str, msgspec.Meta(max_length=180)] | None = None
    privacy: Literal["full", "noaddress", "aggregate"] | None = None
    pool: Annotated[str, msgspec.Meta(max_length=100)] | None = None  # "" takes the node's choice
    failure_notices: Literal["inherit", "on", "off"] | None = None


class DomainQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sending domains."""

    account: AccountId | None = None
    search: Annotated[str, msgspec.Meta(max_length=253)] = ""  # part of the name


class DnsRecords(Entry, frozen=True):
    """What to publish for a domain."""

    domain: str
    records: tuple[DnsRecord, ...]


class Domains:
    """Operations on sending domains."""

    def __init__(self, changes: Changes, keys: KeyMaker, node: NodeNames) -> None:
        """Take the door to the ledger, the maker of keys, and the node's names."""
        self._changes = changes
        self._keys = keys
        self._node = node
        self.host_set: Callable[[], None] | None = None  # told when a tracking host must be checked
        self.objection: Callable[[str], str] = _no_objection  # to a tracking host

    @route("GET", "/domains", scope=Scope.READ)
    async def list_(self, caller: Caller, query: DomainQuery) -> Page[DomainEntry]:
        """List sending domains with the switches in force and where those come from."""
        wanted = _present().where(domains.c.id > after(query))
        if query.account is not None:
            caller.own("account", query.account)
            wanted = wanted.where(domains.c.account == query.account)
        if caller.account is not None:
            wanted = wanted.where(domains.c.account == caller.account)
        if caller.domains:
            wanted = wanted.where(domains.c.name.in_(caller.domains))
        if query.search:
            wanted = wanted.where(domains.c.name.contains(query.search.lower(), autoescape=True))
        wanted = wanted.order_by(domains.c.id).limit(query.limit + 1)

        def work(connection: Connection) -> list[DomainEntry]:
            found = entries_of(connection, list(connection.execute(wanted)))
            return self._with_default_host(connection, found)

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("GET", "/domains/{domain}", scope=Scope.READ)
    async def show(self, caller: Caller, domain: str) -> DomainEntry:
        """Show one sending domain."""

        def work(connection: Connection) -> DomainEntry:
            found = domain_entry(connection, caller, domain)
            return self._with_default_host(connection, [found])[0]

        return await self._changes.read(work)

    @route("POST", "/domains", scope=Scope.WRITE, status=201)
    async def add(self, caller: Caller, body: NewDomain) -> DomainEntry:
        """Register a sending domain and make its DKIM keys (RSA-2048 and Ed25519)."""
        caller.demand_all_domains()
        name = domain_name(body.name)
        fresh = await self._keys.pair(name, self._changes.now())

        def work(change: Change) -> DomainEntry:
            account = account_for(change.connection, caller, body.account)
            id_ = _register(change, account, name)
            for key in fresh:
                store_key(change, id_, key)
            entry = domain_entry(change.connection, caller, name)
            change.audit("domain.add", name, account=account, after=entry)
            return entry

        return await self._changes.make(caller, work)

    @route("PATCH", "/domains/{domain}", scope=Scope.WRITE)
    async def change(self, caller: Caller, domain: str, body: DomainChange) -> DomainEntry:
        """Change settings of a domain; its tracking switches are changed at `/tracking`."""
        if body.pool and body.pool not in self._node.pools:
            known = ", ".join(sorted(self._node.pools)) or "none; delivery.pools names them"
            raise InvalidError(
                f"there is no pool {body.pool!r} here (there is {known})", field="pool"
            )

        if body.tracking_url and (objection := self.objection(body.tracking_url)):
            raise InvalidError(objection, field="tracking_url")

        def work(change: Change) -> DomainEntry:
            before = domain_entry(change.connection, caller, domain)
            given = {
                name: value
                for name, value in msgspec.structs.asdict(body).items()
                if value is not None
            }
            if given.get("return_path"):
                given["return_path"] = domain_name(given["return_path"], "return_path")
            if given.get("tracking_url", before.tracking_url) != before.tracking_url:
                # Never a link to a host nobody has reached: untracked until it was checked.
                given["tracking_ok"] = not given["tracking_url"] or self.host_set is None
            if given:
                statement = update(domains).where(domains.c.id == before.id).values(given)
                change.connection.execute(statement)
            entry = domain_entry(change.connection, caller, domain)
            change.audit(
                "domain.change", entry.name, account=entry.account, before=before, after=entry
            )
            return entry

        changed = await self._changes.make(caller, work)
        if not changed.tracking_ok and self.host_set is not None:
            self.host_set()
        return changed

    @route("DELETE", "/domains/{domain}", scope=Scope.WRITE)
    async def remove(self, caller: Caller, domain: str) -> None:
        """Remove a sending domain and destroy its keys; its statistics stay."""
        caller.demand_all_domains()

        def work(change: Change) -> None:
            before = domain_entry(change.connection, caller, domain)
            change.connection.execute(delete(dkim_keys).where(dkim_keys.c.domain == before.id))
            change.connection.execute(
                update(domains).where(domains.c.id == before.id).values(removed_at=change.at)
            )
            change.audit("domain.remove", before.name, account=before.account, before=before)

        await self._changes.make(caller, work)

    @route("GET", "/domains/{domain}/dns", scope=Scope.READ)
    async def dns(self, caller: Caller, domain: str) -> DnsRecords:
        """Say what to publish in DNS for this domain."""
        entry = await self.show(caller, domain)
        host = entry.tracking_url.partition("//")[2].partition(":")[0]
        found = records(
            entry.name,
            # also keys that do not sign: new ones are published first, old ones stay for a while
            tuple((key.selector, key.record) for key in entry.dkim),
            return_path=entry.return_path,
            tracking_host=host,
            node=self._node,
        )
        return DnsRecords(domain=entry.name, records=found)

    @property
    def pools(self) -> tuple[str, ...]:
        """Give the pools of this node's addresses that a domain may choose from."""
        return tuple(sorted(self._node.pools))

    def _with_default_host(
        self, connection: Connection, entries: list[DomainEntry]
    ) -> list[DomainEntry]:
        """Say of domains without a tracking host of their own how the node's is."""
        url = failing_hosts.c.url
        failing = select(url).where(url == self._node.tracking_url)
        reachable = connection.scalar(failing) is None
        return [
            one if one.tracking_url else msgspec.structs.replace(one, tracking_ok=reachable)
            for one in entries
        ]


def _no_objection(_url: str) -> str:
    return ""


def domain_entry(connection: Connection, caller: Caller, domain: str) -> DomainEntry:
    """Read a domain by its name; raises NotFoundError, also for what is not the caller's."""
    missing = NotFoundError("there is no such sending domain")
    try:
        name = domain_name(domain)
    except InvalidError:
        raise missing from None
    rows = list(connection.execute(_present().where(domains.c.name == name)))
    if not rows or not caller.sees(rows[0].account, name):
        raise missing
    return entries_of(connection, rows)[0]


def _present() -> Any:
    """Select present domains with the switches of their accounts beside them."""
    inherited = (accounts.c.opens.label("account_opens"), accounts.c.clicks.label("account_clicks"))
    return (
        select(domains, *inherited)
        .join(accounts, accounts.c.id == domains.c.account)
        .where(domains.c.removed_at == 0)
    )


def _register(change: Change, account: int, name: str) -> int:
    rows = (change.connection.execute(select(domains).where(domains.c.name == name))).all()
    if any(not row.removed_at for row in rows):
        raise ConflictError(f"{name} is registered already", field="name")
    for row in rows:
        if row.account == account:
            back = {"removed_at": 0, "created_at": change.at, "opens": "inherit"}
            change.connection.execute(
                update(domains).where(domains.c.id == row.id).values(**back, clicks="inherit")
            )
            return int(row.id)
    made = change.connection.execute(
        insert(domains)
        .values(account=account, name=name, created_at=change.at)
        .returning(domains.c.id)
    )
    return int(made.scalar_one())


def audited(change: Change, action: str, before: DomainEntry) -> DomainEntry:
    """Note a change of a domain; give it as it is now."""
    entry = domain_entry(change.connection, change.caller, before.name)
    change.audit(action, entry.name, account=entry.account, before=before, after=entry)
    return entry


def entries_of(connection: Connection, rows: list[Row[Any]]) -> list[DomainEntry]:
    ids = [row.id for row in rows]
    keys: dict[int, list[DkimKeyEntry]] = {id_: [] for id_ in ids}
    wanted = select(dkim_keys).where(dkim_keys.c.domain.in_(ids)).order_by(dkim_keys.c.id)
    for row in connection.execute(wanted):
        keys[row.domain].append(key_entry(row))
    return [_entry(row, tuple(keys[row.id])) for row in rows]


def _effective(own: str, inherited: str) -> Effective:
    if own == Switch.INHERIT.value:
        return Effective(value=Switch(inherited), level="account")
    return Effective(value=Switch(own), level="sending domain")


def _entry(row: Row[Any], keys: tuple[DkimKeyEntry, ...]) -> DomainEntry:
    return DomainEntry(
        id=row.id,
        account=row.account,
        name=row.name,
        opens=Switch(row.opens),
        clicks=Switch(row.clicks),
        effective_opens=_effective(row.opens, row.account_opens),
        effective_clicks=_effective(row.clicks, row.account_clicks),
        outlook_links=row.outlook_links,
        text_links=row.text_links,
        unsubscribe=row.unsubscribe,
        unsubscribe_scope=row.unsubscribe_scope,
        tracking_url=row.tracking_url,
        tracking_ok=row.tracking_ok,
        return_path=row.return_path,
        privacy=row.privacy,
        pool=row.pool,
        failure_notices=row.failure_notices,
        dkim=keys,
        created_at=shown(row.created_at),
    )
