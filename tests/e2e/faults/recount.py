"""The truth by counting rows: what the store of a SQLite hub says, without asking the hub."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

from crowdgrid.core.model import AssignmentState, TaskState

_SETTLED = (TaskState.VALIDATED, TaskState.ABANDONED)
_COUNTED = ("validated", "split", "abandoned", "errors")


def sound(database: sqlite3.Connection) -> None:
    """The file itself is whole."""
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def recount(database: sqlite3.Connection, job: int) -> dict[str, Any]:
    """Check everything that must be true of a job that is final; returns its counters.

    Its units are covered by settled tasks exactly once, without gaps; each validated task has one result that
    answers it, whose payload is what was signed; the counters are what counting the rows gives.
    """
    row = database.execute("SELECT state, counts FROM job WHERE number = ?", (job,)).fetchone()
    assert row[0] == "final", row
    counts: dict[str, Any] = json.loads(row[1])
    tasks = database.execute(
        "SELECT ordinal, start, stop, state, answer, digest, errors FROM task WHERE job = ? ORDER BY start, stop",
        (job,),
    ).fetchall()
    _covered(tasks, counts["units"])
    for ordinal, _, _, state, answer, digest, _ in tasks:
        if state == TaskState.VALIDATED:
            _answered(database, (job, ordinal, answer), digest)
    told = [_count(tasks, TaskState.VALIDATED), _count(tasks, TaskState.SPLIT), _count(tasks, TaskState.ABANDONED)]
    assert [counts[name] for name in _COUNTED] == [*told, sum(task[6] for task in tasks if task[3] in _SETTLED)]
    assert counts["tasks"] == len(tasks)
    assert counts["units"] == counts["units_cut"] == counts["units_done"]
    assert counts["in_queue"] == counts["in_progress"] == 0
    return counts


def _covered(tasks: list[Any], units: int) -> None:
    at = 0
    for ordinal, start, stop, state, *_ in tasks:
        if state == TaskState.SPLIT:
            continue  # its children stand for it
        assert state in _SETTLED, f"task {ordinal} is {TaskState(state).name}"
        assert start == at, f"unit {min(at, start)} is {'missing' if start > at else 'counted twice'}"
        at = stop
    assert at == units, f"{units - at} units at the end are missing"


def _count(tasks: list[Any], state: TaskState) -> int:
    return sum(task[3] == state for task in tasks)


def _answered(database: sqlite3.Connection, key: tuple[int, int, int], digest: bytes) -> None:
    row = database.execute(
        "SELECT state, digest, payload, blob, outcome, signature FROM assignment "
        "WHERE job = ? AND ordinal = ? AND attempt = ?",
        key,
    ).fetchone()
    assert row is not None, f"the answer of task {key} is gone"
    state, found, payload, blob, outcome, signature = row
    assert state == AssignmentState.REPORTED
    assert found == digest
    if outcome == 0 and not blob:
        assert hashlib.sha256(payload).digest() == digest
    assert signature > 0, f"the answer of task {key} is not signed"


def assignments(database: sqlite3.Connection, job: int) -> dict[str, int]:
    """How many assignments there are by their state."""
    rows = database.execute("SELECT state, count(*) FROM assignment WHERE job = ? GROUP BY state", (job,)).fetchall()
    return {AssignmentState(state).name.lower(): count for state, count in rows}
