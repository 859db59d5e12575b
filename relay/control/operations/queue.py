"""The queue in the operator's hand: what waits where, and hold, release, retry, cancel, move.

Guarantees: every connected worker is asked and the answers are put together; a worker that does not
answer in time is named, so that a partial answer is never taken for a whole one. A key bound to an
account sees and changes that account's mail only. Changes are audited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from relay import ids
from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown_or_none
from relay.control.operations.words import AccountId, Body, Entry, Name, Text
from relay.control.route import route
from relay.errors import InvalidError, NotFoundError

Ask = Callable[[str, dict[str, Any]], Any]
_MOST = 1000
_MOST_QUEUES = 5000
MessageId = Annotated[str, msgspec.Meta(pattern=r"^[a-z2-7]{13}(?![\s\S])")]


class Line(Entry, frozen=True):
    """What waits for one destination (or one queue of it)."""

    destination: str
    waiting: int
    claimed: int
    held: int
    oldest: datetime | None
    next_due: datetime | None
    last_reply: str
    account: int | None = None
    campaign: str | None = None
    sending_domain: str | None = None


class Lines(Entry, frozen=True):
    """The queue by destination or by campaign; `silent` names workers that did not answer."""

    items: tuple[Line, ...]
    silent: tuple[str, ...]


class QueueQuery(Body, frozen=True):
    """Which part of the queue."""

    destination: Text = ""
    account: AccountId | None = None
    campaign: Text = ""
    sending_domain: Text = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MOST)] = 100


class Waiting(Entry, frozen=True):
    """One delivery that waits."""

    delivery: str
    message: str
    recipient: str
    destination: str
    account: int
    campaign: str
    sending_domain: str
    state: str
    attempts: int
    not_before: datetime | None
    since: datetime | None
    last_reply: str
    ambiguous: bool


class WaitingList(Entry, frozen=True):
    """Deliveries that wait."""

    items: tuple[Waiting, ...]
    silent: tuple[str, ...]


class QueuedMessage(Entry, frozen=True):
    """A message that still has deliveries in the queue."""

    message: str
    subject: str
    sender: str
    account: int
    sending_domain: str
    campaign: str
    size: int
    accepted_at: datetime | None
    deliveries: tuple[Waiting, ...]


class QueueChange(Body, frozen=True):
    """What to do with which deliveries; at least one restriction besides the account is needed."""

    action: Literal["hold", "release", "retry", "cancel", "move"]
    destination: Text = ""
    account: AccountId | None = None
    campaign: Text = ""
    sending_domain: Text = ""
    message: MessageId | None = None
    delivery: MessageId | None = None
    to: Name | None = None  # of move: the destination to send by
    everything: bool = False  # no restriction is meant


class QueueChanged(Entry, frozen=True):
    """How many deliveries were changed."""

    changed: int
    silent: tuple[str, ...]


class Queue:
    """Operations on the queues of all workers; `workers` is set by the composition root."""

    def __init__(self, changes: Changes, ask: Ask) -> None:
        """Take the door to the ledger (for the audit) and the way to the workers."""
        self._changes = changes
        self._ask = ask

    @route("GET", "/queue", scope=Scope.READ)
    async def destinations(self, caller: Caller, query: QueueQuery) -> Lines:
        """List what waits, by destination; the longest queues first."""
        return await self._lines(caller, query, ("destination",))

    @route("GET", "/queue/campaigns", scope=Scope.READ)
    async def campaigns(self, caller: Caller, query: QueueQuery) -> Lines:
        """List what waits, by account and campaign."""
        return await self._lines(caller, query, ("account", "campaign", "sending_domain"))

    @route("GET", "/queue/deliveries", scope=Scope.READ)
    async def deliveries(self, caller: Caller, query: QueueQuery) -> WaitingList:
        """List deliveries that wait or are held."""
        args = {**self._selection(caller, query), "limit": query.limit}
        found, silent = _parted(await self._ask("queue.waiting", args))
        items = [_waiting(one) for answer in found for one in answer]
        items.sort(key=lambda one: one.delivery)
        return WaitingList(items=tuple(items[: query.limit]), silent=silent)

    @route("GET", "/queue/messages/{message}", scope=Scope.READ)
    async def message(self, caller: Caller, message: str) -> QueuedMessage:
        """Show one message with its deliveries that wait."""
        missing = NotFoundError("there is no such message in the queue")
        try:
            found, _ = _parted(await self._ask("queue.show", {"message": ids.from_text(message)}))
        except ValueError:
            raise missing from None
        for answer in found:
            if answer and caller.sees(answer["account"], answer["sending_domain"]):
                return QueuedMessage(
                    message=message,
                    subject=answer["subject"],
                    sender=answer["sender"],
                    account=answer["account"],
                    sending_domain=answer["sending_domain"],
                    campaign=answer["campaign"],
                    size=answer["size"],
                    accepted_at=shown_or_none(answer["accepted_at"]),
                    deliveries=tuple(_waiting(one) for one in answer["deliveries"]),
                )
        raise missing

    @route("POST", "/queue", scope=Scope.WRITE)
    async def change(self, caller: Caller, body: QueueChange) -> QueueChanged:
        """Hold, release, retry now, cancel or move deliveries."""
        selection = self._selection(caller, body)
        restricted = set(selection) - {"account"}
        if not restricted and not body.everything:
            raise InvalidError(
                "say which deliveries are meant, or everything = true", field="destination"
            )
        if body.action == "move":
            caller.demand_all_accounts()
            if body.to is None:
                raise InvalidError("to: expected the destination to send by", field="to")
            selection["to"] = body.to
        found, silent = _parted(await self._ask(f"queue.{body.action}", selection))
        changed = sum(int(count) for count in found)

        def note(change: Change) -> None:
            change.audit(
                f"queue.{body.action}",
                str(sorted(restricted)),
                account=selection.get("account"),
                after={"selection": {k: str(v) for k, v in selection.items()}, "changed": changed},
            )

        await self._changes.make(caller, note, settings=False)
        return QueueChanged(changed=changed, silent=silent)

    async def _lines(self, caller: Caller, query: QueueQuery, by: tuple[str, ...]) -> Lines:
        args = {**self._selection(caller, query), "limit": _MOST_QUEUES}
        found, silent = _parted(await self._ask("queue.queues", args))
        sums: dict[tuple[Any, ...], dict[str, Any]] = {}
        for answer in found:
            for one in answer:
                _add(sums.setdefault(tuple(one[name] for name in by), {}), one, by)
        lines = [_line(one, by) for one in sums.values()]
        lines.sort(key=lambda line: -(line.waiting + line.held + line.claimed))
        return Lines(items=tuple(lines[: query.limit]), silent=silent)

    def _selection(self, caller: Caller, asked: QueueQuery | QueueChange) -> dict[str, Any]:
        caller.demand_all_domains()
        account = asked.account
        if account is not None:
            caller.own("account", account)
        account = caller.account if account is None else account
        chosen: dict[str, Any] = {
            "destination": asked.destination or None,
            "account": account,
            "campaign": asked.campaign or None,
            "sending_domain": asked.sending_domain or None,
        }
        if isinstance(asked, QueueChange):
            chosen["message"] = _id(asked.message) if asked.message else None
            chosen["delivery"] = _id(asked.delivery) if asked.delivery else None
        return {name: value for name, value in chosen.items() if value is not None}


def _parted(answers: Mapping[int, Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Part answers from workers that failed or kept silent."""
    good, silent = [], []
    for worker, answer in answers.items():
        if isinstance(answer, dict) and set(answer) == {"error"}:
            silent.append(f"worker-{worker}: {answer['error']}")
        else:
            good.append(answer)
    return good, tuple(silent)


