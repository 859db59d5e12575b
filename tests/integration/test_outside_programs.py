"""Programs that others wrote to test mail servers, against a running relay: swaks and Postfix's
smtp-source with their options, a scan of protocols and ciphers, commands slipped in before TLS, and
messages smuggled behind false ends of data, looked for at the sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness.programs import need_program
from tests.harness.provision import submission_door
from tests.harness.sink_route import SinkRoute, sink_route
from tests.harness.smtp_talk import Talk

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    async with sink_route(tmp_path_factory.mktemp("outside"), workers=1) as up:
        yield up


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode("utf-8", "replace")


SWAKS = {
    "starttls-plain": ("submission", ["-tls", "-a", "PLAIN"]),
    "starttls-login": ("submission", ["-tls", "-a", "LOGIN"]),
    "starttls-pipeline": ("submission", ["-tls", "-a", "PLAIN", "--pipeline"]),
    "implicit-plain": ("tls", ["-tlsc", "-a", "PLAIN"]),
    "implicit-pipeline": ("tls", ["-tlsc", "-a", "LOGIN", "--pipeline"]),
    "listed": ("plain", []),
    "listed-pipeline": ("plain", ["--pipeline"]),
    "listed-helo": ("plain", ["--protocol", "SMTP"]),
    "listed-dots": ("plain", ["--body", ".\\n..\\n...\\n.x\\n"]),
}


@pytest.mark.parametrize("way", SWAKS)
async def test_swaks_with_its_options(route: SinkRoute, way: str) -> None:
    door, options = SWAKS[way]
    host, port = route.relay.address(door)
    login = ["-au", route.tenant.login, "-ap", route.tenant.password] if "-a" in options else []
    before = len(route.sink.bodies)
    code, said = await _run(
        *(need_program("swaks"), "--server", host, "--port", str(port), "--ehlo", "c.test"),
        *("-f", "news@plain.test", "-t", "ann@inbox.test", "--h-From", "news@plain.test"),
        *(*options, *login),
    )
    assert code == 0, said
    await route.arrived(before + 1)


@pytest.mark.parametrize("tried", [["-a", "CRAM-MD5"], ["-a", "PLAIN"]], ids=["digest", "clear"])
async def test_swaks_is_refused_what_is_not_offered(route: SinkRoute, tried: list[str]) -> None:
    """No other mechanism, and no password without TLS."""
    host, port = route.relay.address("submission")
    login = ["-au", route.tenant.login, "-ap", route.tenant.password]
    code, said = await _run(
        *(need_program("swaks"), "--server", host, "--port", str(port), "-f", "news@plain.test"),
        *("-t", "ann@inbox.test", *tried, *login),
    )
    assert code != 0, said


SOURCE = {
    "kept": ["-s", "5", "-m", "40", "-d"],
    "new-each-time": ["-s", "5", "-m", "20"],
    "large": ["-s", "2", "-m", "4", "-l", "3000000"],
    "recipients": ["-s", "2", "-m", "4", "-r", "10"],
}


@pytest.mark.parametrize("way", SOURCE)
async def test_smtp_source_with_its_options(route: SinkRoute, way: str) -> None:
    host, port = route.relay.address("plain")
    options = SOURCE[way]
    mails = int(options[options.index("-m") + 1])
    each = int(options[options.index("-r") + 1]) if "-r" in options else 1
    before = len(route.sink.bodies)
    code, said = await _run(
        *(need_program("smtp-source"), *options, "-f", "news@plain.test", "-t", "ann@inbox.test"),
        f"{host}:{port}",
    )
    assert code == 0, said
    await route.arrived(before + mails * each)


async def test_what_is_slipped_in_before_tls_is_not_there_behind_it(route: SinkRoute) -> None:
    door = submission_door(route.relay, route.tenant)
    assert door.tls is not None
    talk = await Talk.connect(door.port)
    await talk.reply()
    assert (await talk.say(b"EHLO c.test\r\n"))[:3] == "250"
    await talk.send([b"STARTTLS\r\nNOOP\r\nEHLO slipped.test\r\nMAIL FROM:<a@b.test>\r\n"])
    assert (await talk.reply())[:3] == "220"
    await talk.start_tls(door.tls)
    # The first answer within TLS is that to the first command within TLS.
    assert (await talk.say(b"MAIL FROM:<a@b.test>\r\n"))[:9] == "503 5.5.1"
    assert (await talk.say(b"VRFY x\r\n"))[:3] == "252"
    await talk.close()


FALSE_ENDS = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\n\n.\n\n", b"\n\r.\n\r",
    b"\r\n.\t\r\n", b"\r\n. \r\n", b"\r\n\x1a.\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\x0b.\x0b", b"\x0c.\x0c", b"\r\n\xef\xbc\x8e\r\n", b"\r\n.\n\r\n", b"\r\n..\r\n",
)  # fmt: skip


async def test_no_message_is_smuggled_to_the_sink(route: SinkRoute) -> None:
    """Whatever is answered, the sink takes no mail from the smuggled sender, and what it takes has
    no bare line end.
    """
    where = submission_door(route.relay, route.tenant, "plain")
    smuggled = (
        b"MAIL FROM:<smuggled@plain.test>\r\nRCPT TO:<victim@inbox.test>\r\nDATA\r\n"
        b"From: smuggled@plain.test\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
    )
    before, taken = len(route.sink.bodies), 0
    for end in FALSE_ENDS:
        talk = await Talk.connect(where.port)
        await talk.reply()
        for line in (
            b"EHLO c.test\r\n",
            b"MAIL FROM:<news@plain.test>\r\n",
            b"RCPT TO:<ann@inbox.test>\r\n",
            b"DATA\r\n",
        ):
            assert (await talk.say(line))[:1] in "23"
        await talk.send([b"From: news@plain.test\r\nSubject: x\r\n\r\na" + end + smuggled])
        said = (await talk.reply())[:3]
        assert said in ("250", "550"), (end, said)
        taken += said == "250"
        await talk.close()
    await route.arrived(before + taken)
    assert not [got for got in route.sink.got if "victim@inbox.test" in got.recipients]
    for body in route.sink.bodies[before:]:
        assert body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r")


async def _spoken(port: int, version: ssl.TLSVersion, ciphers: str) -> str:
    """Try one protocol with ciphers; give the cipher, "" if there is no handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with contextlib.suppress(ssl.SSLError):  # this OpenSSL may not have them at all
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (OSError, ssl.SSLError):
        return ""
    cipher = writer.get_extra_info("cipher")[0]
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return str(cipher)


async def test_tls_speaks_nothing_old(route: SinkRoute) -> None:
    """Only 1.2 and 1.3, only ciphers with forward secrecy and authenticated encryption."""
    port = route.relay.address("tls")[1]
    old = (ssl.TLSVersion.SSLv3, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    assert [await _spoken(port, version, "ALL:eNULL") for version in old] == [""] * 3
    weak = "ALL:eNULL:!ECDHE+AESGCM:!ECDHE+CHACHA20"
    assert await _spoken(port, ssl.TLSVersion.TLSv1_2, weak) == ""
    good = await _spoken(port, ssl.TLSVersion.TLSv1_2, "ALL")
    assert good.startswith("ECDHE-")
    assert await _spoken(port, ssl.TLSVersion.TLSv1_3, "ALL") != ""
