"""What went wrong with a database, as a sentence a person can act on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crowdgrid.errors import Conflict, CrowdgridError, Unavailable
from crowdgrid.store.rows import unstorable

NO_ROOM_BYTES: Final = 256 * 1024
_CLASHES: Final = {
    "job_name": "You already have a job of that name.",
    "job_key": "A job with that idempotency key exists already.",
    "node_key": "A node with that key is known already.",
    "token_secret": "That token exists already.",
    "invitation_code": "That invitation code exists already.",
}
_COLUMNS: Final = {  # SQLite names the columns, not the index
    "job.owner, job.name": "job_name",
    "job.owner, job.key": "job_key",
    "node.key": "node_key",
    "token.secret_hash": "token_secret",
    "invitation.code_hash": "invitation_code",
}


def clash(index: str) -> Conflict:
    """Two records want the same place in the unique `index`."""
    return Conflict(_CLASHES.get(index, f"Another record holds that place already ({index})."))


def disk_full(place: str) -> Unavailable:
    """No room left where the store is."""
    return Unavailable(
        f"The disk that holds the store {place} is full.",
        hint="Free some space there; the hub goes on by itself.",
    )


def too_new(place: str, found: str) -> Unavailable:
    """A later version wrote this store."""
    return Unavailable(
        f"The store {place} has schema revision {found}, which this version of crowdgrid does not know.",
        hint="Run the newer crowdgrid that wrote it, or restore a backup made before the upgrade.",
    )


def not_ours(place: str) -> Unavailable:
    """A database, but not one of ours."""
    return Unavailable(
        f"{place} is a database of something else: it holds tables, but no grid.",
        hint="Name an empty place for the store.",
    )


def replaced(place: str) -> Unavailable:
    """The grid this hub opened is not there any more."""
    return Unavailable(
        f"The store {place} was removed or replaced while the hub was using it.",
        hint="Put it back, or start the hub anew to begin a new grid there.",
    )


def closed() -> Unavailable:
    """Used after close, or before open."""
    return Unavailable("The store is not open.")


# SQLite's primary result codes: https://www.sqlite.org/rescode.html
_SENTENCES: Final = {
    sqlite3.SQLITE_READONLY: ("{} cannot be written: it is read-only.", "Give its owner write access."),
    sqlite3.SQLITE_PERM: ("{} cannot be opened: access is denied.", "Give its owner read and write access."),
    sqlite3.SQLITE_CANTOPEN: (
        "{} cannot be opened or made.",
        "Does its folder exist, and may this user write there?",
    ),
    sqlite3.SQLITE_BUSY: (
        "Another process is writing to {} and does not let go.",
        "Only one hub may run on a store.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "{} is no crowdgrid store: the file is not a database.",
        "Name another file, or restore it from a backup.",
    ),
    sqlite3.SQLITE_CORRUPT: ("{} is damaged.", "Restore it from a backup."),
}


def _no_room(place: str) -> bool:
    """Whether the disk is full: SQLite calls that an I/O error when it is the file its log is indexed with that cannot
    grow."""
    try:
        return shutil.disk_usage(Path(place).parent).free < NO_ROOM_BYTES
    except OSError:
        return False


def _sentence(place: str, problem: sqlite3.Error) -> CrowdgridError:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _no_room(place)):
        return disk_full(place)
    if code == sqlite3.SQLITE_CONSTRAINT:
        columns = str(problem).rpartition(": ")[2]
        return clash(_COLUMNS.get(columns, columns))
    if code in _SENTENCES:
        text, hint = _SENTENCES[code]
        return Unavailable(text.format(f"The store {place}"), hint=hint)
    return Unavailable(f"The store {place} cannot be used: {problem}.", hint="Is its disk well?")


@contextmanager
def sqlite_explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into our errors."""
    try:
        yield
    except sqlite3.Error as problem:
        raise _sentence(str(path), problem) from problem
    except OSError as problem:
        raise Unavailable(
            f"The store {path} cannot be used: {problem.strerror or problem}.",
            hint="Does its folder exist, and may this user write there?",
        ) from problem
    except (OverflowError, UnicodeEncodeError) as problem:
        raise unstorable(problem) from problem
