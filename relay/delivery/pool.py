"""Idle connections, kept for the next mail to the same route.

Bounded in number (in all and per route), idle time, age and messages per connection. A connection
that is over a bound says QUIT; one that the server closed is forgotten without a word.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from relay.delivery.connection import Connection
from relay.delivery.deadlines import Deadlines
from relay.delivery.route import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Bounds of connection reuse; times in seconds."""

    idle: int = 200  # connections kept idle in all
    idle_per_route: int = 20
    idle_seconds: float = 30.0
    age_seconds: float = 600.0
    messages: int = 100  # per connection; a provider may allow fewer


class Pool:
    """The idle connections of a worker."""

    def __init__(self, deadlines: Deadlines, limits: PoolLimits | None = None) -> None:
        """Keep connections within `limits`."""
        self.limits = limits or PoolLimits()
        self._deadlines = deadlines
        self._idle: dict[Route, list[Connection]] = {}
        self._order: OrderedDict[Connection, Route] = OrderedDict()  # oldest idle first

    def __len__(self) -> int:
        """Give the number of idle connections."""
        return len(self._order)

    def is_spent(self, connection: Connection) -> bool:
        """Tell whether a connection has served long enough."""
        limits, engine = self.limits, connection.engine
        sent = engine.sent
        if sent >= limits.messages or (connection.messages and sent >= connection.messages):
            return True
        if engine.mail_limit and sent >= engine.mail_limit:
            return True
        return connection.age > limits.age_seconds

    def take(self, route: Route) -> Connection | None:
        """Give the connection that was used last for this route, None when there is none."""
        waiting = self._idle.get(route)
        while waiting:
            connection = waiting.pop()
            if not waiting:
                del self._idle[route]
            del self._order[connection]
            if connection.has_room:
                return connection
            connection.close()
        return None

    def give(self, route: Route, connection: Connection) -> None:
        """Keep an idle connection for later, or close it where it is over a bound."""
        waiting = self._idle.setdefault(route, [])
        usable = connection.engine.is_idle and not self.is_spent(connection)
        if not usable or len(waiting) >= self.limits.idle_per_route or not self.limits.idle:
            connection.close()
            if not waiting:
                del self._idle[route]
            return
        if not self._order:
            self._deadlines.add(self)
        waiting.append(connection)
        self._order[connection] = route
        while len(self._order) > self.limits.idle:
            self._drop(next(iter(self._order)))

    def tick(self, now: float) -> None:
        """Close what has been idle for too long, forget what the server closed."""
        for connection in tuple(self._order):
            too_long = now - connection.idle_since > self.limits.idle_seconds
            if too_long or not connection.engine.is_idle:
                self._drop(connection)
        if not self._order:
            self._deadlines.discard(self)

    def close(self) -> None:
        """Close everything."""
        for connection in tuple(self._order):
            self._drop(connection)
        self._deadlines.discard(self)

    def _drop(self, connection: Connection) -> None:
        route = self._order.pop(connection)
        waiting = self._idle[route]
        waiting.remove(connection)
        if not waiting:
            del self._idle[route]
        connection.close()
