"""Handlers as aiosmtpd has them: which hooks are called, with what, and what their answers do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiosmtpd.smtp import MISSING

from relay.submission import replies
from relay.submission.door import Door
from relay.submission.serving import Pending
from relay.submission.session import SubmissionSession
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import LIMITS, OPTIONS, PLAIN, Passwords, Talk, open_door


class Asynchronous:
    """Every hook, as coroutines; notes what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    async def handle_EHLO(
        self, _server: Any, session: Any, _envelope: Any, name: str, lines: list[str]
    ) -> list[str]:
        self.seen.append(("EHLO", name, session.peer_address))
        return [*lines[:-1], "250-X-OURS", lines[-1]]

    async def handle_HELO(self, _server: Any, _session: Any, _envelope: Any, name: str) -> str:
        self.seen.append(("HELO", name))
        return "250 hello"

    async def handle_MAIL(
        self, _server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.seen.append(("MAIL", address, options, session.helo))
        if address.startswith("no"):
            return "550 5.7.1 Not you"
        envelope.mail_from = address
        return "250 Fine"

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.seen.append(("RCPT", address, options))
        if address.startswith("no"):
            return "550 5.1.1 Nobody"
        envelope.rcpt_tos.append(address)
        return "250 Fine"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.seen.append(("DATA", envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 Taken"

    async def handle_NOOP(self, _server: Any, _session: Any, _envelope: Any, text: str) -> object:
        self.seen.append(("NOOP", text))
        return MISSING

    async def handle_VRFY(self, _server: Any, _session: Any, _envelope: Any, text: str) -> str:
        self.seen.append(("VRFY", text))
        return "252 Who knows"

    async def handle_RSET(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.seen.append(("RSET", envelope.mail_from))
        return "250 Gone"

    async def handle_QUIT(self, server: Any, _session: Any, _envelope: Any) -> str:
        await server.push("250 2.0.0 wait")
        return "221 Bye"


class Synchronous:
    """The hooks that run for each recipient, as plain functions."""

    def handle_MAIL(self, *_: Any) -> str:
        return "250 2.1.0 Fine"

    def handle_RCPT(
        self, _server: Any, _session: Any, _envelope: Any, address: str, _o: Any
    ) -> str:
        if address.startswith("bug"):
            raise ValueError("a bug")
        return "250 2.1.5 Fine" if not address.startswith("no") else "550 5.1.1 Nobody"

    def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        return f"250 2.0.0 {len(envelope.recipients)} recipients"


async def test_all_hooks_of_aiosmtpd_are_called(server_tls: ServerTls) -> None:
    handler = Asynchronous()
    async with open_door(server_tls, handler=handler) as opened:
        talk = await opened.connect()
        assert "250-X-OURS" in await talk.say(b"EHLO client.test\r\n")
        await talk.say(PLAIN)
        assert await talk.say(b"NOOP x\r\n") == "250 2.0.0 OK"
        assert await talk.say(b"VRFY x\r\n") == "252 2.0.0 Who knows"
        assert await talk.say(b"MAIL FROM:<no@b>\r\n") == "550 5.7.1 Not you"
        assert await talk.say(b"MAIL FROM:<a@b> SIZE=9\r\n") == "250 2.0.0 Fine"
        assert await talk.say(b"RCPT TO:<no@d>\r\n") == "550 5.1.1 Nobody"
        assert await talk.say(b"RCPT TO:<c@d>\r\n") == "250 2.0.0 Fine"
        await talk.say(b"DATA\r\n")
        assert await talk.say(b"x\r\n.\r\n") == "250 2.0.0 Taken"
        await talk.say(b"MAIL FROM:<a@b>\r\n")
        assert await talk.say(b"RSET\r\n") == "250 2.0.0 Gone"
        assert await talk.say(b"HELO other.test\r\n") == "250 hello"
        assert await talk.say(b"QUIT\r\n") == "250 2.0.0 wait"
        assert await talk.rest() == ["221 2.0.0 Bye"]
        await talk.close()
    assert handler.seen == [
        ("EHLO", "client.test", "127.0.0.1"),
        ("NOOP", "x"),
        ("VRFY", "x"),
        ("MAIL", "no@b", [], "client.test"),
        ("MAIL", "a@b", ["SIZE=9"], "client.test"),
        ("RCPT", "no@d", []),
        ("RCPT", "c@d", []),
        ("DATA", "a@b", ["c@d"], b"x\r\n"),
        ("MAIL", "a@b", [], "client.test"),
        ("RSET", None),
        ("HELO", "other.test"),
    ]


async def test_pipelined_commands_keep_their_order_across_awaited_hooks(
    server_tls: ServerTls,
) -> None:
    handler = Asynchronous()
    async with open_door(server_tls, handler=handler) as opened:
        talk = await opened.connect()
        await talk.say(b"EHLO c.test\r\n")
        await talk.say(PLAIN)
        await talk.send([b"MAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        assert [(await talk.reply())[:3] for _ in range(4)] == ["250", "550", "250", "354"]
        await talk.send([b"x\r\n.\r\nMAIL FROM:<e@f>\r\nRSET\r\n"])
        assert [(await talk.reply())[:3] for _ in range(3)] == ["250", "250", "250"]
        await talk.close()


async def test_body_sent_before_354_is_caught_behind_awaited_hooks(server_tls: ServerTls) -> None:
    async with open_door(server_tls, handler=Asynchronous()) as opened:
        talk = await opened.connect()
        await talk.say(b"EHLO c.test\r\n")
        await talk.say(PLAIN)
        await talk.send([b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\nSubject: x\r\n.\r\n"])
        assert [reply[:9] for reply in await talk.rest()][-1] == "554 5.5.0"
        await talk.close()


async def test_plain_functions_answer_without_a_task(server_tls: ServerTls) -> None:
    async with open_door(server_tls, handler=Synchronous()) as opened:
        talk = await opened.connect()
        await talk.say(b"EHLO c.test\r\n")
        await talk.say(PLAIN)
        await talk.send(
            [b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<no@d>\r\nRCPT TO:<e@f>\r\n"]
        )
        assert [(await talk.reply())[:3] for _ in range(4)] == ["250", "250", "550", "250"]
        assert not opened.door.tasks
        assert await talk.say(b"RCPT TO:<bug@d>\r\n") == replies.LOCAL_ERROR.decode()
        await talk.say(b"DATA\r\n")
        assert await talk.say(b"x\r\n.\r\n") == "250 2.0.0 2 recipients"
        await talk.close()


class Promising:
    """Takes messages and says later what became of them, by a future alone."""

    def __init__(self) -> None:
        self.stored: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> Pending:
        stored = asyncio.get_running_loop().create_future()
        self.stored.put_nowait(stored)
        return Pending(stored, lambda: f"250 2.0.0 {stored.result()}")


async def test_a_message_waits_for_a_future_without_a_task(server_tls: ServerTls) -> None:
    handler = Promising()
    async with open_door(server_tls, handler=handler) as opened:
        talk = await opened.connect()
        await talk.say(b"EHLO c.test\r\n")
        await talk.say(PLAIN)
        tasks = asyncio.all_tasks()
        await talk.send([b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        assert [(await talk.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await talk.send([b"x\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        stored = await handler.stored.get()
        assert asyncio.all_tasks() == tasks
        assert opened.door.tasks == {stored}
        stored.set_result(None)
        # What came behind the content is answered after it, and not before.
        assert [await talk.reply() for _ in range(4)] == [
            "250 2.0.0 None",
            replies.SENDER_OK.decode(),
            replies.RECIPIENT_OK.decode(),
            replies.START_CONTENT.decode(),
        ]
        await talk.send([b"y\r\n.\r\n"])
        (await handler.stored.get()).set_exception(ValueError("a bug"))
        assert await talk.reply() == replies.LOCAL_ERROR.decode()
        assert await talk.say(b"NOOP\r\n") == replies.OK.decode()
        assert not opened.door.tasks
        await talk.close()


async def test_a_message_handed_over_is_not_cancelled_with_its_connection(
    server_tls: ServerTls,
) -> None:
    handler = Promising()
    async with open_door(server_tls, handler=handler) as opened:
        talk = await opened.connect()
        await talk.say(b"EHLO c.test\r\n")
        await talk.say(PLAIN)
        await talk.send([b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        assert [(await talk.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await talk.send([b"x\r\n.\r\n"])
        stored = await handler.stored.get()
        assert opened.door.gate.inflight == 3
        for session in tuple(opened.door.sessions):
            session.cut()
        await opened.door.empty()
        assert not stored.done()
        stored.set_result(None)
        await asyncio.wait(opened.door.tasks)
        assert (opened.door.tasks, opened.door.gate.inflight) == (set(), 0)
        await talk.close()


async def test_a_session_needs_no_listener(server_tls: ServerTls) -> None:
    loop = asyncio.get_running_loop()
    door = Door(object(), options=OPTIONS, limits=LIMITS, authenticator=Passwords())
    server = await loop.create_server(lambda: SubmissionSession(door), "127.0.0.1", 0)
    async with server:
        talk = await Talk.connect(server.sockets[0].getsockname()[1])
        await talk.reply()
        for line in (b"EHLO c\r\n", PLAIN, b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"):
            await talk.say(line)
        await talk.say(b"DATA\r\n")
        assert await talk.say(b"x\r\n.\r\n") == replies.MESSAGE_OK.decode()
        assert door.gate.admit("127.0.0.1", with_login=True) is None
        await talk.close()
        await door.empty()
    door.wheel.stop()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("250 OK", b"250 2.0.0 OK"),
        ("250", b"250 2.0.0"),
        ("550 5.1.1 no", b"550 5.1.1 no"),
        (b"452 full", b"452 4.0.0 full"),
        ("354 go", b"354 go"),
        ("250-a\r\n250 b", b"250-a\r\n250 b"),
        ("250-a\r\n251 b", replies.LOCAL_ERROR),
        ("250 ä", b"250 2.0.0 ?"),
        ("250 " + "x" * 600, replies.LOCAL_ERROR),
        ("100 x", replies.LOCAL_ERROR),
        (None, replies.LOCAL_ERROR),
        (250, replies.LOCAL_ERROR),
    ],
)
def test_replies_of_handlers_are_checked(given: object, expected: bytes) -> None:
    assert replies.checked(given) == expected
