"""Reading back for the engine what has left its memory: performs `effects.Recall`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.core.model import JobSpec, Result, TaskState
from crowdgrid.core.splitting import per_item
from crowdgrid.core.trust.comparators import Candidate, candidate, comparator, content_of, same
from crowdgrid.core.trust.comparators.closeness import pairs
from crowdgrid.errors import NotFound
from crowdgrid.store import Store

_AT_ONCE_BYTES: Final = 64 * 1024  # of payloads; takes a fraction of a second in any case

_OPEN = (TaskState.PENDING, TaskState.IN_QUEUE, TaskState.IN_PROGRESS, TaskState.COMPLETED, TaskState.FAILED)
_READING_OPEN, _READING_FLAWED = 0, 1


async def recall(store: Store, effect: Recall, blobs: Blobs | None = None) -> Recalled:
    """The rows an effect asks for, one page. Without `blobs` what is kept there is not at hand. Raises Unavailable."""
    if effect.query == "assignment":
        job, ordinal, _ = effect.key
        task = await store.task(job, ordinal)
        found = await store.assignments(job, ordinal)
        return Recalled(effect.recall, (task,) if task else (), tuple(found))
    if effect.query == "voted":
        return await _voted(store, effect)
    if effect.query == "compare":
        return await _compare(store, effect, blobs)
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


async def _compare(store: Store, effect: Recall, blobs: Blobs | None) -> Recalled:
    """Which of a task's answers are the same, as its job compares them. Large ones are compared in a thread."""
    number, ordinal, *attempts = effect.key
    job = await store.job(number)
    given = {each.attempt: each.result for each in await store.assignments(number, ordinal)}
    results = [given.get(attempt) for attempt in attempts]
    if job is None or None in results:
        return Recalled(effect.recall)  # removed meanwhile: whoever asked is gone as well
    candidates = [candidate(result, await _payload(result, blobs)) for result in results if result is not None]
    work = partial(_close, job.spec, candidates)
    size = sum(len(each.payload or b"") for each in candidates)
    close = work() if size <= _AT_ONCE_BYTES else await asyncio.to_thread(work)
    return Recalled(effect.recall, close=tuple((attempts[one], attempts[other]) for one, other in close))


async def _payload(result: Result, blobs: Blobs | None) -> bytes | None:
    """The content of a result's blob, None when there is none or it is not to be compared."""
    if not result.blob or blobs is None or result.size > limits.COMPARED_BYTES:
        return None
    try:
        return await blobs.read_bytes(result.blob)
    except NotFound:
        return None


def _close(spec: JobSpec, candidates: list[Candidate]) -> list[tuple[int, int]]:
    how, content, packed = comparator(spec.comparison), content_of(spec.runtime), per_item(spec.split)
    return [
        (one, other)
        for one, other in pairs(candidates)
        if same(how, candidates[one], candidates[other], content=content, packed=packed)
    ]


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