def _add(line: dict[str, Any], one: Mapping[str, Any], by: tuple[str, ...]) -> None:
    if not line:
        line |= {"waiting": 0, "claimed": 0, "held": 0, "oldest": 0, "next_due": 0}
        line |= {"last_reply": "", **{name: one[name] for name in by}}
    for name in ("waiting", "claimed", "held"):
        line[name] += one[name]
    for name in ("oldest", "next_due"):
        if one[name]:
            line[name] = min(line[name] or one[name], one[name])
    line["last_reply"] = one["last_reply"] or line["last_reply"]


def _line(line: Mapping[str, Any], by: tuple[str, ...]) -> Line:
    return Line(
        destination=line["destination"] if "destination" in by else "",
        waiting=line["waiting"],
        claimed=line["claimed"],
        held=line["held"],
        oldest=shown_or_none(line["oldest"]),
        next_due=shown_or_none(line["next_due"]),
        last_reply=line["last_reply"],
        account=line.get("account"),
        campaign=line.get("campaign"),
        sending_domain=line.get("sending_domain"),
    )


def _waiting(one: Mapping[str, Any]) -> Waiting:
    return Waiting(
        delivery=ids.to_text(one["id"]),
        message=ids.to_text(one["message"]),
        recipient=one["recipient"],
        destination=one["destination"],
        account=one["account"],
        campaign=one["campaign"],
        sending_domain=one["sending_domain"],
        state=one["state"],
        attempts=one["attempt"],
        not_before=shown_or_none(one["not_before"]),
        since=shown_or_none(one["starts_at"]),
        last_reply=one["last_reply"],
        ambiguous=one["ambiguous"],
    )


def _id(text: str) -> int:
    try:
        return ids.from_text(text)
    except ValueError as problem:
        raise InvalidError(str(problem), field="message") from None
