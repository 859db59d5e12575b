"""The routes of the admin API, without a server or a ledger: only what is declared is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relay.control.operations.dns_records import NodeNames
from relay.control.route import Route
from relay.control.services import build_services
from relay.control.suppression_feed import SuppressionFeed
from relay.mail.keyring import KeyRing

_NOBODY: Any = None
_NODE = NodeNames(hostname="mx.test", return_path="b.test", tracking_url="https://t.test")


def all_routes() -> list[Route]:
    """Give every route that control declares."""
    ring = KeyRing.of(b"s" * 32)
    feed = SuppressionFeed(_NOBODY, Path("none"), _NOBODY)
    services = build_services(_NOBODY, ring, _NODE, Path("none"), feed)
    return list(services.registry.routes)
