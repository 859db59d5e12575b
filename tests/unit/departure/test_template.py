"""What leaves by a template is what leaves without one, byte for byte, signature included."""

from __future__ import annotations

import base64
import hashlib
import itertools

import dkim  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.canonical import relaxed_body
from relay.delivery.commands import check_content
from relay.delivery.dkim_keys import generate, record_text, store_private
from relay.delivery.outgoing import Outgoing
from relay.departure.depart import Departure
from relay.departure.signers import Signers
from relay.departure.template import is_clean, make
from relay.departure.templates import Templates
from relay.mail.lines import unstuff
from relay.message import Delivery, Message
from relay.settings import Account, DkimKey, SendingDomain, Settings, Switch
from tests.harness.clerk import RING
from tracking.packed import pack, unpack
from tracking.plan import Readings, Switches, compile_plan
from tracking.render import render
from tracking.tokens import Identity, Mint

EMPTY = b"\r\n\r\n"
KEY = generate("rsa")
SEALED = DkimKey(selector="r1", algorithm="rsa", sealed=store_private(KEY))
SIGNERS = Signers(lambda _domain, key: key.sealed)
HOST = "t.relay.test"
BASE = "https://" + HOST
LINK = b'<p>Hello  <a style="x"  href="https://shop.test/%d?a=1&amp;b=2">shop</a> \t now</p>\r\n'
HTML = b"<html><body>\r\n" + LINK % 1 + b"<p>and</p>\r\n" + LINK % 2 + b"</body></html>\r\n"
FIELDS = b"From: a@shop.test\r\nTo: %s\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
TYPE = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n"


def html(body: bytes, encoding: bytes = b"7bit") -> bytes:
    return FIELDS + TYPE.replace(b"%s", encoding) + body.replace(b"%", b"%%")


def alternative(text: bytes, body: bytes, end: bytes = b"\r\n--b--\r\n") -> bytes:
    parts = b"--b\r\nContent-Type: text/plain\r\n\r\n" + text + b"\r\n--b\r\n" + TYPE + body + end
    head = FIELDS + b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    return head + parts.replace(TYPE, TYPE.replace(b"%s", b"8bit")).replace(b"%%", b"%")


MAILS = {
    "html": html(HTML),
    "spaces everywhere": html(b" \t\r\n" + HTML.replace(b"<p>", b"  <p>  \r\n") + b" \r\n\r\n  "),
    "no line end": html(HTML[:-2]),
    "empty lines at the end": html(HTML + b"\r\n\r\n"),
    "dots": html(HTML + b".\r\n..\r\n.hidden\r\n"),
    "a dot first": html(b"." + HTML),
    "quoted-printable": html(HTML.replace(b"=", b"=3D"), b"quoted-printable"),
    "base64": html(base64.encodebytes(HTML).replace(b"\n", b"\r\n"), b"base64"),
    "lines become too long": html(HTML + b"<b>" + b"x" * 900 + LINK % 3),
    "two parts": alternative(b"Hello\r\n\r\n", HTML),
    "two parts, dots outside": alternative(b".\r\nHello", HTML, b"\r\n--b--\r\n.\r\n"),
    "two parts, spaces outside": alternative(b" a  b \t\r\n", HTML, b" \t\r\n--b--  \r\n \r\n  "),
    "two parts, nothing behind": alternative(b"a", HTML, b"\r\n--b--"),
    "two parts, two to be changed": alternative(b"a", HTML, b"\r\n--b\r\n" + TYPE + HTML),
    "marks taken out": html(HTML + b'<a data-track="x" href="https://shop.test/3">x</a>\r\n'),
    "nothing to track": html(b"<p>\r\n"),
    "plain": FIELDS + b"\r\nHello  you\r\n",
    "nothing but empty lines": FIELDS + b"\r\n\r\n\r\n",
    "no body": FIELDS,
}
SWITCHES = [
    (opens, clicks) for opens in (Switch.ON, Switch.OFF) for clicks in (Switch.ON, Switch.OFF)
]


def departure(opens: Switch, clicks: Switch) -> Departure:
    domain = SendingDomain(id=7, account=1, name="shop.test", unsubscribe=True, dkim=(SEALED,))
    account = Account(id=1, name="shop", opens=opens, clicks=clicks)
    settings = Settings(accounts={1: account}, domains={"shop.test": domain})
    return Departure(
        settings=lambda: settings,
        suppressed=lambda _delivery, _message: "",
        signers=SIGNERS,
        keyring=RING,
        clock=lambda: 1_790_000_000_000_000,
        tracking_url=BASE,
        return_path="bounce.relay.test",
        sender_id="node1waypost",
    )


