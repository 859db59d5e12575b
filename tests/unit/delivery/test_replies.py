"""What is kept of a remote reply can be shown: it hides nothing and moves nothing."""

from __future__ import annotations

import pytest

from relay.delivery.replies import RawReply


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        "next\x85line, csi \x9b31m",
        "line\u2028paragraph\u2029end",
        "override \u202etxt.exe\u202c",
        "isolate \u2066a\u2069 and zero\u200bwidth, \ufeffmark",
        "nobody's \U00076af2 character",
    ],
)
def test_what_shows_nothing_or_moves_text_becomes_a_space(text: str) -> None:
    raw = f"550-5.1.1 {text}\r\n550 5.1.1 {text}".encode()
    reply = RawReply(550, raw).parse()
    assert reply.text.isprintable()
    assert (reply.code, reply.enhanced) == (550, "5.1.1")


def test_other_languages_stay() -> None:
    text = "Empfänger unbekannt 用户不存在 الحساب غير موجود"
    assert RawReply(550, f"550 5.1.1 {text}".encode()).parse().text == text
