"""The table of the layouts of the page's reports.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table as it was at this revision; later columns have revisions of their own."""
    op.create_table(
        "page_layouts",
        sa.Column("operator", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("report", sa.String(20), primary_key=True),
        sa.Column("layout", sa.Text(), nullable=False),
    )
