"""Departure: untouched when off, only href values and the pixel when on, signed, and never more
tracking than accepted.
"""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from types import SimpleNamespace

import dkim  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest

from bounces import verp
from relay.clock import now
from relay.delivery.dkim_keys import generate, record_text, store_private
from relay.delivery.outgoing import Outgoing
from relay.departure.depart import Departure, Suppressed
from relay.departure.fields import has_feedback_id
from relay.departure.signers import Signers
from relay.message import Delivery, Message
from relay.settings import Account, Blocks, DkimKey, Hosts, Settings, Switch
from relay.spool.protocol import Selection
from tests.harness.clerk import RING, clerk, settings
from tracking.tokens import Kind, campaign_hash, read

PLAIN = (
    b"From: Shop <news@shop.test>\r\nTo: ann@inbox.test\r\nSubject: Hi\r\n"
    b"Date: Fri, 20 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@shop.test>\r\n"
)
HTML = PLAIN + (
    b"X-Waypost-Campaign: spring\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b'<html><body><a href="https://www.shop.test/a?x=1&amp;y=2">a</a>'
    b"<a href=https://www.shop.test/b>b</a></body></html>\r\n"
)
STORED_HTML = HTML.replace(b"X-Waypost-Campaign: spring\r\n", b"")


async def _accepted(
    folder: Path, have: Settings, content: bytes
) -> tuple[Delivery, Message, bytes]:
    async with clerk(folder, have) as under_test:
        message = await under_test.hand_in(content, "ann@inbox.test")
        (delivery,) = await under_test.spool.waiting(Selection(), 1)
        _, stored = await under_test.spool.load(message.id)
    return delivery, message, stored


def _departure(have: Settings, suppressed: str = "") -> Departure:
    return Departure(
        settings=lambda: have,
        suppressed=lambda _delivery, _message: suppressed,
        signers=Signers(lambda _domain, key: key.sealed),
        keyring=RING,
        clock=now,
        tracking_url="https://t.relay.test",
        return_path="bounce.relay.test",
        sender_id="node1waypost",
    )


def _made(departure: Departure, accepted: tuple[Delivery, Message, bytes]) -> Outgoing:
    made = departure.depart(*accepted)
    assert isinstance(made, Outgoing)
    return made


async def test_off_means_the_stored_bytes_behind_our_received_line(tmp_path: Path) -> None:
    have = settings()
    accepted = await _accepted(tmp_path, have, HTML)
    outgoing = _made(_departure(have), accepted)
    assert outgoing.content == accepted[1].trace + STORED_HTML
    assert b"t.relay.test" not in outgoing.content


async def test_on_changes_hrefs_and_adds_one_pixel_and_nothing_else(tmp_path: Path) -> None:
    have = settings(opens=Switch.ON, clicks=Switch.ON)
    delivery, message, stored = await _accepted(tmp_path, have, HTML)
    content = _made(_departure(have), (delivery, message, stored)).content
    restored = content
    destinations = []
    for found in re.findall(rb"https://t\.relay\.test/c/([A-Za-z0-9_-]+)", content):
        token = read(found.decode(), "t.relay.test", RING)
        assert (token.kind, token.identity.delivery) == (Kind.CLICK, delivery.id)
        assert token.identity.campaign == campaign_hash(1, "spring")
        destinations.append(token.destination)
        raw = token.destination.replace(b"&", b"&amp;")
        restored = restored.replace(b"https://t.relay.test/c/" + found, raw)
    assert destinations == [b"https://www.shop.test/a?x=1&y=2", b"https://www.shop.test/b"]
    pixels = re.findall(rb"<img[^>]*https://t\.relay\.test/o/[^>]*>", content)
    assert len(pixels) == 1
    restored = restored.replace(pixels[0], b"")
    assert restored.replace(b'"https://www.shop.test/b"', b"https://www.shop.test/b") == (
        message.trace + stored
    )


@pytest.mark.parametrize(
    "now_in_force",
    [
        settings(opens=Switch.OFF, clicks=Switch.OFF),
        settings(opens=Switch.ON, clicks=Switch.ON, tracking_ok=False),
        msgspec.structs.replace(
            settings(opens=Switch.ON, clicks=Switch.ON),
            hosts=Hosts(failing=frozenset({"https://t.relay.test"})),
        ),
        msgspec.structs.replace(
            settings(opens=Switch.ON, clicks=Switch.ON), blocks=Blocks(domains=frozenset({7}))
        ),
        msgspec.structs.replace(
            settings(opens=Switch.ON, clicks=Switch.ON),
            blocks=Blocks(campaigns=frozenset({campaign_hash(1, "spring")})),
        ),
    ],
    ids=["switched off", "host failed", "default failed", "domain blocked", "campaign blocked"],
)
async def test_tracking_is_withdrawn_from_queued_mail(
    tmp_path: Path, now_in_force: Settings
) -> None:
    accepted = await _accepted(tmp_path, settings(opens=Switch.ON, clicks=Switch.ON), HTML)
    outgoing = _made(_departure(now_in_force), accepted)
    assert outgoing.content == accepted[1].trace + STORED_HTML


