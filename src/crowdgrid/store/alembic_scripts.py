"""The SQL of every revision in `migrations/`, as Alembic writes it (its offline mode).

Only `generate.py` and tests import this: a hub runs the statements that are committed, with its own driver, and has
neither Alembic nor SQLAlchemy. A script cannot look into the database, so a revision may not read rows in Python; what
must be computed is computed in SQL.
"""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def config(dialect: str, output: io.StringIO) -> Config:
    """Alembic's settings, for one of "sqlite" and "postgresql"."""
    made = Config(output_buffer=output)
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["dialect"] = dialect
    return made


def _revisions() -> list[Any]:
    """Alembic's own record of every revision, first to newest."""
    return list(ScriptDirectory.from_config(config("sqlite", io.StringIO())).walk_revisions())[::-1]


def upgrades(dialect: str) -> dict[str, list[str]]:
    """By revision, first to newest: the statements that lead to it from the one before, the recording of it included."""
    found: dict[str, list[str]] = {}
    for each in _revisions():
        output = io.StringIO()
        command.upgrade(config(dialect, output), f"{each.down_revision or 'base'}:{each.revision}", sql=True)
        found[each.revision] = statements(output.getvalue())
    return found


def statements(script: str) -> list[str]:
    """A script's statements, one by one, without comments between them."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines():
        if not pending and (not line.strip() or line.startswith("--")):
            continue
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
