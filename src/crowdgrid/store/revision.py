"""Which statements bring a database to the newest revision."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from crowdgrid.store import faults


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


def needed(
    dialect: str,
    place: str,
    tables: Collection[str],
    found: str | None,
    *,
    known: Sequence[str],
    ddl: Sequence[str],
) -> Sequence[str]:
    """What has to be run.

    Args:
        dialect: "sqlite" or "postgresql".
        place: where the store is, for people.
        tables: the tables there are. found: the revision they are stamped with.
        known: every revision, first to newest. ddl: the newest schema.

    Raises:
        Unavailable: it is a later version's store, or something else's database.
    """
    if not tables:
        return ddl
    if found is None or "grid" not in tables:
        raise faults.not_ours(place)
    if found == known[-1]:
        return ()
    if found not in known:
        raise faults.too_new(place, found)
    from crowdgrid.store.migrate import script  # slow to import, and hardly ever needed

    return statements(script(dialect, start=found))
