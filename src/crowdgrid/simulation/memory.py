"""The hub's store: the one in memory that ships with crowdgrid, asked without waiting.

It is the model the real ones are tested against, fencing included, and keeps what was committed when an engine is
thrown away. Reading back for the engine (`recall`) is what the hub does with any store.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.core.model import JobSpec, Result, TaskState
from crowdgrid.core.splitting import per_item
from crowdgrid.core.trust.comparators import candidate, comparator, content_of, same
from crowdgrid.core.trust.comparators.closeness import pairs
from crowdgrid.store.memory import MemoryStore

T = TypeVar("T")

_OPEN = (TaskState.PENDING, TaskState.IN_QUEUE, TaskState.IN_PROGRESS, TaskState.COMPLETED, TaskState.FAILED)
_READING_OPEN, _READING_FLAWED = 0, 1


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits, as those of `MemoryStore`."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    raise AssertionError("the store in memory waited")


def recall(store: MemoryStore, effect: Recall) -> Recalled:
    """The rows the engine asks for, one page."""
    if effect.query == "assignment":
        job, ordinal, _ = effect.key
        task = done(store.task(job, ordinal))
        return Recalled(effect.recall, (task,) if task else (), tuple(done(store.assignments(job, ordinal))))
    if effect.query == "voted":
        return _voted(store, effect)
    if effect.query == "compare":
        return _compared(store, effect)
    assert effect.query == "unsettled", effect.query
    return _unsettled(store, effect)


def _voted(store: MemoryStore, effect: Recall) -> Recalled:
    job, number = effect.key
    after = effect.cursor[0] if effect.cursor else -1
    tasks = done(store.voted(job, number, after=after, limit=effect.limit))
    assignments = [each for task in tasks for each in done(store.assignments(job, task.ordinal))]
    found = [done(store.node(each)) for each in sorted({each.node for each in assignments})]
    cursor = (tasks[-1].ordinal,) if len(tasks) == effect.limit else ()
    nodes = tuple(node for node in found if node is not None)
    return Recalled(effect.recall, tuple(tasks), tuple(assignments), cursor, nodes)


def _compared(store: MemoryStore, effect: Recall) -> Recalled:
    number, ordinal, *attempts = effect.key
    job = done(store.job(number))
    given = {each.attempt: each.result for each in done(store.assignments(number, ordinal))}
    results = [given.get(attempt) for attempt in attempts]
    if job is None or None in results:
        return Recalled(effect.recall)
    close = _close(job.spec, [result for result in results if result is not None])
    return Recalled(effect.recall, close=tuple((attempts[one], attempts[other]) for one, other in close))


def _close(spec: JobSpec, results: list[Result]) -> list[tuple[int, int]]:
    how, content, packed = comparator(spec.comparison), content_of(spec.runtime), per_item(spec.split)
    candidates = [candidate(result, None) for result in results]
    return [
        (one, other)
        for one, other in pairs(candidates)
        if same(how, candidates[one], candidates[other], content=content, packed=packed)
    ]


def _unsettled(store: MemoryStore, effect: Recall) -> Recalled:
    phase, after = effect.cursor or (_READING_OPEN, -1)
    if phase == _READING_OPEN:
        tasks = done(store.tasks(effect.key[0], states=_OPEN, after=after, limit=effect.limit))
    else:
        tasks = [row.task for row in done(store.flawed(effect.key[0], after=after, limit=effect.limit))]
    if len(tasks) == effect.limit:
        return Recalled(effect.recall, tuple(tasks), (), (phase, tasks[-1].ordinal))
    cursor = (_READING_FLAWED, -1) if phase == _READING_OPEN else ()
    return Recalled(effect.recall, tuple(tasks), (), cursor)
