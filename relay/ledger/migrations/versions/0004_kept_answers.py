"""The table of answers kept for requests that are made twice.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table as it was at this revision; later columns have revisions of their own."""
    op.create_table(
        "kept_answers",
        sa.Column("account", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key_sha256", sa.LargeBinary(), primary_key=True),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
    )
