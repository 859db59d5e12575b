"""Brings a ledger's schema up to date: Alembic revisions, all in the transaction of the caller.

Guarantees: either every missing revision has been applied when the caller commits, or none (both
databases roll DDL back). A ledger made by a newer version is refused. Revisions lie in
`migrations/versions/`; numbers, in one chain.

Alembic is imported only where there is something to apply: it takes a tenth of a second, and at
nearly every start the schema is up to date.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect

from relay.errors import StorageError

_FOLDER = Path(__file__).with_name("migrations")


def migrate(connection: Connection) -> None:
    """Apply all missing revisions on a connection that is inside a transaction."""
    if _is_current(connection):
        return
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    script = ScriptDirectory(str(_FOLDER))
    head = script.get_current_head()
    known = MigrationContext.configure(connection).get_current_revision()
    if known == head:
        return
    if known is not None:
        try:
            script.get_revision(known)
        except CommandError:
            raise StorageError(
                f"the ledger has schema {known}, which this version (schema {head}) does not know; "
                "run the version that made it, or a newer one"
            ) from None
    config = Config()
    config.attributes["connection"] = connection
    environment = EnvironmentContext(
        config,
        script,
        fn=lambda revision, _: script._upgrade_revs("head", revision),
    )
    with environment:
        script.run_env()


def newest_revision() -> str:
    """Give the number of the last revision, as its file's name begins with it."""
    files = (_FOLDER / "versions").glob("[0-9]*_*.py")
    return max(file.name.partition("_")[0] for file in files)


def _is_current(connection: Connection) -> bool:
    """Tell whether the schema is that of this version."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchall()
    return [row[0] for row in rows] == [newest_revision()]
