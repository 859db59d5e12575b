"""A submission on its way from control to a worker: mail handed in over HTTP.

Control has no spool, so it gives such mail to one worker, which runs the very same acceptance as
for SMTP. Guarantees: `take` answers what SMTP would have answered and never raises for mail that is
not taken; where `Taken.elsewhere` holds nothing was kept for certain, and another worker may be
asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from relay.acceptance.accept import Acceptance
from relay.acceptance.submission import Recipient, Submission
from relay.errors import RefusedError, SpoolFullError, StorageError
from relay.ids import to_text
from relay.mail.addresses import AddressError, parse_address
from relay.settings import Credential


class HandedInRecipient(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One recipient with what was asked for him (RFC 3461)."""

    address: bytes
    notify: str = ""
    orcpt: bytes = b""


class HandedIn(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A message with its envelope; `sender` b"" is the null sender, `content` has CRLF only."""

    account: int
    login: str  # who hands it in, as the credential is named in logs
    sender: bytes
    recipients: tuple[HandedInRecipient, ...]
    content: bytes
    utf8: bool = False
    ret: str = ""
    envid: bytes = b""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What acceptance said: the reply line, and the message's id if it was taken ("" if not)."""

    code: int
    enhanced: str
    text: str
    message: str = ""

    @property
    def elsewhere(self) -> bool:
        """Tell whether another worker might take it: this one has no room, and kept nothing."""
        return self.code in (451, 452) and self.enhanced.startswith("4.3.")


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter at which handed-in mail is taken."""

    acceptance: Acceptance

    async def take(self, given: HandedIn) -> Taken:
        """Accept one message; it is on disk when this returns with an id."""
        try:
            message = await self.acceptance.accept(_submission(given))
        except (RefusedError, AddressError) as refused:
            return Taken(code=refused.code, enhanced=refused.enhanced, text=refused.text)
        except SpoolFullError as full:
            return Taken(code=452, enhanced="4.3.1", text=f"No mail can be taken now ({full})")
        except StorageError:
            return Taken(code=451, enhanced="4.3.0", text="The message could not be stored")
        id_ = to_text(message.id)
        return Taken(code=250, enhanced="2.0.0", text=f"Accepted as {id_}", message=id_)


def _submission(given: HandedIn) -> Submission:
    return Submission(
        content=given.content,
        sender=parse_address(given.sender, utf8=given.utf8) if given.sender else None,
        recipients=[
            Recipient(
                mailbox=parse_address(one.address, utf8=given.utf8),
                notify=one.notify,
                orcpt=one.orcpt,
            )
            for one in given.recipients
        ],
        credential=Credential(id=0, account=given.account, login=given.login, secret_sha256=b""),
        helo="api",  # the client's address is nobody's business, as with SMTP
        protocol="HTTP",
        utf8=given.utf8,
        ret=given.ret,
        envid=given.envid,
    )
