"""The table of answers that are kept so that a request made twice acts once (Idempotency-Key).

Guarantees: keys and bodies are kept as SHA-256 alone. Times are microseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

answer_metadata = MetaData()

kept_answers = Table(
    "kept_answers",
    answer_metadata,
    Column("account", BigInteger(), primary_key=True, autoincrement=False),
    Column("key_sha256", LargeBinary(), primary_key=True),
    Column("body_sha256", LargeBinary(), nullable=False),
    Column("at", BigInteger(), nullable=False, index=True),
    Column("code", Integer(), nullable=False),
    Column("answer", Text(), nullable=False),
)
