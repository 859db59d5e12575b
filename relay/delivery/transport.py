"""The door of delivery: takes mail for a route, gives one outcome per delivery.

What the remote side says or fails to say becomes an `Outcome`, never an exception. Leaves to
others: which delivery goes next and how many at once (`relay.dispatch`), what the mail looks like
(departure), what an outcome changes (settlement).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay.delivery.lane import Lane, Take
from relay.delivery.outgoing import Classify, Outcome, Outgoing
from relay.delivery.pool import Pool, PoolLimits
from relay.delivery.route import Hosts, Route
from relay.delivery.session import Opener


class Transport:
    """The SMTP client of a worker."""

    def __init__(
        self,
        hosts: Hosts,
        opener: Opener,
        *,
        limits: PoolLimits | None = None,
        classify: Classify | None = None,
        messages: Callable[[str], int] | None = None,
    ) -> None:
        """Find hosts with `hosts`, open sessions with `opener`, judge replies with `classify`.

        `messages` gives how many messages a provider (by name) wants per connection, 0 for no wish.
        """
        self.opener = opener
        self.pool = Pool(opener.deadlines, limits)
        self._hosts = hosts
        self._classify = classify
        self._messages = messages
        self._lanes: set[Lane] = set()

    async def run(self, route: Route, take: Take) -> None:
        """Send what `take` gives over one connection at a time until it gives None: the lean way
        for many mails.
        """
        lane = self._lane(route)
        self._lanes.add(lane)
        try:
            await lane.run(take)
        finally:
            self._lanes.discard(lane)

    async def deliver(
        self, route: Route, make: Callable[[], Outgoing], *, delivery: int = 0
    ) -> Outcome:
        """Send one mail, made when a connection is ready for it, and give its outcome.

        `delivery` is its id, for the outcome where no connection came about. What `make` raises is
        raised here.
        """
        job = _Single(make, delivery)
        await self.run(route, job.take)
        return await job.told

    async def close(self) -> None:
        """Break off what is on its way, say QUIT on idle connections."""
        for lane in tuple(self._lanes):
            lane.abort()
        self.pool.close()
        await asyncio.sleep(0)  # lets the transports write their QUIT

    def _lane(self, route: Route) -> Lane:
        return Lane(route, self._hosts, self.opener, self.pool, self._classify, self._messages)


class _Single:
    """A job that stands alone."""

    def __init__(self, make: Callable[[], Outgoing], delivery: int) -> None:
        self.delivery = delivery
        self.told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._make = make
        self._taken = False

    async def take(self) -> _Single | None:
        if self._taken:
            return None
        self._taken = True
        return self

    async def make(self) -> Outgoing:
        return self._make()

    def done(self, outcome: Outcome) -> None:
        self.told.set_result(outcome)
