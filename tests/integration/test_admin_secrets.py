"""X14: private keys, passwords and API keys come out once, in the answer that made them."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path

import pytest

from relay.control.route import PREFIX
from relay.mail.keyring import KeyRing
from relay.sealing import unseal_dkim
from tests.harness.admin import AdminUnderTest, admin_under_test


def _forms(secret: bytes) -> list[str]:
    """Give the shapes in which a secret could show up."""
    return [secret.hex(), b64encode(secret).decode()[:40], secret.decode("latin-1")]


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def _everything(admin: AdminUnderTest, key: str) -> str:
    """Ask every GET there is, with every id there is."""
    said = []
    for one in admin.services.registry.routes:
        if one.method != "GET":
            continue
        paths = [one.path.removeprefix(PREFIX)]
        for name, kind in one.parameters.items():
            values = range(1, 5) if kind is int else ("shop.test",)
            paths = [path.replace("{" + name + "}", str(v)) for path in paths for v in values]
        for path in paths:
            answer = await admin.ask("GET", path, key=key)
            said += [answer.text, str(answer.headers)]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        said.append((await admin.ask("GET", path, key=key)).text)
    return "\n".join(said)


async def test_no_door_gives_a_secret_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a GET, not the audit log, not an error, not the log, not the files in the clear."""
    caplog.set_level(logging.DEBUG)
    async with admin_under_test(tmp_path) as admin:
        shop = await admin.account("Shop")
        await admin.domain("shop.test", shop)
        await admin.ask("POST", "/domains/shop.test/dkim")
        password = (await admin.ask("POST", "/credentials", {"account": shop})).json["password"]
        operator = await admin.key(None, ["admin"])
        other = await admin.key(shop, ["read"])
        secrets = [password, operator, other]
        ring = KeyRing.load(tmp_path / "keyring.json")
        for key in admin.services.publisher.settings.domains["shop.test"].dkim:
            secrets += _forms(unseal_dkim(ring, "shop.test", key))
            secrets += _forms(key.sealed)
        said = await _everything(admin, operator)
        refused = await admin.ask("POST", "/credentials", {"account": shop, "login": password[:20]})
        assert refused.status == 201
        said += (await admin.ask("GET", "/accounts", key=operator + "x")).text
    said += caplog.text
    assert len(said) > 10_000
    assert [secret[:12] for secret in secrets if secret and secret in said] == []

    for path, raw in _files(tmp_path).items():
        assert password.encode() not in raw, path
        assert operator.encode() not in raw, path


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Ledger, snapshot, key ring: 0600."""
    async with admin_under_test(tmp_path) as admin:
        await admin.domain("shop.test", await admin.account("Shop"))
        await admin.feed.write()
        modes = {path: path.stat().st_mode & 0o777 for path in _files(tmp_path)}
    assert {path for path, mode in modes.items() if mode != 0o600} == set()
