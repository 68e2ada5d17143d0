"""What can befall a SQLite file: each fault gets a clear sentence and nothing is half-written."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from crowdgrid.core.model import JobState
from crowdgrid.errors import Unavailable
from crowdgrid.store import checkpoint, sqlite_file, sweep
from crowdgrid.store.sqlite import SqliteStore
from tests.contracts.store import places
from tests.contracts.store.disks import read_only, tiny_disk
from tests.contracts.store.places import GRID_ID, ID_KEY, Hub, run, take_over
from tests.contracts.store.records import job, lease, reported, result, task


def open_it(path: Path) -> None:
    async def whole() -> None:
        store = SqliteStore(path)
        try:
            await store.open(grid_id=GRID_ID, id_key=ID_KEY)
        finally:
            await store.close()

    asyncio.run(whole())


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def move_all(folder: Path, other: Path) -> None:
    for path in folder.iterdir():
        path.rename(other / path.name)


def test_store_and_its_log_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "grid"

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert found == {"grid.db": 0o600, "grid.db-wal": 0o600, "grid.db-shm": 0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700

    run(places.sqlite(folder), scenario)


def test_closing_leaves_one_file_that_holds_everything(tmp_path: Path) -> None:
    """A copy of the file of a stopped hub is a backup."""

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))

    run(places.sqlite(tmp_path), scenario)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.db"]


async def fill(hub: Hub) -> None:
    for at in range(100):
        await hub.save(job(2), reported(1, at, result=result(bytes(60_000))), task(1, at))


def test_commit_on_a_full_disk_says_so_and_the_store_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 2 << 20) as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(1 << 20))

        async def scenario(hub: Hub) -> None:
            await hub.save(job(1))
            with pytest.raises(Unavailable, match=r"disk .* is full") as caught:
                await fill(hub)
            assert "space" in caught.value.hint
            filler.unlink()
            again = await take_over(SqliteStore(disk / "grid.db"))
            tasks = await again.store.tasks(1)
            assert again.grid.batch == hub.grid.batch
            assert len(tasks) == again.grid.batch - 1
            assert all([await again.store.assignments(1, each.ordinal) for each in tasks])
            await again.store.close()

        run(places.sqlite(disk), scenario)


def test_commit_that_fills_the_database_leaves_nothing_of_itself(tmp_path: Path) -> None:
    """SQLite ends a transaction by itself when it finds no room; the batch must not be there in part."""

    async def scenario(hub: Hub) -> None:
        assert isinstance(hub.store, SqliteStore)
        await hub.save(job(1))
        hub.store._writer._connected().execute("PRAGMA max_page_count = 60")
        with pytest.raises(Unavailable, match="is full"):
            await hub.save(task(1, 0), job(2), *(reported(1, at, result=result(bytes(60_000))) for at in range(9)))
        assert await hub.store.task(1, 0) is None
        assert await hub.store.job(2) is None
        await hub.save(task(1, 1))  # a new connection, without the limit
        assert [each.ordinal for each in await hub.store.tasks(1)] == [1]

    run(places.sqlite(tmp_path), scenario)


def test_read_only_folder_is_named(tmp_path: Path) -> None:
    with read_only(tmp_path / "locked") as folder, pytest.raises(Unavailable, match="locked") as caught:
        open_it(folder / "grid.db")
    assert "write" in caught.value.hint


def test_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=str(tmp_path)):
        open_it(tmp_path)


def test_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "grid.db"
    path.write_bytes(b"dear diary, " * 500)
    with pytest.raises(Unavailable, match="not a database"):
        open_it(path)
    assert path.read_bytes() == b"dear diary, " * 500


def test_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "grid.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(Unavailable, match="something else"):
        open_it(path)
    with sqlite3.connect(path) as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_schema")] == ["recipes"]
    other.close()


def test_damaged_page_is_named_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "grid.db"

    async def fill(hub: Hub) -> None:
        await hub.save(job(1), *(task(1, at) for at in range(5_000)))

    run(places.sqlite(tmp_path), fill)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\x5a" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=r"damaged|not a database|something else"):
        open_it(path)


def test_row_that_makes_no_sense_is_a_damaged_store(tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1), task(1, 0))
        with sqlite3.connect(tmp_path / "grid.db") as other:
            other.execute("UPDATE task SET state = 99")
            other.execute("UPDATE job_spec SET spec = '{}'")
        other.close()
        with pytest.raises(Unavailable, match="damaged"):
            await hub.store.task(1, 0)
        with pytest.raises(Unavailable, match="damaged"):
            await hub.store.job(1)

    run(places.sqlite(tmp_path), scenario)


def test_file_deleted_under_a_running_hub_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    """SQLite would go on writing into a file nobody can ever open again."""

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        remove_all(tmp_path)
        with pytest.raises(Unavailable, match="removed or replaced"):
            await hub.save(job(2))
        with pytest.raises(Unavailable, match="removed or replaced"):
            await hub.store.job(1)
        with pytest.raises(Unavailable, match="removed or replaced"):
            await take_over(hub.store)

    run(places.sqlite(tmp_path), scenario)
    assert not any(tmp_path.iterdir()), "no new, empty grid in its place"


def test_another_grid_in_place_of_the_file_is_not_taken_for_ours(tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        other = SqliteStore(tmp_path / "other.db")
        await other.open(grid_id=b"o" * 16, id_key=b"o" * 16)
        await other.close()
        (tmp_path / "other.db").rename(tmp_path / "grid.db")
        with pytest.raises(Unavailable, match="removed or replaced"):
            await hub.save(job(1))
        with pytest.raises(Unavailable, match="removed or replaced"):
            await take_over(hub.store)

    run(places.sqlite(tmp_path), scenario)


def test_file_put_back_is_used_again(tmp_path: Path) -> None:
    """What the sentence advises must work."""
    aside = tmp_path.parent / "aside"
    aside.mkdir()

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        move_all(tmp_path, aside)
        with pytest.raises(Unavailable):
            await hub.save(job(2))
        move_all(aside, tmp_path)
        again = await take_over(hub.store)
        assert again.opened.jobs == (job(1),)
        await again.save(job(2))

    run(places.sqlite(tmp_path), scenario)


def test_process_that_holds_the_write_lock_is_told_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_MS", 20)

    async def scenario(hub: Hub) -> None:
        other = sqlite3.connect(tmp_path / "grid.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="Another process is writing"):
            await hub.save(job(1))
        other.execute("ROLLBACK")
        other.close()
        await hub.save(job(1))
        assert await hub.store.job(1) == job(1)

    run(places.sqlite(tmp_path), scenario)


def test_swept_rows_are_really_gone(tmp_path: Path) -> None:
    """The contract only sees that nothing is read; here the tables are looked into."""

    async def scenario(hub: Hub) -> None:
        many = sweep.STEP + 10
        await hub.save(
            job(1, state=JobState.FINAL, ended_at=1),
            *(task(1, at) for at in range(many)),
            *(lease(1, at) for at in range(many)),
            task(2, 0),
        )
        await hub.save(dropped_jobs=[1])
        for _ in range(6):
            await hub.save()
        tables = ("task", "assignment", "job", "job_spec", "dropped")
        with sqlite3.connect(tmp_path / "grid.db") as other:
            left = [other.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608
        other.close()
        assert left == [1, 0, 0, 0, 0]

    run(places.sqlite(tmp_path), scenario)


def test_log_stays_short_under_constant_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits never copy the log, so somebody else must: else it grows until the disk is full."""
    monkeypatch.setattr(checkpoint, "ROWS", 200)
    monkeypatch.setattr(checkpoint, "PAGES_MAX", 64)

    async def scenario(hub: Hub) -> None:
        written = 0
        for at in range(150):
            records = [reported(1, at * 20 + each, result=result(bytes(2_000))) for each in range(20)]
            await hub.save(*records)
            written += 20 * 2_000
        log = (tmp_path / "grid.db-wal").stat().st_size
        assert log < written, f"the log has {log:,} bytes after {written:,} bytes of results"

    run(places.sqlite(tmp_path), scenario)
