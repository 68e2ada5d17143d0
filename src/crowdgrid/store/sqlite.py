"""`Store` in one SQLite file: the default.

Three threads, each with its own connection: one writes (`sqlite_writer.py`), one reads, one copies the log
(`checkpoint.py`). The event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from crowdgrid.store import Batch, Opened, checkpoint, faults, rows, sqlite_file
from crowdgrid.store.faults import sqlite_explained
from crowdgrid.store.reads import SqlReads
from crowdgrid.store.sqlite_writer import Writer
from crowdgrid.store.statements_sqlite import QUERIES

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore(SqlReads):
    """The store in the file `path`, which `open` makes when it is not there."""

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.path = Path(path)
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._writer = Writer(self.path)
        self._reader: sqlite3.Connection | None = None
        self._copier: sqlite3.Connection | None = None

    # --- the port ---

    async def open(self, *, grid_id: bytes, id_key: bytes) -> Opened:
        for name in ("write", "read", "copy"):
            self._threads.setdefault(name, ThreadPoolExecutor(1, thread_name_prefix=f"store-{name}"))
        await self._in("read", self._close_reader)
        await self._in("copy", self._close_copier)
        opened = await self._in("write", self._writer.open, grid_id, id_key)
        self.dropped = self._writer.dropped
        return opened

    async def commit(self, batch: Batch) -> None:
        await self._in("write", self._writer.commit, batch)
        self.dropped = self._writer.dropped
        if self._writer.uncopied >= checkpoint.ROWS and "copy" in self._threads:
            self._writer.uncopied = 0
            self._threads["copy"].submit(self._copy_log)

    async def close(self) -> None:
        threads, self._threads = self._threads, {}
        for thread in threads.values():
            await asyncio.to_thread(thread.shutdown)
        for release in (self._close_reader, self._close_copier, self._writer.close):
            await asyncio.to_thread(release)

    async def fetch(self, statement: str, **parameters: Any) -> Sequence[rows.Row]:
        sql, names = QUERIES[statement]
        return await self._in("read", self._fetch, sql, [parameters[name] for name in names])

    async def _in(self, thread: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it on the thread, its errors explained."""
        if thread not in self._threads:
            raise faults.closed()

        def explained() -> T:
            with sqlite_explained(self.path):
                return call(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads[thread], explained)

    # --- on the reading thread ---

    def _fetch(self, sql: str, values: list[Any]) -> list[Any]:
        self._writer.check_file()
        if self._reader is None:
            self._reader = sqlite_file.reader(self.path)
        return self._reader.execute(sql, values).fetchall()

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    # --- on the copying thread ---

    def _copy_log(self) -> None:
        try:
            if self._copier is None:
                self._copier = sqlite_file.reader(self.path)
        except sqlite3.Error:
            return  # see `checkpoint.passive`
        self._writer.log_pages = checkpoint.passive(self._copier)

    def _close_copier(self) -> None:
        copier, self._copier = self._copier, None
        if copier is not None:
            copier.close()
