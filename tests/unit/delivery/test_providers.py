"""The table of providers: complete, dated, and matched by whole labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.delivery.providers import Provider, load_providers
from relay.errors import ConfigError

PROVIDERS = load_providers()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "gmail"),
        ("aspmx.l.google.com", "gmail"),
        ("outlook-com.olc.protection.outlook.com", "microsoft"),
        ("shop-test.mail.protection.outlook.com", "microsoft"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx1.qq.com", "tencent"),
        ("163mx01.mxmail.netease.com", "netease"),
        ("mx00.gmx.net", "gmx"),
        ("smtp-in.orange.fr", "orange"),
        ("notgoogle.com", ""),
        ("google.com.evil.test", ""),
        ("mx.shop.test", ""),
        ("", ""),
    ],
)
def test_a_host_belongs_to_the_provider_of_its_ending(host: str, name: str) -> None:
    """Whole labels count, not letters."""
    assert PROVIDERS.name_of_host(host) == name


def test_the_issue_s_providers_are_there() -> None:
    """Gmail, Microsoft, Yahoo, Apple, QQ, NetEase, GMX and Orange, with what each wants."""
    names = {"gmail", "microsoft", "yahoo", "apple", "tencent", "netease", "gmx", "orange"}
    assert names <= set(PROVIDERS.by_name)
    assert PROVIDERS.messages("yahoo") == 20
    assert PROVIDERS.messages("") == 0
    known = PROVIDERS.of_domain("hotmail.com")
    assert known is not None
    assert known.name == "microsoft"


@pytest.mark.parametrize("provider", PROVIDERS.by_name.values(), ids=lambda p: p.name)
def test_every_row_is_dated_sourced_and_careful(provider: Provider) -> None:
    """No number without where it comes from."""
    assert provider.source
    assert provider.seen.year >= 2026
    assert provider.hosts
    assert 1 <= provider.connections <= 50
    assert 1 <= provider.messages_per_connection <= 500
    assert all(name == name.lower().strip(".") for name in provider.hosts + provider.domains)


@pytest.mark.parametrize(
    "text", ["[[provider]]\nname = 'x'", "provider = 1", "[[provider", "[[provider]]\ncolour = 1"]
)
def test_a_broken_table_names_its_file(tmp_path: Path, text: str) -> None:
    """What is wrong is said with the path."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        load_providers(path)
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_providers(tmp_path / "missing.toml")
