"""The writing half of the SQLite store: everything here runs on one thread, on one connection.

Rows are written many to a statement, not with `executemany`: the driver gives the interpreter lock up for every step,
and a busy event loop hands it back only after milliseconds; a batch of 800 rows would take seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from crowdgrid.core.model import GridRow
from crowdgrid.errors import Fenced
from crowdgrid.store import Batch, Opened, checkpoint, faults, rows, sqlite_file, sweep
from crowdgrid.store.revision import needed, newest
from crowdgrid.store.statements_sqlite import DDL, QUERIES, UPGRADES, UPSERTS, WRITES

T = TypeVar("T")

_LENGTHS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # rows of one statement; × 21 columns < 32,766 parameters
_MADE: Final = {
    (group, length): head + ", ".join([row] * length) + tail
    for group, (head, row, tail) in UPSERTS.items()
    for length in _LENGTHS
}
_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table'"


class Writer:
    """Writes the file `path`. Raises sqlite3's errors and OSError; the adapter explains them.

    Attributes:
        dropped: jobs whose rows are being removed.
        uncopied: rows written since the log was last copied into the database.
        log_pages: the log's length when it was last copied.
    """

    def __init__(self, path: Path) -> None:
        self.dropped: set[int] = set()
        self.uncopied = 0
        self.log_pages = 0
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode: sqlite_file.Inode | None = None
        self._grid_id = b""
        self._epochs: set[int] = set()
        self._specs = rows.Specs()

    def check_file(self) -> None:
        """Raise Unavailable when the path does not lead to the opened file any more: somebody deleted or replaced it."""
        if self._inode is None or sqlite_file.inode_of(self._path) != self._inode:
            raise faults.replaced(str(self._path))

    def close(self) -> None:
        """Forget the connection; the last one of all to close copies the log and removes it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite_file.writer(self._path)
        return self._connection

    # --- opening ---

    def open(self, grid_id: bytes, id_key: bytes) -> Opened:
        """See `Store.open`."""
        self.close()
        if self._grid_id:
            self.check_file()  # another file beside this one's log would be a mixture of both
        sqlite_file.prepare(self._path)
        self._inode = sqlite_file.inode_of(self._path)
        connection = self._connected()
        try:
            with sqlite_file.transaction(connection):
                self._migrate(connection)
                self._take_over(connection, grid_id, id_key)
            return self._load(connection)
        except BaseException:
            self.close()
            raise

    def _migrate(self, connection: sqlite3.Connection) -> None:
        tables = {name for (name,) in connection.execute(_TABLES)}
        found = None
        if "alembic_version" in tables:
            found = next((row[0] for row in connection.execute(QUERIES["revision"][0])), None)
        for statement in needed(str(self._path), tables, found, upgrades=UPGRADES, ddl=DDL):
            connection.execute(statement)
        if not tables:
            connection.execute(WRITES["stamp"][0], (newest(UPGRADES),))

    def _take_over(self, connection: sqlite3.Connection, grid_id: bytes, id_key: bytes) -> None:
        there = connection.execute(QUERIES["grid"][0]).fetchone()
        if self._grid_id and (there is None or rows.grid(there).grid_id != self._grid_id):
            raise faults.replaced(str(self._path))
        self._epochs = rows.epochs_of(there, self._epochs)
        if there is None:
            connection.execute(WRITES["create"][0], (1, 0, 0, 0, 0, 0, 0, 0, 0, grid_id, id_key))
        connection.execute(WRITES["take_over"][0])

    def _load(self, connection: sqlite3.Connection) -> Opened:
        def load(statement: str, decode: Callable[[rows.Row], T]) -> tuple[T, ...]:
            return tuple(rows.decoded(decode, connection.execute(QUERIES[statement][0])))

        opened = Opened(
            grid=load("grid", rows.grid)[0],
            jobs=load("open_jobs", rows.job),
            tasks=load("open_tasks", rows.task),
            assignments=load("open_assignments", rows.assignment),
            nodes=load("open_nodes", rows.node),
            standings=load("standings", rows.standing),
            tokens=load("tokens", rows.token),
            invitations=load("invitations", rows.invitation),
        )
        self.dropped = {row[0] for row in connection.execute(QUERIES["dropped"][0])}
        self._grid_id, self._epochs = opened.grid.grid_id, {opened.grid.epoch}
        self._specs.clear()
        self._specs.keep(opened.jobs)
        return opened

    # --- one batch ---

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        self.check_file()
        connection = self._connected()
        try:
            with sqlite_file.transaction(connection):
                self._fence(connection, batch.grid)
                self._drop(connection, batch)
                self._write(connection, batch)
                swept = self._sweep(connection, batch.dropped_jobs)
        except (sqlite3.Error, OSError):
            self._specs.clear()
            self.close()  # what it believes of the file may be wrong now
            raise
        self._specs.keep(batch.records)
        self.dropped = self.dropped.union(batch.dropped_jobs) - {swept}
        self.uncopied += len(batch.records) + 1
        self._finish_copy(connection)

    def _fence(self, connection: sqlite3.Connection, grid: GridRow) -> None:
        sql, names = WRITES["fence"]
        if connection.execute(sql, [getattr(grid, name) for name in names]).rowcount != 1:
            raise Fenced

    def _drop(self, connection: sqlite3.Connection, batch: Batch) -> None:
        for key in batch.dropped_partials:
            connection.execute(WRITES["drop_partial"][0], key)
        for number in batch.dropped_jobs:
            for statement in ("drop_job", "drop_spec", "note_dropped"):
                connection.execute(WRITES[statement][0], (number,))

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        groups = rows.groups_of(batch.records)
        groups["job_spec"] = list(self._specs.rows(batch.records))
        for group, given in groups.items():
            done = 0
            for length in _LENGTHS:
                while len(given) - done >= length:
                    values = list(chain.from_iterable(given[done : done + length]))
                    connection.execute(_MADE[group, length], values)
                    done += length

    def _sweep(self, connection: sqlite3.Connection, now_dropped: Sequence[int]) -> int:
        """One step of removing a dropped job's rows. Returns the job's number when none are left, else 0."""
        waiting = self.dropped.union(now_dropped)
        if not waiting:
            return 0
        job = min(waiting)
        for table in sweep.SWEPT:
            (first,) = connection.execute(WRITES[f"first_{table}"][0], (job,)).fetchone()
            if first is not None:
                connection.execute(WRITES[f"sweep_{table}"][0], (job, first + sweep.STEP))
                return 0
        connection.execute(WRITES["forget_dropped"][0], (job,))
        return job

    def _finish_copy(self, connection: sqlite3.Connection) -> None:
        """Copy the little that is left of a long log, so that it begins anew: see `checkpoint.py`."""
        if self.log_pages > checkpoint.PAGES_MAX:
            self.log_pages = 0
            checkpoint.passive(connection)
