"""What Alembic does to a database when it is left alone, to compare what was generated from it with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from crowdgrid.store.alembic_scripts import config


def migrate_sqlite(path: Path, revision: str) -> None:
    """Lead a SQLite file to `revision`, connected to it; in WAL, as every store of ours is."""
    settings = config("sqlite", io.StringIO())
    scripts = ScriptDirectory.from_config(settings)

    def steps(found: Any, _: Any) -> Any:
        return scripts._upgrade_revs(revision, found)

    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    with (
        engine.begin() as connection,
        EnvironmentContext(settings, scripts, fn=steps, destination_rev=revision) as environment,
    ):
        environment.configure(connection=connection)
        environment.run_migrations()
    engine.dispose()


def script(dialect: str, revision: str) -> str:
    """The whole script to `revision` as Alembic writes it. For PostgreSQL, whose only driver here is asynchronous."""
    output = io.StringIO()
    command.upgrade(config(dialect, output), f"base:{revision}", sql=True)
    return output.getvalue()
