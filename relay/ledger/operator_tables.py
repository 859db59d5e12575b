"""The tables of operators, people who sign in to the page, and of how they laid it out.

Guarantees: a password is kept as its argon2id hash alone; an operator's id is never given twice
(the audit log names them). Times are microseconds since the epoch, 0 for "never".
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, String, Table, Text, text

operator_metadata = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up in INTEGER keys only

operators = Table(
    "operators",
    operator_metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("account", BigInteger(), nullable=True),  # none: all accounts
    Column("reads_only", Boolean(), nullable=False, server_default=text("false")),
    Column("password_hash", String(200), nullable=False),
    Column("created_at", BigInteger(), nullable=False, server_default="0"),
    Column("used_at", BigInteger(), nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

page_layouts = Table(
    "page_layouts",
    operator_metadata,
    Column("operator", BigInteger(), primary_key=True, autoincrement=False),
    Column("report", String(20), primary_key=True),  # kind of report
    Column("layout", Text(), nullable=False),  # JSON: relay.control.operations.layouts
)
