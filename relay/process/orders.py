"""The commands that control may send to a worker, by name: the queue in the operator's hand.

A selection travels as the fields of `relay.spool.protocol.Selection`; what is absent does not
restrict. Answers are plain values; ids are numbers here and text at the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from relay.clock import now
from relay.departure.settlement import cancelled_event
from relay.dispatch.commands import QueueCommands
from relay.dispatch.dispatcher import Dispatcher
from relay.link.frames import Command
from relay.mail.keyring import KeyRing
from relay.message import Delivery
from relay.process.gauges import Receiver
from relay.spool.local import LocalSpool
from relay.spool.protocol import Selection

Order = Callable[[Command], Awaitable[object]]


def worker_commands(
    spool: LocalSpool, dispatcher: Dispatcher, receiver: Receiver, keyring: KeyRing, node: str
) -> dict[str, Order]:
    """Give every command of a worker."""
    queue = QueueCommands(
        spool=spool,
        dispatcher=dispatcher,
        clock=now,
        cancelled=lambda delivery: cancelled_event(delivery, now(), node),
    )
    return {
        "status": _Status(receiver),
        "queue.destinations": _Destinations(queue),
        "queue.queues": _Queues(queue),
        "queue.waiting": _Waiting(queue),
        "queue.show": _Show(queue),
        "queue.hold": _Change(queue.hold),
        "queue.release": _Change(queue.release),
        "queue.retry": _Change(queue.retry_now),
        "queue.cancel": _Change(queue.cancel),
        "queue.move": _Move(queue),
        "keys.reload": _ReloadKeys(keyring),
    }


def _selection(command: Command) -> Selection:
    given: dict[str, Any] = {
        name: value for name, value in command.args.items() if name in Selection._fields
    }
    return Selection(**given)


class _Status:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, _command: Command) -> object:
        return {"gauges": self._receiver.gauges(), "counters": self._receiver.counters()}


class _ReloadKeys:
    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring

    async def __call__(self, _command: Command) -> object:
        await asyncio.to_thread(self._keyring.reload)
        return self._keyring.current


class _Destinations:
    def __init__(self, queue: QueueCommands) -> None:
        self._queue = queue

    async def __call__(self, _command: Command) -> object:
        return [waiting._asdict() for waiting in await self._queue.destinations()]


class _Queues:
    def __init__(self, queue: QueueCommands) -> None:
        self._queue = queue

    async def __call__(self, command: Command) -> object:
        found = await self._queue.queues(_selection(command), int(str(command.args["limit"])))
        return [{**key._asdict(), **waiting._asdict()} for key, waiting in found]


class _Waiting:
    def __init__(self, queue: QueueCommands) -> None:
        self._queue = queue

    async def __call__(self, command: Command) -> object:
        limit, after = int(str(command.args["limit"])), int(str(command.args.get("after") or 0))
        found = await self._queue.waiting(_selection(command), limit, after)
        return [_shown(delivery) for delivery in found]


class _Show:
    def __init__(self, queue: QueueCommands) -> None:
        self._queue = queue

    async def __call__(self, command: Command) -> object:
        try:
            message, deliveries = await self._queue.show(int(str(command.args["message"])))
        except KeyError:
            return None
        return {
            "subject": message.subject,
            "sender": message.sender.decode("utf-8", "replace"),
            "account": message.account,
            "sending_domain": message.sending_domain,
            "campaign": message.campaign,
            "size": message.size,
            "accepted_at": message.accepted_at,
            "deliveries": [_shown(delivery) for delivery in deliveries],
        }


class _Change:
    def __init__(self, change: Callable[[Selection], Awaitable[int]]) -> None:
        self._change = change

    async def __call__(self, command: Command) -> object:
        return await self._change(_selection(command))


class _Move:
    def __init__(self, queue: QueueCommands) -> None:
        self._queue = queue

    async def __call__(self, command: Command) -> object:
        return await self._queue.move(_selection(command), str(command.args["to"]))


def _shown(delivery: Delivery) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(delivery),
        "recipient": delivery.recipient.decode("utf-8", "replace"),
        "orcpt": delivery.orcpt.decode("utf-8", "replace"),
        "state": delivery.state.name.lower(),
    }
