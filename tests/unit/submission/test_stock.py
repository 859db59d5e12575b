"""The same rows at plain aiosmtpd: it takes what it must refuse, or refuses what it must take. That
is why our session replaces its byte path; and it shows that the rows can fail.
"""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness.smtp_talk import PASSWORD, STAGES, Talk

DATA = Path(__file__).parents[2] / "data" / "bad_inputs"
_PATIENCE = 1.0  # seconds for a reply that may never come; a late one counts as wrong too

WRONG_THERE = frozenset(
    [
        "A02",
        "A06",
        "A22-auth-empty",
        "A22-size-twice",
        "A23-size-superscript",
        "C01",
        "C01-dialogue",
        "C08-get",
        "C08-post",
        "C10",
        "C16",
        "C37-accepted",
        "D01",
        "D02-domain",
        "D04-bare",
        "D04-unclosed",
        "D05",
        "D10-label-64",
        "D11-invalid",
        "D13-zone",
        "D14-comment-local",
        "D14-nul",
        "E-bare-lf",
    ]
)


def _right(
    _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any
) -> AuthResult:
    return AuthResult(
        success=isinstance(data, LoginPassword) and data.password == PASSWORD, handled=True
    )


def _rows() -> dict[str, tuple[str, bytes, list[str]]]:
    """Give rows as stage, octets, and how each reply must begin."""
    found = {}
    for name in ("commands", "auth"):
        for row in tomllib.loads((DATA / f"{name}.toml").read_text())["row"]:
            octets = row["send"].encode("latin-1") * row.get("times", 1)
            if row.get("where") != "tls" and len(octets) < 100_000:
                found[row["id"]] = (row["stage"], octets, row["replies"])
    for row in tomllib.loads((DATA / "addresses.toml").read_text())["row"]:
        stage = "utf8" if row.get("utf8") else "sender"
        octets = b"RCPT TO:" + row["path"].encode("latin-1") + b"\r\n"
        found[row["id"]] = (stage, octets, [row["reply"]])
    smuggling = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<e@f.test>\r\n.\r\n"
    found["E-bare-lf"] = ("data", smuggling, ["550 5.5.2"])
    return found


async def _is_right(port: int, stage: str, octets: bytes, replies: list[str]) -> bool:
    talk = await Talk.connect(port)
    try:
        async with asyncio.timeout(_PATIENCE):
            await talk.reply()
            for line in STAGES[stage]:
                if (await talk.say(line))[:1] not in "23":
                    return False
            await talk.send([octets])
            for expected in replies:
                reply = await talk.reply()
                # Its words and enhanced codes may differ; whether it takes what it is told may not.
                if not any(reply[:1] == each[:1] for each in expected.split(" or ")):
                    return False
    except (TimeoutError, UnicodeDecodeError):
        return False
    finally:
        talk.writer.transport.abort()
    return True


@pytest.mark.filterwarnings("ignore:Requiring AUTH", "ignore:.*:DeprecationWarning")
async def test_plain_aiosmtpd_answers_many_rows_wrongly() -> None:
    sessions: list[SMTP] = []

    def stock() -> SMTP:
        sessions.append(
            SMTP(
                Sink(),
                hostname="stock.test",
                enable_SMTPUTF8=True,
                authenticator=_right,
                auth_require_tls=False,
                auth_required=True,
            )
        )
        return sessions[-1]

    server = await asyncio.get_running_loop().create_server(stock, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        rows = _rows()
        right = await asyncio.gather(*(_is_right(port, *row) for row in rows.values()))
        for session in sessions:
            if isinstance(session.transport, asyncio.Transport):
                session.transport.abort()
        for _ in range(10):  # turns of the loop in which their tasks end
            await asyncio.sleep(0)
    wrong = {id_ for id_, good in zip(rows, right, strict=True) if not good}
    assert WRONG_THERE - wrong == set()
    assert len(rows) - len(wrong) > 20, "the control: others it answers as it should"
