"""Next hops that lack things, want a login, or speak out of turn (S13, S14, R rows)."""

from __future__ import annotations

import base64

import msgspec
import pytest

from relay.delivery.hello import Login
from relay.delivery.outgoing import Problem, Stage, Verdict
from relay.delivery.pool import PoolLimits
from relay.delivery.route import TlsLevel
from relay.delivery.transport import Transport
from tests.harness.outbound import CONTENT, Jobs, MakeTransport, mail_to, route_to
from tests.harness.scripted_mx import ScriptedMx


async def test_a_server_with_helo_only(transport: Transport) -> None:
    """S14: EHLO refused, HELO taken, one command at a time."""
    async with ScriptedMx() as mx:
        mx.answer(ehlo="502 5.5.1 what is EHLO?")
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert mx.commands[:3] == [b"EHLO relay.test", b"HELO relay.test", mx.commands[2]]
    assert mx.messages[0].mail == b"MAIL FROM:<b+token@bounce.test>"


@pytest.mark.parametrize("offers", [("PIPELINING", "SIZE 100"), ("SIZE 100",)])
async def test_a_message_over_the_size_limit_is_not_sent(
    transport: Transport, offers: tuple[str, ...]
) -> None:
    """S14: 5.3.4 without a MAIL command (RFC 1870 section 6.2)."""
    big = CONTENT + b"x" * 100 + b"\r\n"
    async with ScriptedMx(extensions=offers) as mx:
        outcome = await transport.deliver(route_to(mx), lambda: mail_to(content=big))
        small = await transport.deliver(route_to(mx), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.BOUNCED, Problem.CAPABILITY)
    assert outcome.enhanced == "5.3.4"
    assert outcome.reply is None
    assert not outcome.hosts_fault
    assert small.verdict is Verdict.DELIVERED
    assert mx.sessions == 1
    assert len(mx.messages) == 1


async def test_utf8_addresses_need_smtputf8(transport: Transport) -> None:
    """S14: 5.6.7 where the next hop lacks SMTPUTF8, sent with the parameter where it has it."""
    async with ScriptedMx(extensions=("8BITMIME",)) as mx:
        lacking = await transport.deliver(
            route_to(mx), lambda: mail_to("jörg@inbox.test", utf8=True)
        )
    async with ScriptedMx() as mx:
        offering = await transport.deliver(
            route_to(mx), lambda: mail_to("jörg@inbox.test", utf8=True, eightbit=True)
        )
    assert (lacking.verdict, lacking.enhanced) == (Verdict.BOUNCED, "5.6.7")
    assert offering.verdict is Verdict.DELIVERED
    assert b" BODY=8BITMIME SMTPUTF8" in mx.messages[0].mail
    assert mx.messages[0].recipients == ("jörg@inbox.test".encode(),)


async def test_plain_ascii_goes_without_smtputf8(transport: Transport) -> None:
    """RFC 6531 section 3.6: a mail that does not use what it asked for is not refused for it."""
    async with ScriptedMx(extensions=()) as mx:
        plain = await transport.deliver(route_to(mx), lambda: mail_to(utf8=True))
        content = "Subject: Grüße\r\n\r\nhi\r\n".encode()
        header = await transport.deliver(route_to(mx), lambda: mail_to(content=content, utf8=True))
    assert plain.verdict is Verdict.DELIVERED
    assert mx.messages[0].mail == b"MAIL FROM:<b+token@bounce.test>"
    assert (header.verdict, header.enhanced) == (Verdict.BOUNCED, "5.6.7")


async def test_the_server_s_own_limit_of_mails_is_kept(transport: Transport) -> None:
    """RFC 9422: LIMITS MAILMAX."""
    jobs = Jobs([mail_to(delivery=n) for n in range(5)])
    async with ScriptedMx(extensions=("PIPELINING", "LIMITS RCPTMAX=1 MAILMAX=2 X=y")) as mx:
        await transport.run(route_to(mx), jobs.take)
    assert [m.session for m in mx.messages] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("strict", [True, False])
