"""The index on the deliveries that only machines opened or clicked.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_CONDITION = "(opened_at > 0 OR clicked_at > 0) AND opened_human_at = 0 AND clicked_human_at = 0"


def upgrade() -> None:
    """Create the index; on a large ledger this reads every delivery, once."""
    where = sa.text(_CONDITION)
    op.create_index(
        "deliveries_machine_only",
        "deliveries",
        ["id"],
        sqlite_where=where,
        postgresql_where=where,
    )
