"""Indexes on the ids of the deliveries in one state.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_IN_STATE = {
    "deliveries_unfinished": "final = 0",
    "deliveries_opened": "opened_at > 0",
    "deliveries_clicked": "clicked_at > 0",
    "deliveries_bounced_later": "later_at > 0",
    "deliveries_unsubscribed": "unsubscribed_at > 0",
    "deliveries_complained": "complained_at > 0",
}


def upgrade() -> None:
    """Create the indexes; on a large ledger this reads every delivery, once."""
    for name, condition in _IN_STATE.items():
        _create(name, condition, ["id"])
    _create("deliveries_not_delivered", "final NOT IN (0, 4)", ["final", "id"])


def _create(name: str, condition: str, columns: list[str]) -> None:
    where = sa.text(condition)
    op.create_index(name, "deliveries", columns, sqlite_where=where, postgresql_where=where)
