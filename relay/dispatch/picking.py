"""Which due queues to claim from, and how much: the policy between destinations and in each.

Destinations share what room there is; inside a destination higher priorities go first, then
accounts share, then the campaigns of each account. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TypeVar

from relay.message import Delivery
from relay.spool.protocol import DueQueue, QueueKey

Pick = tuple[int, int]
K = TypeVar("K", int, str)


def pick(queues: Iterable[DueQueue], room: int, allowance: Callable[[str], int]) -> list[Pick]:
    """Give (queue id, deliveries) to claim: `room` at most, `allowance` for each destination."""
    by_destination: dict[str, list[DueQueue]] = {}
    for queue in queues:
        by_destination.setdefault(queue.key.destination, []).append(queue)
    wanted = {
        name: min(allowance(name), sum(q.waiting for q in some))
        for name, some in by_destination.items()
    }
    granted = level(wanted, room)
    picks: list[Pick] = []
    for name, some in by_destination.items():
        picks += _within(some, granted[name])
    return picks


def key_of(delivery: Delivery) -> QueueKey:
    """Give the queue a delivery belongs to."""
    return QueueKey(
        delivery.destination,
        delivery.account,
        delivery.campaign,
        delivery.sending_domain,
        delivery.priority,
    )


def level(wanted: Mapping[K, int], room: int) -> dict[K, int]:
    """Share `room` so that nobody gets more than wanted and small wishes are met first."""
    granted: dict[K, int] = {}
    left = len(wanted)
    for name, wish in sorted(wanted.items(), key=lambda item: item[1]):
        granted[name] = min(max(wish, 0), room // left)
        room -= granted[name]
        left -= 1
    return granted


def _within(queues: list[DueQueue], room: int) -> list[Pick]:
    picks: list[Pick] = []
    ordered = sorted(queues, key=lambda q: -q.key.priority)
    for _, same in groupby(ordered, key=lambda q: q.key.priority):
        accounts: dict[int, list[DueQueue]] = {}
        for queue in same:
            accounts.setdefault(queue.key.account, []).append(queue)
        by_account = level({a: sum(q.waiting for q in qs) for a, qs in accounts.items()}, room)
        for account, some in accounts.items():
            by_queue = level({q.id: q.waiting for q in some}, by_account[account])
            picks += [(queue, count) for queue, count in by_queue.items() if count]
        room -= sum(by_account.values())
        if room <= 0:
            break
    return picks
