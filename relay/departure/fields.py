"""The header fields that departure puts in front of a message: List-Unsubscribe, Feedback-ID.

Values are built from our own ids and settings only; nothing of the client's text goes into them.
"""

from __future__ import annotations

import re

from relay.ids import to_text
from relay.message import Message

_FEEDBACK_ID = re.compile(rb"(?im)^feedback-id[ \t]*+:")


def has_feedback_id(content: bytes) -> bool:
    """Say whether the sender gave a Feedback-ID of its own; costs one search of the header."""
    end = content.find(b"\r\n\r\n")
    return _FEEDBACK_ID.search(content, 0, end if end >= 0 else len(content)) is not None


def list_unsubscribe(page: str, mailbox: bytes, token: str) -> bytes:
    """Build List-Unsubscribe and List-Unsubscribe-Post (RFC 2369, RFC 8058).

    The mail's subject carries the page's token, which says how far the unsubscription reaches; the
    mailbox alone says whose it is.
    """
    return (
        b"List-Unsubscribe: <" + page.encode("ascii") + b">,\r\n"
        b"\t<mailto:" + mailbox + b"?subject=unsubscribe%20" + token.encode("ascii") + b">\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )


def feedback_id(message: Message, campaign_hash: int, sender_id: str) -> bytes:
    """Build Feedback-ID (`campaign:sending domain:account:sender`, Gmail's feedback loop).

    `sender_id` is 5 to 15 characters and the same for all mail of this installation.
    """
    campaign = to_text(campaign_hash >> 1) if message.campaign else "none"
    fields = f"{campaign}:d{message.sending_domain_id}:a{message.account}:{sender_id}"
    return b"Feedback-ID: " + fields.encode("ascii") + b"\r\n"
