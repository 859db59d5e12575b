"""Signatures are checked by an independent implementation, dkimpy."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from types import SimpleNamespace

import dkim  # type: ignore[import-untyped]
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.delivery.canonical import (
    relaxed_body,
    relaxed_fields,
    relaxed_value,
    split_fields,
)
from relay.delivery.dkim import OVERSIGNED, Signer, sign_all
from relay.delivery.dkim_keys import (
    generate,
    load_private,
    record_name,
    record_text,
    store_private,
    zone_strings,
)

RSA = generate("rsa")
ED = generate("ed25519")
AT = int(time.time()) - 10

HEAD = (
    b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"From: =?utf-8?q?J=C3=B6rg?= <news@shop.test>\r\n"
    b"To:ann@inbox.test,\r\n \tbob@inbox.test\r\n"
    b"Subject:  many \t spaces   \r\n"
    b"DATE: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"X-Other: not signed\r\n"
    b"List-Unsubscribe: <https://t.shop.test/u/abc>,\r\n\t<mailto:u@shop.test>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"Message-Id: <1@shop.test>\r\n"
)
BODIES = [
    b"",
    b"\r\n",
    b"\r\n\r\n\r\n",
    b"one line\r\n",
    b"no line end",
    b"trailing spaces  \t \r\n  leading\r\n\r\nblank above\r\n\r\n\r\n",
    b" \r\n\t\r\n ",
    b"only spaces at the end   ",
    b"a\tb \t c\r\n.\r\n..\r\n",
    "8-bit: Grüße, 你好\r\n".encode(),
    b"\xff\xfe\x80 not utf-8\r\n",
    b"=\r\n".join([b"=3Dsoft" * 10] * 30) + b"\r\n",
    (b'    <td style=3D"x">   text</td>\r\n' * 400),
    b" " * 10_000 + b"x" + b"\t" * 9_999 + b"\r\n",
]


class _VerifyKey:
    """The Ed25519 primitive, which dkimpy otherwise takes from PyNaCl; all the rest is dkimpy's."""

    def __init__(self, key: bytes, encoder: object) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))

    def verify(self, data: bytes, signature: bytes) -> bytes:
        self._key.verify(signature, data)
        return data


@pytest.fixture(autouse=True)
def _ed25519(monkeypatch: pytest.MonkeyPatch) -> None:
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=_VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(BadSignatureError=InvalidSignature, ValueError=ValueError),
    )
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)


def on_the_wire(body: bytes) -> bytes:
    """SMTP ends every content with CRLF."""
    return body if body.endswith(b"\r\n") or not body else body + b"\r\n"


def txt(name: bytes, **_: object) -> bytes:
    """Answer dkimpy's DNS question."""
    text = {
        b"r1._domainkey.shop.test.": record_text(RSA),
        b"e1._domainkey.shop.test.": record_text(ED),
    }[name]
    return text.encode()


SIGNERS = [Signer("shop.test", "r1", RSA), Signer("shop.test", "e1", ED)]


@pytest.mark.parametrize("signer", SIGNERS, ids=["rsa", "ed25519"])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_an_independent_verifier_accepts(signer: Signer, body: bytes) -> None:
    """Whatever the body, the signature holds."""
    message = signer.sign(HEAD, body, at=AT) + HEAD + b"\r\n" + on_the_wire(body)
    assert dkim.verify(message, dnsfunc=txt)


@pytest.mark.parametrize("body", BODIES[:6], ids=range(6))
def test_a_changed_message_is_not_accepted(body: bytes) -> None:
    """The control: body, header and an added field break it."""
    field = SIGNERS[0].sign(HEAD, body, at=AT)
    assert not dkim.verify(field + HEAD + b"\r\n" + b"x" + body, dnsfunc=txt)
    changed = HEAD.replace(b"many", b"more")
    assert not dkim.verify(field + changed + b"\r\n" + body, dnsfunc=txt)


