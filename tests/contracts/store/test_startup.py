"""A store is opened, whatever its revision, with neither SQLAlchemy nor Alembic: they are slow, and not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.store.databases import Database, PostgresDatabase, SqliteDatabase

OPEN_TWICE = """
import asyncio, sys
for missing in ("alembic", "mako", "sqlalchemy"):
    sys.modules[missing] = None  # importing it fails
from crowdgrid.store.open import open_store

async def main():
    for _ in range(2):  # new or older, then current
        store = open_store(sys.argv[1])
        await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)
        await store.close()

asyncio.run(main())
"""


def open_twice(url: str) -> None:
    subprocess.run([sys.executable, "-c", OPEN_TWICE, url], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_new_and_current_stores_are_opened_without_what_made_the_schema(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    urls = {"memory": "memory:", "sqlite": str(tmp_path / "grid.db")}
    open_twice(urls.get(kind) or request.getfixturevalue("postgres_dsn"))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_older_store_is_upgraded_without_what_made_the_schema(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database: Database = (
        SqliteDatabase(tmp_path / "grid.db")
        if kind == "sqlite"
        else PostgresDatabase(request.getfixturevalue("postgres_dsn"))
    )
    first, *_, newest = database.upgrades
    database.made_by_alembic(first)
    open_twice(database.url)
    assert database.run("SELECT version_num FROM alembic_version") == [(newest,)]
