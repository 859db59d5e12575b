"""The tables of settings.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

from relay.ledger.settings_tables import settings_metadata, version

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create every table of `relay.ledger.settings_tables`, and the one row of the versions."""
    settings_metadata.create_all(op.get_bind(), checkfirst=False)
    op.get_bind().execute(version.insert().values(id=1, settings=0))
