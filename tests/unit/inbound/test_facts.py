"""From a report to facts: what may suppress, how far, and what is kept of the rest."""

from __future__ import annotations

import pytest

from bounces.linking import Link, link
from bounces.read import read
from bounces.verp import ReturnKind, mint
from metrics.events import Event, Kind
from relay.inbound.addressee import Addressee
from relay.inbound.facts import NO_WISH, Wish, stated, wish_of
from relay.mail.keyring import KeyRing
from relay.sandbox.returns import Returned, complaint, delivery_report
from tracking.tokens import Identity, Mint
from tracking.tokens import Kind as TokenKind

RING = KeyRing.of(b"a secret of thirty-two bytes, ok")
VERP = mint(17, 3, "bounce.relay.test", RING)
LINKED = Link(delivery=17, account=3, how="return-path", signed=True)
HOSTS = ("t.relay.test", "t.shop.test")


def about(content: bytes = b"Subject: Hi\r\nMessage-ID: <n1@shop.test>\r\n\r\nHi\r\n") -> Returned:
    return Returned(sender=VERP.decode(), recipient="ann@inbox.test", content=content, at=1.8e9)


def facts(message: bytes, found: Link | None = LINKED, *, trust: bool = False) -> list[Event]:
    return list(stated(read(message), found, 99, trust_words=trust).events)


@pytest.mark.parametrize(
    ("status", "said", "category", "scope"),
    [
        ("5.1.1", "550 5.1.1 No such user here", "hard", "account"),
        ("5.7.1", "550 5.7.1 Message rejected because of its content: spam", "", ""),
        ("5.2.2", "552 5.2.2 Mailbox is full", "soft", ""),
        ("5.1.1", "550 5.1.1 Too many messages, rate limit exceeded", "", ""),
    ],
)
def test_only_a_dead_address_suppresses(status: str, said: str, category: str, scope: str) -> None:
    """bad-inputs B04: code and words must agree, and policy is about us."""
    (event,) = facts(delivery_report(about(), status=status, diagnostic=said))
    assert (event.kind, event.delivery, event.account) == (Kind.BOUNCED, 17, 3)
    assert event.scope == scope
    assert event.returned
    assert not category or event.category == category


@pytest.mark.parametrize("action", ["delayed", "relayed", "delivered", "expanded"])
def test_what_did_not_fail_is_no_fact(action: str) -> None:
    """bad-inputs B04."""
    report = delivery_report(about(), status="4.4.1", diagnostic="450 4.4.1 no answer yet")
    assert facts(report.replace(b"Action: failed", b"Action: " + action.encode())) == []


def test_words_suppress_only_where_they_are_trusted() -> None:
    """bad-inputs B05."""
    words = (
        b"From: MAILER-DAEMON@mx.inbox.test\r\nSubject: Undelivered Mail Returned to Sender\r\n\r\n"
        b"<ann@inbox.test>: host mx.inbox.test said: 550 5.1.1 No such user here\r\n"
    )
    (event,) = facts(words)
    assert (event.category, event.scope) == ("hard", "")
    (event,) = facts(words, trust=True)
    assert event.scope == "account"


@pytest.mark.parametrize(
    ("kind", "expected", "scope"),
    [
        ("abuse", Kind.COMPLAINED, "account"),
        ("opt-out", Kind.UNSUBSCRIBED, "domain"),
        ("not-spam", None, ""),
        ("auth-failure", None, ""),
    ],
)
def test_feedback_by_its_type(kind: str, expected: Kind | None, scope: str) -> None:
    """bad-inputs B07."""
    events = facts(complaint(about(), to=VERP.decode(), kind=kind))
    assert [(event.kind, event.scope) for event in events] == (
        [(expected, scope)] if expected else []
    )


def test_what_is_not_linked_is_kept_with_its_traces_and_suppresses_nobody() -> None:
    report = delivery_report(about(), status="5.1.1", diagnostic="550 5.1.1 No such user here")
    (event,) = facts(report, None)
    assert (event.delivery, event.scope) == (0, "")
    assert event.recipient == "ann@inbox.test"
    assert event.message_id.strip("<>") == "n1@shop.test"


@pytest.mark.parametrize(("index", "scope"), [(0, "domain"), (1, "account"), (2, "campaign")])
@pytest.mark.parametrize("host", HOSTS)
def test_the_token_in_the_subject_says_how_far(index: int, scope: str, host: str) -> None:
    who = Identity(delivery=17, account=3, domain=7, campaign=99)
    token = Mint(RING, host).token(TokenKind.UNSUBSCRIBE, who, link=index)
    mail = f"From: ann@inbox.test\r\nSubject: unsubscribe {token}\r\n\r\n".encode()
    box = mint(17, 3, "bounce.relay.test", RING, kind=ReturnKind.UNSUBSCRIBE)
    found = link(read(mail), box, RING)
    wish = wish_of(mail, found, RING, HOSTS)
    assert wish == Wish(scope=scope, domain_id=7, campaign_hash=99)
    (event,) = stated(read(mail), found, 99, wish=wish).events
    assert (event.kind, event.scope, event.reason) == (Kind.UNSUBSCRIBED, scope, "mailto")
    assert (event.sending_domain_id, event.campaign_hash) == (7, 99)


def test_a_token_of_another_delivery_or_host_says_nothing() -> None:
    other = Identity(delivery=18, account=3, domain=7, campaign=99)
    for host, who in (("t.relay.test", other), ("evil.test", other)):
        token = Mint(RING, host).token(TokenKind.UNSUBSCRIBE, who, link=1)
        mail = f"Subject: unsubscribe {token}\r\n\r\n".encode()
        assert wish_of(mail, LINKED, RING, HOSTS) == NO_WISH


def _about_many() -> bytes:
    first = delivery_report(about(), status="5.2.2", diagnostic="552 5.2.2 Mailbox is full")
    more = (
        b"\r\nFinal-Recipient: rfc822; Bob@inbox.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n"
    )
    at = first.index(b"\r\n--", first.index(b"Diagnostic-Code"))
    return first[:at] + more + first[at:]


@pytest.mark.parametrize(
    ("known", "category", "scope", "mismatch"),
    [
        ("ann@inbox.test", "soft", "", False),
        ("bob@inbox.test", "hard", "account", False),
        ("eve@inbox.test", "soft", "", True),
    ],
)
def test_of_many_recipients_the_deliverys_own_counts(
    known: str, category: str, scope: str, mismatch: bool
) -> None:
    """bad-inputs B02: where nobody fits the signature wins, and that is counted."""

    class Known:
        def find(self, delivery: int, spool: int) -> int | None:
            return hash(known) if delivery == 17 else None

    class Plain:
        def of(self, recipient: str) -> int:
            return hash(recipient.lower())

    report = read(_about_many())
    recipient = Addressee(Known(), Plain()).of(17, report)
    said = stated(report, LINKED, 99, recipient=recipient)
    (event,) = said.events
    assert (event.category, event.scope) == (category, scope)
    assert said.consequence.mismatch is mismatch
    assert Addressee(Known(), Plain()).of(18, report) == ""
