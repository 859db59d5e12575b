"""Certificate files that settings name: can they be used at all.

Asked at the start and by `waypost check`, so that a wrong path stops the start instead of ending
every worker.
"""

from __future__ import annotations

import ssl

from relay.config import Config
from relay.errors import ConfigError


def check_certificates(config: Config) -> None:
    """Load every pair once; raises ConfigError with the setting and what is wrong."""
    pairs = {
        "submission": (config.submission.certificate, config.submission.private_key),
        "tracking": (config.tracking.certificate, config.tracking.private_key),
    }
    for section, (certificate, key) in pairs.items():
        if not certificate:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(
                f"{section}.certificate: {certificate} and {key}: expected a readable chain and "
                f"its key as PEM: {problem.strerror or problem}"
            ) from None
