"""Starting, draining and stopping; certificates."""

from __future__ import annotations

import asyncio
import datetime
import errno
import socket
import ssl
import stat
from pathlib import Path

import pytest
import uvloop

from relay.submission import replies, tls
from relay.submission.door import Door
from relay.submission.limits import Gate, GateLimits, LocalTally
from relay.submission.listener import Listener
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import OPTIONS, Recorder, open_door


async def test_drain_lets_a_message_arrive_and_says_421_to_the_others(
    server_tls: ServerTls,
) -> None:
    async with open_door(server_tls) as opened:
        idle, sender, data = [await opened.at(stage) for stage in ("logged", "sender", "data")]
        draining = asyncio.create_task(opened.listener.drain())
        assert await idle.rest() == [replies.CLOSING.decode()]
        assert await sender.say(b"RCPT TO:<c@d>\r\n") == replies.CLOSING.decode()
        assert await data.say(b"x\r\n.\r\n") == "250 2.0.0 Taken"
        assert await data.rest() == [replies.CLOSING.decode()]
        for talk in (idle, sender, data):
            await talk.close()
        await draining
    assert len(opened.recorder.envelopes) == 1


async def test_drain_ends_after_its_grace(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        data = await opened.at("data")
        await opened.listener.drain(grace=0.05)
        assert await data.rest() == []
        await data.close()
    assert opened.recorder.envelopes == []


async def test_paused_listener_leaves_the_socket_to_others(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        opened.listener.pause()
        waiting = asyncio.create_task(opened.connect())
        await asyncio.sleep(0)
        assert not opened.door.sessions
        opened.listener.start()
        talk = await waiting
        await talk.close()


async def test_descriptors_used_up_is_survived(
    server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(server_tls) as opened:
        real = opened.listener._listening

        class Exhausted:
            failed = 0

            def accept(self) -> object:
                if not self.failed:
                    self.failed = 1
                    raise OSError(errno.EMFILE, "Too many open files")
                return real.accept()

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        monkeypatch.setattr(opened.listener, "_listening", Exhausted())
        talk = await opened.connect()
        await talk.close()
    assert opened.counts["accept_failed"] == 1


def test_everything_runs_on_uvloop(server_tls: ServerTls) -> None:
    async def run() -> None:
        async with open_door(server_tls) as opened:
            for secure in (False, True):
                talk = await opened.at("data", tls=secure)
                assert (await talk.say(b"x\r\n.\r\n")).startswith("250")
                assert (await talk.say(b"QUIT\r\n")).startswith("221")
                await talk.close()
            talk = await opened.at("transaction")
            await talk.send([b"STARTTLS\r\nRSET\r\n"])
            assert (await talk.reply()).startswith("220")
            await talk.start_tls(opened.trust)
            assert (await talk.say(b"EHLO c.test\r\n")).startswith("250")
            await talk.close()
            opened.recorder.hold = asyncio.Event()
            talk = await opened.at("data")
            await talk.send([b"x\r\n.\r\n"])
            opened.recorder.begun.clear()
            await opened.recorder.begun.wait()
            talk.reset()
            await opened.door.empty()
            opened.recorder.hold.set()
            await asyncio.gather(*opened.door.tasks)
        assert opened.recorder.ended == 3

    uvloop.run(run())


def test_certificate_is_made_once_and_only_we_can_read_the_key(tmp_path: Path) -> None:
    first = tls.load_or_create(tmp_path / "tls", "relay.test")
    key = first.private_key.read_bytes()
    assert stat.S_IMODE(first.private_key.stat().st_mode) == 0o600
    assert tls.load_or_create(tmp_path / "tls", "relay.test").private_key.read_bytes() == key
    made = sorted(path.name for path in (tmp_path / "tls").iterdir())
    assert made == ["lock", "smtp.crt", "smtp.key"]


def test_broken_files_are_reported_and_the_old_certificate_stays(tmp_path: Path) -> None:
    ours = tls.load_or_create(tmp_path, "relay.test")
    other, _ = tls.self_signed("other.test", now=datetime.datetime.now(datetime.UTC))
    good = ours.private_key.read_bytes()
    ours.private_key.write_bytes(other)
    with pytest.raises(ssl.SSLError):
        ours.reload()
    ours.private_key.write_bytes(good)
    ours.reload()
    with pytest.raises(OSError):  # noqa: PT011 - any reading error will do
        tls.load(tmp_path / "missing.crt", tmp_path / "missing.key")


async def test_reload_takes_a_new_certificate_into_use(tmp_path: Path) -> None:
    ours = tls.load_or_create(tmp_path, "localhost")
    async with open_door(ours) as opened:
        talk = await opened.connect(tls=True)
        await talk.close()
        key, chain = tls.self_signed("localhost", now=datetime.datetime.now(datetime.UTC))
        ours.private_key.write_bytes(key)
        ours.certificate.write_bytes(chain)
        ours.reload()
        with pytest.raises(ssl.SSLCertVerificationError):
            await opened.connect(tls=True)
        opened.trust = ssl.create_default_context(cafile=str(ours.certificate))
        talk = await opened.connect(tls=True)
        await talk.close()


def test_only_tls_1_2_and_newer_is_spoken() -> None:
    context = tls.server_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all("ECDHE" in each["name"] or "TLS_" in each["name"] for each in context.get_ciphers())


async def test_listening_socket_stays_with_its_owner(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        await opened.listener.stop()
        opened.listener.start()
        talk = await opened.connect()
        await talk.close()


@pytest.mark.parametrize(("processes", "expected"), [(2, [10, 10]), (1, [0, 20])])
async def test_who_has_more_leaves_the_next_connection_to_others(
    processes: int, expected: list[int]
) -> None:
    """Two on one socket, as processes share it; alone in its own eyes one of them takes all."""
    tally, doors, loop = LocalTally(), [], asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            gate = Gate(GateLimits(processes=processes), tally)
            doors.append(Door(Recorder(), options=OPTIONS, gate=gate))
        listeners = [Listener(listening.dup(), door) for door in doors]
        for listener in listeners:
            listener.start()
        clients = []
        for _ in range(20):
            client = socket.create_connection(listening.getsockname())
            client.setblocking(False)
            clients.append(client)
            assert await loop.sock_recv(client, 3) == b"220"
        assert sorted(len(door.sessions) for door in doors) == expected
        for client in clients:
            client.close()
        for listener in listeners:
            await listener.stop()
            listener.close()
