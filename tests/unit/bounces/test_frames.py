"""What a remote said inside what systems write around it: advice, subjects and host names decide
nothing, in front of it or behind it.
"""

import pytest

from bounces.read import read

HEAD = (
    "Return-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@mx.isp.test>\n"
    "To: b@bounce.shop.test\nSubject: Delivery failure\nMIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\n\n"
)
SAID = {
    "550 5.1.1 <ann@inbox.test>: Recipient address rejected: User unknown": "userunknown",
    "550 No such user here": "userunknown",
    "user unknown": "userunknown",
    "Mailbox does not exist": "userunknown",
    "550 5.1.1 The email account that you tried to reach does not exist. Please try "
    "double-checking the recipient's email address for typos.": "userunknown",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found": "userunknown",
    "Host or domain name not found. Name service error for name=gone.test type=MX: "
    "Host not found": "hostunknown",
    "552 5.2.2 The mailbox is over its quota": "mailboxfull",
    "554 5.7.1 Message rejected as spam": "spamdetected",
    "554 5.7.1 Service unavailable; client [192.0.2.7] blocked using bl.test": "blocked",
    "550 5.7.26 Unauthenticated email is refused by the domain's DMARC policy": "authfailure",
}
FRAMES = {
    "a mail system's letter": (
        "This is the mail system at host mx.isp.test.\n\nI'm sorry to have to inform you that your"
        " message could not\nbe delivered to one or more recipients. It's attached below.\n\n"
        "For further assistance, please send mail to postmaster.\n\n<ann@inbox.test>: host"
        " mx.inbox.test[192.0.2.1] said: {said}\n    (in reply to RCPT TO command)\n"
    ),
    "a filter's host name": (
        "<ann@inbox.test>: host mx.spam-filter.test[192.0.2.1] said: {said}\n"
        "    (in reply to RCPT TO command)\n"
    ),
    "indented": (
        "A message that you sent could not be delivered to one or more of its\nrecipients."
        " This is a permanent error. The following address(es) failed:\n\n  ann@inbox.test\n"
        "    host mx.inbox.test [192.0.2.1]\n    SMTP error from remote mail server after"
        " RCPT TO:<ann@inbox.test>:\n    {said}\n"
    ),
    "advice behind": (
        "Your mail could not be delivered.\n\n<ann@inbox.test>: {said}\n\nThis can happen if your"
        " server is on a blacklist, if the mail looks like spam,\nif the mailbox is full, or if"
        " the address does not exist.\n"
    ),
    "advice in front": (
        "Delivery failed. Possible reasons: mailbox full, message too large, spam, policy.\n\n"
        "Recipient: ann@inbox.test\nReason: {said}\n"
    ),
    "a telling subject": (
        "Your mail with the subject 'Virus and spam quota: blocked!' could not be delivered.\n\n"
        "<ann@inbox.test>: {said}\n"
    ),
    "time in the queue": (
        "Your message has been in the queue for 2 hours and could not be delivered.\n\n"
        "<ann@inbox.test>: {said}\n"
    ),
    "quoted in front of the address": (
        'The error was:\n\n  "{said}"\n\nfor ann@inbox.test.\n\n'
        "If your connection timed out, please try again.\n"
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_what_was_said_decides(frame: str) -> None:
    """The reason of every reply, in every frame."""
    wrong = []
    for said, reason in SAID.items():
        report = read((HEAD + frame.format(said=said)).encode())
        got = [(record.recipient, record.reason) for record in report.records]
        if got != [("ann@inbox.test", reason)]:
            wrong.append((said, got))
    assert wrong == []
