"""`Store` in PostgreSQL, through asyncpg.

One connection writes, a small pool reads. After the database was gone each call fails with Unavailable until it is back,
and the next one works: connections are made when they are needed.

A batch's rows go as one array a column (`INSERT … SELECT … FROM unnest(…)`): one round trip a table. PostgreSQL
cannot keep the character NUL in text; it is written as U+FFFD.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg

from crowdgrid.core.model import GridRow
from crowdgrid.errors import Fenced
from crowdgrid.store import Batch, Opened, faults, postgres_link, rows, sweep
from crowdgrid.store.reads import SqlReads
from crowdgrid.store.revision import needed, newest
from crowdgrid.store.statements_postgres import DDL, QUERIES, UPGRADES, UPSERTS, WRITES

T = TypeVar("T")

_OPENING: Final = 0x63726F7764  # advisory lock: two hubs that start at once make the schema one after the other
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
_ONE_ROW: Final = "UPDATE 1"


def _storable(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _columns(group: str, given: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns; of rows with the same key the last (one statement may not touch a row twice)."""
    width = rows.KEY_COLUMNS[group]
    unique = {row[:width]: row for row in given}
    found = [list(column) for column in zip(*unique.values())]
    return [[_storable(each) for each in column] if isinstance(column[0], str) else column for column in found]


class PostgresStore(SqlReads):
    """The store in the database `dsn` (a libpq address, `postgresql://user@host/database`)."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn
        self.place = postgres_link.place_of(dsn)
        self._writer: Any = None
        self._pool: Any = None
        self._writing = asyncio.Lock()
        self._grid_id = b""
        self._epochs: set[int] = set()
        self._specs = rows.Specs()

    # --- the port ---

    async def open(self, *, grid_id: bytes, id_key: bytes) -> Opened:
        async with self._writing:
            with postgres_link.explained(self.place):
                try:
                    return await self._open(grid_id, id_key)
                except BaseException:
                    self._let_go()
                    raise

    async def commit(self, batch: Batch) -> None:
        if self._pool is None:
            raise faults.closed()
        async with self._writing:
            with postgres_link.explained(self.place):
                try:
                    await self._commit(batch)
                except Fenced:
                    raise
                except BaseException:
                    self._specs.clear()
                    self._let_go()
                    raise

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        self._let_go()
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), postgres_link.CONNECT_SECONDS)
            except (TimeoutError, OSError, asyncpg.PostgresError):
                pool.terminate()

    async def fetch(self, statement: str, **parameters: Any) -> Sequence[rows.Row]:
        if self._pool is None:
            raise faults.closed()
        sql, names = QUERIES[statement]
        with postgres_link.explained(self.place):
            found: Sequence[rows.Row] = await self._pool.fetch(sql, *(_storable(parameters[n]) for n in names))
        return found

    # --- opening ---

    async def _open(self, grid_id: bytes, id_key: bytes) -> Opened:
        self._let_go()  # whatever was under way on the old connection must not mix with this
        if self._pool is None:
            self._pool = await postgres_link.pool(self._dsn)
        writer = await self._connected()
        async with writer.transaction():
            await writer.execute("SELECT pg_advisory_xact_lock($1)", _OPENING)
            await self._migrate(writer)
            await self._take_over(writer, grid_id, id_key)
        return await self._load(writer)

    async def _migrate(self, writer: Any) -> None:
        tables = {row[0] for row in await writer.fetch(_TABLES)}
        found = None
        if "alembic_version" in tables:
            found = await writer.fetchval(QUERIES["revision"][0])
        for statement in needed(self.place, tables, found, upgrades=UPGRADES, ddl=DDL):
            await writer.execute(statement, timeout=postgres_link.OPEN_SECONDS)
        if not tables:
            await writer.execute(WRITES["stamp"][0], newest(UPGRADES))

    async def _take_over(self, writer: Any, grid_id: bytes, id_key: bytes) -> None:
        there = await writer.fetchrow(QUERIES["grid"][0])
        if self._grid_id and (there is None or rows.grid(there).grid_id != self._grid_id):
            raise faults.replaced(self.place)
        self._epochs = rows.epochs_of(there, self._epochs)
        if there is None:
            await writer.execute(WRITES["create"][0], 1, 0, 0, 0, 0, 0, 0, 0, 0, grid_id, id_key)
        await writer.execute(WRITES["take_over"][0])

    async def _load(self, writer: Any) -> Opened:
        async def load(statement: str, decode: Callable[[rows.Row], T]) -> tuple[T, ...]:
            found = await writer.fetch(QUERIES[statement][0], timeout=postgres_link.OPEN_SECONDS)
            return tuple(rows.decoded(decode, found))

        opened = Opened(
            grid=(await load("grid", rows.grid))[0],
            jobs=await load("open_jobs", rows.job),
            tasks=await load("open_tasks", rows.task),
            assignments=await load("open_assignments", rows.assignment),
            nodes=await load("open_nodes", rows.node),
            standings=await load("standings", rows.standing),
            tokens=await load("tokens", rows.token),
            invitations=await load("invitations", rows.invitation),
        )
        self.dropped = {row[0] for row in await writer.fetch(QUERIES["dropped"][0])}
        self._grid_id, self._epochs = opened.grid.grid_id, {opened.grid.epoch}
        self._specs.clear()
        self._specs.keep(opened.jobs)
        return opened

    # --- one batch ---

    async def _commit(self, batch: Batch) -> None:
        writer = await self._connected()
        async with writer.transaction():
            await self._fence(writer, batch.grid)
            await self._drop(writer, batch)
            await self._write(writer, batch)
            swept = await self._sweep(writer, batch.dropped_jobs)
        self._specs.keep(batch.records)
        self.dropped.update(batch.dropped_jobs)
        self.dropped.discard(swept)

    async def _fence(self, writer: Any, grid: GridRow) -> None:
        sql, names = WRITES["fence"]
        if await writer.execute(sql, *(getattr(grid, name) for name in names)) != _ONE_ROW:
            raise Fenced

    async def _drop(self, writer: Any, batch: Batch) -> None:
        if batch.dropped_partials:
            await writer.executemany(WRITES["drop_partial"][0], batch.dropped_partials)
        for number in batch.dropped_jobs:
            for statement in ("drop_job", "drop_spec", "note_dropped"):
                await writer.execute(WRITES[statement][0], number)

    async def _write(self, writer: Any, batch: Batch) -> None:
        groups = rows.groups_of(batch.records)
        if specs := self._specs.rows(batch.records):
            groups["job_spec"] = list(specs)
        for group, given in groups.items():
            await writer.execute(UPSERTS[group], *_columns(group, given))

    async def _sweep(self, writer: Any, now_dropped: Sequence[int]) -> int:
        """One step of removing a dropped job's rows. Returns the job's number when none are left, else 0."""
        waiting = self.dropped.union(now_dropped)
        if not waiting:
            return 0
        job = min(waiting)
        for table in sweep.SWEPT:
            first = await writer.fetchval(WRITES[f"first_{table}"][0], job)
            if first is not None:
                await writer.execute(WRITES[f"sweep_{table}"][0], job, first + sweep.STEP)
                return 0
        await writer.execute(WRITES["forget_dropped"][0], job)
        return job

    # --- the writing connection ---

    async def _connected(self) -> Any:
        if self._writer is None or self._writer.is_closed():
            self._writer = await postgres_link.connect(self._dsn)
        return self._writer

    def _let_go(self) -> None:
        """Drop the connection without waiting for a server that may be gone; it rolls back what is not committed."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.terminate()
