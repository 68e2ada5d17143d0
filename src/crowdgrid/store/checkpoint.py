"""Copying SQLite's log into the database without holding up commits.

By itself SQLite does this inside the commit that fills the log, which then takes two fsyncs and tens of
milliseconds. Here another thread does it on its own connection after every `ROWS` rows: a *passive* checkpoint, which
writers do not notice. Under constant load it never catches up with the writer, and only a log copied to its end begins
anew; so when the log is longer than `PAGES_MAX` the writer itself copies the little that is left, between two commits.
"""

from __future__ import annotations

import sqlite3
from typing import Final

ROWS: Final = 4_000
"""Rows written before the log is copied."""
PAGES_MAX: Final = 4_096
"""Pages of 4 KiB the log may have before the writer finishes the copy itself."""


def passive(connection: sqlite3.Connection) -> int:
    """Copy what can be copied without waiting for anybody. Returns the log's length in pages, 0 when not known.

    The length is that at the beginning: what the writer adds meanwhile is neither counted nor copied. A checkpoint that
    fails (full disk, a reader in the way) loses nothing: the log still has it all, and a commit that cannot be written
    says so itself.
    """
    try:
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:
        return 0
    return int(pages)