async def test_8bit_content_where_8bitmime_is_lacking(
    make_transport: MakeTransport, *, strict: bool
) -> None:
    """S14: sent as it is, or refused with 5.6.3, as the setting says; never converted (it would
    break DKIM).
    """
    content = "Subject: x\r\n\r\nGrüße\r\n".encode()
    transport = make_transport(strict_eightbit=strict)
    async with ScriptedMx(extensions=("PIPELINING",)) as mx:
        mail = mail_to(content=content, eightbit=True)
        outcome = await transport.deliver(route_to(mx), lambda: mail)
    if strict:
        assert (outcome.verdict, outcome.enhanced) == (Verdict.BOUNCED, "5.6.3")
    else:
        assert mx.messages[0].content == content
        assert b"BODY" not in mx.messages[0].mail


async def test_dsn_parameters_travel_where_offered(transport: Transport) -> None:
    """RFC 3461 section 4: RET, ENVID, NOTIFY and ORCPT."""
    mail = mail_to(ret="HDRS", envid=b"Ab+2Bc", notify="SUCCESS,FAILURE", orcpt=b"rfc822;a+40b")
    async with ScriptedMx() as mx:
        await transport.deliver(route_to(mx), lambda: mail)
    async with ScriptedMx(extensions=()) as plain:
        await transport.deliver(route_to(plain), lambda: mail)
    assert mx.messages[0].mail.endswith(b" RET=HDRS ENVID=Ab+2Bc")
    assert b"RCPT TO:<ann@inbox.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+40b" in mx.commands
    assert b"RCPT TO:<ann@inbox.test>" in plain.commands


LOGIN = Login(login=b"user", password=b"pa ss")


