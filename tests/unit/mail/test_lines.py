"""Line ends and dots of content."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.lines import has_long_line, is_crlf_clean, normalize, stuff, unstuff

PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\x85", b"\x0b", b"\0"]))
LINES = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a", b"a.b", b"a."]))
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@given(PIECES)
def test_clean_means_no_bare_cr_or_lf(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    assert is_crlf_clean(content) == (BARE.search(content) is None)


@given(PIECES)
def test_normalized_content_is_clean_and_stays(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    repaired = normalize(content)
    assert is_crlf_clean(repaired)
    assert normalize(repaired) == repaired
    assert repaired.replace(b"\r\n", b"") == content.replace(b"\r", b"").replace(b"\n", b"")


@given(LINES)
def test_stuffing_hides_every_dot_and_comes_back(lines: list[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = stuff(content)
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert unstuff(stuffed) == content


@given(st.lists(st.integers(0, 12), max_size=12), st.booleans())
def test_long_lines_are_found(lengths: list[int], ends: bool) -> None:
    content = b"\r\n".join(b"a" * length for length in lengths) + (b"\r\n" if ends else b"")
    for limit in range(1, 12):
        assert has_long_line(content, limit) == any(length > limit for length in lengths)


@pytest.mark.parametrize("size", [997, 998, 999, 1000, 1001])
def test_limit_is_998_octets_without_crlf(size: int) -> None:
    for content in (b"x" * size, b"x" * size + b"\r\n", b"a\r\n" + b"x" * size + b"\r\nb\r\n"):
        assert has_long_line(content) == (size > 998)