@pytest.mark.parametrize("name", sorted(OVERSIGNED))
def test_no_second_field_can_be_added(name: bytes) -> None:
    """Oversigned fields: one more of them, on top, breaks the signature."""
    field = SIGNERS[0].sign(HEAD, b"hi\r\n", at=AT)
    added = name + b": something else\r\n"
    assert dkim.verify(field + HEAD + b"\r\nhi\r\n", dnsfunc=txt)
    assert not dkim.verify(field + added + HEAD + b"\r\nhi\r\n", dnsfunc=txt)


def test_two_signatures_share_the_work_and_both_hold() -> None:
    """RSA and Ed25519 together (RFC 8463 section 3)."""
    fields = sign_all(SIGNERS, HEAD, b"hi\r\n", at=AT)
    assert fields.count(b"DKIM-Signature:") == 2
    message = fields + HEAD + b"\r\nhi\r\n"
    verifier = dkim.DKIM(message)
    assert verifier.verify(idx=0, dnsfunc=txt)
    assert verifier.verify(idx=1, dnsfunc=txt)


def test_the_field_keeps_to_line_limits_and_has_no_length_tag() -> None:
    """Lines of at most 78 characters (RFC 5322 section 2.1.1), no l= tag ever."""
    field = SIGNERS[0].sign(HEAD, b"hi\r\n", at=AT)
    assert field.endswith(b"\r\n")
    assert max(len(line) for line in field.split(b"\r\n")) <= 78
    tags = dict(part.strip().split(b"=", 1) for part in field.split(b":", 1)[1].split(b";"))
    assert b"l" not in tags
    assert tags[b"c"] == b"relaxed/relaxed"
    names = re.sub(rb"\s", b"", tags[b"h"]).split(b":")
    assert names.count(b"from") == 2
    assert names.count(b"list-unsubscribe-post") == 2


def test_keys_survive_storage() -> None:
    """Stored and read again, a key makes the same record; others are refused."""
    for key in (RSA, ED):
        assert record_text(load_private(store_private(key))) == record_text(key)
    with pytest.raises(ValueError, match="cannot be read"):
        load_private(b"nonsense")
    with pytest.raises(ValueError, match="rsa or ed25519"):
        generate("dsa")
    assert record_name("shop.test", "r1") == "r1._domainkey.shop.test"
    text = record_text(RSA)
    assert text.startswith("v=DKIM1; k=rsa; p=")
    assert "".join(zone_strings(text)) == text
    assert max(map(len, zone_strings(text))) <= 255


def slow_relaxed(body: bytes) -> bytes:
    """RFC 6376 section 3.4.4, line by line, as the text says it."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


PIECES = st.sampled_from([b"a", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b".", b"\xe4", b" " * 9])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_the_fast_body_form_is_the_slow_one(body: bytes) -> None:
    """The replacing version gives what the line by line version gives."""
    assert relaxed_body(body) == slow_relaxed(body)


def test_header_values_are_unfolded_and_reduced() -> None:
    """RFC 6376 section 3.4.2."""
    assert relaxed_value(b"  a \t b\r\n\t c  \r\n d \t") == b"a b c d"


def test_the_empty_body_has_the_known_hash() -> None:
    """The hash of the empty relaxed body is that of no octets (RFC 6376 section 3.4.4)."""
    field = SIGNERS[0].sign(HEAD, b"\r\n\r\n", at=AT)
    assert base64.b64encode(hashlib.sha256(b"").digest()) in field


@given(
    st.lists(
        st.sampled_from(
            [
                b"A",
                b"bc",
                b":",
                b" ",
                b"  ",
                b"\t",
                b"\r\n",
                b"\r\n ",
                b"\r\n\t",
                b"From: x\r\n",
                b"\xe4",
            ]
        ),
        max_size=20,
    ).map(b"".join)
)
def test_fields_all_at_once_are_those_one_by_one(head: bytes) -> None:
    names, lines = relaxed_fields(head)
    fields = split_fields(head)
    assert list(names) == [name for name, _ in fields]
    assert lines == [name + b":" + relaxed_value(value) + b"\r\n" for name, value in fields]
