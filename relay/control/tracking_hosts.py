"""Whether tracking hosts can be reached, those of domains and the default: if not, mail goes out
untracked.

Guarantees: every host is asked again within `every` seconds, a host that was just set at once; one
failure is asked a second time before it counts; the verdict is a setting (`tracking_ok` of a
domain, `hosts.failing` for the default) that all workers follow within a second, with an audit
entry that names the reason. What is checked: the
name resolves, a connection can be made, and for https the certificate is valid for the name; where
a connection may go is a matter of `reach.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection, delete, insert, select, update

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.errors import StorageError, UnavailableError
from relay.ledger.host_tables import failing_hosts
from relay.ledger.settings_tables import domains

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
_AT_ONCE = 20
_CALLER = Caller(name="tracking-host check", scopes=frozenset({Scope.ADMIN}))
DEFAULT = "the default host"
"""What the default host is called where others go by their domain's name, which has no space."""

Probe = Callable[[str], Awaitable[str]]
"""Tries a host by its URL; gives why it cannot be used, "" when it can."""


class TrackingHosts:
    """Checks the hosts; control has one."""

    def __init__(self, changes: Changes, every: float, probe: Probe, *, default: str = "") -> None:
        """Take the door to the settings, how often to look, in seconds (0: never), and the URL of
        the default host ("" for none).
        """
        self._changes = changes
        self._every = every
        self._default = default
        self._probe = probe
        self._set = asyncio.Event()
        self.failing: dict[str, str] = {}  # sending domain or DEFAULT: why its host is not used

    @property
    def checks(self) -> bool:
        """Tell whether hosts are checked at all; a host that was just set then waits for it."""
        return self._every > 0

    def look_now(self) -> None:
        """Check soon: a host was set."""
        self._set.set()

    async def keep_checking(self) -> None:
        """Check again and again; runs until cancelled. Without checks no verdict stands."""
        if not self.checks:
            await self._changes.make(_CALLER, _forget)
        while self.checks:
            self._set.clear()
            try:
                await self.check()
            except (StorageError, UnavailableError):
                _log.exception("tracking hosts were not checked; it is tried again")
            try:
                async with asyncio.timeout(self._every):
                    await self._set.wait()
            except TimeoutError:
                continue

    async def check(self) -> None:
        """Check every host once, and make the verdicts settings."""
        hosts = await self._changes.read(_hosts)
        if self._default:
            hosts.append((DEFAULT, self._default, await self._changes.read(self._default_ok)))
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(url: str) -> tuple[str, str]:
            async with room:
                return url, await self._twice(url)

        wrong = dict(await asyncio.gather(*map(one, sorted({url for _, url, _ in hosts}))))
        self.failing = {name: wrong[url] for name, url, _ in hosts if wrong[url]}
        moved = [(name, url) for name, url, ok in hosts if ok is bool(wrong[url])]
        if moved:
            await self._changes.make(_CALLER, lambda change: _decide(change, moved, wrong))
        for name, url in moved:
            if wrong[url]:
                _log.warning("%s goes out untracked: %s: %s", name, url, wrong[url])
            else:
                _log.info("%s may be tracked: %s can be reached", name, url)

    def _default_ok(self, connection: Connection) -> bool:
        """Say what stands about the default host."""
        column = failing_hosts.c.url
        wanted = select(column).where(column == self._default)
        return connection.scalar(wanted) is None

    async def _twice(self, url: str) -> str:
        wrong = await self._probe(url)
        if wrong:
            await asyncio.sleep(_AGAIN_SECONDS)
            wrong = await self._probe(url)
        return wrong


def _hosts(connection: Connection) -> list[tuple[str, str, bool]]:
    columns = domains.c
    wanted = select(columns.name, columns.tracking_url, columns.tracking_ok)
    wanted = wanted.where(columns.removed_at == 0, columns.tracking_url != "")
    return [(row[0], row[1], bool(row[2])) for row in connection.execute(wanted)]


def _forget(change: Change) -> None:
    change.connection.execute(delete(failing_hosts))
    change.connection.execute(
        update(domains).where(domains.c.tracking_ok.is_(False)).values(tracking_ok=True)
    )


def _decide(change: Change, moved: list[tuple[str, str]], wrong: dict[str, str]) -> None:
    """Write the verdicts about hosts that are still the domains' own, and about the default."""
    columns = domains.c
    for name, url in moved:
        if name == DEFAULT:
            _decide_default(change, url, wrong[url])
            continue
        same = (columns.name == name, columns.tracking_url == url, columns.removed_at == 0)
        row = change.connection.execute(
            update(domains)
            .where(*same)
            .values(tracking_ok=not wrong[url])
            .returning(columns.account)
        ).one_or_none()
        if row is None:
            continue
        change.audit(
            "domain.tracking-host",
            name,
            account=row.account,
            after={"tracking_url": url, "tracking_ok": not wrong[url], "reason": wrong[url]},
        )


def _decide_default(change: Change, url: str, reason: str) -> None:
    """Write the verdict about the default host of this node."""
    change.connection.execute(delete(failing_hosts).where(failing_hosts.c.url == url))
    if reason:
        row = {"url": url, "reason": reason, "since": change.at}
        change.connection.execute(insert(failing_hosts).values(row))
    change.audit(
        "tracking-host",
        url,
        account=None,
        after={"tracking_url": url, "tracking_ok": not reason, "reason": reason},
    )
