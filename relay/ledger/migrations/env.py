"""Runs revisions on the connection that `relay.ledger.migrate` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
# The transaction is the caller's: explicit BEGIN, one COMMIT after the last revision.
context.configure(connection=connection, transactional_ddl=True)
context.run_migrations()
