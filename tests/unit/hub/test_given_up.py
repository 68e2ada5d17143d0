"""Why a task was given up: a node's own words before a lease lost in silence."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from crowdgrid.core.model import Assignment, AssignmentState, Outcome, Result, Task, TaskState
from crowdgrid.hub.given_up import reason_of
from crowdgrid.store import Batch
from crowdgrid.store.memory import MemoryStore


def failed(attempt: int, error: str) -> Assignment:
    result = Result(Outcome.NODE_ERROR, bytes(32), b"", "", 0, error)
    return Assignment(1, 0, attempt, 10 + attempt, AssignmentState.REPORTED, 0, 1000, result=result)


def lost(attempt: int) -> Assignment:
    return Assignment(1, 0, attempt, 10 + attempt, AssignmentState.EXPIRED, 0, 1000)


@pytest.mark.parametrize(
    ("tried", "said", "node"),
    [
        ([], "Given up after 3 lost leases. No answer of the last node came in time.", 0),
        ([lost(0), lost(1)], "Given up after 3 lost leases. No answer of the last node came in time.", 11),
        (
            [failed(0, "No disk."), failed(1, "No memory."), lost(2)],
            "Given up after 3 lost leases. The last node to say why: No memory.",
            11,
        ),
        ([failed(0, "")], "Given up after 3 lost leases. No answer of the last node came in time.", 10),
    ],
)
def test_the_last_words_of_a_node_are_told(tried: list[Assignment], said: str, node: int) -> None:
    task = Task(1, 0, 0, 1, TaskState.ABANDONED, 0, attempts=len(tried), stale=3)

    async def play() -> tuple[str, int]:
        store = MemoryStore()
        grid = (await store.open(grid_id=bytes(16), id_key=bytes(16))).grid
        await store.commit(Batch(msgspec.structs.replace(grid, batch=grid.batch + 1), (task, *tried)))
        return await reason_of(store, task)

    assert asyncio.run(play()) == (said, node)
