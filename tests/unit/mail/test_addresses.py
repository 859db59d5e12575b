"""The address grammar: strict, linear, and the same bytes out as in."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.mail.addresses import (
    AddressError,
    Mailbox,
    check_wire,
    parse_address,
    parse_path,
    split_path,
)


@pytest.mark.parametrize(
    ("raw", "local", "domain"),
    [
        (b"ann@inbox.test", b"ann", b"inbox.test"),
        (b"Ann.B+c=d/e@Inbox.TEST", b"Ann.B+c=d/e", b"Inbox.TEST"),
        (b"a%b!c@d", b"a%b!c", b"d"),
        (b'"a b\\"@c"@d.test', b'"a b\\"@c"', b"d.test"),
        (b'""@d', b'""', b"d"),
        (b"a@xn--bcher-kva.example", b"a", b"xn--bcher-kva.example"),
        (b"a@1and1.com", b"a", b"1and1.com"),
        (b"a@b.x1", b"a", b"b.x1"),
    ],
)
def test_good_address_comes_out_as_it_went_in(raw: bytes, local: bytes, domain: bytes) -> None:
    assert parse_address(raw) == Mailbox(local=local, domain=domain)
    assert parse_path(b"<" + raw + b">", utf8=False, null_ok=False).address == raw
    check_wire(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a",
        b"@b",
        b"a@",
        b"a@b\r\nRCPT TO:<v@evil>",
        b"a@b\n",
        b"a\r@b",
        b"a@b>",
        b"a@b c",
        b'"a"b@c',
        b'"a\x01"@c',
        b'"a\\\r"@c',
        b"a@.b",
        b"a@b..c",
        b"a@-b",
        b"a.@b",
        b"a@b.123",
        b"a@[1.2.3]",
        b"a@[]",
        b"a@[IPv6:1.2.3.4]",
        b"a,b@c",
        b"a@b,c@d",
    ],
)
def test_bad_address_is_refused(raw: bytes) -> None:
    with pytest.raises(AddressError) as raised:
        parse_address(raw)
    assert raised.value.code == 553
    assert raised.value.reply == f"553 5.1.3 {raised.value.text}"
    assert raised.value.text.isascii()
    with pytest.raises(AddressError):
        check_wire(raw)


def test_routing_domain_is_lower_case_and_in_a_labels() -> None:
    assert parse_address(b"a@Shop.Example").routing_domain == "shop.example"
    assert parse_address("a@Bücher.example".encode()).routing_domain == "xn--bcher-kva.example"


def test_names_that_look_the_same_are_not_merged() -> None:
    # Compatibility mapping (IDNA 2003, UTS 46) would make these "strasse.example" and "a.example".
    assert parse_address("a@straße.example".encode()).routing_domain == "xn--strae-oqa.example"
    with pytest.raises(AddressError):
        parse_address("a@ａ.example".encode())  # noqa: RUF001 - full-width on purpose
    composed, decomposed = "é@d.test".encode(), "e\u0301@d.test".encode()
    assert parse_address(composed) != parse_address(decomposed)


def test_utf8_needs_permission_and_validity() -> None:
    with pytest.raises(AddressError) as raised:
        parse_address("é@d.test".encode(), utf8=False)
    assert raised.value.reply.startswith("553 5.6.7")
    for raw in (b"\xff@d", b"\xed\xa0\x80@d", "a\x85b@d".encode(), b"\xc3@d"):
        with pytest.raises(AddressError) as raised:
            parse_address(raw)
        assert raised.value.reply.startswith("553 5.1.3")


def test_wire_takes_utf8_only_where_the_next_hop_does() -> None:
    address = "é@d.test".encode()
    check_wire(address, utf8=True)
    with pytest.raises(AddressError):
        check_wire(address)


def test_literals_only_by_choice() -> None:
    for literal in (b"a@[192.0.2.1]", b"a@[IPv6:2001:db8::1]"):
        with pytest.raises(AddressError) as raised:
            parse_address(literal)
        assert raised.value.code == 550
        assert parse_address(literal, literals=True).address == literal
        check_wire(literal)


def test_local_part_limit_can_be_raised() -> None:
    raw = b"a" * 65 + b"@b"
    with pytest.raises(AddressError):
        parse_address(raw)
    assert parse_address(raw, local_limit=128).local == b"a" * 65


def test_null_sender_and_postmaster() -> None:
    assert parse_path(b"<>", utf8=False, null_ok=True) is None
    with pytest.raises(AddressError):
        parse_path(b"<>", utf8=False, null_ok=False)
    found = parse_path(b"<PostMaster>", utf8=False, null_ok=False, postmaster=b"relay.test")
    assert found.address == b"PostMaster@relay.test"
    with pytest.raises(AddressError):
        parse_path(b"<postmaster>", utf8=False, null_ok=False)


def test_source_route_is_dropped() -> None:
    assert parse_path(b"<@a.test,@b.test:u@c>", utf8=False, null_ok=False).address == b"u@c"
    for bad in (b"<@a>", b"<@a:>", b"<@a,b:u@c>", b"<@:u@c>"):
        with pytest.raises(AddressError):
            parse_path(bad, utf8=False, null_ok=False)


def test_path_is_split_outside_quotes() -> None:
    assert split_path(b'<"a> b"@c> SIZE=1  X') == (b'<"a> b"@c>', b"SIZE=1  X")
    assert split_path(b"<>") == (b"<>", b"")


ATOMS = st.text("abc019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=8).filter(lambda t: "=?" not in t)
LABELS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,6}[a-zA-Z])?", fullmatch=True)


@given(st.lists(ATOMS, min_size=1, max_size=3), st.lists(LABELS, min_size=1, max_size=4))
def test_what_the_grammar_makes_is_taken(atoms: list[str], labels: list[str]) -> None:
    if ".".join(labels)[-1].isdigit():
        labels.append("test")
    raw = f"{'.'.join(atoms)}@{'.'.join(labels)}".encode()
    assert parse_address(raw, utf8=False).address == raw


@given(st.binary(max_size=300))
@example(b"<a@b>\r\nRCPT TO:<v@evil>")
@example(b'<"' + b"\\" * 250 + b">")
def test_any_bytes_give_an_address_or_an_address_error(raw: bytes) -> None:
    for utf8 in (False, True):
        try:
            found = parse_path(raw, utf8=utf8, null_ok=True)
        except AddressError:
            continue
        if found is not None:
            assert found.address in raw
            assert not set(found.address) & {*range(0x20), 0x7F}
            check_wire(found.address, utf8=utf8)
            assert found.routing_domain.isascii()


@pytest.mark.parametrize("piece", [b"@a,", b"(", b'"', b'"\\', b"a.", b"a-", b"<", b"\\", b"a@"])
def test_no_input_takes_more_than_linear_steps(piece: bytes) -> None:
    # A quadratic pattern would run for hours here; the test's own time limit is the judge.
    raw = (piece * 1_000_000)[:1_000_000]
    for argument in (raw, b"<" + raw, b"<" + raw + b">", b'<"' + raw + b"@b>"):
        with pytest.raises(AddressError):
            parse_path(argument, utf8=True, null_ok=True)
        with pytest.raises(AddressError):
            parse_address(argument)
        with contextlib.suppress(AddressError):
            split_path(argument)
