"""Signing in a running relay: keys change with an overlap, what arrives signed is left alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dkim  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.harness.mx_world import MxWorld, Sender, mx_world, sender_in
from tests.harness.provision import must

pytestmark = pytest.mark.timeout(150)

FOREIGN = "DKIM-Signature: v=1; a=rsa-sha256; d=else.test; s=x; h=from; bh=AAAA; b=AAAA\r\n"


async def _mail(sender: Sender, world: MxWorld, number: int, fields: str = "") -> bytes:
    """Send one mail and give it as it arrived."""
    mx = world.servers["good.test"]
    await sender.submit(f"a{number}@good.test", fields=fields)

    async def there() -> bool:
        return len(mx.messages) == number

    await sender.relay.until(there, f"mail {number} to arrive")
    return mx.messages[-1].content


def _selectors(mail: bytes) -> set[str]:
    head = re.sub(rb"\r\n[ \t]+", b" ", mail.partition(b"\r\n\r\n")[0])
    signed = re.findall(rb"(?m)^DKIM-Signature:.*?\bs=([^;]+);", head)
    return {selector.decode().strip() for selector in signed}


async def _verifies(sender: Sender, mail: bytes) -> list[bool]:
    """Check the RSA signatures of our domain by the records that the relay says to publish."""
    answer: dict[str, Any] = await must(sender.relay, "GET", "/domains/news.test/dns")
    records = {one["name"] + ".": one["value"].encode() for one in answer["records"]}
    verifier = dkim.DKIM(mail)
    fields = [text for name, text in verifier.headers if name.lower() == b"dkim-signature"]
    found = []
    for at, text in enumerate(fields):
        if b"a=rsa-sha256" not in text or b"d=news.test" not in text:
            continue
        try:
            ask = lambda name, timeout=5: records.get(name.decode())  # noqa: E731 - dkimpy's form
            found.append(bool(dkim.DKIM(mail).verify(at, dnsfunc=ask)))
        except dkim.DKIMException:
            found.append(False)
    return found


async def test_keys_rotate_with_an_overlap(tmp_path: Path) -> None:
    async with mx_world() as world, sender_in(world, tmp_path) as sender:
        domain = await must(sender.relay, "GET", "/domains/news.test")
        old = {key["selector"] for key in domain["dkim"]}
        first = await _mail(sender, world, 1)
        assert _selectors(first) == old
        assert await _verifies(sender, first) == [True]

        domain = await must(sender.relay, "POST", "/domains/news.test/dkim")
        new = {key["selector"] for key in domain["dkim"]} - old
        assert len(new) == 2
        second = await _mail(sender, world, 2)  # published, but not in use yet
        assert _selectors(second) == old

        for selector in sorted(new):
            await must(sender.relay, "POST", f"/domains/news.test/dkim/{selector}/activate")
        third = await _mail(sender, world, 3)
        assert _selectors(third) == new
        assert await _verifies(sender, third) == [True]
        assert await _verifies(sender, first) == [True]  # still on its way somewhere

        for selector in sorted(old):
            await must(sender.relay, "DELETE", f"/domains/news.test/dkim/{selector}")
        assert await _verifies(sender, third) == [True]
        assert await _verifies(sender, first) == [False]

        ed25519, rsa = sorted(new, key=lambda selector: not selector.endswith("e"))
        await must(sender.relay, "DELETE", f"/domains/news.test/dkim/{ed25519}")
        fourth = await _mail(sender, world, 4)
        assert _selectors(fourth) == {rsa}
        assert await _verifies(sender, fourth) == [True]
        status, _ = await sender.relay.ask("DELETE", f"/api/v1/domains/news.test/dkim/{rsa}")
        assert status == 409  # the last in use

        signed = await _mail(sender, world, 5, FOREIGN)
        assert _selectors(signed) == {"x"}


async def test_what_arrives_signed_is_signed_again_where_configured(tmp_path: Path) -> None:
    async with mx_world() as world, sender_in(world, tmp_path, sign_signed=True) as sender:
        mail = await _mail(sender, world, 1, FOREIGN)
        assert len(_selectors(mail)) == 3
        assert await _verifies(sender, mail) == [True]
