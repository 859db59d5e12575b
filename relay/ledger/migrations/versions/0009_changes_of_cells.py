"""The table that tells answers kept in memory from cells that have changed since.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table as it was at this revision; a day without a row has not changed since."""
    op.create_table(
        "changes",
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("mailing", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("times", sa.BigInteger(), nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
