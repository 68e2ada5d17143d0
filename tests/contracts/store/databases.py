"""Raw access to both databases, for tests that look below the port."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import asyncpg

from crowdgrid.store import Store, statements_postgres, statements_sqlite
from crowdgrid.store.postgres import PostgresStore
from crowdgrid.store.revision import Upgrades
from crowdgrid.store.sqlite import SqliteStore
from tests.contracts.store import alembic_itself

Rows: TypeAlias = dict[str, list[dict[str, Any]]]
"""Rows by table, as JSON files hold them: bytes are `{"hex": …}`."""


class Database(Protocol):
    """An empty database and the store in it."""

    upgrades: Upgrades
    url: str

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def store(self) -> Store: ...

    def schema(self) -> list[tuple[Any, ...]]:
        """Everything that makes up the schema, in a form two of which can be compared."""
        ...

    def made_by_alembic(self, revision: str) -> None:
        """Make the schema of a revision as Alembic itself does, whatever was generated from it."""
        ...


class SqliteDatabase:
    upgrades: Upgrades = statements_sqlite.UPGRADES

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = str(path)

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path)
        with connection:
            found = connection.execute(re.sub(r"\$(\d+)", r"?\1", sql), values).fetchall()
        connection.close()
        return found

    def store(self) -> Store:
        return SqliteStore(self._path)

    def schema(self) -> list[tuple[Any, ...]]:
        """Columns as SQLite understood them (an added one stands elsewhere in the text of its table), indexes as text."""
        tables = self.run("SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
        columns = [
            (table[0], *column)
            for table in tables
            for column in self.run("SELECT * FROM pragma_table_xinfo($1)", [table[0]])
        ]
        indexes = self.run(
            "SELECT name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE type != 'table' ORDER BY 1"
        )
        return [*tables, *columns, *[(*row[:2], re.sub(r"\s+", " ", row[2])) for row in indexes]]

    def made_by_alembic(self, revision: str) -> None:
        alembic_itself.migrate_sqlite(self._path, revision)


class PostgresDatabase:
    upgrades: Upgrades = statements_postgres.UPGRADES

    def __init__(self, dsn: str) -> None:
        self._dsn = self.url = dsn

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        async def whole() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self._dsn)
            try:
                return [tuple(row) for row in await connection.fetch(sql, *values)]
            finally:
                await connection.close()

        return asyncio.run(whole())

    def store(self) -> Store:
        return PostgresStore(self._dsn)

    def schema(self) -> list[tuple[Any, ...]]:
        columns = self.run(
            "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, "
            "character_maximum_length FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3"
        )
        indexes = self.run("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        constraints = self.run(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
        )
        return [*columns, *indexes, *constraints]

    def made_by_alembic(self, revision: str) -> None:
        async def whole() -> None:
            connection = await asyncpg.connect(self._dsn)
            try:
                await connection.execute(alembic_itself.script("postgresql", revision))
            finally:
                await connection.close()

        asyncio.run(whole())


def insert(database: Database, tables: Rows) -> None:
    """Put the rows into a database that has the tables."""
    for table, rows in tables.items():
        for row in rows:
            columns = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join(f"${at + 1}" for at in range(len(row)))
            sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
            database.run(sql, [bytes.fromhex(told["hex"]) if isinstance(told, dict) else told for told in row.values()])
