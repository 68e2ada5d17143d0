"""Reading back for the engine what has left its memory: performs `effects.Recall`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from crowdgrid import limits
from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.core.model import JobSpec, Result, Task, TaskState
from crowdgrid.core.splitting import per_item
from crowdgrid.core.trust.comparators import Candidate, Comparator, candidate, comparator, content_of, same
from crowdgrid.core.trust.comparators.closeness import pairs
from crowdgrid.core.trust.comparators.program import Collecting, Told
from crowdgrid.core.trust.comparison import Program
from crowdgrid.errors import NotFound
from crowdgrid.store import Store

ReadBlob: TypeAlias = Callable[[str], Awaitable[bytes]]
RunProgram: TypeAlias = Callable[[str, Sequence[tuple[bytes, bytes]]], Awaitable[tuple[list[bool], str]]]
_AT_ONCE_BYTES: Final = 64 * 1024  # of payloads; takes a fraction of a second in any case

_OPEN = (TaskState.PENDING, TaskState.IN_QUEUE, TaskState.IN_PROGRESS, TaskState.COMPLETED, TaskState.FAILED)
_READING_OPEN, _READING_FLAWED = 0, 1


async def recall(
    store: Store, effect: Recall, read_blob: ReadBlob | None = None, run_program: RunProgram | None = None
) -> Recalled:
    """What an effect asks for, one page.

    Args:
        read_blob: without it what is kept as blobs is not at hand.
        run_program: runs a submitter's own comparator (its digest) on pairs of answers: which are the same, and what
            went wrong. Without it nothing but the same bytes is.

    Raises:
        Unavailable: the store cannot be reached.
    """
    if effect.query == "assignment":
        job, ordinal, _ = effect.key
        task = await store.task(job, ordinal)
        found = await store.assignments(job, ordinal)
        return Recalled(effect.recall, (task,) if task else (), tuple(found))
    if effect.query == "voted":
        return await _voted(store, effect)
    if effect.query == "alone":
        return await _alone(store, effect)
    if effect.query == "compare":
        return await _compare(store, effect, read_blob, run_program)
    assert effect.query == "unsettled", effect.query
    return await _unsettled(store, effect)


async def _voted(store: Store, effect: Recall) -> Recalled:
    job, number = effect.key
    after = effect.cursor[0] if effect.cursor else -1
    tasks = await store.voted(job, number, after=after, limit=effect.limit)
    cursor = (tasks[-1].ordinal,) if len(tasks) == effect.limit else ()
    return await _with_votes(store, effect, tasks, cursor)


async def _alone(store: Store, effect: Recall) -> Recalled:
    job, last = effect.key
    node, ordinal = effect.cursor or (0, -1)
    tasks = await store.alone(job, last=last, node=node, after=ordinal, limit=effect.limit)
    end = tasks[-1] if len(tasks) == effect.limit else None
    cursor = (int.from_bytes(end.voters, "big"), end.ordinal) if end is not None else ()
    return await _with_votes(store, effect, tasks, cursor)


async def _with_votes(store: Store, effect: Recall, tasks: list[Task], cursor: tuple[int, ...]) -> Recalled:
    assignments = [each for task in tasks for each in await store.assignments(task.job, task.ordinal)]
    found = [await store.node(each) for each in sorted({each.node for each in assignments})]
    nodes = tuple(node for node in found if node is not None)
    return Recalled(effect.recall, tuple(tasks), tuple(assignments), cursor, nodes)


async def _compare(
    store: Store, effect: Recall, read_blob: ReadBlob | None, run_program: RunProgram | None
) -> Recalled:
    """Which of a task's answers are the same, as its job compares them. Large ones are compared in a thread."""
    number, ordinal, *attempts = effect.key
    job = await store.job(number)
    given = {each.attempt: each.result for each in await store.assignments(number, ordinal)}
    results = [given.get(attempt) for attempt in attempts]
    if job is None or None in results:
        return Recalled(effect.recall)  # removed meanwhile: whoever asked is gone as well
    candidates = [candidate(result, await _payload(result, read_blob)) for result in results if result is not None]
    problem = ""
    if isinstance(job.spec.comparison, Program):
        how, problem = await _ask_program(job.spec, job.spec.comparison, candidates, run_program)
    else:
        how = comparator(job.spec.comparison)
    work = partial(_close, job.spec, how, candidates)
    size = sum(len(each.payload or b"") for each in candidates)
    close = work() if size <= _AT_ONCE_BYTES else await asyncio.to_thread(work)
    found = tuple((attempts[one], attempts[other]) for one, other in close)
    return Recalled(effect.recall, close=found, problem=problem)


async def _ask_program(
    spec: JobSpec, program: Program, candidates: list[Candidate], run_program: RunProgram | None
) -> tuple[Comparator, str]:
    """A comparator that knows what the submitter's program says of these answers, and what went wrong with it."""
    collecting = Collecting()
    _close(spec, collecting, candidates)
    pairs = list(collecting.pairs)
    if not pairs or run_program is None:
        return Told({}), ""
    if len(pairs) > limits.COMPARATOR_RUNS:
        return Told({}), f"It would have to be run {len(pairs):,} times; at most {limits.COMPARATOR_RUNS:,} are made."
    same, problem = await run_program(program.digest, pairs)
    return Told(dict(zip(pairs, same, strict=True))), problem


async def _payload(result: Result, read_blob: ReadBlob | None) -> bytes | None:
    """The content of a result's blob, None when there is none or it is not to be compared."""
    if not result.blob or read_blob is None or result.size > limits.COMPARED_BYTES:
        return None
    try:
        return await read_blob(result.blob)
    except NotFound:
        return None


def _close(spec: JobSpec, how: Comparator, candidates: list[Candidate]) -> list[tuple[int, int]]:
    content, packed = content_of(spec.runtime), per_item(spec.split)
    close = []
    for pair in pairs(candidates):
        # In the order of their digests: what a program says must not depend on who reported first.
        first, second = sorted((candidates[at] for at in pair), key=lambda each: each.digest)
        if same(how, first, second, content=content, packed=packed):
            close.append(pair)
    return close


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
