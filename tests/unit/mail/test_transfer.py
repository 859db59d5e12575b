"""Transfer encodings: decoded as others do, with the way back to the raw bytes."""

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import transfer

lines = st.lists(
    st.binary(max_size=120).filter(lambda b: b"\r" not in b and b"\n" not in b), max_size=8
)


@pytest.mark.parametrize("encoding", ["", "7bit", "8bit", "binary"])
def test_identity_encodings_change_nothing(encoding: str) -> None:
    found = transfer.decode(b"a=b\r\n", encoding)
    assert found.data is found.raw
    assert found.raw_span(1, 3) == (1, 3)


def test_an_unknown_encoding_is_a_defect() -> None:
    found = transfer.decode(b"abc", "x-uuencode")
    assert found.defects == ("unknown-encoding",)
    assert not found.mapped


@given(lines)
def test_quoted_printable_round_trips(content: list[bytes]) -> None:
    text = b"\r\n".join(content)
    raw = binascii.b2a_qp(text, istext=True).replace(b"=\n", b"=\r\n").replace(b"\r\r", b"\r")
    found = transfer.decode(raw, "quoted-printable")
    assert found.data == text
    assert found.defects == ()


@given(lines, st.data())
def test_every_decoded_range_has_the_raw_range_that_makes_it(
    content: list[bytes], data: st.DataObject
) -> None:
    text = b"\r\n".join(content)
    raw = quopri.encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    found = transfer.decode(raw, "quoted-printable")
    if found.defects or not found.data:
        return
    start = data.draw(st.integers(0, len(found.data) - 1))
    end = data.draw(st.integers(start + 1, len(found.data)))
    span = found.raw_span(start, end)
    assert (
        transfer.decode(raw[span.start : span.end], "quoted-printable").data
        == found.data[start:end]
    )
    assert not raw[span.start : span.end].startswith(b"=\r\n")
    assert not raw[span.start : span.end].endswith(b"=\r\n")


def test_ranges_may_be_asked_in_any_order() -> None:
    found = transfer.decode(b"=3Da=\r\nb=3Dc", "quoted-printable")
    assert found.data == b"=ab=c"
    assert found.raw_span(3, 4) == (8, 11)
    assert found.raw_span(0, 1) == (0, 3)
    assert found.raw_at(2) == 7  # behind the soft break


@pytest.mark.parametrize(
    ("raw", "data", "defect"),
    [
        (b"a=3d=3D", b"a==", False),  # lower-case hex is common
        (b"soft=\r\nbreak", b"softbreak", False),
        (b"at the end=", b"at the end", False),
        (b"at the end=\r\n", b"at the end", False),
        (b"loose= \t\r\nbreak", b"loosebreak", True),
        (b"bare=\nline", b"bareline", True),
        (b"=4", b"=4", True),
        (b"=GG", b"=GG", True),
        (b"a == b", b"a == b", True),
        (b"\xe4\xf6", b"\xe4\xf6", False),  # raw 8-bit is wrong, and read alike by all
    ],
)
def test_sloppy_quoted_printable(raw: bytes, data: bytes, *, defect: bool) -> None:
    found = transfer.decode(raw, "quoted-printable")
    assert found.data == data
    assert found.defects == (("qp-malformed",) if defect else ())


@pytest.mark.parametrize(
    ("raw", "data", "defect"),
    [
        (b"aGVsbG8=\r\n", b"hello", False),
        (b"aGVs\r\n bG8=\t\r\n\r\n", b"hello", False),
        (b"", b"", False),
        (b"aGVsbG8", b"hello", True),
        (b"aGVs=bG8=", b"hel", True),
        (b"aGVs!bG8=", b"hello", True),
        (b"aGVsb", b"hel", True),
        (b"aGVsbG8=\r\n-- \r\nfooter", b"hello", True),
    ],
)
def test_sloppy_base64(raw: bytes, data: bytes, *, defect: bool) -> None:
    assert transfer.decode_base64(raw) == (data, ("base64-malformed",) if defect else ())


@given(st.binary(max_size=500), st.sampled_from([4, 60, 64, 76]))
def test_base64_round_trips_in_lines(data: bytes, width: int) -> None:
    raw = transfer.encode_base64(data, width)
    assert transfer.decode_base64(raw) == (data, ())
    assert all(len(line) <= width for line in raw.split(b"\r\n"))
    assert base64.b64decode(raw) == data


@given(st.binary(max_size=300), st.sampled_from(["quoted-printable", "base64", "x"]))
def test_any_bytes_decode(raw: bytes, encoding: str) -> None:
    assert isinstance(transfer.decode(raw, encoding).data, bytes)
