"""Certificate files that cannot work are named before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.certificate_files import check_certificates
from relay.config_file import load
from relay.errors import ConfigError
from relay.submission.tls import load_or_create


@pytest.mark.parametrize("section", ["submission", "tracking"])
@pytest.mark.parametrize("content", [None, "no PEM"])
def test_files_that_do_not_do_are_named(tmp_path: Path, section: str, content: str | None) -> None:
    certificate = tmp_path / "own.pem"
    if content is not None:
        certificate.write_text(content)
    name = f"WAYPOST_{section.upper()}"
    config = load(
        None, {f"{name}_CERTIFICATE": str(certificate), f"{name}_PRIVATE_KEY": str(certificate)}
    )
    with pytest.raises(ConfigError, match=rf"{section}\.certificate: .*own\.pem.*expected"):
        check_certificates(config)


def test_files_that_fit_pass(tmp_path: Path) -> None:
    load_or_create(tmp_path, "mx.relay.test")
    names = {
        "WAYPOST_SUBMISSION_CERTIFICATE": str(tmp_path / "smtp.crt"),
        "WAYPOST_SUBMISSION_PRIVATE_KEY": str(tmp_path / "smtp.key"),
    }
    check_certificates(load(None, names))
    check_certificates(load(None, {}))
