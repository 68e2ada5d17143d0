"""The schema made at once and the schema reached by migrating are the same, and migrating keeps every row."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid.core.model import AssignmentState, Outcome, TaskState
from crowdgrid.errors import Unavailable
from crowdgrid.store import migrate as migrating
from crowdgrid.store import postgres, sqlite_writer
from crowdgrid.store.migrate import revisions
from tests.contracts.store import records
from tests.contracts.store.databases import Database, PostgresDatabase, SqliteDatabase, migrate
from tests.contracts.store.places import GRID_ID, ID_KEY, take_over

FIXTURES = Path(__file__).parent / "revisions"
REVISIONS = revisions()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "grid.db")
    return PostgresDatabase(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
def other(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A second one of the same kind."""
    if isinstance(database, SqliteDatabase):
        return SqliteDatabase(tmp_path / "other.db")
    return PostgresDatabase(request.getfixturevalue("postgres_server").database())


def open_and_close(database: Database) -> None:
    async def whole() -> None:
        store = database.store()
        try:
            await store.open(grid_id=GRID_ID, id_key=ID_KEY)
        finally:
            await store.close()

    asyncio.run(whole())


def value_of(told: Any) -> Any:
    return bytes.fromhex(told["hex"]) if isinstance(told, dict) else told


def fill(database: Database, revision: str) -> dict[str, int]:
    """Insert the rows kept for `revision`. Returns how many there are of each table."""
    tables: dict[str, list[dict[str, Any]]] = json.loads((FIXTURES / f"{revision}.json").read_text())
    for table, rows in tables.items():
        for row in rows:
            columns = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join(f"${at + 1}" for at in range(len(row)))
            sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
            database.run(sql, [value_of(told) for told in row.values()])
    return {table: len(rows) for table, rows in tables.items()}


def test_schema_made_at_once_is_the_schema_reached_by_migrating(database: Database, other: Database) -> None:
    open_and_close(database)
    migrate(other, "base", "head")
    assert database.schema() == other.schema()
    assert database.run("SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]
    assert other.run("SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


@pytest.mark.parametrize("revision", REVISIONS)
def test_store_of_every_revision_is_opened_with_its_rows(database: Database, revision: str) -> None:
    """A revision needs its rows in `revisions/`: without them nobody knows whether the next one keeps them."""
    migrate(database, "base", revision)
    counts = fill(database, revision)
    open_and_close(database)
    assert database.run("SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]
    for table, count in counts.items():
        assert database.run(f"SELECT count(*) FROM {table}") == [(count,)], table  # noqa: S608
    asyncio.run(check_records(database, revision))


def test_what_a_migrated_store_is_given_comes_back(database: Database) -> None:
    """A node that was there before says whose Python it runs; the result of a lease of before names its input."""
    migrate(database, "base", "0001")
    fill(database, "0001")

    async def whole() -> None:
        hub = await take_over(database.store())
        (held,) = hub.opened.assignments
        (node,) = hub.opened.nodes
        assert node.trusts == ()
        answered = msgspec.structs.replace(held, state=AssignmentState.REPORTED, result=records.result())
        told = msgspec.structs.replace(node, trusts=("own", "ü"))
        try:
            await hub.save(answered, told)
            assert await hub.store.assignments(1, 1) == [answered]
            assert await hub.store.node(node.number) == told
        finally:
            await hub.store.close()

    asyncio.run(whole())


async def check_records(database: Database, revision: str) -> None:
    """What the rows of every revision mean. Later revisions keep meaning it."""
    hub = await take_over(database.store())
    store = hub.store
    try:
        assert (hub.grid.grid_id, hub.grid.batch, hub.grid.jobs) == (b"grid-of-revision", 41, 2)
        (job,) = hub.opened.jobs
        assert (job.name, job.spec.program, job.spec.args, job.counts.units) == ("sums", "ab" * 32, ("--x",), 100)
        (task,) = hub.opened.tasks
        (held,) = hub.opened.assignments
        assert (task.ordinal, task.state, held.node) == (1, TaskState.IN_PROGRESS, 3)
        (row,) = await store.settled(1)
        assert row.task.digest == b"\x01" * 32
        assert row.assignment is not None
        assert row.assignment.result is not None
        assert (row.assignment.result.payload, row.assignment.result.outcome) == (b"42", Outcome.OK)
        assert row.assignment.result.input == (b"" if revision == "0001" else b"\x06" * 32)
        node = await store.node_keyed(b"\x07" * 32)
        assert node is not None
        assert (node.runtimes, node.trust, node.linked) == (("wasm",), 2.5, True)
        assert node.trusts == (() if revision == "0001" else ("own", "group:lab")), "nobody is trusted unasked"
        assert [each.value for each in await store.partials(1)] == [b"7"]
        assert [each.count for each in await store.chunks(1, first=0, stop=9)] == [10]
        assert (hub.opened.tokens[0].role, hub.opened.invitations[0].uses_left) == ("admin", 9)
        signature = await store.signature(5)
        assert signature is not None
        assert signature.leaves == b"\x02" * 32
        assert await store.job(2) is None, "dropped, its rows still to be removed"
        assert await store.task(2, 0) is None
    finally:
        await store.close()


# --- the way an older store takes, tried with a revision of the future ------------------------------

NEXT = '''
"""Adds a column and fills it."""
import sqlalchemy as sa
from alembic import op

revision = "future"
down_revision = "{head}"

def upgrade():
    op.add_column("node", sa.Column("nickname", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE node SET nickname = 'old ' || name")
    {more}
'''


@pytest.fixture
def future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This version as it will be with one revision more: the folder its file has to be put into."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrating.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrating, "MIGRATIONS", folder)
    for adapter in (sqlite_writer, postgres):
        monkeypatch.setattr(adapter, "REVISIONS", (*REVISIONS, "future"))
    return folder / "versions" / "9999_future.py"


def test_older_store_is_migrated_when_it_is_opened(database: Database, future: Path) -> None:
    migrate(database, "base", REVISIONS[-1])
    fill(database, REVISIONS[-1])
    future.write_text(NEXT.format(head=REVISIONS[-1], more=""))
    open_and_close(database)
    assert database.run("SELECT version_num FROM alembic_version") == [("future",)]
    assert database.run("SELECT nickname FROM node") == [("old laptop",)]


def test_migration_that_fails_half_way_leaves_the_store_as_it_was(database: Database, future: Path) -> None:
    migrate(database, "base", REVISIONS[-1])
    fill(database, REVISIONS[-1])
    before = database.schema()
    future.write_text(NEXT.format(head=REVISIONS[-1], more='op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(Unavailable, match="nowhere"):
        open_and_close(database)
    assert database.schema() == before
    assert database.run("SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_store_of_a_later_version_is_refused_with_what_to_do(database: Database) -> None:
    open_and_close(database)
    database.run("UPDATE alembic_version SET version_num = '2999'")
    with pytest.raises(Unavailable, match="revision 2999") as caught:
        open_and_close(database)
    assert "newer crowdgrid" in caught.value.hint
    assert database.run("SELECT epoch FROM grid") == [(1,)], "not taken over"
