"""The tree of parts: offsets, depth and number bounded, ambiguity recorded."""

import email
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import mime


def multipart(boundary: bytes, *parts: bytes, subtype: bytes = b"mixed") -> bytes:
    inner = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return (
        b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n\r\n'
        + inner + b"--" + boundary + b"--\r\n"
    )  # fmt: skip


TEXT = b"Content-Type: text/plain\r\n\r\ntext"
HTML = b"Content-Type: text/html\r\n\r\n<p>html"


def bodies(message: bytes) -> list[tuple[str, str, bytes]]:
    tree = mime.walk(message)
    return [
        (part.path, part.content_type, message[part.body_start : part.end])
        for part in tree.leaves()
    ]


def test_parts_have_paths_types_and_bodies() -> None:
    message = b"MIME-Version: 1.0\r\n" + multipart(
        b"out", multipart(b"in", TEXT, HTML, subtype=b"alternative"), TEXT
    )
    assert bodies(message) == [
        ("1.1", "text/plain", b"text"),
        ("1.2", "text/html", b"<p>html"),
        ("2", "text/plain", b"text"),
    ]
    assert [part.path for part in mime.walk(message).parts] == ["0", "1", "1.1", "1.2", "2"]
    assert all(part.defects == [] for part in mime.walk(message).parts)


def test_a_message_without_type_is_one_text() -> None:
    root = mime.walk(b"Subject: x\r\n\r\nhello").root
    assert (root.path, root.content_type, root.encoding, root.charset) == (
        "0",
        "text/plain",
        "",
        "",
    )
    assert root.defects == ["no-mime-version"]


def test_what_a_part_says_of_itself() -> None:
    part = mime.walk(
        b"Content-Type: Text/HTML; charset=\"'UTF-8'\"; name=a.html\r\n"
        b"Content-Transfer-Encoding: Quoted-Printable (yes)\r\n"
        b"Content-Disposition: INLINE; filename=b.html\r\n\r\n"
    ).root
    assert part.content_type == "text/html"
    assert part.charset == "utf-8"
    assert part.encoding == "quoted-printable"
    assert part.disposition == "inline"
    assert part.filename == b"b.html"


@pytest.mark.parametrize(
    ("line", "delimits"),
    [
        (b"--b", True),
        (b"--b \t", True),
        (b"--bb", False),
        (b"--b--x", False),
        (b"--b x", False),
        (b" --b", False),
        (b"-b", False),
    ],
)
def test_only_a_whole_line_delimits(line: bytes, *, delimits: bool) -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + TEXT + b"\r\n" + line
        + b"\r\n\r\nmore\r\n--b--\r\n"
    )  # fmt: skip
    assert len(mime.walk(message).root.children) == (2 if delimits else 1)


def test_a_boundary_that_begins_another_is_not_confused() -> None:
    message = multipart(b"b", multipart(b"bb", TEXT, HTML), TEXT)
    assert [path for path, _, _ in bodies(message)] == ["1.1", "1.2", "2"]


def test_the_outer_multipart_owns_a_boundary_used_twice() -> None:
    message = multipart(
        b"b", b"Content-Type: multipart/alternative; boundary=b\r\n\r\n", TEXT, HTML
    )
    tree = mime.walk(message)
    assert [part.content_type for part in tree.root.children] == [
        "multipart/alternative", "text/plain", "text/html",
    ]  # fmt: skip
    assert "boundary-never-occurs" in tree.root.children[0].defects


def test_what_follows_the_closing_delimiter_is_epilogue() -> None:
    message = multipart(b"b", TEXT) + b"--b\r\n" + HTML + b"\r\n--b--\r\n"
    assert len(mime.walk(message).root.children) == 1


def test_an_inner_multipart_ends_with_the_outer_one() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n" + TEXT
    message = multipart(b"out", inner, HTML)
    tree = mime.walk(message)
    assert [(p, b) for p, _, b in bodies(message)] == [("1.1", b"text"), ("2", b"<p>html")]
    assert tree.root.children[0].defects == ["no-closing-boundary"]


