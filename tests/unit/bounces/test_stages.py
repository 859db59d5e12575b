"""What a refusal answered: found in words and dialogues of mail systems; what it changes."""

import pytest

from bounces.classify import classify, codes_in
from bounces.compose import failure
from bounces.stages import stage_of


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("host mx.inbox.test said: 550 no (in reply to RCPT TO command)", "rcpt"),
        ("host mx.inbox.test said: 550 no (in reply to MAIL FROM command)", "mail"),
        ("host mx.inbox.test said: 550 no (in reply to end of DATA command)", "dot"),
        ("host mx.inbox.test said: 550 no (in reply to EHLO command)", "ehlo"),
        ("host mx.inbox.test refused to talk to me: 554 no", "banner"),
        ("SMTP error from remote mail server after MAIL FROM:<a@shop.test>: 550 no", "mail"),
        ("SMTP error from remote mail server after end of data: host x: 550 no", "dot"),
        ("SMTP error from remote mail server after initial connection: host x: 554 no", "banner"),
        ("Connected to 192.0.2.1 but my name was rejected. Remote host said: 501 no", "ehlo"),
        ("Connected to 192.0.2.1 but sender was rejected. Remote host said: 550 no", "mail"),
        (">>> MAIL From:<a@shop.test> SIZE=800\n<<< 550 5.7.1 no", "mail"),
        (">>> DATA\n<<< 550 no", "dot"),
        (">>> RCPT To:<ann@inbox.test>\n<<< 550 no\n>>> DATA\n<<< 503 no", "rcpt"),
        ("Reason: SMTP transmission failure has occurred", "dot"),
        ("550 no mail from you", ""),
        ("error for mail to ann", ""),
        ("", ""),
    ],
)
def test_stage_is_found(text: str, stage: str) -> None:
    """In the words of several mail systems."""
    assert stage_of(text) == stage


def test_the_first_text_that_shows_it_decides() -> None:
    """What is said about the recipient comes before the whole notice."""
    assert stage_of("no sign", "after end of data", "in reply to RCPT TO") == "dot"


@pytest.mark.parametrize("reply", ["550 5.1.1 User unknown", "550 5.2.1 Mailbox disabled"])
@pytest.mark.parametrize(
    ("stage", "klass"), [("mail", "sender-rejected"), ("ehlo", "blocked"), ("banner", "blocked")]
)
def test_before_rcpt_nothing_is_about_the_recipient(reply: str, stage: str, klass: str) -> None:
    """Nobody knows yet whom the mail is for: nobody is suppressed."""
    judged = classify(*codes_in(reply), reply, stage=stage)
    assert (judged.klass, judged.category, judged.recipient) == (klass, "soft", "keep")
    at_rcpt = classify(*codes_in(reply), reply, stage="rcpt")
    assert at_rcpt.klass in ("user-unknown", "mailbox-disabled")


@pytest.mark.parametrize(
    ("reply", "stage", "reason"),
    [
        ("550 5.7.1 Access denied", "mail", "rejected"),
        ("554 Go away", "banner", "blocked"),
        ("521 5.3.2 host takes nothing", "banner", "notaccept"),
        ("556 not here", "banner", "notaccept"),
        ("552 5.3.4 Message size exceeds fixed limit", "mail", "emailtoolarge"),
        ("552 5.5.2 too much", "mail", "syntaxerror"),
        ("550 5.7.26 Unauthenticated email from shop.test", "mail", "authfailure"),
    ],
)
def test_the_stage_speaks_only_where_words_do_not(reply: str, stage: str, reason: str) -> None:
    """Codes without words say less than the command they answered."""
    assert classify(*codes_in(reply), reply, stage=stage).reason == reason


@pytest.mark.parametrize(
    ("remote", "stage", "reason"),
    [
        ("mx.inbox.test", "dot", "filtered"),
        ("mx.inbox.test", "rcpt", "userunknown"),
        ("mx.inbox.test", "", "userunknown"),
        ("mxs.mail.ru", "dot", "userunknown"),
    ],
)
def test_unknown_user_after_data_is_a_filter(remote: str, stage: str, reason: str) -> None:
    """The host had taken the address; some are known to look it up only at the end."""
    record = failure("ann@inbox.test", "550 Unknown user", stage=stage, remote_mta=remote)
    assert record.reason == reason


def test_a_code_of_the_address_is_believed_after_data_as_well() -> None:
    """5.1.1 is the directory's answer whenever it comes."""
    said = "550 5.1.1 Unknown user"
    record = failure("ann@inbox.test", said, status="5.1.1", stage="dot")
    assert record.reason == "userunknown"
