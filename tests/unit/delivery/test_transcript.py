"""What is kept of a conversation: readable, bounded, harmless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.commands import UnsendableError, check_content
from relay.delivery.transcript import MAX_SHOWN, MAX_STEPS, Transcript, printable
from relay.mail.lines import unstuff
from tests.harness.outbound import MakeTransport, mail_to, route_to
from tests.harness.scripted_mx import ScriptedMx


async def test_a_refusal_can_be_read_line_by_line(make_transport: MakeTransport) -> None:
    """Session and transaction, who said what, with milliseconds."""
    async with ScriptedMx(extensions=("PIPELINING",)) as mx:
        mx.answer(rcpt="550 5.1.1 no such user")
        outcome = await make_transport().deliver(route_to(mx), mail_to)
    said = [line.split(" ms ", 1)[1] for line in outcome.transcript.splitlines()]
    assert said == [
        "< 220 mx.test ESMTP",
        "> EHLO relay.test",
        "< 250-mx.test greets you",
        "< 250 PIPELINING",
        "> MAIL FROM:<b+token@bounce.test>",
        "> RCPT TO:<ann@inbox.test>",
        "< 250 2.1.0 sender ok",
        "< 550 5.1.1 no such user",
        "< 503 5.5.1 no valid recipients",
    ]


@given(st.binary(max_size=400))
def test_remote_bytes_are_shown_as_plain_ascii(raw: bytes) -> None:
    """No control byte, no byte above 126, never longer than the bound."""
    shown = printable(raw)
    assert shown.isascii()
    assert shown.isprintable() or not shown
    assert len(shown) <= MAX_SHOWN


def test_a_transcript_is_bounded() -> None:
    """Beyond the bound only the number grows."""
    transcript = Transcript()
    for _ in range(MAX_STEPS + 7):
        transcript.add(0.0, "<", b"250 ok")
    assert len(transcript.lines()) == MAX_STEPS + 1
    assert transcript.lines()[-1] == "... 7 more steps"


PIECES = st.sampled_from([b".", b"..", b"\r\n", b"\r\n.", b"a", b"\r\n.\r\n", b"\xe4", b" "])
DIRTY = st.sampled_from([b"\n", b"\r", b"\r\r\n", b"\n."])


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_stuffed_content_ends_once_and_comes_back(content: bytes) -> None:
    """F02: stuffing and unstuffing are inverse, and the end of data stands at the end only."""
    wire = check_content(content)
    assert wire.endswith(b".\r\n")
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    back = unstuff(wire[:-3])
    assert back in (content, content + b"\r\n")


@given(
    st.lists(PIECES, max_size=10).map(b"".join), DIRTY, st.lists(PIECES, max_size=10).map(b"".join)
)
def test_a_bare_line_end_is_never_sent(before: bytes, dirty: bytes, after: bytes) -> None:
    """The control: whatever is not CRLF-clean is refused."""
    content = before + dirty + after
    clean = content.replace(b"\r\n", b"")
    try:
        check_content(content)
    except UnsendableError:
        assert b"\r" in clean or b"\n" in clean
    else:
        assert b"\r" not in clean
        assert b"\n" not in clean
