"""What the tests of the SMTP doors share."""

from __future__ import annotations

import pytest

from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import make_tls


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    """One certificate for all tests."""
    return make_tls(tmp_path_factory.mktemp("tls"))
