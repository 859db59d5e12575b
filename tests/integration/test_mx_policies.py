"""MTA-STS and DANE in a running relay: kept to where they ask, and every session is counted."""

from __future__ import annotations

import hashlib
import re
import ssl
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.harness.mx_world import MxWorld, mx_world, sender_in
from tests.harness.scripted_mx import Act
from tests.harness.tls_policies import policy_server, server_context

pytestmark = pytest.mark.timeout(150)


def _tlsa(certificate: trustme.LeafCert) -> str:
    """Give the record 3 1 1 of a certificate's key."""
    loaded = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    key = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"3 1 1 {hashlib.sha256(key).hexdigest()}"


def _sts(world: MxWorld, domain: str) -> None:
    world.dns.zone[f"_mta-sts.{domain}"] = {"TXT": ['"v=STSv1; id=1;"']}
    world.dns.zone[f"mta-sts.{domain}"] = {"A": ["127.0.0.1"]}


def _self_signed(name: str) -> ssl.SSLContext:
    return server_context(trustme.CA().issue_cert(name))


def _old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a server context speak TLS 1.0 and nothing newer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _policy(domain: str, mode: str = "enforce", mx: str = "", age: int = 86400) -> str:
    return f"version: STSv1\nmode: {mode}\nmx: {mx or '*.' + domain}\nmax_age: {age}\n"


STS = {  # domain: its policy
    "sts.test": _policy("sts.test"),
    "forged.test": _policy("forged.test"),
    "bare.test": _policy("bare.test"),
    "expired.test": _policy("expired.test"),
    "misnamed.test": _policy("misnamed.test"),
    "elsewhere.test": _policy("elsewhere.test", mx="mx.other.test"),
    "testing.test": _policy("testing.test", mode="testing", mx="mx.other.test"),
    "huge.test": _policy("huge.test", mx="mx.other.test") + "x" * 70_000,
    "moved.test": "",
    "brief.test": _policy("brief.test", mx="mx.other.test", age=0),
}


