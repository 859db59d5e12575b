"""A header read by offsets: lenient with any bytes, exact about where things are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import header

MESSAGE = (
    b"Received: from a.test\r\n\tby b.test;\r\n Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    b"Subject: one\r\nsubject: two\r\nX-Empty:\r\n\r\nbody\r\nSubject: no field\r\n"
)


def test_fields_have_names_values_and_places() -> None:
    found = header.split(MESSAGE)
    assert [field.name for field in found.fields] == [
        b"Received",
        b"Subject",
        b"subject",
        b"X-Empty",
    ]
    assert MESSAGE[found.body_start :] == b"body\r\nSubject: no field\r\n"
    assert (
        b"".join(MESSAGE[f.start : f.end] for f in found.fields) == MESSAGE[: found.body_start - 2]
    )
    assert found.defects == ()


def test_values_are_unfolded_only_on_asking() -> None:
    found = header.split(MESSAGE)
    assert found.get(b"RECEIVED") == b"from a.test\tby b.test; Fri, 20 Nov 2026 10:00:00 +0000"
    assert found.fields[0].value.count(b"\r\n") == 2


def test_first_of_several_is_given_and_all_can_be_had() -> None:
    found = header.split(MESSAGE)
    assert found.get(b"Subject") == b"one"
    assert [field.text for field in found.all(b"SUBJECT")] == [b"one", b"two"]
    assert found.get(b"Date") is None


@pytest.mark.parametrize(
    ("message", "body", "defects"),
    [
        (b"", b"", ("no-blank-line",)),
        (b"A: b", b"", ("no-blank-line",)),
        (b"A: b\r\nno colon\r\n\r\nx", b"no colon\r\n\r\nx", ("no-blank-line", "bad-line")),
        (b"\r\nonly a body", b"only a body", ()),
        (b" leading fold\r\nA: b\r\n\r\n", b" leading fold\r\nA: b\r\n\r\n",
         ("no-blank-line", "bad-line")),
        (b"A : b\r\n\r\nx", b"x", ("space-before-colon",)),
        (b"A: b\n\nx", b"x", ()),
        (b"From someone Fri Nov 20\r\nA: b\r\n\r\nx", b"x", ()),
    ],
)  # fmt: skip
def test_irregular_headers_end_somewhere_and_say_so(
    message: bytes, body: bytes, defects: tuple[str, ...]
) -> None:
    found = header.split(message)
    assert message[found.body_start :] == body
    assert found.defects == defects


@given(st.binary(max_size=400))
def test_any_bytes_can_be_split(data: bytes) -> None:
    found = header.split(data)
    assert 0 <= found.body_start <= len(data)
    for field in found.fields:
        assert data[field.start : field.end].startswith(field.name)


def test_removing_a_field_changes_no_other_byte() -> None:
    found = header.split(MESSAGE)
    without = header.remove(MESSAGE, found.all(b"subject"))
    assert without == MESSAGE.replace(b"Subject: one\r\nsubject: two\r\n", b"")
    assert header.remove(MESSAGE, []) is MESSAGE


def test_prepended_fields_come_first() -> None:
    assert header.prepend(b"A: b\r\n\r\n", [(b"X", b"1"), (b"Y", b"2\r\n 3")]) == (
        b"X: 1\r\nY: 2\r\n 3\r\nA: b\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"X", b"a\r\nBcc: x@y.test"), (b"X", b"a\nb"), (b"X", b"a\r"), (b"X", b"\0"), (b"X y", b"a"),
     (b"", b"a"), (b"X:", b"a")],
)  # fmt: skip
def test_no_value_can_become_a_second_field(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        header.prepend(b"", [(name, value)])


@pytest.mark.parametrize(
    ("value", "main", "parameters"),
    [
        (b"text/html; charset=utf-8", b"text/html", {b"charset": b"utf-8"}),
        (b'TEXT/HTML;CHARSET="utf-8"', b"text/html", {b"charset": b"utf-8"}),
        (b"text/html (comment; x=y); charset = utf-8 (c)", b"text/html", {b"charset": b"utf-8"}),
        (b'multipart/mixed; boundary="a;b=\\"c"', b"multipart/mixed", {b"boundary": b'a;b="c'}),
        (b"multipart/mixed;\r\n boundary=x", b"multipart/mixed", {b"boundary": b"x"}),
        (b"a/b; f*0=ab; f*1=cd", b"a/b", {b"f": b"abcd"}),
        (b"a/b; f*1=cd; f*0=ab", b"a/b", {b"f": b"abcd"}),
        (b"a/b; f*=utf-8'en'a%20b", b"a/b", {b"f": b"a b"}),
        (b"a/b; x=1; x=2", b"a/b", {b"x": b"1", b"!twice": b"x"}),
        (b"text/html charset=utf-8", b"text/html charset=utf-8", {}),
        (b"", b"", {}),
        (b";;;", b"", {}),
    ],
)
def test_parameters_are_read(value: bytes, main: bytes, parameters: dict[bytes, bytes]) -> None:
    assert header.parameters(value) == (main, parameters)


def test_a_flood_of_parameters_is_cut() -> None:
    value = b"a/b" + b"".join(b"; x%d=1" % number for number in range(5000))
    assert len(header.parameters(value)[1]) == header.MAX_PARAMETERS


@given(st.binary(max_size=300))
def test_parameters_of_any_bytes_are_read(value: bytes) -> None:
    main, found = header.parameters(value)
    assert main == main.lower()
    assert len(found) <= header.MAX_PARAMETERS + 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?caf=C3=A9_x?=", "caf\u00e9 x"),
        (b"=?utf-8?B?w6k=?= =?utf-8?b?w6k?=", "\u00e9\u00e9"),
        (b"=?iso-8859-1?q?=E9?= x", "\u00e9 x"),
        (b"=?no-such?q?a?=", "=?no-such?q?a?="),
        (b"a =?utf-8?q?=0ABcc:_x?=", "a \ufffdBcc: x"),
        (b"\x1b]0;evil\x07", "\ufffd]0;evil\ufffd"),
        (b"\xff", "\ufffd"),
    ],
)
def test_values_are_decoded_for_people(value: bytes, shown: str) -> None:
    assert header.display(value) == shown


def test_shown_values_are_cut() -> None:
    assert len(header.display(b"x" * 100_000)) == 998
