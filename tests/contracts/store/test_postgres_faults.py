"""What can befall a PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import asyncpg
import pytest

from crowdgrid.errors import Fenced, Unavailable
from crowdgrid.store.postgres import PostgresStore
from crowdgrid.store.postgres_link import explained
from tests.contracts.store import places
from tests.contracts.store.places import GRID_ID, ID_KEY, Hub, run, take_over
from tests.contracts.store.records import job, task
from tests.postgres import PostgresServer


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server this test may kill."""
    server = PostgresServer()
    yield server
    server.stop()


def test_database_killed_and_back_again(own_server: PostgresServer) -> None:
    """While it is gone every call fails with a sentence; when it is back the next one works and nothing is lost."""

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1), task(1, 0))
        assert await hub.store.job(1) == job(1)  # a reading connection is open, too
        await asyncio.to_thread(own_server.kill)
        for _ in range(2):
            with pytest.raises(Unavailable, match="database"):
                await hub.save(job(2))
            with pytest.raises(Unavailable, match="database"):
                await hub.store.job(1)
            with pytest.raises(Unavailable, match="database"):
                await hub.store.open(grid_id=GRID_ID, id_key=ID_KEY)
        await asyncio.to_thread(own_server.start)
        again = await take_over(hub.store)
        assert again.opened.jobs == (job(1),)
        assert again.grid.batch == 1
        await again.save(job(2))
        assert await hub.store.job(2) == job(2)

    run(places.postgres(own_server.database()), scenario)


def test_commit_works_again_without_opening_anew(own_server: PostgresServer) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(Unavailable):
            await hub.save(job(2))
        await asyncio.to_thread(own_server.start)
        await hub.save(job(2))
        assert await hub.store.job(2) == job(2)

    run(places.postgres(own_server.database()), scenario)


def test_connection_cut_by_an_administrator_costs_at_most_one_call(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.database()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crowdgrid'"

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        await asyncio.to_thread(postgres_server.execute, cut)
        with suppress(Unavailable):  # it may know already that the connection is closed, and make another
            await hub.save(job(2))
        again = await take_over(hub.store)
        assert await hub.store.job(1) == job(1)
        await again.save(job(3))
        assert await hub.store.job(3) == job(3)

    run(places.postgres(dsn), scenario)
    postgres_server.drop(dsn)


def test_two_hubs_that_start_at_once_on_an_empty_database_make_one_schema(postgres_dsn: str) -> None:
    async def whole() -> None:
        stores = [PostgresStore(postgres_dsn) for _ in range(4)]
        hubs = await asyncio.gather(*(take_over(store) for store in stores))
        assert sorted(hub.grid.epoch for hub in hubs) == [1, 2, 3, 4]
        for hub in hubs:
            if hub.grid.epoch == 4:
                await hub.save(job(1))
            else:
                with pytest.raises(Fenced):
                    await hub.save(job(2))
        for store in stores:
            await store.close()

    asyncio.run(whole())


def test_grid_dropped_under_a_running_hub_is_not_begun_anew(postgres_dsn: str, postgres_server: PostgresServer) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        await asyncio.to_thread(postgres_server.execute, "DELETE FROM grid", postgres_dsn)
        with pytest.raises(Unavailable):
            await hub.save(job(2))
        with pytest.raises(Unavailable, match="removed or replaced"):
            await take_over(hub.store)

    run(places.postgres(postgres_dsn), scenario)


def opening(dsn: str) -> None:
    async def whole() -> None:
        store = PostgresStore(dsn)
        try:
            await store.open(grid_id=GRID_ID, id_key=ID_KEY)
        finally:
            await store.close()

    asyncio.run(whole())


def test_database_of_something_else_is_left_as_it_is(postgres_dsn: str, postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE TABLE recipes (name TEXT)", postgres_dsn)
    with pytest.raises(Unavailable, match="something else"):
        opening(postgres_dsn)


def test_database_that_does_not_exist_is_named(postgres_server: PostgresServer) -> None:
    with pytest.raises(Unavailable, match="no database nowhere"):
        opening(postgres_server.address("nowhere"))


def test_user_without_the_right_to_make_tables_is_told(postgres_dsn: str, postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE ROLE guest LOGIN", postgres_dsn)
    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            opening(postgres_dsn.replace("postgres:@", "guest:@"))
    finally:
        postgres_server.execute("DROP ROLE guest", postgres_dsn)


def test_server_nobody_listens_at_is_unreachable_and_no_sentence_tells_the_password() -> None:
    with pytest.raises(Unavailable, match=r"grid on 127\.0\.0\.1 cannot be reached") as caught:
        opening("postgresql://ann:s3cret@127.0.0.1:1/grid")
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (asyncpg.DiskFullError("no space"), "disk .* is full"),
        (asyncpg.ReadOnlySQLTransactionError("standby"), "cannot be written"),
        (asyncpg.InvalidPasswordError("wrong"), "does not let this user in"),
        (asyncpg.TooManyConnectionsError("too many"), "refused"),
        (ConnectionResetError("reset"), "cannot be reached"),
        (TimeoutError(), "cannot be reached"),
    ],
)
def test_each_fault_of_the_server_has_its_sentence(problem: Exception, says: str) -> None:
    with pytest.raises(Unavailable, match=says), explained("grid on db"):
        raise problem
