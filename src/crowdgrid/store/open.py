"""From what a person writes after `--store` to a `Store`."""

from __future__ import annotations

from pathlib import Path

from crowdgrid.errors import BadInput
from crowdgrid.store import Store


def open_store(url: str) -> Store:
    """The store `url` names; nothing is opened or made yet.

    Args:
        url: `memory:`; a path or `sqlite:///path` (four slashes for an absolute one); `postgresql://…`.

    Raises:
        BadInput: no store this grid knows.
    """
    scheme, separator, rest = url.partition("://")
    if url in ("memory:", "memory://"):
        from crowdgrid.store.memory import MemoryStore

        return MemoryStore()
    if separator and scheme in ("postgresql", "postgres"):
        from crowdgrid.store.postgres import PostgresStore

        return PostgresStore(url)
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
