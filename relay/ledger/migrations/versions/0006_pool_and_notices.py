"""Sending domains name their pool; they and accounts say whether failures are told.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns where they are not there yet (0002 once made tables as they are today)."""
    for table, name, length, default in (
        ("accounts", "failure_notices", 10, "inherit"),
        ("sending_domains", "failure_notices", 10, "inherit"),
        ("sending_domains", "pool", 100, ""),
    ):
        present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
        if name not in present:
            column = sa.Column(name, sa.String(length), nullable=False, server_default=default)
            op.add_column(table, column)
