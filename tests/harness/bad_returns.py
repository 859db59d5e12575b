"""Reports that come back to a signed return path, each with whether it may suppress the recipient.

The ids are those of the catalogue, group B. `{to}` stands for the recipient of the delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relay.sandbox.returns import Returned, complaint

UNKNOWN = "550 5.1.1 <{to}>: Recipient address rejected: User unknown"


@dataclass(frozen=True, slots=True)
class BadReturn:
    """One row: how to make it from a delivery's recipient and content, and what may follow."""

    id: str
    report: str
    suppresses: bool = False
    feedback: str = ""  # a report of this type by a feedback loop instead

    def made(self, about: Returned) -> bytes:
        """Give the mail."""
        if self.feedback:
            return complaint(about, to=about.sender, kind=self.feedback)
        return self.report.replace("{to}", about.recipient).encode("utf-8", "surrogateescape")


def _report(
    groups: str, *, words: str = "It failed.", kind: str = "delivery-status", copy: str = ""
) -> str:
    returned = f"--r\r\nContent-Type: message/rfc822\r\n\r\n{copy}\r\n" if copy else ""
    return (
        "From: MAILER-DAEMON@mx.inbox.test\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n'
        f"--r\r\nContent-Type: text/plain\r\n\r\n{words}\r\n"
        f"--r\r\nContent-Type: message/{kind}\r\n\r\n"
        f"Reporting-MTA: dns; mx.inbox.test\r\n\r\n{groups}\r\n{returned}--r--\r\n"
    )


def _group(
    action: str = "failed", status: str = "5.1.1", said: str = UNKNOWN, to: str = "{to}"
) -> str:
    stated = f"Status: {status}\r\n" if status else ""
    return (
        f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\n{stated}"
        f"Diagnostic-Code: smtp; {said}\r\n\r\n"
    )


def _plain(subject: str, words: str, more: str = "") -> str:
    return f"From: postmaster@mx.inbox.test\r\nSubject: {subject}\r\n{more}\r\n{words}\r\n"


def bad_returns() -> list[BadReturn]:
    """Give every row, a plain hard bounce at the end."""
    return [*_statuses(), *_texts(), *_feedback(), *_bombs(), BadReturn("end", _dead(), True)]


def _dead() -> str:
    return _report(_group())


def _statuses() -> Iterator[BadReturn]:
    """B02, B04."""
    yield BadReturn("B02", _report(_group(to="somebody.else@inbox.test")), True)
    for action in ("delayed", "relayed", "delivered", "expanded", "invented"):
        yield BadReturn(f"B04-{action}", _report(_group(action, "4.4.1", "450 4.4.1 wait")))
    for action in ("delayed", "delivered"):
        yield BadReturn(f"B04-{action}-5.1.1", _report(_group(action)))
    temporary = "450 4.2.1 <{to}>: Mailbox busy"
    yield BadReturn("B04-4.2.1", _report(_group(status="4.2.1", said=temporary)))
    yield BadReturn("B04-2.0.0", _report(_group("delivered", "2.0.0", "250 2.0.0 ok")))
    yield BadReturn("B04-bad-address", _report(_group(status="5.1.1 (bad)")), True)
    for status in ("5.7.1", "5.7.26", "5.7.515", "5.7.999"):
        said = f"550 {status} Message rejected due to policy"
        yield BadReturn(f"B04-{status}", _report(_group(status=status, said=said)))
        yield BadReturn(f"B04-{status}-unknown", _report(_group(status=status)))
    for status, said in (
        ("5.2.2", "552 5.2.2 Mailbox is full"),
        ("5.3.4", "552 5.3.4 Message too big"),
        ("5.4.4", "550 5.4.4 Host not found"),
        ("5.5.0", "554 5.5.0 Transaction failed"),
        ("5.1.1", "550 5.1.1 Too many messages from you, rate limited"),
    ):
        yield BadReturn(
            f"B04-{status}-{said[10:14].strip()}", _report(_group(status=status, said=said))
        )
    many = "".join(_group(to=f"p{number}@inbox.test") for number in range(500))
    yield BadReturn("B04-500-groups", _report(many), True)  # the token wins, as in B02
    yield BadReturn("B04-500-and-ours", _report(_group() + many), True)


def _texts() -> Iterator[BadReturn]:
    """B05: what a person or a machine without a report writes."""
    unknown = UNKNOWN
    yield BadReturn("B05-words", _plain("Undelivered Mail Returned to Sender", unknown))
    qmail = f"Hi. This is the qmail-send program at mx.inbox.test.\r\n\r\n<{{to}}>:\r\n{unknown}"
    yield BadReturn("B05-qmail", _plain("failure notice", qmail))
    auto = "Auto-Submitted: auto-replied\r\n"
    yield BadReturn("B05-out-of-office", _plain("Out of office", "Back on Monday.", auto))
    yield BadReturn("B05-challenge", _plain("Please confirm your message", "Click to confirm."))
    yield BadReturn("B05-empty", "")
    yield BadReturn("B05-no-header", "\r\nnothing\r\n")
    yield BadReturn("B05-eight-bit", _plain("\udcff\udcfe", "\udc80"))


def _feedback() -> Iterator[BadReturn]:
    """B07."""
    for kind in ("not-spam", "virus", "auth-failure", "dkim", "other", "x-invented"):
        yield BadReturn(f"B07-{kind}", "", feedback=kind)
    yield BadReturn("B07-abuse", "", True, feedback="abuse")
    yield BadReturn(
        "B07-no-type",
        "From: fbl@inbox.test\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="r"\r\n\r\n'
        "--r\r\nContent-Type: text/plain\r\n\r\nx\r\n"
        "--r\r\nContent-Type: message/feedback-report\r\n\r\nUser-Agent: x\r\nVersion: 1\r\n\r\n"
        "--r--\r\n",
    )


def _bombs() -> Iterator[BadReturn]:
    """B08: depth, size, repetition."""
    deep = "".join(
        f'Content-Type: multipart/report; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(100)
    )
    yield BadReturn(
        "B08-depth", f"From: x@inbox.test\r\n{deep}" + "Content-Type: text/plain\r\n\r\n"
    )
    inner = _dead()
    for _ in range(5):
        inner = _report("", copy=inner)
    yield BadReturn("B08-bounce-in-bounce", inner)
    yield BadReturn("B08-long-diagnostic", _report(_group(said=UNKNOWN + " x" * 30_000)), True)
    yield BadReturn("B08-large-copy", _report(_group(), copy=("x" * 70 + "\r\n") * 40_000), True)
    utf8 = _report(_group(to="a\\x{110000}@inbox.test"), kind="global-delivery-status")
    yield BadReturn("B08-utf8-xtext", utf8.replace("rfc822; a", "utf-8; a"), True)
    envid = "Original-Envelope-Id: " + "+" * 5000 + "\r\n\r\n"
    yield BadReturn("B08-envid", _report(envid + _group()), True)
    yield BadReturn("B08-fields", _report("X-A: b\r\n" * 20_000 + "\r\n" + _group()))