async def _hosts(world: MxWorld, ca: trustme.CA) -> None:
    """Start the servers whose TLS differs."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await world.server("sts.test", tls=server_context(ca.issue_cert("mx.sts.test")))
    await world.server("forged.test", tls=_self_signed("mx.forged.test"))
    await world.server("bare.test")  # offers no TLS
    expired = ca.issue_cert("mx.expired.test", not_after=past)
    await world.server("expired.test", tls=server_context(expired))
    await world.server("misnamed.test", tls=server_context(ca.issue_cert("mx.other.test")))
    for name in ("elsewhere", "testing", "huge", "moved", "brief"):
        await world.server(f"{name}.test", tls=server_context(ca.issue_cert(f"mx.{name}.test")))
    # nobody asks anything of these: whatever is wrong with TLS, the clear is taken
    await world.server("any.test", tls=_self_signed("mx.any.test"))
    broken = await world.server("broken.test", tls=_self_signed("mx.broken.test"))
    broken.answer(tls=[Act.GARBAGE])
    closing = await world.server("closing.test", tls=_self_signed("mx.closing.test"))
    closing.answer(after_tls=[Act.DROP] * 20)
    refusing = await world.server("refusing.test", tls=_self_signed("mx.refusing.test"))
    refusing.answer(starttls=["454 4.7.0 not now"] * 20)
    await world.server("aged.test", tls=_old_tls(_self_signed("mx.aged.test")))
    await world.server("told.test", tls=_self_signed("mx.told.test"))
    changing = await world.server("changing.test", tls=_self_signed("mx.changing.test"))
    changing.extensions = ("SIZE 20", "8BITMIME", "PIPELINING")
    changing.after_tls = ("REQUIRETLS",)


async def test_policies_are_kept_to_and_counted(tmp_path: Path) -> None:
    """S11, S13 and N08: what is asked for is kept to, never in the clear; the rest arrives."""
    ca = trustme.CA()
    file = tmp_path / "authority.pem"
    ca.cert_pem.write_to_path(file)
    fits, lies = ca.issue_cert("mx.dane.test"), ca.issue_cert("mx.false.test")
    signed = frozenset(
        f"{prefix}{domain}"
        for domain in ("dane.test", "false.test", "bogus.test")
        for prefix in ("", "mx.")
    )
    async with (
        mx_world(signed=signed) as world,
        policy_server(ca, *(f"mta-sts.{domain}" for domain in STS)) as https,
    ):
        https.texts = STS
        https.locations = {"moved.test": f"https://mta-sts.elsewhere.test:{https.port}/"}
        for domain in STS:
            _sts(world, domain)
        await _hosts(world, ca)
        await world.server("dane.test", tls=server_context(fits))
        await world.server("false.test", tls=server_context(lies))
        await world.server("bogus.test", tls=_self_signed("mx.bogus.test"))
        for domain, record in (("dane.test", _tlsa(fits)), ("false.test", _tlsa(fits))):
            name = f"_{world.port}._tcp.mx.{domain}"
            world.dns.zone[name] = {"TLSA": [record]}
            world.dns.signed |= {name}
        world.dns.broken_names.add(f"_{world.port}._tcp.mx.bogus.test")

        safe = ["sts", "any", "dane", "testing", "huge", "moved", "brief", "changing"]
        clear = ["broken", "closing", "refusing", "aged", "good"]
        stuck = ["forged", "bare", "expired", "misnamed", "elsewhere", "told", "false", "bogus"]
        arriving = [f"{name}.test" for name in safe + clear]
        waiting = [f"{name}.test" for name in stuck]
        async with sender_in(
            world,
            tmp_path / "relay",
            mta_sts=True,
            mta_sts_port=https.port,
            dnssec_resolver=True,
            authorities=str(file),
            tls_destinations=["told.test=verified"],
        ) as sender:
            await sender.submit(*(f"a@{name}" for name in (*arriving, *waiting)))
            wanted = dict.fromkeys(arriving, "delivered") | dict.fromkeys(waiting, "deferred")
            await sender.stages_become(wanted)

            async def counted() -> bool:
                _, text = await sender.relay.ask("GET", "/metrics")
                found = re.findall(
                    r'waypost_tls_sessions_total\{policy="(\w+)",result="([\w-]+)"\} (\d+)', text
                )
                counts = {(policy, result): int(number) for policy, result, number in found}
                return all(
                    counts.get(key, 0)
                    for key in (
                        ("sts", "success"),
                        ("sts", "certificate-not-trusted"),
                        ("sts", "certificate-expired"),
                        ("sts", "certificate-host-mismatch"),
                        ("sts", "starttls-not-supported"),
                        ("none", "success"),
                        ("none", "validation-failure"),
                        ("tlsa", "success"),
                        ("tlsa", "tlsa-invalid"),
                    )
                )

            await sender.relay.until(counted, "TLS sessions to be counted")
        assert [name for name in waiting if world.servers[name].messages] == []
        tls = {name: world.servers[name].messages[0].tls for name in arriving}
        assert [name for name, version in tls.items() if version] == arriving[: len(safe)]
        # what was offered before TLS is forgotten: no SIZE, no BODY, and the mail is not too large
        assert world.servers["changing.test"].messages[0].mail.endswith(b">")


@pytest.mark.long
async def test_a_policy_stays_in_force_over_a_restart(tmp_path: Path) -> None:
    """Somebody who cuts off the record and the policy while we are away cannot talk us out of TLS;
    with the file gone (the control) they can.
    """
    ca = trustme.CA()
    file = tmp_path / "authority.pem"
    ca.cert_pem.write_to_path(file)
    folder = tmp_path / "relay"
    settings: dict[str, Any] = {"mta_sts": True, "authorities": str(file)}
    async with mx_world() as world:
        async with policy_server(ca, "mta-sts.sts.test") as https:
            https.texts = STS
            settings["mta_sts_port"] = https.port
            _sts(world, "sts.test")
            mx = await world.server("sts.test", tls=server_context(ca.issue_cert("mx.sts.test")))
            async with sender_in(world, folder, **settings) as sender:
                await sender.submit("a@sts.test")
                await sender.recipient_becomes("a@sts.test", "delivered")
        del world.dns.zone["_mta-sts.sts.test"]
        mx._tls = _self_signed("mx.sts.test")
        async with sender_in(world, folder, provisioned=True, **settings) as sender:
            await sender.submit("b@sts.test")
            await sender.recipient_becomes("b@sts.test", "deferred")
        assert [m.recipients for m in mx.messages] == [(b"a@sts.test",)]
        (folder / "var" / "mta-sts.jsonl").unlink()
        async with sender_in(world, folder, provisioned=True, **settings) as sender:
            await sender.recipient_becomes("b@sts.test", "delivered")
