"""The tables of facts.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op

from relay.ledger.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table of `relay.ledger.tables`."""
    metadata.create_all(op.get_bind(), checkfirst=False)
