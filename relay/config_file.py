"""`waypost.toml` plus the environment become one `Config`, validated.

Guarantees: what comes out can be run; an unknown key, a bad value or an impossible combination
raises ConfigError that names the file (or variable), the key and what was expected.

Precedence: environment over file over default. The variable of `submission.listen` is
`WAYPOST_SUBMISSION_LISTEN`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from relay.config import IN_WORDS, Config
from relay.errors import ConfigError

_LAST_PORT = 65535
SECRETS = frozenset({("delivery", "smarthost_password"), ("ledger", "url")})
"""Settings that are masked wherever they are shown."""


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file (None: defaults only) and the environment; raises ConfigError."""
    source = str(path) if path else "defaults"
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as problem:
            raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise ConfigError(f"{path}: not valid TOML: {problem}") from None
    try:
        from_file = msgspec.convert(raw, Config)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"{source}: {_explain(problem)}") from None
    overlaid = _overlay(msgspec.to_builtins(from_file), environment)
    try:
        config = msgspec.convert(overlaid, Config, strict=False)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"environment: {_explain(problem, variable=True)}") from None
    _check_combinations(config, source)
    return config


def setting_names() -> list[str]:
    """List every setting as "section.key", for the documentation test and for `waypost check`."""
    return [
        f"{section}.{key}"
        for section, kind in get_type_hints(Config).items()
        for key in get_type_hints(kind)
    ]


def masked(config: Config) -> dict[str, dict[str, Any]]:
    """Give the effective settings by section with secrets replaced by `***`."""
    shown: dict[str, dict[str, Any]] = msgspec.to_builtins(config)
    for section, key in SECRETS:
        value = str(shown[section][key])
        if section == "ledger":  # a database URL: only its password is secret
            shown[section][key] = re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", value)
        elif value:
            shown[section][key] = "***"
    return shown


def _overlay(settings: dict[str, dict[str, Any]], environment: Mapping[str, str]) -> dict[str, Any]:
    known = {_variable(name): name for name in setting_names()}
    ignored = re.compile(r"^WAYPOST_(TEST|BENCH|BREAK)(_|$)|^WAYPOST_(CONFIG|CORPORA|PYTHON)$")
    for variable, text in environment.items():
        if not variable.startswith("WAYPOST_") or ignored.search(variable):
            continue
        if variable not in known:
            raise ConfigError(
                f"environment: {variable} is not a setting; `waypost check` lists them"
            )
        section, key = known[variable].split(".")
        if isinstance(settings[section][key], list | tuple):
            settings[section][key] = [part.strip() for part in text.split(",") if part.strip()]
        elif isinstance(settings[section][key], bool):
            settings[section][key] = text.lower()
        else:
            settings[section][key] = text
    return settings


def _explain(problem: msgspec.ValidationError, *, variable: bool = False) -> str:
    """Say which key (or which variable of the environment) is wrong and what was expected."""
    found = re.match(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$", str(problem), re.DOTALL)
    what, where = (found["what"], found["where"]) if found else (str(problem), "")
    unknown = re.match(r"Object contains unknown field `(.*)`", what)
    if unknown:
        return f"{(where + '.') if where else ''}{unknown[1]}: there is no such setting"
    pattern = re.match(r"Expected `str` matching regex '(.*)'$", what, re.DOTALL)
    if pattern:
        what = IN_WORDS.get(pattern[1].replace("\\\\", "\\"), what)
    if variable and where:
        where = f"{_variable(where.partition('[')[0])} ({where})"
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what


def _variable(name: str) -> str:
    return "WAYPOST_" + name.replace(".", "_").upper()


def _check_combinations(config: Config, source: str) -> None:
    delivery = config.delivery
    if delivery.mode == "smarthost" and not delivery.smarthost:
        raise ConfigError(
            f'{source}: delivery.smarthost: expected "host:port", '
            'because delivery.mode is "smarthost"'
        )
    if bool(delivery.smarthost_login) != bool(delivery.smarthost_password):
        raise ConfigError(
            f"{source}: delivery.smarthost_login: login and password go together or not at all"
        )
    if delivery.retry_max_seconds < delivery.retry_first_seconds:
        raise ConfigError(
            f"{source}: delivery.retry_max_seconds: expected at least delivery.retry_first_seconds"
        )
    for name in ("submission", "tracking"):
        section = getattr(config, name)
        if bool(section.certificate) != bool(section.private_key):
            raise ConfigError(
                f"{source}: {name}.certificate: it goes together with {name}.private_key"
            )
    if config.tracking.certificates and not config.tracking.certificate:
        raise ConfigError(
            f"{source}: tracking.certificates: it goes together with tracking.certificate"
        )
    for kind in ("complaint", "bounce"):
        warn, stop = getattr(config.brakes, f"{kind}_warn"), getattr(config.brakes, f"{kind}_stop")
        if warn > stop:
            raise ConfigError(
                f"{source}: brakes.{kind}_warn: expected at most brakes.{kind}_stop ({stop})"
            )
    _check_doors(config, source)


def _check_doors(config: Config, source: str) -> None:
    host = config.admin.listen.rpartition(":")[0]
    loopback = host in ("", "localhost", "[::1]") or host.startswith("127.")
    if not loopback and not config.admin.behind_proxy:
        raise ConfigError(
            f"{source}: admin.listen: a public address needs admin.behind_proxy = true "
            "(TLS ends at the proxy)"
        )
    if config.ledger.url and not re.match(
        r"^(sqlite:///|postgresql(\+psycopg)?://)", config.ledger.url
    ):
        raise ConfigError(
            f'{source}: ledger.url: expected "sqlite:///PATH" or '
            '"postgresql://USER:PASSWORD@HOST/DATABASE"'
        )
    taken: dict[str, str] = {}
    for name, section in msgspec.structs.asdict(config).items():
        for key, value in msgspec.structs.asdict(section).items():
            if not key.endswith("listen") or not value or value.endswith(":0"):
                continue
            if int(value.rpartition(":")[2]) > _LAST_PORT:
                raise ConfigError(f"{source}: {name}.{key}: expected a port up to {_LAST_PORT}")
            if value in taken:
                raise ConfigError(
                    f"{source}: {name}.{key}: {value} is taken by {taken[value]} already"
                )
            taken[value] = f"{name}.{key}"