@pytest.mark.parametrize(
    ("header", "defect"),
    [
        (b"Content-Type: multipart/mixed\r\n", "multipart-without-boundary"),
        (b'Content-Type: multipart/mixed; boundary=""\r\n', "multipart-without-boundary"),
        (b"Content-Type: multipart/mixed; boundary=never\r\n", "boundary-never-occurs"),
        (b"Content-Type: multipart/mixed; boundary=" + b"x" * 3000 + b"\r\n", "boundary-too-long"),
        (b"Content-Type: multipart/mixed; boundary=" + b"x" * 71 + b"\r\n", "boundary-over-70"),
        (b"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n", "duplicate-boundary"),
        (b"Content-Type: text/html\r\nContent-Type: text/plain\r\n", "duplicate-content-type"),
        (b"Content-Type: html\r\n", "bad-content-type"),
        (b"Subject : x\r\n", "space-before-colon"),
    ],
)
def test_ambiguity_is_recorded(header: bytes, defect: str) -> None:
    assert defect in mime.walk(header + b"\r\n--b\r\nx\r\n").root.defects


def test_a_boundary_in_pieces_is_joined() -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n" + TEXT
        + b"\r\n--ab--\r\n"
    )  # fmt: skip
    assert len(mime.walk(message).root.children) == 1


def test_a_delimiter_that_looks_like_a_field_still_delimits() -> None:
    message = multipart(b"a:b", b"", TEXT)
    assert [part.content_type for part in mime.walk(message).root.children] == ["text/plain"] * 2


def test_messages_inside_are_opened_only_on_demand() -> None:
    message = multipart(b"b", b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n" + b"hello")
    assert [part.path for part in mime.walk(message).parts] == ["0", "1"]
    tree = mime.walk(message, into_messages=True)
    assert [part.path for part in tree.parts] == ["0", "1", "1.m"]
    assert tree.parts[2].header.get(b"subject") == b"in"


def test_depth_is_bounded() -> None:
    message = TEXT
    for depth in range(70):
        message = multipart(b"b%d" % depth, message)
    tree = mime.walk(message)
    assert tree.defects == ("too-deep",)
    assert len(tree.parts) == mime.MAX_DEPTH + 1


@pytest.mark.parametrize("depth", [1_600, 100_000])
def test_very_deep_messages_cost_little(depth: int) -> None:
    level = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    other = level.replace(b"=b", b"=c").replace(b"--b", b"--c")
    started = time.process_time()
    tree = mime.walk((level + other) * (depth // 2))
    assert tree.parts
    assert time.process_time() - started < 2


def test_number_of_parts_is_bounded() -> None:
    tree = mime.walk(multipart(b"b", *[TEXT] * 2000))
    assert tree.defects == ("too-many-parts",)
    assert len(tree.parts) == mime.MAX_PARTS


@given(st.binary(max_size=300))
def test_any_bytes_have_a_tree(data: bytes) -> None:
    tree = mime.walk(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + data)
    for part in tree.parts:
        assert part.start <= part.body_start <= part.end


pieces = st.sampled_from(
    [b"--a\r\n", b"--b\r\n", b"--a--\r\n", b"--b--\r\n", b"\r\n", b"text\r\n",
     b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/html\r\n"]
)  # fmt: skip


@given(st.lists(pieces, max_size=25))
def test_leaves_agree_with_the_standard_library(lines: list[bytes]) -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n" + b"".join(lines) + b"--a--\r\n"
    )
    tree = mime.walk(message)
    clean = all(not part.defects or part.defects == ["no-mime-version"] for part in tree.parts)
    other = email.message_from_bytes(message)
    if not clean or any(part.defects for part in other.walk()):
        return
    ours = [part.content_type for part in tree.parts]
    assert ours == [part.get_content_type() for part in other.walk()]
