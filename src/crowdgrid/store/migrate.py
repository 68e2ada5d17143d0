"""Bring an older store to the newest revision, with Alembic.

Alembic (and SQLAlchemy) are imported only here and only when a store really is older: they cost 1.5 s.
Alembic writes the script (its offline mode) and the adapter runs it with its own driver in the
transaction of `open`: one way for both databases, all or nothing, and no second driver. So a revision may
not read rows in Python; what must be computed is computed in SQL.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def _config(dialect: str, output: io.StringIO) -> Any:
    from alembic.config import Config

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["dialect"] = dialect
    return config


def script(dialect: str, *, start: str, stop: str = "head") -> str:
    """The SQL that leads from revision `start` ("base" for an empty database) to `stop`.

    Args:
        dialect: "sqlite" or "postgresql".
        start: the revision the store has.
        stop: the revision it is to have.
    """
    from alembic import command

    output = io.StringIO()
    command.upgrade(_config(dialect, output), f"{start}:{stop}", sql=True)
    return output.getvalue()


def revisions() -> tuple[str, ...]:
    """Every revision, first to newest."""
    from alembic.script import ScriptDirectory

    directory = ScriptDirectory.from_config(_config("sqlite", io.StringIO()))
    return tuple(each.revision for each in directory.walk_revisions())[::-1]
