"""Acceptance stores exactly what was handed in, once, with its facts, or refuses with the reply to
give.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from metrics.events import Kind
from relay.errors import RefusedError
from relay.message import State
from relay.settings import Hosts, Settings, Switch
from relay.spool.protocol import Selection
from relay.suppressions import entry_in_account, entry_in_campaign, entry_in_domain
from tests.harness.clerk import CREDENTIAL, clerk, settings
from tracking.plan import Plan
from tracking.tokens import campaign_hash

PLAIN = (
    b"From: Shop <news@shop.test>\r\nTo: ann@inbox.test\r\nSubject: Hi\r\n"
    b"Date: Fri, 20 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@shop.test>\r\n\r\nHello\r\n"
)
HTML = PLAIN.replace(
    b"\r\n\r\nHello", b"\r\nContent-Type: text/html\r\n\r\n<a href='http://x.test/'>x</a>"
)


async def test_the_stored_bytes_are_the_submitted_bytes(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        message = await under_test.hand_in(PLAIN, "ann@inbox.test")
        stored, content = await under_test.spool.load(message.id)
        (event,) = await under_test.events()
    assert content == PLAIN
    assert stored == message
    assert message.trace.startswith(b"Received: from client.test by mx.relay.test with ESMTPSA id ")
    assert message.settings_version == 5
    assert (event.kind, event.recipient, event.subject, event.tracked) == (
        Kind.ACCEPTED, "ann@inbox.test", "Hi", "",
    )  # fmt: skip


async def test_control_headers_and_bcc_go_and_everything_else_stays(tmp_path: Path) -> None:
    control = (
        b"X-Waypost-Campaign: spring\r\nX-Waypost-Tag: a\r\nx-waypost-tag: b\r\n"
        b'X-Waypost-Metadata: {"k":\r\n "v"}\r\nX-Waypost-Metadata-n: 5\r\nBcc: bob@x.test\r\n'
        b"X-Waypost-Template: hero\r\nX-Waypost-Priority: 3\r\nX-Waypost-Colour: red\r\n"
    )
    async with clerk(tmp_path, settings()) as under_test:
        message = await under_test.hand_in(control + PLAIN, "ann@inbox.test")
        _, content = await under_test.spool.load(message.id)
    assert content == PLAIN
    assert (message.campaign, message.template, message.tags) == ("spring", "hero", ("a", "b"))
    assert message.metadata == {"k": "v", "n": "5"}


@pytest.mark.parametrize(
    ("front", "kept"),
    [
        (b"From ann@inbox.test Fri Nov 20 10:00:00 2026\r\n", b""),
        (b"From x\r\nBcc: bob@x.test\r\n", b""),
        (b"X-A: 1\r\nFrom-Nobody: x\r\n", b"X-A: 1\r\nFrom-Nobody: x\r\n"),
    ],
)
async def test_the_first_line_of_a_mailbox_file_goes(
    tmp_path: Path, front: bytes, kept: bytes
) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        message = await under_test.hand_in(front + PLAIN, "ann@inbox.test")
        _, content = await under_test.spool.load(message.id)
    assert content == kept + PLAIN


async def test_missing_date_and_message_id_are_added_in_front(tmp_path: Path) -> None:
    bare = b"From: news@shop.test\r\n\r\nHello\r\n"
    async with clerk(tmp_path, settings()) as under_test:
        message = await under_test.hand_in(bare, "ann@inbox.test")
        _, content = await under_test.spool.load(message.id)
    assert content.endswith(bare)
    added = content[: -len(bare)].split(b"\r\n")
    assert [line.split(b":")[0] for line in added] == [b"Message-ID", b"Date", b""]
    assert message.message_id.encode() in added[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (PLAIN.replace(b"shop.test>", b"other.test>", 1), "550 5.7.1"),
        (PLAIN.replace(b"shop.test>", b"nobody.test>", 1), "550 5.7.1"),
        (b"Subject: no from\r\n\r\n", "550 5.6.0"),
        (b"From: a@shop.test\r\n" + PLAIN, "550 5.6.0"),
        (b"From: nobody\r\n\r\n", "550 5.6.0"),
        (b"Received: x\r\n" * 101 + PLAIN, "554 5.4.6"),
        (b"X-Waypost-Schedule: tomorrow\r\n" + PLAIN, "550 5.6.0"),
    ],
    ids=[
        "another's domain",
        "unknown domain",
        "no From",
        "two From",
        "no address",
        "loop",
        "schedule",
    ],
)
async def test_a_refusal_says_why_and_is_a_fact(tmp_path: Path, content: bytes, says: str) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        with pytest.raises(RefusedError) as refused:
            await under_test.hand_in(content, "ann@inbox.test")
        await under_test.spool.record([])
        (event,) = await under_test.events()
        assert await under_test.spool.waiting(Selection(), 10) == []
    assert refused.value.reply.startswith(says)
    assert (event.kind, event.recipient) == (Kind.REJECTED, "ann@inbox.test")


async def test_a_suspended_account_may_not_send(tmp_path: Path) -> None:
    have = settings()
    have.accounts[1] = msgspec.structs.replace(have.accounts[1], suspended=True)
    async with clerk(tmp_path, have) as under_test:
        with pytest.raises(RefusedError, match="suspended"):
            await under_test.hand_in(PLAIN, "ann@inbox.test")


async def test_an_account_may_be_let_use_any_sender_but_not_anothers(tmp_path: Path) -> None:
    have = settings()
    have.accounts[1] = msgspec.structs.replace(have.accounts[1], any_sender=True)
    async with clerk(tmp_path, have) as under_test:
        free = await under_test.hand_in(PLAIN.replace(b"shop.test>", b"free.test>", 1), "a@b.test")
        assert (free.sending_domain, free.sending_domain_id) == ("free.test", 0)
        with pytest.raises(RefusedError):
            await under_test.hand_in(PLAIN.replace(b"shop.test>", b"other.test>", 1), "a@b.test")


async def test_suppressed_and_double_recipients_are_excluded_with_a_reason(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        of = under_test.hashes.of
        note = under_test.suppressions.note
        note(entry_in_account(1, of("dead@inbox.test")), "hard-bounce", 1)
        note(entry_in_domain(1, "shop.test", of("gone@inbox.test")), "unsubscribe", 1)
        note(entry_in_campaign(campaign_hash(1, "spring"), of("bored@inbox.test")), "manual", 1)
        message = await under_test.hand_in(
            b"X-Waypost-Campaign: spring\r\n" + PLAIN,
            "ann@inbox.test", "Dead@INBOX.test", "gone@inbox.test", "bored@inbox.test",
            "ann@inbox.test",
        )  # fmt: skip
        events = await under_test.events()
        waiting = await under_test.spool.waiting(Selection(), 10)
        assert [one.recipient for one in waiting] == [b"ann@inbox.test"]
        found = under_test.index.find(message.id + 2, 3)
        assert found == of("dead@inbox.test")
    told = {(event.recipient, event.kind, event.reason) for event in events}
    assert told == {
        ("ann@inbox.test", Kind.ACCEPTED, ""),
        ("Dead@INBOX.test", Kind.EXCLUDED, "hard-bounce"),
        ("gone@inbox.test", Kind.EXCLUDED, "unsubscribe"),
        ("bored@inbox.test", Kind.EXCLUDED, "manual"),
        ("ann@inbox.test", Kind.EXCLUDED, "duplicate"),
    }
    assert len({event.delivery for event in events}) == 5


async def test_a_message_to_excluded_recipients_only_is_a_fact_and_no_mail(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        dead = entry_in_account(1, under_test.hashes.of("dead@inbox.test"))
        under_test.suppressions.note(dead, "hard-bounce", 1)
        await under_test.hand_in(PLAIN, "dead@inbox.test")
        (event,) = await under_test.events()
        assert await under_test.spool.waiting(Selection(), 10) == []
    assert event.kind is Kind.EXCLUDED


async def test_with_room_a_fresh_delivery_goes_straight_to_dispatch(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        under_test.onward.takes = True
        await under_test.hand_in(PLAIN, "ann@inbox.test")
        (offered,) = under_test.onward.offered
        assert offered.state is State.CLAIMED
        assert await under_test.spool.waiting(Selection(), 10) == []


@pytest.mark.parametrize(
    ("switch", "header", "tracked"),
    [
        (Switch.OFF, b"", False),
        (Switch.OFF, b"X-Waypost-Track: on\r\n", False),
        (Switch.ON, b"", True),
        (Switch.ON, b"X-Waypost-Track: off\r\n", False),
        (Switch.ON, b"X-Waypost-Track: off\r\nX-Waypost-Track: on\r\n", False),
        (Switch.OPTIONAL, b"", False),
        (Switch.OPTIONAL, b"X-Waypost-Track: on\r\n", True),
        (Switch.OPTIONAL, b"X-Waypost-Track: off\r\n on\r\n", False),
        (Switch.INHERIT, b"X-Waypost-Track: on\r\n", False),
    ],
)
async def test_who_decides_on_tracking(
    tmp_path: Path, switch: Switch, header: bytes, *, tracked: bool
) -> None:
    async with clerk(tmp_path, settings(opens=switch, clicks=switch)) as under_test:
        message = await under_test.hand_in(header + HTML, "ann@inbox.test")
        (event,) = await under_test.events()
    assert (message.opens, message.clicks) == (tracked, tracked)
    assert bool(message.plan) is tracked
    assert event.tracked == ("opens clicks" if tracked else "")
    if tracked:
        plan = msgspec.msgpack.decode(message.plan, type=Plan)
        assert plan.has_pixel
        assert len(plan.links) == 1


DEFAULT_FAILS = Hosts(failing=frozenset({"https://t.relay.test"}))


@pytest.mark.parametrize(
    "have",
    [
        settings(opens=Switch.ON, clicks=Switch.ON, tracking_ok=False),
        msgspec.structs.replace(settings(opens=Switch.ON, clicks=Switch.ON), hosts=DEFAULT_FAILS),
    ],
    ids=["own", "default"],
)
async def test_a_failed_tracking_host_leaves_mail_untracked_with_the_reason(
    tmp_path: Path, have: Settings
) -> None:
    async with clerk(tmp_path, have) as under_test:
        message = await under_test.hand_in(HTML, "ann@inbox.test")
        (event,) = await under_test.events()
    assert not message.plan
    assert event.skipped == "tracking-host-failed"


async def test_what_cannot_be_tracked_says_so(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings(opens=Switch.ON)) as under_test:
        await under_test.hand_in(PLAIN, "ann@inbox.test")
        (event,) = await under_test.events()
    assert event.skipped == "no-html"


async def test_list_unsubscribe_is_added_where_asked_and_absent(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings(unsubscribe=True)) as under_test:
        has = b"List-Unsubscribe: <mailto:x@shop.test>\r\n"
        assert (await under_test.hand_in(PLAIN, "a@b.test")).unsubscribe
        assert not (await under_test.hand_in(has + PLAIN, "a@b.test")).unsubscribe
        off = b"X-Waypost-Unsubscribe: off\r\n"
        assert not (await under_test.hand_in(off + PLAIN, "a@b.test")).unsubscribe


async def test_settings_are_of_the_credentials_account(tmp_path: Path) -> None:
    foreign = msgspec.structs.replace(CREDENTIAL, account=2)
    async with clerk(tmp_path, settings()) as under_test:
        with pytest.raises(RefusedError):
            await under_test.hand_in(PLAIN, "a@b.test", credential=foreign)


async def test_scheduled_mail_waits_and_its_life_counts_from_then(tmp_path: Path) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    async with clerk(tmp_path, settings()) as under_test:
        under_test.onward.takes = True
        header = f"X-Waypost-Not-Before: {later.isoformat()}\r\nX-Waypost-Priority: 5\r\n"
        await under_test.hand_in(header.encode() + PLAIN, "ann@inbox.test")
        (waiting,) = await under_test.spool.waiting(Selection(), 10)
    assert under_test.onward.offered == []
    assert waiting.not_before == waiting.starts_at == int(later.timestamp()) * 1_000_000
    assert waiting.priority == 5


async def test_a_test_message_is_counted_and_not_sent(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        await under_test.hand_in(b"X-Waypost-Mode: test\r\n" + PLAIN, "ann@inbox.test")
        (event,) = await under_test.events()
        assert await under_test.spool.waiting(Selection(), 10) == []
    assert (event.kind, event.reason) == (Kind.EXCLUDED, "test-mode")


async def test_what_had_no_effect_is_noted_with_the_message(tmp_path: Path) -> None:
    async with clerk(tmp_path, settings()) as under_test:
        await under_test.hand_in(b"X-Waypost-Colour: red\r\n" + PLAIN, "ann@inbox.test")
        (event,) = await under_test.events()
    assert event.notes == ("X-Waypost-Colour: there is no such header",)


async def test_an_empty_message_id_stays_the_only_one(tmp_path: Path) -> None:
    empty = PLAIN.replace(b"Message-ID: <1@shop.test>", b"Message-ID:")
    async with clerk(tmp_path, settings()) as under_test:
        message = await under_test.hand_in(empty, "ann@inbox.test")
        _, content = await under_test.spool.load(message.id)
    assert content == empty
