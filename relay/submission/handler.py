"""The handler behind a submission door: a finished envelope goes to acceptance, its answer to the
client.

Guarantees: 250 is said only after acceptance returned, that is, after the message is on disk
(promise 2); every refusal has its own reply; the message id stands in the 250 so that both sides'
logs can be joined.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, cast

from relay.acceptance.accept import Acceptance
from relay.acceptance.submission import Recipient, Submission
from relay.errors import RefusedError, SpoolFullError, StorageError
from relay.ids import to_text
from relay.submission.envelope import MailEnvelope, MailSession
from relay.submission.logins import Login
from relay.submission.serving import Pending

if TYPE_CHECKING:
    from relay.submission.session import SubmissionSession


class SubmissionHandler:
    """Hooks of the session class (aiosmtpd's handler interface)."""

    def __init__(self, acceptance: Acceptance) -> None:
        """Take where submissions go."""
        self._acceptance = acceptance
        self.counts: Counter[str] = Counter()

    def handle_MAIL(
        self,
        _server: SubmissionSession,
        session: MailSession,
        _envelope: MailEnvelope,
        _address: str,
        _options: list[str],
    ) -> str | None:
        """Refuse early when nothing can be stored; the client keeps its mail."""
        why = self._acceptance.spool.refuses()
        if why:
            return f"452 4.3.1 {_sentence(why)}"
        login: Login | None = session.login
        later = self._acceptance.put_off(login.credential) if login is not None else None
        if later is not None:
            self.counts["refused"] += 1
            return later.reply
        return None  # the usual reply

    def handle_DATA(
        self, _server: SubmissionSession, session: MailSession, envelope: MailEnvelope
    ) -> str | Pending:
        """Accept one message."""
        login: Login = session.login
        submission = Submission(
            content=cast(bytes, envelope.content),
            sender=envelope.sender,
            recipients=[
                Recipient(mailbox=path.mailbox, notify=path.notify, orcpt=path.orcpt)
                for path in envelope.recipients
            ],
            credential=login.credential,
            helo=session.helo,
            peer_address=session.peer_address,
            protocol=_protocol(session, envelope),
            utf8=envelope.smtputf8,
            eightbit=envelope.body_8bit,
            ret=envelope.ret,
            envid=envelope.envid,
        )
        try:
            message, stored = self._acceptance.submit(submission)
        except RefusedError as refused:
            self.counts["refused"] += 1
            return refused.reply
        except (SpoolFullError, StorageError) as error:
            return self._not_stored(error)
        return Pending(stored, partial(self._reply, message.id, stored))

    def _reply(self, message: int, stored: asyncio.Future[None]) -> str:
        """Say what became of a message that was to be stored."""
        try:
            stored.result()
        except (SpoolFullError, StorageError) as error:
            return self._not_stored(error)
        self.counts["accepted"] += 1
        return f"250 2.0.0 Accepted as {to_text(message)}"

    def _not_stored(self, error: SpoolFullError | StorageError) -> str:
        self.counts["failed"] += 1
        if isinstance(error, SpoolFullError):
            return f"452 4.3.1 {_sentence(str(error))}"
        return "451 4.3.0 The message could not be stored; try again later"


def _protocol(session: MailSession, envelope: MailEnvelope) -> str:
    """Give the word after `with` in Received (RFC 3848, RFC 6531 section 4.3)."""
    base = "UTF8SMTP" if envelope.smtputf8 else "ESMTP"
    return base + ("S" if session.tls is not None else "") + "A"


def _sentence(why: str) -> str:
    return f"No mail can be taken now ({why}); try again later"
