"""Tokens: what goes in comes out, on its own host only, in one spelling only."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.keyring import KeyRing
from tracking.tokens import (
    HEAD_SIZE,
    BadTokenError,
    Identity,
    Kind,
    Mint,
    campaign_hash,
    encoded_tail,
    read,
)

RING = KeyRing({1: b"first secret, 32 bytes or longer", 2: b"second secret 32 bytes or longer"})
HOST = "t.shop.test"
WHO = Identity(2**63 + 5, 7, 2**32 - 1, campaign_hash(7, "summer"))
URL = b"https://shop.test/a?b=c&d#e"


def token(kind: Kind = Kind.CLICK, link: int = 3, destination: bytes = URL) -> str:
    return Mint(RING, HOST).token(kind, WHO, link=link, destination=destination)


u64, u32, u16 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)


@given(st.builds(Identity, u64, u32, u32, u64), u16, st.binary(max_size=200), st.sampled_from(Kind))
def test_what_goes_in_comes_out(who: Identity, link: int, destination: bytes, kind: Kind) -> None:
    made = Mint(RING, HOST).token(kind, who, link=link, destination=destination)
    found = read(made, HOST, RING)
    assert found.kind is kind
    assert found.identity == who
    assert found.link == link
    assert found.destination == destination
    assert found.key_id == 2


@given(u64, u64)
def test_length_is_the_same_for_all_recipients(one: int, other: int) -> None:
    mint = Mint(RING, HOST)
    texts = [mint.token(Kind.CLICK, Identity(n, 1, 1, 1), destination=URL) for n in (one, other)]
    assert len(texts[0]) == len(texts[1])
    assert texts[0][HEAD_SIZE:] == texts[1][HEAD_SIZE:] == encoded_tail(URL).decode()


def test_heads_are_those_of_single_tokens() -> None:
    links = [(n, b"https://shop.test/%d" % n) for n in range(30)]
    mint = Mint(RING, HOST)
    heads = mint.heads(Kind.CLICK, WHO, links)
    for head, (link, destination) in zip(heads, links, strict=True):
        whole = mint.token(Kind.CLICK, WHO, link=link, destination=destination)
        assert head + encoded_tail(destination) == whole.encode()
    assert mint.heads(Kind.CLICK, WHO, []) == []


def test_no_address_is_inside() -> None:
    raw = base64.urlsafe_b64decode(token() + "==")
    assert b"@" not in raw[:29]
    assert raw[45:] == URL


@given(st.integers(0, 10_000), st.integers(0, 5))
def test_one_changed_bit_is_refused(position: int, bit: int) -> None:
    good = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = position % len(good)
    changed = alphabet[alphabet.index(good[at]) ^ (1 << bit)]
    with pytest.raises(BadTokenError):
        read(good[:at] + changed + good[at + 1 :], HOST, RING)


def test_every_other_spelling_is_refused() -> None:
    for destination in (URL, URL + b"1", URL + b"12"):
        good = token(destination=destination)
        assert read(good, HOST, RING).destination == destination
        spellings = {
            good[:-1], good[:-4], good + "A", good + "AAAA", good + "=", good + "==", good.lower(),
            good.upper(), good.swapcase(), " " + good, good + "\n", good + "%2e", good + "/x",
            good + "?url=https://evil.test/", good[:60], good[:59], "\u0661" + good[1:],
            good.replace("-", "+").replace("_", "/") + "+", "A" * 9000, "", "A" * 60,
        } - {good}  # fmt: skip
        for text in spellings:
            with pytest.raises(BadTokenError):
                read(text, HOST, RING)


def test_unused_bits_of_the_last_character_are_not_free() -> None:
    good = token(destination=URL + b"1")
    assert len(good) % 4 in (2, 3)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(good[-1]) ^ 1]
    with pytest.raises(BadTokenError):
        read(good[:-1] + other, HOST, RING)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadTokenError):
        read(text, HOST, RING)


@pytest.mark.parametrize("host", ["t.other.test", "", "shop.test", "t.shop.test.evil.test"])
def test_a_token_is_good_on_its_own_host_only(host: str) -> None:
    with pytest.raises(BadTokenError):
        read(token(), host, RING)


def test_the_host_is_compared_without_case() -> None:
    assert read(token(), "T.SHOP.TEST", RING).destination == URL


def test_kinds_cannot_be_exchanged() -> None:
    raw = bytearray(base64.urlsafe_b64decode(token(Kind.OPEN, 0, b"") + "=="))
    raw[2] = Kind.UNSUBSCRIBE
    with pytest.raises(BadTokenError):
        read(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), HOST, RING)


def test_old_keys_verify_and_dropped_ones_do_not() -> None:
    old = Mint(KeyRing({1: RING.get(1) or b""}), HOST).token(Kind.OPEN, WHO)
    assert read(old, HOST, RING).key_id == 1
    with pytest.raises(BadTokenError):
        read(old, HOST, KeyRing({2: RING.get(2) or b""}))


def test_refusals_say_nothing() -> None:
    for text in ("", "A" * 60, token()[:-1]):
        with pytest.raises(BadTokenError) as refused:
            read(text, HOST, RING)
        assert str(refused.value) == ""


@pytest.mark.parametrize(
    "who", [Identity(2**64, 0, 0, 0), Identity(0, 2**32, 0, 0), Identity(-1, 0, 0, 0)]
)
def test_numbers_that_do_not_fit_are_refused(who: Identity) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Mint(RING, HOST).token(Kind.OPEN, who)


def test_links_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Mint(RING, HOST).token(Kind.CLICK, WHO, link=2**16)


def test_campaigns_have_numbers_of_their_own() -> None:
    assert campaign_hash(1, "a") == campaign_hash(1, "a")
    assert len({campaign_hash(1, "a"), campaign_hash(2, "a"), campaign_hash(1, "b")}) == 3
    assert campaign_hash(1, "") == 0
    assert campaign_hash(1, "\udc80") > 0


def test_tokens_are_plain_in_any_attribute_and_path() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token())
