"""The table of tracking hosts of no domain that failed their check.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table as it was at this revision; later columns have revisions of their own."""
    op.create_table(
        "failing_tracking_hosts",
        sa.Column("url", sa.String(300), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
    )
