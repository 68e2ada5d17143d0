"""Places a store can be in, and a hub that writes batches into one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from crowdgrid.core.model import GridRow, Record
from crowdgrid.store import Batch, Opened, Store
from crowdgrid.store.memory import MemoryStore
from crowdgrid.store.postgres import PostgresStore
from crowdgrid.store.sqlite import SqliteStore

GRID_ID, ID_KEY = b"g" * 16, b"k" * 16

Place: TypeAlias = Callable[[], Store]
"""Gives another handle on the same, at first empty, store."""


def memory() -> Place:
    only = MemoryStore()
    return lambda: only


def sqlite(folder: Path) -> Place:
    return lambda: SqliteStore(folder / "grid.db")


def postgres(dsn: str) -> Place:
    return lambda: PostgresStore(dsn)


class Hub:
    """Writes one batch after the other, as a keeper does."""

    def __init__(self, store: Store, opened: Opened) -> None:
        self.store = store
        self.opened = opened
        self.grid: GridRow = opened.grid

    def batch(self, *records: Record, **more: Any) -> Batch:
        grid = msgspec.structs.replace(self.grid, batch=self.grid.batch + 1, now=self.grid.now + 5)
        return Batch(grid, records, **more)

    async def save(
        self,
        *records: Record,
        dropped_partials: Sequence[tuple[int, int]] = (),
        dropped_jobs: Sequence[int] = (),
    ) -> None:
        batch = self.batch(*records, dropped_partials=dropped_partials, dropped_jobs=dropped_jobs)
        await self.store.commit(batch)
        self.grid = batch.grid


async def take_over(store: Store) -> Hub:
    return Hub(store, await store.open(grid_id=GRID_ID, id_key=ID_KEY))


def run(place: Place, scenario: Callable[[Hub], Awaitable[None]]) -> None:
    """Open the store, act, and close it whatever happens."""

    async def whole() -> None:
        store = place()
        try:
            await scenario(await take_over(store))
        finally:
            await store.close()

    asyncio.run(whole())


async def reopened(place: Place, hub: Hub) -> Opened:
    """What a hub finds that starts after this one has ended."""
    await hub.store.close()
    fresh = place()
    try:
        return await fresh.open(grid_id=b"?" * 16, id_key=b"?" * 16)
    finally:
        await fresh.close()
