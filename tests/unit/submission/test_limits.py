"""Counts over connections and logins, and what happens at their limits."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from relay.shared_table import SharedTable
from relay.submission import replies
from relay.submission.limits import Gate, GateLimits, LocalTally, Tally, address_key
from relay.submission.session import SubmissionSession
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import PLAIN, Talk, open_door

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
WRONG = b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_tally_counts_up_and_down_and_forgets() -> None:
    tally = LocalTally()
    tally.add(b"a")
    tally.add(b"a", 2)
    tally.sub(b"a")
    assert (tally.sum(b"a"), tally.sum(b"b")) == (2, 0)
    tally.sub(b"a", 5)
    assert tally.sum(b"a") == 0


def test_passing_counts_end_with_their_first_lifetime() -> None:
    clock = Clock()
    tally = LocalTally(clock=clock)
    tally.add(b"a", lifetime=10.0)
    clock.now += 9
    tally.add(b"a", lifetime=10.0)
    assert tally.sum(b"a") == 2
    clock.now += 1
    assert tally.sum(b"a") == 0
    tally.add(b"a", lifetime=10.0)
    assert tally.sum(b"a") == 1


def test_tally_is_bounded() -> None:
    tally = LocalTally(size=10)
    for number in range(100):
        tally.add(b"%d" % number, lifetime=60.0)
    assert sum(tally.sum(b"%d" % number) for number in range(100)) == 10
    assert tally.sum(b"99") == 1


def test_one_client_is_an_ipv4_address_or_an_ipv6_network() -> None:
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:2")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1")
    assert address_key("fe80::1%eth0") == address_key("fe80::1")
    assert address_key("") == b""


def test_a_process_keeps_descriptors_for_other_work() -> None:
    gate = Gate(GateLimits(own_connections=1))
    assert gate.admit("192.0.2.1", with_login=True) is None
    assert gate.admit("192.0.2.2", with_login=True) == replies.TOO_BUSY
    gate.leave("192.0.2.1")
    assert gate.admit("192.0.2.2", with_login=True) is None


def test_connections_are_limited_per_address_and_in_all() -> None:
    gate = Gate(GateLimits(connections=20, connections_per_address=3, reserved=0.1))
    for _ in range(3):
        assert gate.admit("192.0.2.1", with_login=True) is None
    assert gate.admit("192.0.2.1", with_login=True) == replies.TOO_MANY_CONNECTIONS
    for number in range(15):
        assert gate.admit(f"192.0.2.{100 + number}", with_login=False) is None
    before = gate.stressed
    assert gate.admit("192.0.2.50", with_login=False) == replies.TOO_BUSY
    for number in range(2):
        assert gate.admit(f"192.0.2.{60 + number}", with_login=True) is None
    assert (before, gate.stressed) == (False, True)
    assert gate.admit("192.0.2.70", with_login=True) == replies.TOO_BUSY
    gate.leave("192.0.2.1")
    assert gate.admit("192.0.2.1", with_login=True) is None


def test_failed_logins_are_limited_per_address_and_account() -> None:
    clock = Clock()
    gate = Gate(GateLimits(), LocalTally(clock=clock))
    for _ in range(10):
        assert gate.login_refusal("192.0.2.1", b"bob") is None
        gate.note_failure("192.0.2.1", b"bob")
    assert gate.login_refusal("192.0.2.1", b"ann") == replies.TOO_MANY_FAILED_LOGINS
    assert gate.login_refusal("192.0.2.2", b"bob") is None
    clock.now += 600
    assert gate.login_refusal("192.0.2.1", b"ann") is None
    for number in range(40):
        gate.note_failure(f"192.0.2.{number}", b"BOB")
    assert gate.login_refusal("203.0.113.1", b"bob") == replies.AUTH_LATER
    assert gate.login_refusal("203.0.113.1", b"ann") is None
    clock.now += 3600
    assert gate.login_refusal("203.0.113.1", b"bob") is None


def who_failed_is_refused_still(tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of K04: the wall clock jumps ten days ahead, and no window has passed for it."""
    gate = Gate(GateLimits(), tally)
    for _ in range(10):
        gate.note_failure("192.0.2.1", b"bob")
    later = time.time() + 10 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "time_ns", lambda: int(later * 1e9))
    assert gate.login_refusal("192.0.2.1", b"ann") == replies.TOO_MANY_FAILED_LOGINS


def test_windows_do_not_follow_the_wall_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedTable(tmp_path / "table", 0, 1, slots=64)
    for tally in (LocalTally(), shared):
        who_failed_is_refused_still(tally, monkeypatch)
    shared.close()


