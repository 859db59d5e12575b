"""From the ledger's rows to the one `Settings` value that every worker holds.

Guarantees: the same rows give the same value; nothing that was removed is in it. Cost grows with
accounts and sending domains, never with mail or suppressions.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec
from sqlalchemy import Connection, select

from relay.ledger import settings_tables as tables
from relay.ledger.host_tables import failing_hosts
from relay.settings import (
    Account,
    Blocks,
    Credential,
    DkimKey,
    Hosts,
    Pause,
    SendingDomain,
    Settings,
    Switch,
)
from tracking.tokens import campaign_hash


def read_settings(connection: Connection) -> Settings:
    """Build the settings as this connection sees the ledger."""
    version = (connection.execute(select(tables.version.c.settings))).scalar_one()
    return Settings(
        version=version,
        accounts=_accounts(connection),
        credentials=_credentials(connection),
        domains=_domains(connection),
        blocks=_blocks(connection),
        pause=_pause(connection),
        hosts=Hosts(failing=frozenset(connection.scalars(select(failing_hosts.c.url)))),
    )


def _accounts(connection: Connection) -> dict[int, Account]:
    rows = connection.execute(select(tables.accounts).order_by(tables.accounts.c.id))
    return {
        row.id: Account(
            id=row.id,
            name=row.name,
            opens=Switch(row.opens),
            clicks=Switch(row.clicks),
            suspended=row.suspended,
            any_sender=row.any_sender,
            messages_per_hour=row.messages_per_hour,
            failure_notices=row.failure_notices,
        )
        for row in rows
    }


def _credentials(connection: Connection) -> dict[str, Credential]:
    rows = connection.execute(select(tables.credentials).order_by(tables.credentials.c.id))
    return {
        row.login: Credential(
            id=row.id,
            account=row.account,
            login=row.login,
            secret_sha256=row.secret_sha256,
            dialect=row.dialect,
            networks=msgspec.json.decode(row.networks, type=tuple[str, ...]),
            passwordless=row.passwordless,
            revoked=bool(row.revoked_at),
        )
        for row in rows
    }


def _domains(connection: Connection) -> dict[str, SendingDomain]:
    keys: dict[int, list[DkimKey]] = defaultdict(list)
    for row in connection.execute(select(tables.dkim_keys).order_by(tables.dkim_keys.c.id)):
        keys[row.domain].append(
            DkimKey(
                selector=row.selector,
                algorithm=row.algorithm,
                sealed=row.sealed,
                active=row.active,
            )
        )
    present = (
        select(tables.domains).where(tables.domains.c.removed_at == 0).order_by(tables.domains.c.id)
    )
    return {
        row.name: SendingDomain(
            id=row.id,
            account=row.account,
            name=row.name,
            opens=Switch(row.opens),
            clicks=Switch(row.clicks),
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
            dkim=tuple(keys[row.id]),
        )
        for row in connection.execute(present)
    }


def _blocks(connection: Connection) -> Blocks:
    ids = select(tables.domains.c.name, tables.domains.c.id, tables.domains.c.account)
    named: dict[tuple[int | None, str], int] = {
        (row.account, row.name): row.id for row in connection.execute(ids)
    }
    campaigns, domains, destinations = set(), set(), set()
    for row in connection.execute(select(tables.blocks)):
        if row.kind == "campaign":
            campaigns.add(campaign_hash(row.account, row.value))
        elif row.kind == "domain":
            domains.add(named[row.account, row.value])
        else:
            destinations.add(row.value)
    return Blocks(
        campaigns=frozenset(campaigns),
        domains=frozenset(domains),
        destinations=frozenset(destinations),
    )


def _pause(connection: Connection) -> Pause:
    rows = (connection.execute(select(tables.pauses))).all()
    return Pause(
        accounts=frozenset(row.account for row in rows if row.kind == "account"),
        campaigns=frozenset((row.account, row.value) for row in rows if row.kind == "campaign"),
        domains=frozenset(row.value for row in rows if row.kind == "domain"),
        destinations=frozenset(row.value for row in rows if row.kind == "destination"),
    )
