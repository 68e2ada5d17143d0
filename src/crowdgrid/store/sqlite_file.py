"""One SQLite file: how it is made, opened and told apart from another one.

- WAL, so that reads go on while a batch is written; `synchronous=FULL`, so that a commit that returned is on the disk.
- Made with mode 0600 (its log gets the same mode from SQLite), missing folders with 0700: results and keys are private.
- A hub must not go on writing into a file that somebody has deleted: `Inode` says whether the path still leads to it.
- Checkpoints are never made by a commit (`wal_autocheckpoint=0`): `checkpoint.py` does it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

Inode: TypeAlias = tuple[int, int]

BUSY_MS: Final = 2_000  # how long to wait for another process's write
WRITER_CACHE_KIB: Final = 16_384
READER_CACHE_KIB: Final = 4_096
STATEMENTS_KEPT: Final = 256  # prepared: each table's upsert in a handful of lengths


def prepare(path: Path) -> None:
    """Make the file, empty and private, unless it is there. Raises OSError."""
    _make_private(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def _make_private(folder: Path) -> None:
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def inode_of(path: Path) -> Inode | None:
    """Which file the path leads to, None when to none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino)


def _connect(path: Path, *, cache_kib: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_MS / 1000,
        isolation_level=None,  # transactions are begun and ended here, by hand
        check_same_thread=False,  # closed from another thread after its own has ended
        cached_statements=STATEMENTS_KEPT,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def writer(path: Path) -> sqlite3.Connection:
    """The connection that writes."""
    connection = _connect(path, cache_kib=WRITER_CACHE_KIB)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    connection = _connect(path, cache_kib=READER_CACHE_KIB)
    connection.execute("PRAGMA query_only = 1")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the write lock is taken at once, so that nothing fails half-way for want of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself on some errors
            connection.rollback()
        raise