@pytest.mark.parametrize(
    ("offer", "sent"),
    [
        ("AUTH LOGIN PLAIN", [b"AUTH PLAIN " + base64.b64encode(b"\0user\0pa ss")]),
        ("AUTH LOGIN", [b"AUTH LOGIN", b"dXNlcg==", base64.b64encode(b"pa ss")]),
    ],
)
async def test_a_smarthost_that_wants_a_login(
    transport: Transport, offer: str, sent: list[bytes]
) -> None:
    """AUTH PLAIN first, else LOGIN; the transcript shows neither login nor password."""
    async with ScriptedMx(extensions=(offer, "PIPELINING")) as mx:
        route = route_to(mx, login=LOGIN, clear_login=True)
        outcome = await transport.deliver(route, mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert mx.auth_lines == sent
    assert "***" in outcome.transcript
    for secret in ("dXNlcg", "cGEg", sent[-1].decode()[-10:]):
        assert secret not in outcome.transcript


async def test_a_long_password_does_not_break_the_line_limit(transport: Transport) -> None:
    """An initial response too long for the line is sent after the 334 (RFC 4954 section 4)."""
    login = Login(login=b"user", password=b"p" * 600)
    async with ScriptedMx(extensions=("AUTH PLAIN",)) as mx:
        outcome = await transport.deliver(route_to(mx, login=login, clear_login=True), mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert mx.auth_lines == [b"AUTH PLAIN", base64.b64encode(b"\0user\0" + b"p" * 600)]


async def test_a_login_is_never_sent_in_the_clear(transport: Transport) -> None:
    """Without TLS the password stays here, and mail waits."""
    async with ScriptedMx(extensions=("AUTH PLAIN",)) as mx:
        outcome = await transport.deliver(route_to(mx, login=LOGIN), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.LOGIN)
    assert mx.auth_lines == []


@pytest.mark.parametrize(
    ("extensions", "answer"),
    [(("AUTH PLAIN",), "535 5.7.8 no"), (("AUTH GSSAPI",), ""), ((), "")],
)
async def test_a_login_that_is_not_taken_puts_mail_off(
    transport: Transport, extensions: tuple[str, ...], answer: str
) -> None:
    """A wrong password is our mistake: nothing bounces for it."""
    async with ScriptedMx(extensions=extensions) as mx:
        if answer:
            mx.answer(auth=answer)
        outcome = await transport.deliver(route_to(mx, login=LOGIN, clear_login=True), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.LOGIN)
    assert outcome.stage is Stage.AUTH
    assert mx.messages == []


UNREADABLE = {
    "no digits": b"hello there\r\n",
    "two digits": b"25\r\n",
    "2xx": b"2xx fine\r\n",
    "999": b"999 x\r\n",
    "000": b"000\r\n",
    "empty line": b"\r\n",
    "codes differ": b"250-a\r\n251 b\r\n",
    "tab": b"250\tok\r\n",
    "1xx": b"150 wait\r\n",
    "bare line feed": b"250 ok\n250 ok\r\n",
    "NUL": b"\0\r\n",
    "line too long": b"250 " + b"x" * 3_000 + b"\r\n",
    "endless line": b"250 " + b"x" * 300_000,
    "endless reply": b"250-x\r\n" * 100_000,
}
STAGES = ["banner", "ehlo", "mail", "rcpt", "data", "dot"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", UNREADABLE)
async def test_an_unreadable_reply_is_a_temporary_protocol_error(
    transport: Transport, kind: str, stage: str
) -> None:
    """R01, R02, R05: put off with 4.4.2, connection closed; ambiguous only after the dot."""
    async with ScriptedMx() as mx:
        mx.answer(**{stage: UNREADABLE[kind]})
        outcome = await transport.deliver(route_to(mx, TlsLevel.NONE), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.PROTOCOL)
    assert outcome.enhanced == "4.4.2"
    assert outcome.ambiguous == (stage == "dot")
    assert len(mx.messages) == (1 if stage == "dot" else 0)


WRONG = [
    ("banner", "250 2.0.0 hi"),
    ("banner", "354 hi"),
    ("ehlo", "334 hi"),
    ("mail", "354 hi"),
    ("rcpt", "354 hi"),
    ("data", "250 2.0.0 hi"),
    ("dot", "354 hi"),
]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(("stage", "answer"), WRONG)
async def test_a_code_that_is_no_answer_is_a_protocol_error(
    transport: Transport, stage: str, answer: str, *, pipelining: bool
) -> None:
    """R05: 354 to RCPT, 250 to DATA, 334 to EHLO are no answers."""
    async with ScriptedMx(extensions=("PIPELINING",) if pipelining else ()) as mx:
        mx.answer(**{stage: answer})
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.PROTOCOL)


CODES = [
    (b"550 5.1.1\r\n", Verdict.BOUNCED, "5.1.1", ""),
    (b"550 5.1\r\n", Verdict.BOUNCED, "", "5.1"),
    (b"550 9.9.9 x\r\n", Verdict.BOUNCED, "", "9.9.9 x"),
    (b"550 4.7.1 x\r\n", Verdict.BOUNCED, "", "4.7.1 x"),
    (b"450 5.1.1 x\r\n", Verdict.RETRY, "", "5.1.1 x"),
    (b"550\r\n", Verdict.BOUNCED, "", ""),
    (
        b"550-5.1.1 no such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n",
        Verdict.BOUNCED,
        "5.1.1",
        "no such user here",
    ),
    (b"550 \x1b[31m\x00<b>\xff\r\n", Verdict.BOUNCED, "", "[31m <b>\ufffd"),
]


@pytest.mark.parametrize(("raw", "verdict", "enhanced", "text"), CODES)
async def test_the_basic_code_wins(
    transport: Transport, raw: bytes, verdict: Verdict, enhanced: str, text: str
) -> None:
    """R04: codes without text, of another class, over several lines, with escapes."""
    async with ScriptedMx() as mx:
        mx.answer(rcpt=raw)
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert outcome.verdict is verdict
    assert outcome.reply is not None
    assert (outcome.reply.enhanced, outcome.reply.text) == (enhanced, text)
    assert "\x1b" not in outcome.transcript


@pytest.mark.parametrize(
    "extensions",
    [
        tuple(f"X-KEYWORD-{n}" for n in range(90)),
        ("SIZE abc", "AUTH=", "=", " ", "PIPELINING <script>"),
        ("SIZE 0",),
        ("SIZE -5",),
        ("SIZE 99999999999999999999999999",),
    ],
)
async def test_odd_ehlo_keywords_do_no_harm(
    transport: Transport, extensions: tuple[str, ...]
) -> None:
    """R07: parsed with caps, what makes no sense is not there."""
    async with ScriptedMx(extensions=extensions) as mx:
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert outcome.verdict is Verdict.DELIVERED


async def test_a_second_reply_in_one_packet_is_out_of_step(transport: Transport) -> None:
    """R08: the first reply counts, the second ends the session; the next mail is not touched."""
    async with ScriptedMx() as mx:
        mx.answer(dot=b"250 2.0.0 queued\r\n550 5.1.1 no such user\r\n")
        first = await transport.deliver(route_to(mx), mail_to)
        second = await transport.deliver(route_to(mx), mail_to)
    assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.DELIVERED)
    assert mx.sessions == 2


async def test_a_second_reply_while_mails_overlap_bounces_nobody(transport: Transport) -> None:
    """R08 with the next envelope on the way: a shifted dialogue is noticed, not believed."""
    jobs = Jobs([mail_to(delivery=n) for n in range(6)])
    async with ScriptedMx() as mx:
        mx.answer(dot=["250 2.0.0 queued", b"250 2.0.0 queued\r\n550 5.1.1 no such user\r\n"])
        await transport.run(route_to(mx), jobs.take)
    assert len(jobs.outcomes) == 6
    assert all(o.verdict is not Verdict.BOUNCED for o in jobs.outcomes)
    delivered = [o for o in jobs.outcomes if o.verdict is Verdict.DELIVERED]
    assert len(delivered) == len(mx.messages) >= 5


async def test_354_after_refused_recipients_gets_a_lone_dot(transport: Transport) -> None:
    """RFC 2920 section 3.1: nothing of the content goes out, and the session goes on."""
    async with ScriptedMx() as mx:
        mx.answer(rcpt="550 5.1.1 unknown", data="354 go ahead", dot="554 5.5.1 no recipients")
        outcome = await transport.deliver(route_to(mx), mail_to)
        again = await transport.deliver(route_to(mx), mail_to)
    assert (outcome.verdict, outcome.stage) == (Verdict.BOUNCED, Stage.RCPT)
    assert mx.messages[0].content == b""
    assert again.verdict is Verdict.DELIVERED
    assert mx.sessions == 1


async def test_messages_per_connection_are_limited(make_transport: MakeTransport) -> None:
    """After so many mails a connection says QUIT and another is opened."""
    transport = make_transport(limits=PoolLimits(messages=3))
    jobs = Jobs([mail_to(delivery=n) for n in range(7)])
    async with ScriptedMx() as mx:
        await transport.run(route_to(mx), jobs.take)
        assert [m.session for m in mx.messages] == [1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("changes", "enhanced"),
    [
        ({"recipient": b"ann@inbox.test>\r\nRCPT TO:<eve@evil.test"}, "5.1.3"),
        ({"recipient": b"ann@inbox.test> NOTIFY=NEVER"}, "5.1.3"),
        ({"return_path": b"a@b.test\n"}, "5.1.3"),
        ({"content": b"Subject: x\r\n\r\nbare\nline\r\n"}, "5.6.0"),
        ({"content": b"Subject: x\r\n\r\n.\r\r\n"}, "5.6.0"),
        ({"orcpt": b"rfc822;a b"}, "5.5.4"),
        ({"ret": "ALL"}, "5.5.4"),
        ({"notify": "NEVER,SUCCESS"}, "5.5.4"),
        ({"envid": b"x" * 101}, "5.5.4"),
    ],
)
async def test_what_must_not_go_on_the_wire_does_not(
    transport: Transport, changes: dict[str, object], enhanced: str
) -> None:
    """The writer checks bytes once more, whatever happened before it."""
    mail = msgspec.structs.replace(mail_to(), **changes)
    async with ScriptedMx() as mx:
        outcome = await transport.deliver(route_to(mx), lambda: mail)
        assert mx.messages == []
        assert not any(line.startswith((b"MAIL", b"RCPT")) for line in mx.commands)
    assert (outcome.verdict, outcome.problem) == (Verdict.BOUNCED, Problem.LOCAL)
    assert outcome.enhanced == enhanced