def test_control_windows_that_follow_the_wall_clock_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wall() -> float:
        return time.time()  # whatever it is by then

    shared = SharedTable(tmp_path / "table", 0, 1, slots=64, monotonic=wall)
    for tally in (LocalTally(clock=wall), shared):
        with pytest.raises(AssertionError):
            who_failed_is_refused_still(tally, monkeypatch)
    shared.close()


async def test_c34_one_connection_too_many_is_told(server_tls: ServerTls) -> None:
    async with open_door(server_tls, gate=GateLimits(connections_per_address=2)) as opened:
        first, second = await opened.connect(), await opened.connect(tls=True)
        third = await Talk.connect(opened.listener.port)
        assert await third.rest() == [replies.TOO_MANY_CONNECTIONS.decode()]
        assert opened.counts["connections_refused"] == 1
        for talk in (first, second, third):
            await talk.close()
        await opened.door.empty()
        talk = await opened.at("greeted")
        await talk.close()


async def test_c34_the_reply_says_why(server_tls: ServerTls) -> None:
    for gate, expected in (
        (GateLimits(connections_per_address=0), replies.TOO_MANY_CONNECTIONS),
        (GateLimits(connections=0), replies.TOO_BUSY),
    ):
        async with open_door(server_tls, gate=gate) as opened:
            talk = await Talk.connect(opened.listener.port)
            assert await talk.rest() == [expected.decode()]
            await talk.close()


async def test_a06_failures_on_many_connections_are_counted_together(
    server_tls: ServerTls,
) -> None:
    async with open_door(server_tls, gate=GateLimits()) as opened:
        answers = []
        for _ in range(12):
            talk = await opened.at("greeted")
            answers.append((await talk.say(WRONG))[:9])
            await talk.close()
    assert answers == ["535 5.7.8"] * 10 + ["421 4.7.0"] * 2
    assert len(opened.passwords.tried) == 10
    assert opened.counts["logins_throttled"] == 2


async def test_place_is_given_back_whatever_happens(server_tls: ServerTls) -> None:
    async with open_door(server_tls, gate=GateLimits(connections_per_address=1)) as opened:
        for _ in range(3):
            talk = await opened.at("data")
            talk.reset()
            await opened.door.empty()
        # A failed handshake gives its place back too.
        broken = await Talk.connect(opened.secure.port)
        await broken.send([b"no handshake\r\n"])
        await broken.rest()
        await broken.close()
        talk = await opened.at("greeted")
        await talk.close()


async def test_under_stress_a_stranger_gets_no_patience(server_tls: ServerTls) -> None:
    crowd = GateLimits(connections=4, reserved=0.5)
    async with open_door(server_tls, gate=crowd) as opened:
        calm = [await opened.at("greeted") for _ in range(2)]
        late = await opened.at("greeted")
        assert (await late.say(b"XYZZY\r\n")).startswith("500")
        assert await late.rest() == [replies.TOO_MANY_ERRORS.decode()]
        assert (await calm[0].say(b"XYZZY\r\n")).startswith("500")
        assert (await calm[0].say(b"NOOP\r\n")).startswith("250")
        for talk in (*calm, late):
            await talk.close()


@pytest.mark.parametrize("way", ["starttls", "implicit"])
async def test_under_stress_a_customer_gets_in_and_is_treated_as_ever(
    way: str, server_tls: ServerTls
) -> None:
    """Saying EHLO again after STARTTLS is no junk, and stress ends with the login."""
    crowd = GateLimits(connections=4, reserved=1.0)
    async with open_door(server_tls, gate=crowd) as opened:
        talk = await opened.connect(tls=way == "implicit")
        if way == "starttls":
            for line in (b"EHLO c.test\r\n", b"STARTTLS\r\n"):
                assert (await talk.say(line))[:1] == "2"
            await talk.start_tls(opened.trust)
        for line in (b"EHLO c.test\r\n", PLAIN):
            assert (await talk.say(line))[:1] == "2"
        for _ in range(50):
            assert (await talk.say(b"NOOP\r\n"))[:3] == "250"
        for _ in range(5):
            assert (await talk.say(b"XYZZY\r\n"))[:3] == "500"
        (session,) = opened.door.sessions
        assert session.patience.idle(opened.door.loop.time() + 299) is None
        # The control: who does not log in gets what a stranger gets.
        late = await opened.at("greeted")
        assert (await late.say(b"NOOP\r\n")) == replies.TOO_MUCH_JUNK.decode()
        for each in (talk, late):
            await each.close()


