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
    if effect.query == "voted":
        return await _voted(store, effect)
    assert effect.query == "unsettled", effect.query
    return await _unsettled(store, effect)


async def _voted(store: Store, effect: Recall) -> Recalled:
    job, number = effect.key
    after = effect.cursor[0] if effect.cursor else -1
    tasks = await store.voted(job, number, after=after, limit=effect.limit)
    assignments = [each for task in tasks for each in await store.assignments(job, task.ordinal)]
    found = [await store.node(each) for each in sorted({each.node for each in assignments})]
    nodes = tuple(node for node in found if node is not None)
    cursor = (tasks[-1].ordinal,) if len(tasks) == effect.limit else ()
    return Recalled(effect.recall, tuple(tasks), tuple(assignments), cursor, nodes)


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
