"""The schema made at once, the one reached by upgrading and Alembic's are the same, and upgrading keeps every row."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from crowdgrid.core.model import AssignmentState, Outcome, TaskState, TrustMove
from crowdgrid.errors import Fenced, Unavailable
from crowdgrid.store import (
    alembic_scripts,
    generate,
    postgres,
    sqlite_file,
    sqlite_writer,
    statements_postgres,
    statements_sqlite,
)
from tests.contracts.store import records
from tests.contracts.store.databases import Database, PostgresDatabase, Rows, SqliteDatabase, insert
from tests.contracts.store.disks import tiny_disk
from tests.contracts.store.places import GRID_ID, ID_KEY, take_over

FIXTURES = Path(__file__).parent / "revisions"
REVISIONS = [*statements_sqlite.UPGRADES]


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


def fill(database: Database, revision: str) -> dict[str, int]:
    """Insert the rows kept for `revision`. Returns how many there are of each table."""
    tables: Rows = json.loads((FIXTURES / f"{revision}.json").read_text())
    insert(database, tables)
    return {table: len(rows) for table, rows in tables.items()}


def revision_of(database: Database) -> str:
    ((found,),) = database.run("SELECT version_num FROM alembic_version")
    return str(found)


def test_schema_made_at_once_is_the_schema_alembic_makes(database: Database, other: Database) -> None:
    open_and_close(database)
    other.made_by_alembic(REVISIONS[-1])
    assert database.schema() == other.schema()
    assert revision_of(database) == revision_of(other) == REVISIONS[-1]


@pytest.mark.parametrize("revision", REVISIONS)
def test_upgraded_schema_is_the_schema_alembic_makes(database: Database, other: Database, revision: str) -> None:
    """The way every store takes that an earlier version made: from each revision, by the committed statements."""
    database.made_by_alembic(revision)
    open_and_close(database)
    other.made_by_alembic(REVISIONS[-1])
    assert database.schema() == other.schema()
    assert revision_of(database) == REVISIONS[-1]


def test_committed_statements_make_every_revision_as_alembic_makes_it(database: Database, other: Database) -> None:
    assert [*statements_sqlite.UPGRADES] == [*statements_postgres.UPGRADES]
    for revision, statements in database.upgrades.items():
        for statement in statements:
            database.run(statement)
        assert revision_of(database) == revision
    other.made_by_alembic("head")
    assert database.schema() == other.schema()


@pytest.mark.parametrize("revision", REVISIONS)
def test_store_of_every_revision_is_opened_with_its_rows(database: Database, revision: str) -> None:
    """A revision needs its rows in `revisions/`: without them nobody knows whether the next one keeps them."""
    database.made_by_alembic(revision)
    counts = fill(database, revision)
    open_and_close(database)
    assert revision_of(database) == REVISIONS[-1]
    for table, count in counts.items():
        assert database.run(f"SELECT count(*) FROM {table}") == [(count,)], table  # noqa: S608
    asyncio.run(check_records(database, revision))


def test_what_a_migrated_store_is_given_comes_back(database: Database) -> None:
    """A node that was there before says whose Python it runs; the result of a lease of before names its input."""
    database.made_by_alembic("0001")
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
        if revision < "0003":
            assert (task.wanted, row.task.confidence, hub.opened.standings) == (1, 0.0, ())
        else:
            (standing,) = hub.opened.standings
            assert (task.wanted, row.task.confidence, task.since) == (2, 0.9995, 0)
            assert (standing.node, standing.kind, standing.judged, standing.wrong) == (3, "ab" * 8, 40, 0.25)
            assert await store.trust_moves(3) == [TrustMove(3, 1_700_000_000_000, 1, 0, 2.4, 2.5)]
            assert (standing.evidence[0], standing.evidence[-1], standing.doubted) == (1.0, 1e-12, False)
        assert node.block == ("" if revision < "0004" else "10.1.2.0/24")
        if revision < "0004":
            assert await store.credits(1) == []
        else:
            [entry] = await store.credits(1)
            assert (entry.node, entry.amount, entry.units, entry.price) == (3, 4_200_000, 10, 420_000.0)
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


Future: TypeAlias = Callable[[str], None]


@pytest.fixture
def future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Future:
    """Makes this version what it will be with one revision more, that does something besides."""
    folder = tmp_path / "migrations"
    shutil.copytree(alembic_scripts.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def come(more: str = "") -> None:
        (folder / "versions" / "9999_future.py").write_text(NEXT.format(head=REVISIONS[-1], more=more))
        monkeypatch.setattr(alembic_scripts, "MIGRATIONS", folder)
        for dialect, adapter in (("sqlite", sqlite_writer), ("postgres", postgres)):
            monkeypatch.setattr(adapter, "UPGRADES", generate.upgrades(generate.dialects()[dialect]))

    return come


def current_store(database: Database) -> None:
    """A store of this version, with rows."""
    database.made_by_alembic(REVISIONS[-1])
    fill(database, REVISIONS[-1])


def test_older_store_is_upgraded_when_it_is_opened(database: Database, future: Future) -> None:
    current_store(database)
    future("")
    open_and_close(database)
    assert revision_of(database) == "future"
    assert database.run("SELECT nickname FROM node") == [("old laptop",)]


def test_upgrade_that_fails_half_way_leaves_the_store_as_it_was(database: Database, future: Future) -> None:
    current_store(database)
    before = database.schema()
    future('op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(Unavailable, match="nowhere"):
        open_and_close(database)
    assert database.schema() == before
    assert revision_of(database) == REVISIONS[-1]


def test_upgrade_for_which_the_disk_has_no_room_leaves_the_store_as_it_was(tmp_path: Path, future: Future) -> None:
    with tiny_disk(tmp_path / "disk", 16 << 20) as disk:
        database = SqliteDatabase(disk / "grid.db")
        current_store(database)
        before = database.schema()
        future('op.execute("CREATE TABLE ballast AS SELECT zeroblob(4000000) AS weight")')
        filler = disk / "filler"
        filler.write_bytes(bytes(14 << 20))
        with pytest.raises(Unavailable, match=r"disk .* is full") as caught:
            open_and_close(database)
        assert "space" in caught.value.hint
        assert database.schema() == before
        assert revision_of(database) == REVISIONS[-1]
        filler.unlink()
        open_and_close(database)
        assert revision_of(database) == "future"
        assert database.run("SELECT nickname FROM node") == [("old laptop",)]


def test_killed_upgrade_leaves_the_old_revision_and_the_next_start_ends_it(database: Database) -> None:
    """`kill -9` before the first statement, after each of them, and after the last but before the commit."""
    database.made_by_alembic(REVISIONS[0])
    fill(database, REVISIONS[0])
    before = database.schema()
    steps = sum(len(database.upgrades[revision]) for revision in REVISIONS[1:])
    for run in range(steps + 1):
        command = [sys.executable, "-m", "tests.contracts.store.cut_short", database.url, str(run)]
        assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
        assert database.schema() == before, f"killed after {run} statements"
        assert revision_of(database) == REVISIONS[0]
    asyncio.run(check_records(database, REVISIONS[0]))
    assert revision_of(database) == REVISIONS[-1]


def test_hubs_that_start_at_once_on_an_older_store_upgrade_it_once(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one waits, finds the work done, and fences the earlier one off."""
    monkeypatch.setattr(sqlite_file, "BUSY_MS", 60_000)  # a slow disk is not what is tried here
    database.made_by_alembic(REVISIONS[0])
    fill(database, REVISIONS[0])

    async def whole() -> None:
        hubs = await asyncio.gather(*(take_over(database.store()) for _ in range(3)))
        try:
            *earlier, latest = sorted(hubs, key=lambda hub: hub.grid.epoch)
            await latest.save(records.job(7))
            for hub in earlier:
                with pytest.raises(Fenced):
                    await hub.save(records.job(8))
        finally:
            for hub in hubs:
                await hub.store.close()

    asyncio.run(whole())
    other.made_by_alembic(REVISIONS[-1])
    assert database.schema() == other.schema()
    assert revision_of(database) == REVISIONS[-1]


def test_hub_of_the_version_before_is_fenced_off_when_the_store_is_upgraded_under_it(
    database: Database, future: Future
) -> None:
    async def whole() -> None:
        old = await take_over(database.store())
        await old.save(records.job(1))
        future("")
        new = await take_over(database.store())
        try:
            with pytest.raises(Fenced):
                await old.save(records.job(2))
            assert [job.number for job in new.opened.jobs] == [1]
            assert await new.store.job(2) is None
        finally:
            await old.store.close()
            await new.store.close()

    asyncio.run(whole())
    assert revision_of(database) == "future"


def test_store_of_a_later_version_is_refused_with_what_to_do(database: Database) -> None:
    open_and_close(database)
    database.run("UPDATE alembic_version SET version_num = '2999'")
    with pytest.raises(Unavailable, match="revision 2999") as caught:
        open_and_close(database)
    assert "newer crowdgrid" in caught.value.hint
    assert database.run("SELECT epoch FROM grid") == [(1,)], "not taken over"
