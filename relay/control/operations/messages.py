"""Mail handed in over HTTP: `POST /messages`.

Guarantees: the same acceptance as over SMTP, run by a worker, and the same answers: what SMTP would
refuse is refused (422 with the reply), and when this answers 202 the message is on disk. A worker
without room is passed over; a worker that was asked and did not answer is not, because it may have
the message: then 503 says that the outcome is not known. A key bound to an account sends for that
account, one bound to domains with these in From: only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from relay.acceptance.handed_in import HandedIn, HandedInRecipient, Taken
from relay.acceptance.senders import from_domain
from relay.control.caller import Caller, Scope
from relay.control.changes import Changes
from relay.control.operations import compose
from relay.control.operations.accounts import account_entry
from relay.control.operations.handing_in import Envelope, HandedOver, NewMessage
from relay.control.operations.kept_answers import KeptAnswers
from relay.control.route import route
from relay.errors import ForbiddenError, InvalidError, OperationError, RefusedError, WaypostError
from relay.mail.header import split
from relay.mail.lines import normalize
from relay.submission.content import refusal
from relay.submission.options import SessionLimits, SessionOptions

MAX_BODY = 48 * 1024 * 1024  # a message of 25 MiB in base64 and some
COMMAND = "submit"
_BUSY_SECONDS = 30
_SECONDS = 60.0
_OPTIONS = SessionOptions(hostname="")


class TakingWorkers(Protocol):
    """The link, as far as handing in needs it: `relay.link.hub.Hub` fits."""

    def connected(self) -> Sequence[int]:
        """Give the indexes of the workers that are connected now."""
        ...

    async def ask_one(self, worker: int, name: str, payload: bytes, seconds: float) -> Any:
        """Give a command to one worker and give its answer.

        Raises KeyError when it was not asked, another WaypostError when no answer came.
        """
        ...


class MailRefusedError(OperationError):
    """The message is not taken, and will not be if it is sent again unchanged."""

    status = 422
    slug = "refused"


class TooMuchMailError(OperationError):
    """The account has sent as much as it may for now."""

    status = 429
    slug = "too-much"
    retry_after = 300


class NoRoomError(OperationError):
    """No worker can take mail now; nothing was kept."""

    status = 503
    slug = "no-room"
    retry_after = _BUSY_SECONDS


class UnknownOutcomeError(OperationError):
    """A worker was given the message and did not answer."""

    status = 503
    slug = "outcome-unknown"
    retry_after = _BUSY_SECONDS


class Messages:
    """Hands mail to workers, one in turn."""

    def __init__(
        self, changes: Changes, workers: Callable[[], TakingWorkers], limits: SessionLimits
    ) -> None:
        """Take the ledger's door, where the link is found, and the bounds of a submission."""
        self._changes = changes
        self._workers = workers
        self._limits = limits
        self._kept = KeptAnswers(changes)
        self._turn = itertools.count()

    @route(
        "POST",
        "/messages",
        scope=Scope.SEND,
        status=202,
        max_body=MAX_BODY,
        takes_raw="message/rfc822",
        fields=("Idempotency-Key",),
    )
    async def send(
        self,
        caller: Caller,
        query: Envelope,
        body: NewMessage | None,
        raw: bytes | None,
        fields: Mapping[str, str],
    ) -> HandedOver:
        """Hand in one message; it is on disk when this is answered.

        JSON fields make a message, or carry one in `raw`. With `message/rfc822` the body is the
        message and the query its envelope. The same Idempotency-Key with the same message gets
        the same answer for 24 hours.
        """
        new = body if body is not None else NewMessage(account=query.account)
        if body is not None and query != Envelope():
            raise InvalidError("with JSON the envelope is in the body", field="query")
        account = await self._account(caller, new)
        given = self._given(caller, account, new, query, raw)
        payload = msgspec.msgpack.encode(given)
        identity = msgspec.msgpack.encode((account, new, query, raw))  # boundaries are random
        taken = await self._kept.once(
            account,
            fields.get("idempotency-key", ""),
            identity,
            lambda: self._hand_over(payload),
            lambda taken: not taken.elsewhere and not 400 <= taken.code < 500,
        )
        return _handed_over(taken, len(given.recipients))

    async def _account(self, caller: Caller, new: NewMessage) -> int:
        wanted = new.account if new.account is not None else caller.account
        if wanted is None:
            raise InvalidError("say for which account", field="account")
        caller.own("account", wanted)
        number: int = wanted
        await self._changes.read(lambda connection: account_entry(connection, number))
        return wanted

    def _given(
        self, caller: Caller, account: int, new: NewMessage, query: Envelope, raw: bytes | None
    ) -> HandedIn:
        content = _content(new, raw)
        self._check(caller, content)
        sender, recipients = (
            _raw_envelope(query.sender, query.recipient, content, "recipient")
            if raw is not None
            else _envelope(new, content)
        )
        if len(recipients) > self._limits.recipients:
            most = self._limits.recipients
            raise InvalidError(f"at most {most} recipients are expected", field="recipients")
        notify = ",".join(word.upper() for word in dict.fromkeys(new.notify))
        if "NEVER" in notify and notify != "NEVER":
            raise InvalidError('"never" stands alone', field="notify")
        return HandedIn(
            account=account,
            login=caller.name,
            sender=sender,
            recipients=tuple(HandedInRecipient(address=one, notify=notify) for one in recipients),
            content=content,
            utf8=not all(map(bytes.isascii, (sender, *recipients, _head(content)))),
            ret=new.ret.upper(),
            envid=new.envid.encode("ascii"),
        )

    def _check(self, caller: Caller, content: bytes) -> None:
        refused = refusal(content, self._limits, _OPTIONS)
        if refused is not None:
            raise _refused(refused.decode("ascii"))
        if caller.domains:
            try:
                domain = from_domain(split(content))
            except RefusedError as refused_error:
                raise _refused(refused_error.reply) from None
            if domain not in caller.domains:
                raise ForbiddenError(f"this key may not send as {domain}")

    async def _hand_over(self, payload: bytes) -> Taken:
        """Ask one worker after the other, beginning with the next in turn."""
        workers = self._workers()
        connected = list(workers.connected())
        first = next(self._turn) % max(1, len(connected))
        last = Taken(code=451, enhanced="4.3.0", text="No worker is connected")
        for worker in connected[first:] + connected[:first]:
            try:
                answer = await workers.ask_one(worker, COMMAND, payload, _SECONDS)
            except KeyError:
                continue  # gone since; it was not asked
            except WaypostError as problem:
                raise UnknownOutcomeError(
                    f"{problem}; the message may have been taken: sending it again may send it "
                    "twice"
                ) from None
            last = msgspec.convert(answer, Taken)
            if not last.elsewhere:
                break
        return last


