"""Replies: code and text are weighed together; nobody is suppressed for what is our fault."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounces.classify import classify, classify_line, codes_in
from bounces.judgement import CLASSES, COARSE, REASONS, Judgement, answer


@pytest.mark.parametrize(
    ("reply", "klass", "recipient"),
    [
        ("550 5.1.1 <ann@inbox.test>: User unknown", "user-unknown", "suppress"),
        ("550 5.4.1 Recipient address rejected: Access denied", "user-unknown", "suppress"),
        ("552 1 Requested mail action aborted, mailbox not found", "user-unknown", "suppress"),
        ("550 5.0.0 no such user here", "user-unknown", "suppress"),
        ("550 5.1.1", "user-unknown", "suppress"),
        ("556 5.1.10 Domain does not accept mail (nullMX)", "dns", "suppress"),
        ("450 4.1.1 <ann@inbox.test>: User unknown, try later", "user-unknown", "keep"),
        ("550 5.7.1 User unknown", "user-unknown", "keep"),
        (
            "550 5.1.1 192.0.2.1 has sent to too many recipients this hour. IB607",
            "throttled",
            "keep",
        ),
        ("452 4.1.1 too many messages, try again later", "throttled", "keep"),
        (
            "550 5.1.0 192.0.2.2 is not allowed to send from <x.test> per it's SPF Record",
            "auth-failure",
            "keep",
        ),
        ("550 5.2.0 Mail rejete. Mail rejected. ofr_506 [506]", "spam", "keep"),
        (
            "550 5.2.1 The user you are trying to contact is receiving mail at a rate that",
            "throttled",
            "keep",
        ),
        ("550 5.2.2 mailbox is full", "mailbox-full", "keep"),
        (
            "554 5.7.1 Service unavailable; client [192.0.2.1] blocked using dnsbl.test",
            "blocked",
            "keep",
        ),
        ("550 5.4.4 Invalid arguments", "dns", "keep"),
        ("501 5.1.7 Invalid address: news@", "sender-rejected", "keep"),
        ("550 5.1.0 not today", "user-unknown", "keep"),
        ("550 ann@inbox.test...User unknown", "user-unknown", "suppress"),
        ("550 5.7.1 <ann@inbox.test>: Recipient address rejected: Block.", "policy", "keep"),
        ("no code at all", "other", "keep"),
        ("", "other", "keep"),
    ],
)
def test_code_and_text_must_agree_before_anybody_is_suppressed(
    reply: str, klass: str, recipient: str
) -> None:
    """The table of what is known to be said under the wrong code."""
    judged = classify_line(reply)
    assert (judged.klass, judged.recipient) == (klass, recipient)


@pytest.mark.parametrize(
    ("reply", "stage", "delivery", "destination"),
    [
        ("550 5.1.1 User unknown", "rcpt", "give-up", "ok"),
        ("450 4.2.0 Greylisted, try again", "rcpt", "retry", "ok"),
        ("554 no SMTP service here", "banner", "next-host", "stop"),
        ("421 4.3.2 Service shutting down", "mail", "next-host", "ok"),
        ("452 4.3.2 Connection rate limit exceeded.", "mail", "retry", "slow-down"),
        ("550 5.7.233 tenant exceeded its daily limit", "dot", "retry", "slow-down"),
        ("554 5.7.1 client blocked using dnsbl.test", "mail", "give-up", "stop"),
        ("550 5.7.26 fails to pass SPF checks", "dot", "give-up", "stop"),
        ("554 5.7.1 Spam message rejected", "dot", "give-up", "slow-down"),
        ("552 5.3.4 Message too large", "mail", "give-up", "ok"),
        ("421 4.7.0 [TSS04] Messages temporarily deferred", "banner", "next-host", "slow-down"),
    ],
)
def test_three_answers(reply: str, stage: str, delivery: str, destination: str) -> None:
    """What a reply means for the delivery and for the destination."""
    code, enhanced = codes_in(reply)
    judged = classify(code, enhanced, reply, stage=stage)
    assert (judged.delivery, judged.destination) == (delivery, destination)


@pytest.mark.parametrize(
    "behind",
    [
        "; see https://isp.test/policy",
        " (spam protection by Guard)",
        " (virusscan.isp.test)",
        " Your IP address is 192.0.2.1.",
        " Please try again later.",
        " ref: cloudmark/123",
        ". Remote host is not in the blacklist",
    ],
)
def test_an_unknown_user_is_not_unsaid_by_what_follows(behind: str) -> None:
    """The name of a filter, a link to a policy: the address is bad all the same."""
    judged = classify_line(
        f"550 5.1.1 <ann@inbox.test>: Recipient address rejected: User unknown{behind}"
    )
    assert (judged.klass, judged.recipient) == ("user-unknown", "suppress")


@pytest.mark.parametrize(
    ("reply", "klass"),
    [
        ("550 Requested action not taken: mailbox unavailable. Reject due to policy", "policy"),
        ("550 Requested action not taken: mailbox unavailable (IP is blacklisted)", "blocked"),
        ("550 Message rejected as spam. The user unknown to us wrote it", "spam"),
        ("550 5.1.1 Too many messages this hour. No such user", "throttled"),
    ],
)
def test_what_stands_in_front_of_everything_decides_nothing(reply: str, klass: str) -> None:
    """RFC 5321's own words, and an unknown user that is not what the reply begins with."""
    assert classify_line(reply).klass == klass


