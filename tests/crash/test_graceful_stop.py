"""G01 to G05: SIGTERM under load, twice, with mail on its way in and out; SIGHUP.

New connections are refused, idle ones get 421, mail that is coming in may finish, mail that is
going out gets its answer; nothing is lost, nothing sent twice, the status is 0. The control is the
same stop by SIGKILL: mail on its way out is sent again, and that is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.sandbox.dialogue import Dialogue
from relay.sandbox.wire import stuff
from relay.submission import tls
from tests.harness.crash_run import IN_FLIGHT
from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.driver import Course
from tests.harness.mails import Mail, Mix, mails
from tests.harness.processes import alive

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
MIX = Mix(sending_domain=UNTRACKED)
DRAINING = "supervisor: draining"
SLOW = Mix(sending_domain=UNTRACKED, domains=("slow-dot2000.test",))


class InData:
    """A client in the middle of its DATA."""

    def __init__(self, stage: CrashStage, mail: Mail) -> None:
        """Prepare."""
        self.dialogue = Dialogue(*stage.relay.address("plain"))
        self._stuffed = stuff(mail.content)
        self._mail = mail

    async def begin(self) -> None:
        """Send half."""
        await self.dialogue.__aenter__()
        for said in await self.dialogue.envelope(self._mail.sender, self._mail.recipients):
            assert said.good
        assert (await self.dialogue.say(b"DATA")).code == 354
        self.dialogue._writer.write(self._stuffed[: len(self._stuffed) // 2])
        await self.dialogue._writer.drain()

    async def finish(self) -> int:
        """Send the rest and give the code of the answer."""
        self.dialogue._writer.write(self._stuffed[len(self._stuffed) // 2 :])
        code = (await self.dialogue.reply()).code
        await self.dialogue.__aexit__(None, None, None)
        return code


@contextlib.asynccontextmanager
async def clients(stage: CrashStage, count: int) -> AsyncIterator[list[InData]]:
    """Have so many clients in mid-DATA."""
    found = [InData(stage, mail) for mail in mails("half", count, seed=3, mix=MIX)]
    for one in found:
        await one.begin()
    yield found


def refused(address: tuple[str, int]) -> bool:
    """Tell whether a connection is refused."""
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionError:
        return True
    return False


async def test_what_is_under_way_ends_and_nothing_new_begins(tmp_path: Path) -> None:
    """G01, G05."""
    async with CrashStage(tmp_path / "run", workers=2, passwordless=True) as stage:
        await stage.drive(mails("out", 10, seed=1, mix=SLOW), connections=2, kind="plain")
        idle = Dialogue(*stage.relay.address("plain"))
        await idle.__aenter__()
        async with clients(stage, 16) as halves:
            address = stage.relay.address("plain")
            stopping = asyncio.create_task(stage.stop())

            async def closed() -> bool:
                return await asyncio.to_thread(refused, address)

            await stage.relay.until(closed, "the door to be closed", 20)
            assert (await idle.reply()).code == 421
            await idle.__aexit__(ConnectionError, ConnectionError("it was told to go"), None)
            assert [await one.finish() for one in halves] == [250] * 16
            assert await stopping == 0
        assert not list((stage.relay.data_dir / "run").glob("*.sock"))
        assert not list((stage.relay.data_dir / "run").glob("*.pid"))
        once = [r for got in stage.sink.got for r in got.recipients if "slow" in r]
        assert len(once) == len(set(once))
        await stage.start()
        verdict = await stage.verdict(duplicates=0)
    assert verdict.findings.duplicated == []
    assert verdict.findings.lost == []
    assert all(who.startswith("half-") for who in verdict.findings.unexpected)


async def test_control_the_same_by_a_kill_repeats(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run", passwordless=True) as stage:
        await stage.drive(mails("out", 10, seed=1, mix=SLOW), connections=2, kind="plain")
        os.kill(await stage.worker(), signal.SIGKILL)
        verdict = await stage.verdict(duplicates=0)
    assert verdict.findings.duplicated


def twice(stage: CrashStage, times: int) -> bool:
    """Send a signal, and a second when the first was heard for the `times`th time (sent at once the
    two would be one); False if there is nobody to be told. Our sink stands still meanwhile.
    """
    pid, deadline = stage.relay.pid, time.monotonic() + 20
    if not alive(pid):
        return False
    os.kill(pid, signal.SIGTERM)
    while stage.relay.log.read_text().count(DRAINING) < times:
        assert time.monotonic() < deadline, "the first signal was not heard"
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    return True


@pytest.mark.parametrize(("broken", "loses"), [("", False), ("forget-claimed", True)])
async def test_a_second_signal_ends_at_once_and_is_as_safe_as_a_kill(
    tmp_path: Path, broken: str, loses: bool
) -> None:
    """G02, twice under load; and the control, with mail that stays on its way for a while."""
    mix = Mix(sending_domain=UNTRACKED, domains=("slow-dot300.test",)) if loses else MIX
    async with CrashStage(tmp_path / "run", workers=2, broken=broken) as stage:
        moments = [30, 90]

        def progress(course: Course) -> None:
            if moments and course.acknowledged >= moments[0] and twice(stage, 3 - len(moments)):
                moments.pop(0)

        await stage.drive(mails("m", 150, seed=2, mix=mix), connections=6, progress=progress)
        verdict = await stage.verdict(duplicates=IN_FLIGHT * 4, seconds=4 if loses else 60)
    assert bool(verdict.findings.lost) is loses
    assert (verdict.broken == []) is not loses
    assert verdict.restarts >= 2
    assert stage.relay.log.read_text().count("supervisor: stopping at once") == 2


@pytest.mark.parametrize(("broken", "renewed"), [("", True), ("deaf", False)])
async def test_a_new_certificate_is_used_and_no_session_dropped(
    tmp_path: Path, broken: str, renewed: bool
) -> None:
    """G03: SIGHUP; a certificate that cannot be read leaves the old one in use. The control."""
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def renew(name: str) -> None:
        made = tls.self_signed(name, now=datetime.datetime.now(datetime.UTC))
        key.write_bytes(made[0])
        certificate.write_bytes(made[1])

    renew("one.test")
    own = {"submission": {"certificate": str(certificate), "private_key": str(key)}}
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shown() -> bytes:
        address = stage.relay.address("tls")
        with socket.create_connection(address, timeout=10) as raw, context.wrap_socket(raw) as on:
            return on.getpeercert(binary_form=True) or b""

    folder = tmp_path / "run"
    async with CrashStage(folder, settings=own, passwordless=True, broken=broken) as stage:
        before = await asyncio.to_thread(shown)
        held = Dialogue(*stage.relay.address("plain"))
        await held.__aenter__()
        certificate.write_bytes(b"no certificate")
        os.kill(stage.relay.pid, signal.SIGHUP)
        assert await asyncio.to_thread(shown) == before
        renew("two.test")
        os.kill(stage.relay.pid, signal.SIGHUP)

        async def changed() -> bool:
            return await asyncio.to_thread(shown) != before

        missing = pytest.raises(AssertionError, match="for the new certificate")
        with contextlib.nullcontext() if renewed else missing:
            await stage.relay.until(changed, "the new certificate", 20 if renewed else 4)
        (mail,) = mails("m", 1, seed=1, mix=MIX)
        assert (await held.send(mail.sender, mail.recipients, mail.content)).code == 250
        await held.__aexit__(None, None, None)
        assert stage.relay.starts == 1
