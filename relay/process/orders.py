"""The commands that control may send to a worker, by name: the queue in the operator's hand.

A selection travels as the fields of `relay.spool.protocol.Selection`; what is absent does not
restrict. Answers are plain values; ids are numbers here and text at the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from relay.clock import now
from relay.departure.settlement import cancelled_event
from relay.dispatch.commands import QueueCommands
from relay.link.frames import Command
from relay.mail.keyring import KeyRing
from relay.message import Delivery
from relay.process.gauges import Receiver
from relay.process.sending import Outlet
from relay.spool.protocol import Selection

Order = Callable[[Command], Awaitable[object]]


Queues = Callable[[], list[QueueCommands]]
"""The queues of a worker: its own, and those of orphaned spools that it drains."""


def worker_commands(
    outlets: Sequence[Outlet], receiver: Receiver, keyring: KeyRing, node: str
) -> dict[str, Order]:
    """Give every command of a worker; `outlets` may grow."""

    def queues() -> list[QueueCommands]:
        return [
            QueueCommands(
                spool=outlet.spool,
                dispatcher=outlet.dispatcher,
                clock=now,
                cancelled=lambda delivery: cancelled_event(delivery, now(), node),
            )
            for outlet in outlets
        ]

    return {
        "status": _Status(receiver),
        "settings.version": _SettingsVersion(receiver),
        "queue.destinations": _Destinations(queues),
        "queue.queues": _Queues(queues),
        "queue.waiting": _Waiting(queues),
        "queue.show": _Show(queues),
        "queue.hold": _Change(queues, QueueCommands.hold),
        "queue.release": _Change(queues, QueueCommands.release),
        "queue.retry": _Change(queues, QueueCommands.retry_now),
        "queue.cancel": _Change(queues, QueueCommands.cancel),
        "queue.move": _Move(queues),
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


class _SettingsVersion:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, _command: Command) -> object:
        return self._receiver.settings_version


class _ReloadKeys:
    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring

    async def __call__(self, _command: Command) -> object:
        await asyncio.to_thread(self._keyring.reload)
        return self._keyring.current


class _Destinations:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def __call__(self, _command: Command) -> object:
        return [
            waiting._asdict() for queue in self._queues() for waiting in await queue.destinations()
        ]


class _Queues:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def __call__(self, command: Command) -> object:
        selection, limit = _selection(command), int(str(command.args["limit"]))
        return [
            {**key._asdict(), **waiting._asdict()}
            for queue in self._queues()
            for key, waiting in await queue.queues(selection, limit)
        ]


class _Waiting:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def __call__(self, command: Command) -> object:
        limit, after = int(str(command.args["limit"])), int(str(command.args.get("after") or 0))
        found = [
            delivery
            for queue in self._queues()
            for delivery in await queue.waiting(_selection(command), limit, after)
        ]
        found.sort(key=lambda delivery: delivery.id)
        return [_shown(delivery) for delivery in found[:limit]]


class _Show:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def __call__(self, command: Command) -> object:
        for queue in self._queues():
            try:
                message, deliveries = await queue.show(int(str(command.args["message"])))
            except KeyError:
                continue
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
        return None


class _Change:
    def __init__(
        self, queues: Queues, change: Callable[[QueueCommands, Selection], Awaitable[int]]
    ) -> None:
        self._queues = queues
        self._change = change

    async def __call__(self, command: Command) -> object:
        selection = _selection(command)
        return sum([await self._change(queue, selection) for queue in self._queues()])


class _Move:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def __call__(self, command: Command) -> object:
        selection, to = _selection(command), str(command.args["to"])
        return sum([await queue.move(selection, to) for queue in self._queues()])


def _shown(delivery: Delivery) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(delivery),
        "recipient": delivery.recipient.decode("utf-8", "replace"),
        "orcpt": delivery.orcpt.decode("utf-8", "replace"),
        "state": delivery.state.name.lower(),
    }
