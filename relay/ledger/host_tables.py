"""The table of tracking hosts that belong to no sending domain and failed their check.

Guarantees: a row stands for a failing host and goes when the host can be reached again; a domain's
own host has its verdict in the domain's row. Times are microseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

host_metadata = MetaData()

failing_hosts = Table(
    "failing_tracking_hosts",
    host_metadata,
    Column("url", String(300), primary_key=True),  # scheme and host, as in tracking.base_url
    Column("reason", Text(), nullable=False),
    Column("since", BigInteger(), nullable=False),
)
