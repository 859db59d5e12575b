"""The weaknesses A1 to A27 of plain aiosmtpd, which our session must not have; a test each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from relay.errors import RefusedError, SpoolFullError, StorageError
from relay.mail.addresses import AddressError, check_wire
from relay.submission.door import TryLater
from relay.submission.limits import GateLimits
from relay.submission.tls import ServerTls
from relay.submission.wire import Wire
from tests.harness.smtp_talk import OPTIONS, PLAIN, Talk, open_door

EHLO = b"EHLO client.test\r\n"
MAIL = b"MAIL FROM:<a@b.test>\r\n"
RCPT = b"RCPT TO:<c@d.test>\r\n"
ENCODED = b"=?utf-8?b?eA0KUkNQVCBUTzo8djJAZXZpbD4=?=@b.example"


async def submit(talk: Talk, data: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
    """One whole transaction; the reply to the end of data."""
    for line in (MAIL, RCPT, b"DATA\r\n"):
        await talk.say(line)
    return await talk.say(data + b".\r\n")


async def test_a1_encoded_word_local_part_is_refused(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("sender")
        assert (await talk.say(b"RCPT TO:<" + ENCODED + b">\r\n")).startswith("553 5.1.3")
        assert (await talk.say(b"DATA\r\n")).startswith("503")
        await talk.close()


def test_a1b_the_outgoing_wire_asserts_the_grammar_again() -> None:
    for address in (ENCODED, b"a@b\r\nRCPT TO:<v@evil>", b"a@b> ORCPT=x", b"a@b c", b"<a@b>"):
        with pytest.raises(AddressError):
            check_wire(address)


# A2, A3: tests/unit/mail/test_addresses.py and the table addresses.toml.
# A4, A5: test_bad_content.py and the rows C01 and C02.


async def test_a6_content_without_line_ends_is_cut_at_the_limit(server_tls: ServerTls) -> None:
    async with open_door(server_tls, message=1_000_000) as opened:
        talk = await opened.at("data")
        async with talk.sending([b"x" * 65_536] * 100):
            assert (await talk.reply()).startswith("552 5.3.4")
            assert await talk.rest() == []
        await talk.close()
        assert opened.door.gate.inflight == 0


# A7: test_engine.py, memory for content is its size.
# A8: as A6, and the deadlines in test_deadlines.py.


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a9_a_message_handed_over_is_not_cancelled(how: str, server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        opened.recorder.hold = asyncio.Event()
        talk = await opened.at("data")
        await talk.send([b"Subject: x\r\n\r\nhello\r\n.\r\n"])
        await opened.recorder.begun.wait()
        if how == "fin":
            talk.writer.write_eof()
        else:
            talk.reset()
            await opened.door.empty()
        opened.recorder.hold.set()
        if how == "fin":
            assert await talk.reply() == "250 2.0.0 Taken"
        await asyncio.gather(*opened.door.tasks)
        assert opened.recorder.ended == 1
        await talk.close()
        await opened.door.empty()
        assert opened.door.gate.inflight == 0


async def test_a9_nothing_is_queued_from_a_broken_connection(server_tls: ServerTls) -> None:
    whole = EHLO + PLAIN + MAIL + RCPT
    async with open_door(server_tls) as opened:
        for data in (b"", EHLO, EHLO + PLAIN, EHLO + PLAIN + MAIL, whole, whole + b"DATA\r\n"):
            for finish in (Talk.reset, Talk.close):
                talk = await opened.connect()
                await talk.send([data])
                for _ in range(data.count(b"\r\n")):
                    await talk.reply()
                if data.endswith(b"DATA\r\n"):
                    await talk.send([b"Subject: x\r\n\r\nhello\r\n."])
                result = finish(talk)
                if result is not None:
                    await result
        await opened.door.empty()
    assert opened.recorder.begun.is_set() is False
    assert opened.counts["session_errors"] == 0


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (ValueError("secret\r\n250 Fine"), "451 4.3.0 Local error, try again later"),
        (ValueError("nicht möglich \udcff"), "451 4.3.0 Local error, try again later"),
        (StorageError("disk"), "451 4.3.0 Local error, try again later"),
        (SpoolFullError("full"), "452 4.3.1 Not enough room for mail now, try again later"),
        (RefusedError(550, "5.7.1", "Not your domain"), "550 5.7.1 Not your domain"),
        (RefusedError(550, "5.7.1", "a\r\nb"), "451 4.3.0 Local error, try again later"),
    ],
)
async def test_a11_a12_a13_errors_of_a_handler_are_a_fixed_reply(
    error: Exception, reply: str, server_tls: ServerTls
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        opened.recorder.error = error
        assert await submit(talk) == reply
        opened.recorder.error = None
        assert (await talk.say(b"DATA\r\n")).startswith("503")  # the envelope is gone
        assert await submit(talk) == "250 2.0.0 Taken"
        await talk.close()
    assert len(opened.recorder.envelopes) == 1


@pytest.mark.parametrize(
    "reply", ["what?", "250 a\r\n250 b", "250 a\nb", "999 x", "", "250 \x1b[31m"]
)
async def test_a11_a_reply_that_is_none_does_not_go_out(reply: str, server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        opened.recorder.reply = reply
        talk = await opened.at("logged")
        assert (await submit(talk)).startswith("451 4.3.0")
        await talk.close()


async def test_a13_a_broken_exception_hook_does_not_hang_the_client(server_tls: ServerTls) -> None:
    class Broken:
        async def handle_DATA(self, *_: object) -> str:
            raise ValueError("é")

        async def handle_exception(self, _error: Exception) -> str:
            raise ValueError("é")

    async with open_door(server_tls, handler=Broken()) as opened:
        talk = await opened.at("logged")
        assert (await submit(talk)).startswith("451 4.3.0")
        await talk.close()


async def test_a13_an_error_of_the_session_itself_closes_it(
    server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        session = next(iter(opened.door.sessions))

        def broken() -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(type(session.engine), "next_event", lambda _self: broken())
        await talk.send([b"NOOP\r\n"])
        assert await talk.rest() == []
        await talk.close()
    assert opened.counts["session_errors"] == 1


async def test_a14_recipients_are_limited(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("sender")
        await talk.send([b"RCPT TO:<a%d@d.test>\r\n" % number for number in range(1001)])
        replies = [await talk.reply() for _ in range(1001)]
        assert {reply[:9] for reply in replies[:1000]} == {"250 2.1.5"}
        assert replies[1000].startswith("452 4.5.3")
        await talk.say(b"DATA\r\n")
        assert (await talk.say(b"x\r\n.\r\n")).startswith("250")
        await talk.close()
    assert len(opened.recorder.envelopes[0].recipients) == 1000


# A15: the row A06, and test_limits.py.


async def test_a16_a_slow_login_holds_nobody_else(server_tls: ServerTls) -> None:
    class Slow:
        def __init__(self) -> None:
            self.go = asyncio.Event()

        async def authenticate(self, _m: str, login: bytes, _p: bytes, _s: object) -> object:
            if login == b"bob":
                await self.go.wait()
            return login

    slow = Slow()
    async with open_door(server_tls) as opened:
        opened.door.authenticator = slow
        waiting = await opened.at("greeted")
        await waiting.send([PLAIN])
        other = await opened.at("greeted")
        assert (await other.say(b"AUTH PLAIN AGFubgB4\r\n")).startswith("235")
        slow.go.set()
        assert (await waiting.reply()).startswith("235")
        await waiting.close()
        await other.close()


async def test_a17_under_implicit_tls_auth_is_offered_and_starttls_is_not(
    server_tls: ServerTls,
) -> None:
    options = replace(OPTIONS, auth_needs_tls=True)
    async with open_door(server_tls, options=options) as opened:
        talk = await opened.connect(tls=True)
        offer = await talk.say(EHLO)
        assert "AUTH PLAIN LOGIN" in offer
        assert "STARTTLS" not in offer
        assert (await talk.say(PLAIN)).startswith("235")
        assert (await submit(talk)).startswith("250")
        await talk.close()
        plain = await opened.at("greeted")
        assert (await plain.say(PLAIN)).startswith("538 5.7.11")
        await plain.close()
    session = opened.recorder.sessions[0]
    assert session.tls is not None
    assert session.tls.version in ("TLSv1.2", "TLSv1.3")


async def test_a18_starttls_twice_is_refused_and_the_first_tls_goes_on(
    server_tls: ServerTls,
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        assert (await talk.say(b"STARTTLS\r\n")).startswith("220")
        await talk.start_tls(opened.trust)
        await talk.say(EHLO)
        assert (await talk.say(b"STARTTLS\r\n")).startswith("503 5.5.1")
        assert (await talk.say(b"NOOP\r\n")).startswith("250")
        await talk.close()


async def test_c22_starttls_forgets_transaction_and_login(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("transaction")
        assert (await talk.say(b"STARTTLS\r\n")).startswith("220")
        await talk.start_tls(opened.trust)
        assert (await talk.say(b"DATA\r\n")).startswith("503")
        await talk.say(EHLO)
        assert (await talk.say(MAIL)).startswith("530 5.7.0")
        await talk.close()


async def test_plain_text_after_starttls_is_dropped(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        await talk.send([b"STARTTLS\r\n" + MAIL + RCPT])
        assert (await talk.reply()).startswith("220")
        await talk.start_tls(opened.trust)
        # Had the injected lines survived, their replies would come before this one.
        assert (await talk.say(b"NOOP\r\n")).startswith("250 2.0.0 OK")
        await talk.close()


async def test_failed_handshake_closes_the_connection(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        assert (await talk.say(b"STARTTLS\r\n")).startswith("220")
        await talk.send([b"this is no handshake at all\r\n" * 3])
        assert await talk.rest() == []
        await talk.close()
        await opened.door.empty()
    assert opened.counts["tls_failed"] == 1


# A19: test_proxy.py.


async def test_a20_limits_of_one_connection_do_not_touch_another(server_tls: ServerTls) -> None:
    long_mail = b"MAIL FROM:<a@b.test> ENVID=" + b"x" * 100 + b" AUTH=" + b"y" * 400 + b"\r\n"
    async with open_door(server_tls) as opened:
        first, second = await opened.at("logged"), await opened.at("fresh")
        for _ in range(5):
            await second.say(EHLO)
        assert (await first.say(long_mail)).startswith("250")
        assert (await second.say(b"NOOP " + b"a" * 520 + b"\r\n")).startswith("500 5.5.2")
        await first.close()
        await second.close()


async def test_a21_the_null_sender_is_a_value_of_its_own(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        assert (await talk.say(b"MAIL FROM:<>\r\n")).startswith("250")
        assert (await talk.say(b"MAIL FROM:<a@b>\r\n")).startswith("503")  # it is a sender
        await talk.say(RCPT)
        await talk.say(b"DATA\r\n")
        await talk.say(b"x\r\n.\r\n")
        await talk.close()
    assert opened.recorder.envelopes[0].sender is None
    assert opened.recorder.envelopes[0].mail_from == ""


async def test_a22_parameters_reach_the_handler_as_typed(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        await talk.say(b"MAIL FROM:<a@b.test> RET=FULL ENVID=Ab+2Bc BODY=8BITMIME\r\n")
        await talk.say(b"RCPT TO:<c@d.test> NOTIFY=failure ORCPT=rfc822;A+40b\r\n")
        await talk.say(b"DATA\r\n")
        await talk.say(b"x\r\n.\r\n")
        await talk.close()
    envelope = opened.recorder.envelopes[0]
    assert (envelope.ret, envelope.envid, envelope.body_8bit) == ("FULL", b"Ab+2Bc", True)
    assert envelope.recipients[0].notify == "FAILURE"
    assert envelope.recipients[0].orcpt == b"rfc822;A+40b"
    assert envelope.mail_options == ["RET=FULL", "ENVID=Ab+2Bc", "BODY=8BITMIME"]


# A23: rows D11 and A23. A24: rows A02, A08, A11 and C25.


async def test_a25_the_ehlo_reply_is_one_write(
    server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.connect()
        written: list[bytes] = []
        write = Wire.write

        def watched(wire: Wire, data: bytes) -> None:
            written.append(data)
            write(wire, data)

        monkeypatch.setattr(Wire, "write", watched)
        await talk.say(EHLO)
        await talk.send([PLAIN])
        await talk.reply()
        await talk.send([MAIL + RCPT + b"DATA\r\n"])
        for _ in range(3):
            await talk.reply()
        assert [each.count(b"\r\n") for each in written] == [written[0].count(b"\n"), 1, 3]
        await talk.close()


# A26: the rows C08. A27: test_limits.py and test_listener.py.


async def test_authenticator_can_ask_for_patience(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        opened.passwords.error = TryLater("454 4.7.0 Not now")
        talk = await opened.at("greeted")
        for _ in range(5):
            assert await talk.say(PLAIN) == "454 4.7.0 Not now"
        opened.passwords.error = ValueError("a bug")
        assert (await talk.say(PLAIN)).startswith("454 4.7.0")
        opened.passwords.error = None
        assert (await talk.say(PLAIN)).startswith("235")
        await talk.close()


async def test_auth_login_dialogue(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        assert await talk.say(b"AUTH LOGIN\r\n") == "334 VXNlcm5hbWU6"
        assert await talk.say(b"Ym9i\r\n") == "334 UGFzc3dvcmQ6"
        assert (await talk.say(b"Y29ycmVjdCBob3JzZQ==\r\n")).startswith("235 2.7.0")
        await talk.close()
    assert opened.passwords.tried == [("LOGIN", b"bob", b"correct horse")]


async def test_revoked_login_ends_at_the_next_mail(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged")
        assert (await submit(talk)).startswith("250")
        opened.passwords.logins[0].valid = False
        assert (await talk.say(MAIL)).startswith("530 5.7.0")
        assert (await talk.say(PLAIN)).startswith("235")
        assert (await submit(talk)).startswith("250")
        await talk.close()


async def test_client_known_by_its_address_needs_no_password(server_tls: ServerTls) -> None:
    class Known:
        async def authenticate(self, *_: object) -> None:
            return None

        def recognise(self, session: Any) -> str | None:
            return "known" if session.peer_address == "127.0.0.1" else None

    async with open_door(server_tls) as opened:
        opened.door.recognise = Known().recognise
        talk = await opened.at("greeted")
        assert (await submit(talk)).startswith("250")
        await talk.close()
    assert opened.recorder.sessions[0].login == "known"


async def test_client_known_by_its_address_may_log_in_once(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        opened.door.recognise = lambda _session: "known"
        talk = await opened.at("greeted")
        assert (await talk.say(PLAIN)).startswith("235")
        assert (await talk.say(PLAIN)).startswith("503")
        assert (await submit(talk)).startswith("250")
        await talk.close()
    assert opened.recorder.sessions[0].login != "known"


async def test_content_of_all_connections_together_is_bounded(server_tls: ServerTls) -> None:
    async with open_door(server_tls, gate=GateLimits(inflight=100_000)) as opened:
        opened.recorder.hold = asyncio.Event()
        first = await opened.at("data")
        second = await opened.at("transaction")
        await first.send([(b"x" * 60 + b"\r\n") * 1800 + b".\r\n"])
        await opened.recorder.begun.wait()
        assert (await second.say(b"DATA\r\n")).startswith("452 4.3.1")
        opened.recorder.hold.set()
        assert (await first.reply()).startswith("250")
        assert (await second.say(b"DATA\r\n")).startswith("354")
        async with second.sending([(b"x" * 60 + b"\r\n") * 4000]):
            assert (await second.reply()).startswith("421 4.3.1")
        await first.close()
        await second.close()
        await opened.door.empty()
        assert opened.door.gate.inflight == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_input_and_replies_in_bulk_wait_for_each_other_and_none_is_lost(
    tls: bool, server_tls: ServerTls
) -> None:
    count = 40_000
    async with open_door(server_tls, junk=10**6, read_ahead=10_000) as opened:
        opened.recorder.hold = asyncio.Event()
        talk = await opened.at("data", tls=tls)
        async with talk.sending([b"x\r\n.\r\n", *[b"HELP\r\n" * 1000] * (count // 1000)]):
            await opened.recorder.begun.wait()
            session = next(iter(opened.door.sessions))
            opened.recorder.hold.set()
            assert await talk.reply() == "250 2.0.0 Taken"
            for _ in range(count):
                assert (await talk.reply()).startswith("214 2.0.0")
            assert (await talk.say(b"NOOP\r\n")).startswith("250 2.0.0")
        assert session.engine.buffered == 0
        await talk.close()


async def test_input_behind_a_slow_handler_is_held_back(server_tls: ServerTls) -> None:
    async with open_door(server_tls, junk=10**6, read_ahead=10_000) as opened:
        opened.recorder.hold = asyncio.Event()
        talk = await opened.at("data")
        async with talk.sending([b"x\r\n.\r\n", *[b"NOOP\r\n" * 1000] * 2000]):
            await opened.recorder.begun.wait()
            session = next(iter(opened.door.sessions))
            other = await opened.at("logged")
            for _ in range(50):
                await other.say(b"NOOP\r\n")
            # The loop turned often enough to read all twelve megabytes, had they been taken.
            assert session.engine.buffered < 600_000
            await other.close()
            session.cut()
            opened.recorder.hold.set()
        await talk.close()
