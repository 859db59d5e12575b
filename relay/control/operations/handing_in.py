"""What `POST /messages` takes and gives: mail as structured fields, or raw with its envelope."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from relay.control.operations.words import AccountId, Body, Entry, Text

_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Notify = Literal["success", "failure", "delay", "never"]
_Long = Annotated[str, msgspec.Meta(max_length=2000)]
Typed = Annotated[str, msgspec.Meta(max_length=1000)]  # an address, with a name or without
Typeds = Annotated[tuple[Typed, ...], msgspec.Meta(max_length=100_000)]


class Attachment(Body, frozen=True):
    """A file; with `content_id` it is what html shows as `cid:...`."""

    content: str  # base64
    filename: Annotated[str, msgspec.Meta(max_length=255)] = ""
    type: Text = "application/octet-stream"
    content_id: Text = ""


class SendOptions(Body, frozen=True):
    """What the control headers say over SMTP (docs/headers.md)."""

    campaign: Text = ""
    template: Text = ""
    tags: Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)] = ()
    metadata: dict[_Key, _Long] = msgspec.field(default_factory=dict)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    unsubscribe: bool | None = None
    not_before: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    priority: Annotated[int, msgspec.Meta(ge=-9, le=9)] = 0
    mode: Literal["live", "test"] = "live"


class NewMessage(Body, frozen=True, rename={"from_": "from"}):
    """One message. Either `raw`, or `from` with the other fields.

    The envelope is `sender` (default: the address of `from`, or of the raw message's From) and
    `recipients` (default: to, cc and bcc).
    """

    account: AccountId | None = None  # for whom; a key that is bound to an account needs none
    raw: str | None = None  # a whole message (RFC 5322), base64
    sender: Typed | None = None  # "" is the null sender
    recipients: Typeds = ()
    from_: Typed = ""
    to: Typeds = ()
    cc: Typeds = ()
    bcc: Typeds = ()
    reply_to: Typeds = ()
    subject: _Long = ""
    text: str | None = None
    html: str | None = None
    attachments: Annotated[tuple[Attachment, ...], msgspec.Meta(max_length=100)] = ()
    headers: dict[str, _Long] = msgspec.field(default_factory=dict)
    options: SendOptions | None = None
    notify: Annotated[tuple[_Notify, ...], msgspec.Meta(max_length=3)] = ()  # RFC 3461
    ret: Literal["", "full", "hdrs"] = ""
    envid: Annotated[str, msgspec.Meta(pattern=r"^[!-*,-<>-~]{0,100}(?![\s\S])")] = ""


class Envelope(Body, frozen=True):
    """The envelope of a message that is sent as `message/rfc822`; also for JSON's `raw`."""

    sender: Typed | None = None
    recipient: Typeds = ()  # given once for each
    account: AccountId | None = None


class HandedOver(Entry, frozen=True):
    """It is on disk; what becomes of it is found under this id."""

    message: str
    reply: str  # as SMTP would have said it
    recipients: int