@given(
    code=st.sampled_from([0, 200, 354, 421, 450, 451, 452, 500, 550, 552, 553, 554, 571]),
    enhanced=st.from_regex(r"\A[245]\.\d{1,3}\.\d{1,3}\Z") | st.just(""),
    text=st.text(max_size=200) | st.sampled_from(["user unknown", "mailbox full", "no such user"]),
)
@settings(max_examples=400, deadline=None)
def test_any_reply_is_judged(code: int, enhanced: str, text: str) -> None:
    """No reply raises; a temporary code, 4.x.x and 5.7.x never suppress."""
    judged = classify(code, enhanced, text)
    assert judged.klass in CLASSES
    assert judged.coarse == COARSE[judged.klass]
    if 0 < code < 500 or enhanced.startswith(("5.7.", "4.")):
        assert judged.recipient == "keep"
    if judged.recipient == "suppress":
        assert judged.category == "hard"


@pytest.mark.parametrize("klass", CLASSES)
def test_every_class_has_its_names(klass: str) -> None:
    """Mapped to a reason and to the vocabularies of SparkPost and KumoMTA."""
    judged = answer(klass, REASONS[klass], 550, "5.0.0")
    number, name = judged.sparkpost
    assert number in {
        1,
        10,
        20,
        21,
        22,
        23,
        24,
        25,
        30,
        40,
        50,
        51,
        52,
        53,
        54,
        60,
        70,
        80,
        90,
        100,
    }
    assert name
    assert judged.kumomta[0].isupper()


def test_expired_has_a_name_of_its_own() -> None:
    """KumoMTA tells a message that grew too old from a host that did not answer."""
    assert classify_line("554 4.4.7 Message expired: unable to deliver").kumomta == "MessageExpired"


def test_classes_that_are_about_us_never_suppress() -> None:
    """Whatever code they come under."""
    for klass in set(CLASSES) - {"user-unknown", "dns"}:
        for code in (0, 450, 550, 556):
            for enhanced in ("", "5.1.1", "5.1.2", "5.2.1", "5.7.1"):
                judged = answer(klass, "userunknown", code, enhanced)
                assert judged.recipient == "keep", (klass, code, enhanced)


@pytest.mark.parametrize(
    ("text", "code", "enhanced"),
    [
        ("550 5.1.1 no", 550, "5.1.1"),
        ("host said: 550-5.1.1 no 550 5.1.1 such user", 550, "5.1.1"),
        ("(#5.1.2) no host", 0, "5.1.2"),
        ("message of 450 bytes from 192.0.2.450", 0, ""),
        ("smtp;550 5.7.1 no", 550, "5.7.1"),
        ("version 5.4.6.7 is 5.1.1.9", 0, ""),
    ],
)
def test_codes_are_found_in_text(text: str, code: int, enhanced: str) -> None:
    """A number in a text is a code only where a code can stand."""
    assert codes_in(text) == (code, enhanced)


def test_a_judgement_is_a_value() -> None:
    """Equal replies are judged equally; nothing can be changed afterwards."""
    first = classify_line("550 5.1.1 user unknown")
    assert first == classify_line("550 5.1.1 user unknown")
    assert isinstance(first, Judgement)
    with pytest.raises(AttributeError):
        first.klass = "spam"  # type: ignore[misc]  # that it cannot be set is the test
