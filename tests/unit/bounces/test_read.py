"""Whole mails: each fixture reads as written down, however its lines end or it is cut."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bounces.read import read
from bounces.report import Kind, Record

MAILS = sorted((Path(__file__).parent / "mails").glob("*.eml"))
ROW = pytest.mark.parametrize("eml", MAILS, ids=lambda p: p.stem)


def shown(record: Record, keys: dict[str, object]) -> dict[str, object]:
    """Give of a record what the expectation names, a hidden recipient as None."""
    values = {key: getattr(record, key) for key in keys}
    if "recipient" in values:
        values["recipient"] = values["recipient"] or None
    return values


def check(message: bytes, expected: dict[str, object]) -> None:
    """Compare what a mail is read as with what is written down."""
    report = read(message)
    wanted = expected["records"]
    assert isinstance(wanted, list)
    assert report.kind == expected["kind"]
    assert len(report.records) == len(wanted)
    assert [shown(r, w) for r, w in zip(report.records, wanted, strict=True)] == wanted


def test_there_are_fixtures() -> None:
    """Guard against a folder that moved away."""
    assert len(MAILS) >= 59


@ROW
def test_mail_is_read_as_written_down(eml: Path) -> None:
    """The fixture as it lies there."""
    check(eml.read_bytes(), json.loads(eml.with_suffix(".json").read_text()))


@ROW
def test_line_ends_do_not_matter(eml: Path) -> None:
    """A mail from the wire has CRLF, one from a Maildir LF."""
    check(
        eml.read_bytes().replace(b"\n", b"\r\n"), json.loads(eml.with_suffix(".json").read_text())
    )


@ROW
def test_cut_anywhere_it_is_still_a_report(eml: Path) -> None:
    """A mail cut at any place reads as something, with records only of known categories."""
    message = eml.read_bytes()
    for end in range(0, len(message), max(1, len(message) // 25)):
        assert read(message[:end]).kind in Kind


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read(message: bytes) -> None:
    """No bytes raise."""
    assert read(message).kind in Kind


@given(
    mail=st.sampled_from(MAILS),
    place=st.integers(0, 4000),
    junk=st.binary(max_size=40),
    times=st.integers(1, 30),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_mails_are_read(mail: Path, place: int, junk: bytes, times: int) -> None:
    """No damage to a real shape raises."""
    message = mail.read_bytes()
    place %= len(message) + 1
    assert read(message[:place] + junk * times + message[place:]).kind in Kind


def test_a_report_within_mail_text_is_no_bounce() -> None:
    """A person who quotes a bounce has not bounced."""
    quoted = (Path(__file__).parent / "mails" / "postfix-unknown.eml").read_text()
    message = "From: Bob <bob@other.test>\nTo: help@shop.test\nSubject: Question\n\nLook:\n\n"
    report = read((message + "\n".join(f"> {line}" for line in quoted.split("\n"))).encode())
    assert report.kind is Kind.OTHER


def test_returned_copy_gives_what_linking_needs() -> None:
    """Message-ID, Feedback-ID and our own fields come out of the copy."""
    returned = read((Path(__file__).parent / "mails" / "postfix-unknown.eml").read_bytes()).returned
    assert returned.message_id == "n1@shop.test"
    assert returned.feedback_id == "c7:a1:shop"
    assert returned.waypost == (("x-waypost-delivery", "17"),)


def test_the_last_message_id_of_a_copy_wins() -> None:
    """A reporter that adds a Message-ID of its own puts it in front."""
    eml = (Path(__file__).parent / "mails" / "arf-abuse.eml").read_bytes()
    twice = eml.replace(b"Message-ID: <n9@", b"Message-ID: <reporter@isp.test>\nMessage-ID: <n9@")
    assert read(twice).returned.message_id == "n9@shop.test"


def test_a_bounce_that_a_person_passed_on_is_no_machines_word() -> None:
    """It is a bounce, and by itself it suppresses nobody; sent as it came it would."""
    mail = (Path(__file__).parent / "mails" / "forwarded-attached.eml").read_bytes()
    report = read(mail)
    assert (report.kind, report.machine_readable) == (Kind.BOUNCE, False)
    assert report.why.startswith("forwarded: ")
    inner = mail[mail.index(b"Return-Path: <>") : mail.index(b"\n--b--")]
    assert read(inner).machine_readable
    assert read(mail.replace(b"Subject: Fwd:", b"Subject: Question about")).kind is Kind.OTHER