async def test_one_switch_can_be_withdrawn_alone(tmp_path: Path) -> None:
    accepted = await _accepted(tmp_path, settings(opens=Switch.ON, clicks=Switch.ON), HTML)
    content = _made(_departure(settings(opens=Switch.OFF, clicks=Switch.ON)), accepted).content
    assert b"/c/" in content
    assert b"/o/" not in content


async def test_tracking_is_never_added_to_queued_mail(tmp_path: Path) -> None:
    accepted = await _accepted(tmp_path, settings(), HTML)
    outgoing = _made(_departure(settings(opens=Switch.ON, clicks=Switch.ON)), accepted)
    assert outgoing.content == accepted[1].trace + STORED_HTML


async def test_a_recipient_suppressed_meanwhile_gets_nothing(tmp_path: Path) -> None:
    accepted = await _accepted(tmp_path, settings(), HTML)
    made = _departure(settings(), suppressed="unsubscribe").depart(*accepted)
    assert made == Suppressed(reason="unsubscribe")


async def test_the_return_path_is_signed_and_names_the_delivery(tmp_path: Path) -> None:
    have = settings(return_path="bounce.shop.test")
    accepted = await _accepted(tmp_path, have, PLAIN + b"\r\nHello\r\n")
    outgoing = _made(_departure(have), accepted)
    assert outgoing.return_path.endswith(b"@bounce.shop.test")
    read_back = verp.read(outgoing.return_path, RING)
    assert (read_back.delivery, read_back.account) == (accepted[0].id, 1)


async def test_signed_mail_verifies_with_every_added_field_under_the_signature(
    tmp_path: Path,
) -> None:
    keys = {algorithm: generate(algorithm) for algorithm in ("rsa", "ed25519")}
    dkim_keys = tuple(
        DkimKey(selector=f"s-{algorithm}", algorithm=algorithm, sealed=store_private(key))
        for algorithm, key in keys.items()
    )
    have = settings(opens=Switch.ON, clicks=Switch.ON, unsubscribe=True, dkim=dkim_keys)
    accepted = await _accepted(tmp_path, have, HTML)
    content = _made(_departure(have), accepted).content
    records = {
        f"s-{algorithm}._domainkey.shop.test.".encode(): record_text(key).encode()
        for algorithm, key in keys.items()
    }
    verifier = dkim.DKIM(content)
    signatures = [text for name, text in verifier.headers if name.lower() == b"dkim-signature"]
    assert [b"s-ed25519" in text for text in signatures] == [True, False]
    # dkimpy checks Ed25519 only with PyNaCl; tests/unit/delivery/test_dkim.py checks ours.
    assert verifier.verify(1, dnsfunc=lambda name, timeout=5: records[name])
    message = message_from_bytes(content, policy=default)
    signed = str(message["DKIM-Signature"]).lower()
    for name in ("list-unsubscribe", "list-unsubscribe-post", "from", "subject", "feedback-id"):
        assert name in signed
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    page = re.search(r"<https://t\.relay\.test/u/([^>]+)>", str(message["List-Unsubscribe"]))
    assert page is not None
    assert read(page[1], "t.relay.test", RING).kind is Kind.UNSUBSCRIBE


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Subject: x\r\nFEEDBACK-ID : a:b\r\n\r\n", True),
        (b"Feedback-ID: a:b", True),
        (b"Subject: x\r\n\r\nFeedback-ID: in the body", False),
        (b"X-Feedback-ID: a\r\n\r\n", False),
    ],
)
def test_a_feedback_id_of_the_sender_is_seen(header: bytes, expected: bool) -> None:
    assert has_feedback_id(header) is expected


def test_a_key_that_cannot_be_opened_is_passed_over() -> None:
    def broken(_domain: str, _key: DkimKey) -> bytes:
        raise ValueError("sealed under another ring")

    domain = SimpleNamespace(
        name="shop.test", dkim=(DkimKey(selector="s", algorithm="rsa", sealed=b""),)
    )
    assert Signers(broken).of(domain) == []  # type: ignore[arg-type]


async def test_an_account_that_is_gone_is_not_tracked(tmp_path: Path) -> None:
    accepted = await _accepted(tmp_path, settings(opens=Switch.ON), HTML)
    gone = msgspec.structs.replace(settings(opens=Switch.ON), accounts={2: Account(id=2, name="o")})
    assert b"/o/" not in _made(_departure(gone), accepted).content
