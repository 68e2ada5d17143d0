"""Reading back for the engine what has left its memory: performs `effects.Recall`."""

from __future__ import annotations

from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.core.model import TaskState
from crowdgrid.store import Store

_OPEN = (TaskState.PENDING, TaskState.IN_QUEUE, TaskState.IN_PROGRESS, TaskState.COMPLETED, TaskState.FAILED)
_READING_OPEN, _READING_FLAWED = 0, 1


async def recall(store: Store, effect: Recall) -> Recalled:
    """The rows an effect asks for, one page. Raises Unavailable."""
    if effect.query == "assignment":
        job, ordinal, _ = effect.key
        task = await store.task(job, ordinal)
        found = await store.assignments(job, ordinal)
        return Recalled(effect.recall, (task,) if task else (), tuple(found))
    assert effect.query == "unsettled", effect.query
    return await _unsettled(store, effect)


async def _unsettled(store: Store, effect: Recall) -> Recalled:
    """First the tasks that were open when their job ended, then those that were given up or have errors."""
    phase, after = effect.cursor or (_READING_OPEN, -1)
    if phase == _READING_OPEN:
        tasks = await store.tasks(effect.key[0], states=_OPEN, after=after, limit=effect.limit)
    else:
        rows = await store.flawed(effect.key[0], after=after, limit=effect.limit)
        tasks = [row.task for row in rows]
    if len(tasks) == effect.limit:
        return Recalled(effect.recall, tuple(tasks), (), (phase, tasks[-1].ordinal))
    cursor = (_READING_FLAWED, -1) if phase == _READING_OPEN else ()
    return Recalled(effect.recall, tuple(tasks), (), cursor)
