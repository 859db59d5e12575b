"""A setting that cannot work stops the start and says where, which and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest

from relay.config import Config
from relay.config_file import load, masked, setting_names
from relay.errors import ConfigError


def test_defaults_run_without_a_file() -> None:
    config = load(None, {})
    assert config == Config()
    assert config.delivery.mode == "sandbox"
    assert config.workers >= 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[submision]\nx = 1", "submision: there is no such setting"),
        ("[submission]\nfoo = 1", "submission.foo: there is no such setting"),
        ("[submission]\nlisten = 5", "submission.listen: expected `str`, got `int`"),
        ("[submission]\nmax_recipients = 5", "submission.max_recipients: expected `int` >= 100"),
        ('[delivery]\nmode = "x"', "delivery.mode: "),
        ('[delivery]\nmode = "smarthost"', "delivery.smarthost: expected"),
        ('[delivery]\nsmarthost_login = "a"', "delivery.smarthost_login: "),
        ("[delivery]\nretry_max_seconds = 1.0", "delivery.retry_max_seconds: "),
        ('[submission]\ncertificate = "a.pem"', "submission.certificate: "),
        ('[inbound]\nlisten = "127.0.0.1:8080"', "127.0.0.1:8080 is taken by inbound.listen"),
        ('[inbound]\nlisten = "127.0.0.1:99999"', "inbound.listen: expected a port up to 65535"),
        ('[admin]\nlisten = "0.0.0.0:8080"', "admin.listen: a public address"),
        ('[ledger]\nurl = "mysql://x"', "ledger.url: expected"),
        ('[tracking]\nlisten = "8081"', 'tracking.listen: expected "host:port"'),
        ('[tracking]\nbase_url = "t.test"', 'tracking.base_url: expected "http://host" or'),
        ("[node", "not valid TOML"),
    ],
)
def test_a_bad_file_names_file_key_and_expectation(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(file) in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_environment_wins_over_file(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text("[node]\nworkers = 3\nnumber = 2", encoding="utf-8")
    config = load(
        file,
        {
            "WAYPOST_NODE_WORKERS": "1",
            "WAYPOST_SUBMISSION_ALLOW_LONG_LINES": "true",
            "WAYPOST_DELIVERY_NAMESERVERS": "127.0.0.1, 127.0.0.2",
            "WAYPOST_TEST_ANYTHING": "is not ours",
            "WAYPOST_PYTHON": "python3.12",  # read by deploy/venv.sh
        },
    )
    assert (config.node.workers, config.node.number) == (1, 2)
    assert config.submission.allow_long_lines is True
    assert config.delivery.nameservers == ("127.0.0.1", "127.0.0.2")


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("WAYPOST_NODE_WORKERS", "many", "WAYPOST_NODE_WORKERS (node.workers): expected `int`"),
        (
            "WAYPOST_ADMIN_LISTEN",
            "8080",
            'WAYPOST_ADMIN_LISTEN (admin.listen): expected "host:port"',
        ),
        ("WAYPOST_NODE_WORKRES", "1", "WAYPOST_NODE_WORKRES is not a setting"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: text})
    assert says in str(caught.value)


def test_secrets_are_masked() -> None:
    config = load(
        None,
        {
            "WAYPOST_DELIVERY_SMARTHOST_LOGIN": "relay",
            "WAYPOST_DELIVERY_SMARTHOST_PASSWORD": "hush",
            "WAYPOST_LEDGER_URL": "postgresql://waypost:hush@127.0.0.1/waypost",
        },
    )
    shown = masked(config)
    assert "hush" not in str(shown)
    assert shown["delivery"]["smarthost_password"] == "***"
    assert shown["ledger"]["url"] == "postgresql://waypost:***@127.0.0.1/waypost"


def test_every_setting_has_one_name() -> None:
    names = setting_names()
    assert len(names) == len(set(names))
    assert "submission.listen" in names


def test_no_setting_answers_with_a_pattern() -> None:
    """What is expected is said in words, also of settings that come later."""
    section_types = get_type_hints(Config)
    for name in setting_names():
        section, key = name.split(".")
        hints = get_type_hints(section_types[section], include_extras=True)
        if "pattern='" in str(hints[key]):
            variable = "WAYPOST_" + name.replace(".", "_").upper()
            with pytest.raises(ConfigError, match="expected") as caught:
                load(None, {variable: "/? ?/"})
            assert "regex" not in str(caught.value), name
