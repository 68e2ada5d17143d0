"""Connections to PostgreSQL, and its errors as sentences. No sentence holds the password of the address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from crowdgrid.errors import CrowdgridError, Unavailable
from crowdgrid.store import faults
from crowdgrid.store.rows import unstorable

CONNECT_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 30.0  # a database that does not answer for so long counts as lost
OPEN_SECONDS: Final = 600.0  # making an index over many rows, in a migration
READERS: Final = 4

_OPTIONS: Final[dict[str, Any]] = {
    "timeout": CONNECT_SECONDS,
    "command_timeout": COMMAND_SECONDS,
    "server_settings": {
        "application_name": "crowdgrid",
        "synchronous_commit": "on",  # a commit that returned is on the disk, whatever the server's default is
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "jit": "off",  # compiling costs more than any of these statements
        # Every statement goes along an index, a page at a time. Without fresh statistics (a job can grow by millions
        # of tasks between two ANALYZEs) the planner would rather sort or hash whole tables.
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    },
}


def place_of(dsn: str) -> str:
    """Where the address leads, for people: host and database, without user and password."""
    parts = urlsplit(dsn)
    host = parts.hostname or parse_qs(parts.query).get("host", ["the local server"])[0]
    return f"{parts.path.lstrip('/') or 'postgres'} on {host}"


async def connect(dsn: str) -> Any:
    """A connection of our own. Raises what asyncpg raises."""
    return await asyncpg.connect(dsn, **_OPTIONS)


def pool(dsn: str) -> Any:
    """Connections for reads; made when they are needed, and again after the database was gone."""
    return asyncpg.create_pool(dsn, min_size=0, max_size=READERS, **_OPTIONS)


def _sentence(place: str, problem: Exception) -> CrowdgridError:
    match problem:
        case asyncpg.UniqueViolationError():
            return faults.clash(problem.constraint_name or "")
        case asyncpg.DataError() | asyncpg.exceptions.DataError():
            return unstorable(problem)
        case asyncpg.DiskFullError():
            return faults.disk_full(place)
        case asyncpg.InvalidCatalogNameError():
            return Unavailable(
                f"There is no database {place}.", hint="Make it with `createdb`, or correct the address."
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Unavailable(
                f"The database {place} does not let this user in: {problem}.",
                hint="Check user and password in the address.",
            )
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.InsufficientPrivilegeError():
            return Unavailable(
                f"The database {place} cannot be written: {problem}.",
                hint="Use the primary server, and a user who may make tables.",
            )
        case asyncpg.PostgresError():
            return Unavailable(f"The database {place} refused: {problem}.", hint="See the server's log.")
    text = str(problem) or type(problem).__name__
    return Unavailable(f"The database {place} cannot be reached: {text}.", hint="Is the server running?")


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn what asyncpg and the network raise into our errors."""
    try:
        yield
    except UnicodeEncodeError as problem:
        raise unstorable(problem) from problem
    except (
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    ) as problem:
        raise _sentence(place, problem) from problem
