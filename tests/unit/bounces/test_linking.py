"""Whose delivery a report is about, and who is suppressed by it: signature first, text last."""

from dataclasses import replace
from pathlib import Path

import pytest

from bounces.linking import Ids, Link, conclude, link, signed_in
from bounces.read import read
from bounces.report import Category, Kind, Record, Report, Returned
from bounces.verp import ReturnKind, mint
from relay.mail.keyring import KeyRing

KEYS = KeyRing.of(b"a secret of thirty-two bytes, ok")
DOMAIN = "bounce.shop.test"
VERP = mint(17, 3, DOMAIN, KEYS)
FORGED = VERP.replace(b"shop", b"evil")
MAILS = Path(__file__).parent / "mails"


def report_of(name: str) -> Report:
    """Read a fixture."""
    return read((MAILS / f"{name}.eml").read_bytes())


HARD = report_of("postfix-unknown")
SIGNED = Link(delivery=17, account=3, how="return-path", signed=True)


def by_id(message_id: str, recipient: str) -> Ids | None:
    """Find one message to one recipient."""
    return (
        Ids(delivery=5, account=3)
        if (message_id, recipient) == ("n1@shop.test", "ann@inbox.test")
        else None
    )


def test_the_signed_return_path_comes_first() -> None:
    """Also where the Message-ID would name another delivery."""
    found = link(HARD, VERP, KEYS, by_id)
    assert found == SIGNED


def test_then_the_message_id() -> None:
    """Unsigned, so it links but may not suppress."""
    found = link(HARD, b"bounces@shop.test", KEYS, by_id)
    assert found is not None
    assert (found.delivery, found.how, found.signed) == (5, "message-id", False)
    assert conclude(HARD, found).kept_because == "linked without a signature of ours"


def test_the_original_recipient_of_a_forward_links_too() -> None:
    """The final address is nobody we mailed; the original one is."""
    forwarded = report_of("postfix-forwarded")

    def original(message_id: str, recipient: str) -> Ids | None:
        return Ids(delivery=9, account=1) if recipient == "ann@inbox.test" else None

    found = link(forwarded, b"x@shop.test", KEYS, original)
    assert found is not None
    assert found.delivery == 9


@pytest.mark.parametrize(
    "returned",
    [
        Returned(return_path=VERP.decode()),
        Returned(list_unsubscribe=f"<https://x.test/>, <mailto:{VERP.decode()}?subject=u>"),
        Returned(waypost=(("x-waypost-return", VERP.decode().upper()),)),
        Returned(feedback_id=f"c:{FORGED.decode()} {VERP.decode()}"),
    ],
)
def test_then_what_we_signed_inside_the_copy(returned: Returned) -> None:
    """A signed address anywhere in our own fields of the copy."""
    found = link(replace(HARD, returned=returned), b"fbl@shop.test", KEYS)
    assert found is not None
    assert (found.delivery, found.how, found.signed) == (17, "copy", True)


def test_a_report_that_cannot_be_linked_suppresses_nobody() -> None:
    """It stays an event of its own."""
    stranger = replace(HARD, returned=Returned(return_path=FORGED.decode()))
    found = link(stranger, FORGED, KEYS)
    assert found is None
    said = conclude(stranger, found)
    assert (said.event, said.suppress, said.kept_because) == (
        "bounced",
        False,
        "not linked to a delivery",
    )


@pytest.mark.parametrize(
    ("name", "event", "suppress"),
    [
        ("postfix-unknown", "bounced", True),
        ("microsoft-541", "bounced", True),
        ("utf8-global-status", "bounced", True),
        ("ses-json", "bounced", True),
        ("postfix-null-mx", "bounced", True),
        ("postfix-delayed", "deferred", False),
        ("policy-is-never-hard", "bounced", False),
        ("rate-limit-under-511", "bounced", False),
        ("postfix-forwarded", "bounced", False),
        ("delivered-notice", "", False),
        ("read-receipt", "", False),
        ("qmail-no-such-host", "bounced", False),
        ("exchange-german", "bounced", False),
        ("hidden-recipient", "bounced", False),
        ("arf-abuse", "complained", True),
        ("arf-redacted", "complained", True),
        ("jmrp-without-feedback-part", "complained", True),
        ("arf-opt-out", "unsubscribed", True),
        ("arf-not-spam", "", False),
        ("arf-auth-failure", "", False),
        ("out-of-office", "autoreplied", False),
        ("challenge", "autoreplied", False),
        ("ordinary-mail", "", False),
    ],
)
def test_what_a_signed_report_means(name: str, event: str, suppress: bool) -> None:
    """The event of each kind of report, and whether the recipient is suppressed."""
    said = conclude(report_of(name), SIGNED)
    assert (said.event, said.suppress) == (event, suppress)
    assert bool(said.kept_because) is not suppress


def test_words_suppress_only_where_the_operator_trusts_them() -> None:
    """bad-inputs B05: a bounce without a machine-readable part marks, it does not suppress."""
    words = report_of("transcript")
    assert conclude(words, SIGNED).kept_because == "only words for people say so"
    assert conclude(words, SIGNED, trust_words=True).suppress


def test_the_signature_wins_over_the_text() -> None:
    """B02: the report names somebody else; the delivery's recipient is meant, and it is told."""
    said = conclude(HARD, SIGNED, recipient="carol@inbox.test")
    assert said.mismatch
    assert said.suppress
    assert not conclude(HARD, SIGNED, recipient="Ann@Inbox.test").mismatch
    assert not conclude(report_of("arf-redacted"), SIGNED, recipient="ann@isp.test").mismatch


def test_of_several_records_the_one_about_our_recipient_counts() -> None:
    """A report about two recipients, one dead and one full."""
    both = report_of("several-groups-without-blank-lines")
    assert conclude(both, SIGNED, recipient="ann@inbox.test").suppress
    full = conclude(both, SIGNED, recipient="bob@inbox.test")
    assert (full.reason, full.suppress) == ("mailboxfull", False)


@pytest.mark.parametrize("kind", [Kind.UNSUBSCRIBE, Kind.OTHER])
def test_mail_to_the_signed_unsubscribe_address_unsubscribes(kind: Kind) -> None:
    """B11: the token in the address decides, not From and not the words."""
    address = mint(17, 3, DOMAIN, KEYS, kind=ReturnKind.UNSUBSCRIBE)
    found = link(Report(kind=kind), address, KEYS)
    said = conclude(Report(kind=kind), found)
    assert (said.event, said.suppress) == ("unsubscribed", True)


def test_an_unsubscribe_without_a_signature_waits() -> None:
    """Anybody can write "unsubscribe"."""
    said = conclude(Report(kind=Kind.UNSUBSCRIBE), None)
    assert (said.event, said.suppress) == ("unsubscribed", False)


def test_57x_never_suppresses_whatever_the_words() -> None:
    """events.md: 5.7.x is policy."""
    record = Record(
        recipient="a@b.test", category=Category.HARD, reason="userunknown", status="5.7.1"
    )
    said = conclude(Report(kind=Kind.BOUNCE, records=(record,), machine_readable=True), SIGNED)
    assert not said.suppress


def test_signed_addresses_are_searched_in_a_bounded_piece() -> None:
    """Twenty forged ones in front of a real one: enough looked at."""
    assert signed_in(f"{FORGED.decode()} " * 30 + VERP.decode(), KEYS) is None
    assert signed_in(f"<{VERP.decode()}>.", KEYS) is not None
