"""From what a person writes after `--store` to a `Store`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crowdgrid.errors import BadInput
from crowdgrid.store import Store

POSTGRES_INSTALL: Final = "pip install 'crowdgrid[postgres]'"


def open_store(url: str) -> Store:
    """The store `url` names; nothing is opened or made yet.

    Args:
        url: `memory:`; a path or `sqlite:///path` (four slashes for an absolute one); `postgresql://…`.

    Raises:
        BadInput: no store this grid knows, or one whose driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if url in ("memory:", "memory://"):
        from crowdgrid.store.memory import MemoryStore

        return MemoryStore()
    if separator and scheme in ("postgresql", "postgres"):
        return _postgres(url)
    if separator and (scheme != "sqlite" or len(rest) < 2):
        raise BadInput(
            f"{scheme}:// is no store this grid knows.",
            hint="Use a path, sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:.",
        )
    from crowdgrid.store.sqlite import SqliteStore

    path = rest.removeprefix("/") if separator else url
    if not path:
        raise BadInput("The store has no name.", hint="Use a path, postgresql://… or memory:.")
    return SqliteStore(Path(path).expanduser())


def _postgres(url: str) -> Store:
    try:
        from crowdgrid.store.postgres import PostgresStore
    except ModuleNotFoundError as problem:
        if problem.name != "asyncpg":
            raise
        raise BadInput(
            "A store in PostgreSQL needs asyncpg, which is not installed.", hint=f"Install it: {POSTGRES_INSTALL}."
        ) from None
    return PostgresStore(url)
