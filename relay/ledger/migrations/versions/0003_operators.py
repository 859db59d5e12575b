"""The table of operators.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table as it was at this revision; later columns have revisions of their own."""
    op.create_table(
        "operators",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("reads_only", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("used_at", sa.BigInteger(), nullable=False, server_default="0"),
        sqlite_autoincrement=True,
    )