async def test_a_crowd_that_never_logs_in_keeps_nobody_out(server_tls: ServerTls) -> None:
    """L01: at the limit the oldest stranger makes room; whoever logged in stays."""
    async with open_door(server_tls, gate=GateLimits(connections=3)) as opened:
        clock = opened.door.loop.time
        customer = await opened.at("logged")
        stranger, other = await opened.connect(), await opened.connect()
        late = await Talk.connect(opened.listener.port)
        assert await late.rest() == [replies.TOO_BUSY.decode()]  # they may yet log in
        for session in opened.door.sessions:
            session.patience._began = clock() - 6
        new = await opened.connect()
        assert (await stranger.rest())[:1] in ([], [replies.TOO_BUSY.decode()])
        assert (await new.say(b"NOOP\r\n"))[:3] == "250"
        assert (await customer.say(b"NOOP\r\n"))[:3] == "250"
        assert (await other.say(b"NOOP\r\n"))[:3] == "250"
        assert opened.counts["strangers_ended"] == 1
        for talk in (customer, stranger, other, late, new):
            await talk.close()


async def test_each_of_several_that_come_together_gets_the_place_of_another(
    server_tls: ServerTls,
) -> None:
    """L01: who made room is asked no more, though its connection is lost only a turn later."""
    async with open_door(server_tls, gate=GateLimits(connections=6)) as opened:
        loop = opened.door.loop
        strangers = [await opened.connect() for _ in range(6)]
        opened.listener.pause()
        # The oldest shakes hands, which it does not end.
        assert (await strangers[0].say(b"STARTTLS\r\n")).startswith("220")
        for session in opened.door.sessions:
            session.patience._began = loop.time() - 6
        together = [await Talk.connect(opened.listener.port) for _ in range(4)]
        opened.listener.start()  # which takes them all in one turn
        assert [(await talk.reply())[:3] for talk in together] == ["220"] * 4
        assert opened.counts["strangers_ended"] == 4
        assert [(await talk.say(b"NOOP\r\n"))[:3] for talk in strangers[4:]] == ["250"] * 2
        for talk in (*strangers, *together):
            await talk.close()
        await opened.door.empty()
        assert not opened.door.gate.strangers


async def silent_crowd(server_tls: ServerTls, *, customers_tls: bool) -> None:
    """Fill the TLS door with connections that say nothing; customers come when they are old."""
    limits = GateLimits(connections=6)
    async with asyncio.timeout(20), open_door(server_tls, gate=limits) as opened:
        gate = opened.door.gate
        silent = [await Talk.connect(opened.secure.port) for _ in range(5)]
        half = await Talk.connect(opened.secure.port)
        await half.send([HALF_A_HELLO])
        full = b"connections"
        while gate._tally.sum(full) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0)
        late = await Talk.connect(opened.listener.port)
        assert await late.rest() == [replies.TOO_BUSY.decode()]  # they may yet shake hands
        for stranger in gate.strangers:
            stranger.patience._began = opened.door.loop.time() - 6
        customers = [await opened.at("logged", tls=customers_tls) for _ in range(6)]
        assert opened.counts["strangers_ended"] == 6
        for talk in (*silent, half):
            assert await talk.rest() == []
        assert [(await talk.say(b"MAIL FROM:<>\r\n"))[:3] for talk in customers] == ["250"] * 6
        assert (gate._tally.sum(full), len(gate.strangers)) == (6, 0)
        for talk in (*customers, *silent, half, late):
            await talk.close()
        await opened.door.empty()
        assert (gate._tally.sum(full), gate._own) == (0, 0)


@pytest.mark.parametrize("customers_tls", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_crowd_that_never_shakes_hands_keeps_nobody_out(
    server_tls: ServerTls, run: Callable[[Coroutine[None, None, None]], None], customers_tls: bool
) -> None:
    """L01: a connection is a stranger from its first moment, before TLS too, at every door."""
    run(silent_crowd(server_tls, customers_tls=customers_tls))


async def test_a_place_taken_within_a_handshake_stays_taken(server_tls: ServerTls) -> None:
    """The handshake of one that gave way may be done in the same turn: it is nobody."""
    async with open_door(server_tls, gate=GateLimits(connections=1)) as opened:
        gate, loop = opened.door.gate, opened.door.loop
        session = SubmissionSession(
            opened.door, admitted=gate.admit("192.0.2.1", with_login=True) is None
        )
        session._arriving = loop.create_task(asyncio.sleep(60))
        opened.door.expect(session)
        assert not gate.make_room(loop.time())
        assert gate.make_room(loop.time() + 5)
        here, there = socket.socketpair()
        here.setblocking(False)
        there.settimeout(5)
        with there:
            await loop.connect_accepted_socket(lambda: session, here)
            assert await loop.run_in_executor(None, there.recv, 100) == b""
        assert session._arriving.cancelled()
        assert not opened.door.sessions
        assert not gate.strangers
        assert gate.admit("192.0.2.2", with_login=True) is None


async def test_a_failed_handshake_leaves_no_stranger(server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        broken = await Talk.connect(opened.secure.port)
        await broken.send([b"no handshake\r\n"])
        await broken.rest()
        await broken.close()
        while opened.counts["tls_failed"] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not opened.door.gate.strangers
