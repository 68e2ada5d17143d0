"""A hub of this version goes on with what a hub of an earlier one wrote.

`stores/NNNN` is what the last version with that revision left behind when it was killed in the middle of its third job:
the rows of its store as JSON, and its blobs. It had run `primes` over 0 … 10⁵, `echo` over three items, and `primes` over
0 … 4 · 10⁹ in twenty tasks of which three were done and four leased when its agent and then itself got SIGKILL; token
and invitation are those of these tests.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contracts.store.databases import Database, PostgresDatabase, Rows, SqliteDatabase, insert
from tests.e2e.faults.recount import recount, sound
from tests.e2e.grid import Grid
from tests.postgres import postgres_dsn, postgres_server  # noqa: F401 — fixtures

STORES: Final = Path(__file__).parent / "stores"
A_TIME_MS: Final = 10**12  # what is larger than this is a time


def as_if_just_now(tables: Rows) -> Rows:
    """The same rows, their times moved to today: what ended a month ago would be removed."""
    by = int(time.time() * 1000) - tables["grid"][0]["now"]

    def moved(value: Any) -> Any:
        return value + by if isinstance(value, int) and value > A_TIME_MS else value

    return {
        table: [{name: moved(value) for name, value in row.items()} for row in rows] for table, rows in tables.items()
    }


@pytest.mark.parametrize("revision", sorted(folder.name for folder in STORES.iterdir()))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_jobs_of_an_older_hub_are_there_and_the_unfinished_one_is_finished(
    kind: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = "" if kind == "sqlite" else request.getfixturevalue("postgres_dsn")
    grid = Grid(tmp_path, store=store, timers={"limits:LEASE_SECONDS": 3})
    shutil.copytree(STORES / revision / "blobs", grid.data / "blobs")
    database: Database = PostgresDatabase(store) if store else SqliteDatabase(grid.data / "grid.db")
    database.made_by_alembic(revision)
    insert(database, as_if_just_now(json.loads((STORES / revision / "grid.json").read_text())))
    with grid:
        grid.start_hub()
        with grid.connect() as connected:
            assert connected.job("primes below 10⁵").result(timeout=60) == 9_592
            assert connected.job("lines").result(timeout=60) == [b"eins", b"zwei", "drei ü".encode()]
            half = connected.job("half way")
            assert grid.get(f"/v1/jobs/{half.id}")["counts"]["validated"] == 3
            grid.start_agent()
            assert half.result(timeout=100) == 189_961_812
        assert grid.hub.stop() == 0
    assert database.run("SELECT version_num FROM alembic_version") == [([*database.upgrades][-1],)]
    if not store:
        with grid.database() as whole:
            sound(whole)
            recount(whole, 3)
