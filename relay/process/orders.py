"""The commands that control may send to a worker, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from relay.dispatch.dispatcher import Dispatcher
from relay.link.frames import Command
from relay.process.gauges import Receiver
from relay.spool.local import LocalSpool

Order = Callable[[Command], Awaitable[object]]


def worker_commands(
    spool: LocalSpool, dispatcher: Dispatcher, receiver: Receiver
) -> dict[str, Order]:
    """Give every command of a worker."""
    del dispatcher

    async def status(_command: Command) -> object:
        return {"gauges": receiver.gauges(), "counters": receiver.counters()}

    async def destinations(_command: Command) -> object:
        return [waiting._asdict() for waiting in await spool.destinations()]

    return {"status": status, "destinations": destinations}