def leave(by: Departure, number: int, content: bytes, known: Readings) -> Outgoing:
    packed = pack(content, Switches(opens=True, clicks=True), base_url=BASE, known=known)
    message = Message(
        id=number,
        account=1,
        accepted_at=0,
        settings_version=1,
        sending_domain="shop.test",
        sending_domain_id=7,
        trace=b"Received: from a by b;\r\n\tFri, 20 Nov 2026 10:00:00 +0000\r\n",
        opens=bool(packed.data),
        clicks=bool(packed.data),
        plan=packed.data,
        plan_at=packed.at,
        unsubscribe=True,
    )
    recipient = Delivery(
        id=number + 1,
        message=number,
        recipient=b"ann@inbox.test",
        recipient_domain="inbox.test",
        destination="inbox.test",
    )
    made = by.depart(recipient, message, content)
    assert isinstance(made, Outgoing)
    return made


@pytest.mark.parametrize("name", MAILS)
def test_mails_of_a_campaign_leave_as_the_first_of_them_would(name: str) -> None:
    record = record_text(KEY).encode()
    known = Readings()
    for opens, clicks in SWITCHES:
        campaign = departure(opens, clicks)
        for number in range(100, 104):  # the second makes the template, the third finds it
            content = MAILS[name] % (b"x" * (number - 99) + b"@inbox.test")
            made = leave(campaign, number, content, known)
            alone = leave(departure(opens, clicks), number, content, Readings())
            assert made.content == alone.content
            assert not alone.clean
            if number < 103:
                continue
            wire = check_content(made.content)
            assert wire == check_content(made.content, clean=made.clean)
            sent = unstuff(wire)[:-2]
            assert dkim.verify(sent, dnsfunc=lambda *_, **__: record) or not sent.count(EMPTY)


@pytest.mark.parametrize(
    "name", ["html", "empty lines at the end", "quoted-printable", "two parts"]
)
def test_a_template_is_used(name: str) -> None:
    known, campaign = Readings(), departure(Switch.ON, Switch.ON)
    found = [leave(campaign, number, MAILS[name] % b"a@b.test", known) for number in range(3)]
    assert [made.clean for made in found] == [False, True, True]


def test_mails_that_differ_inside_share_no_template() -> None:
    known, campaign = Readings(), departure(Switch.ON, Switch.ON)
    for number, word in enumerate(itertools.chain((b"shop", b"shop"), [b"Anna", b"Mary"] * 18)):
        content = MAILS["html"].replace(b">shop<", b">%s<" % word) % b"a@b.test"
        made = leave(campaign, number, content, known)
        alone = leave(departure(Switch.ON, Switch.ON), number, content, Readings())
        assert made.content == alone.content


def test_templates_are_bounded() -> None:
    kept = Templates(max_octets=1000)
    for number in range(1000):
        body = b"%03d" % number * 30
        content = b"A: b\r\n\r\n" + body
        for _ in range(3):
            kept.get(content, 8, len(body), b"", None, opens=False, clicks=False)
        assert kept.octets <= 1000
    long = b"x" * 251
    for _ in range(3):
        assert kept.get(b"\r\n" + long, 2, 251, b"", None, opens=False, clicks=False) is None


@pytest.mark.parametrize("name", MAILS)
def test_a_packed_plan_is_the_plan(name: str) -> None:
    switches = Switches(opens=True, clicks=True)
    known = Readings()
    mint, identity = Mint(RING, HOST), Identity(1, 2, 3, 4)
    for to in (b"a@b.test", b"a.longer.one@b.test"):
        content = MAILS[name] % to
        plan = compile_plan(content, switches, base_url=BASE)
        packed = pack(content, switches, base_url=BASE, known=known)
        assert packed.skipped == plan.skipped
        if plan.skipped:
            assert not packed.data
            continue
        once = render(content, plan, mint, identity, opens=True, clicks=True)
        stored = unpack(packed.data)
        again = render(content, stored, mint, identity, opens=True, clicks=True, at=packed.at)
        assert b"".join(again) == b"".join(once)
        assert stored.decisions == plan.decisions


def test_the_plan_of_a_part_is_one_object_wherever_the_part_stands() -> None:
    known, switches = Readings(), Switches(opens=True, clicks=True)
    one, two = (
        pack(MAILS["html"] % to, switches, base_url=BASE, known=known)
        for to in (b"a@b.test", b"a.longer.one@b.test")
    )
    assert one.data is two.data
    assert two.at == one.at + 11


LINES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b".", b"a", b"\n"]), max_size=12).map(
    b"".join
)


@given(before=LINES, body=LINES, behind=LINES)
def test_a_part_without_heads_is_hashed_as_the_whole(
    before: bytes, body: bytes, behind: bytes
) -> None:
    before = before.replace(b"\n", b"") + b"\r\n" if before else b""
    made = make(body, None, opens=False, clicks=False)
    whole = before + body + behind
    if made is None:
        return
    assert is_clean(body)
    if not is_clean(before + b"x") or not is_clean(b"x\r\n" + behind):
        return
    found = made.body_hash([], before, behind)
    if found is not None:
        assert found == hashlib.sha256(relaxed_body(whole)).digest()
