"""MTA-STS and DANE in a running relay: kept to where they ask, and every session is counted."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

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


async def test_policies_are_kept_to_and_counted(tmp_path: Path) -> None:
    """Cases S11 and N08 of the reliability plan."""
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
        policy_server(ca, "mta-sts.sts.test", "mta-sts.forged.test", "mta-sts.bare.test") as https,
    ):
        https.text = "version: STSv1\nmode: enforce\nmx: *.sts.test\n"
        https.text += "mx: *.forged.test\nmx: *.bare.test\nmax_age: 86400\n"
        for domain in ("sts.test", "forged.test", "bare.test"):
            _sts(world, domain)
        await world.server("sts.test", tls=server_context(ca.issue_cert("mx.sts.test")))
        forged = await world.server("forged.test", tls=_self_signed("mx.forged.test"))
        bare = await world.server("bare.test")  # offers no TLS
        await world.server("any.test", tls=_self_signed("mx.any.test"))
        broken = await world.server("broken.test", tls=_self_signed("mx.broken.test"))
        broken.answer(tls=[Act.GARBAGE])
        told = await world.server("told.test", tls=_self_signed("mx.told.test"))
        await world.server("dane.test", tls=server_context(fits))
        false = await world.server("false.test", tls=server_context(lies))
        bogus = await world.server("bogus.test", tls=_self_signed("mx.bogus.test"))
        for domain, record in (("dane.test", _tlsa(fits)), ("false.test", _tlsa(fits))):
            name = f"_{world.port}._tcp.mx.{domain}"
            world.dns.zone[name] = {"TLSA": [record]}
            world.dns.signed |= {name}
        world.dns.broken_names.add(f"_{world.port}._tcp.mx.bogus.test")

        arriving = ("sts.test", "any.test", "broken.test", "dane.test", "good.test")
        waiting = ("forged.test", "bare.test", "told.test", "false.test", "bogus.test")
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
                        ("sts", "starttls-not-supported"),
                        ("none", "success"),
                        ("none", "validation-failure"),
                        ("tlsa", "success"),
                        ("tlsa", "tlsa-invalid"),
                    )
                )

            await sender.relay.until(counted, "TLS sessions to be counted")
        for mx in (forged, bare, told, false, bogus):
            assert mx.messages == []
        tls = {name: world.servers[name].messages[0].tls for name in arriving}
        assert {name for name, version in tls.items() if version} == {
            "sts.test",
            "any.test",
            "dane.test",
        }