def _content(new: NewMessage, raw: bytes | None) -> bytes:
    if raw is None and new.raw is None:
        return compose.option_fields(new) + compose.compose(new)
    if raw is None:
        if new.from_ or new.subject or new.text is not None or new.html is not None or new.headers:
            raise InvalidError("either a raw message or its fields are expected", field="raw")
        raw = compose.decoded(new.raw or "", "raw")
    # A file as Unix keeps it: no CR anywhere, so what its line ends mean is beyond doubt.
    content = normalize(raw) if b"\r" not in raw else raw
    return compose.option_fields(new) + content


def _envelope(new: NewMessage, content: bytes) -> tuple[bytes, list[bytes]]:
    if new.raw is not None:
        return _raw_envelope(new.sender, new.recipients, content, "recipients")
    sender = new.from_ if new.sender is None else new.sender
    named = new.recipients or (*new.to, *new.cc, *new.bcc)
    return _addresses(sender, named, "sender", "recipients" if new.recipients else "to")


def _raw_envelope(
    sender: str | None, recipients: Sequence[str], content: bytes, field: str
) -> tuple[bytes, list[bytes]]:
    if sender is None:
        field_ = split(content).get(b"from") or b""
        sender = field_.decode("utf-8", "replace").rpartition("<")[2].partition(">")[0]
    return _addresses(sender, recipients, "sender", field)


def _addresses(
    sender: str, recipients: Sequence[str], sender_field: str, field: str
) -> tuple[bytes, list[bytes]]:
    if not recipients:
        raise InvalidError("at least one recipient is expected", field=field)
    null = sender in ("", "<>")
    return (
        b"" if null else compose.person(sender, sender_field).mailbox.address,
        [compose.person(one, field).mailbox.address for one in recipients],
    )


def _head(content: bytes) -> bytes:
    """Give the header without control fields, which nobody beyond acceptance sees."""
    header = split(content)
    return b"".join(
        field.value for field in header.fields if not field.name.lower().startswith(b"x-waypost-")
    )


def _handed_over(taken: Taken, recipients: int) -> HandedOver:
    reply = f"{taken.code} {taken.enhanced} {taken.text}"
    if taken.message:
        return HandedOver(message=taken.message, reply=reply, recipients=recipients)
    raise _refused(reply)


def _refused(reply: str) -> OperationError:
    kind: type[OperationError] = MailRefusedError
    if reply.startswith("4"):
        kind = NoRoomError if reply[4:7] == "4.3" else TooMuchMailError
    error = kind(reply.split(" ", 2)[2])
    error.reply = reply
    return error
