"""What an ended job has earned its nodes, counted from its rows, less what was booked for it before.

At the end of a job and not task by task: until then answers may be opened again, and a ledger that is corrected all the
time would be no use to anybody; and so an entry is for a job and a node, not for each of ten million tasks
(docs/adr/0017). Jobs with consensus `single` earn nothing: nobody looked at their answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from crowdgrid import limits
from crowdgrid.core import effects as e
from crowdgrid.core.model import Credit, Job, JobState, Task
from crowdgrid.core.trust import credit
from crowdgrid.core.trust.comparison import Exact
from crowdgrid.core.trust.standings import kind_of
from crowdgrid.store import Claimed, Store
from crowdgrid.store.recalling import ReadBlob, RunProgram, recall

PAID: Final = (JobState.FINAL, JobState.FAILED, JobState.CANCELLED)
PAGE: Final = 1_000


def earns(job: Job) -> bool:
    """Whether there may be something to book for it."""
    return job.state in PAID and job.spec.consensus != "single"


async def unbooked(store: Store) -> AsyncIterator[int]:
    """Jobs that ended and were not booked since, by number."""
    page = await store.jobs(states=PAID, limit=PAGE)
    while page:
        for job in page:
            if earns(job) and await _booked_at(store, job.number) < job.ended_at:
                yield job.number
        page = await store.jobs(states=PAID, before=page[-1].number, limit=PAGE) if len(page) == PAGE else []


class Books:
    """Counts what jobs earned.

    Args:
        read_blob, run_program: as for `recalling.recall`.
    """

    def __init__(self, store: Store, read_blob: ReadBlob | None = None, run_program: RunProgram | None = None) -> None:
        self._store, self._read_blob, self._run_program = store, read_blob, run_program

    async def entries(self, number: int, now: int) -> list[Credit]:
        """What is to be booked for a job that has ended; nothing when all is.

        Raises:
            Unavailable: the store cannot be reached.
        """
        store = self._store
        job = await store.job(number)
        if job is None or not earns(job):
            return []
        kind = kind_of(job.spec)
        earned, close = await self._earned(job)
        price = await _price(store, job, close) or await store.price(kind)
        booked, turns = await _booked(store, number)
        entries = []
        for node in sorted(earned.keys() | booked.keys()):
            tasks, units = earned.get(node, (0, 0))
            tasks_before, units_before, amount_before = booked.get(node, (0, 0, 0))
            amount = min(round(units * price), limits.STORED_MAX) - amount_before
            if amount or (node in booked and units != units_before):
                record = await store.node(node)
                owner = record.owner if record is not None else ""
                turn, more = turns.get(node, -1) + 1, (units - units_before, tasks - tasks_before)
                entries.append(Credit(number, node, turn, now, job.owner, owner, kind, amount, *more, price))
        return entries

    async def _earned(self, job: Job) -> tuple[dict[int, tuple[int, int]], list[Claimed]]:
        """(tasks, units) each node gave the answer of that stands, or one that is the same by the job's comparison; and
        what the latter claim."""
        store = self._store
        found: dict[int, tuple[int, int]] = {}
        page = await store.earned(job.number, limit=PAGE)
        while page:
            found.update((each.node, (each.tasks, each.units)) for each in page)
            page = await store.earned(job.number, after=page[-1].node, limit=PAGE) if len(page) == PAGE else []
        close = [] if type(job.spec.comparison) is Exact else await self._all_close(job)
        for each in close:
            tasks, units = found.get(each.node, (0, 0))
            found[each.node] = (tasks + 1, units + each.units)
        return found, close

    async def _all_close(self, job: Job) -> list[Claimed]:
        store = self._store
        found: list[Claimed] = []
        tasks = await store.outvoted(job.number, limit=PAGE)
        while tasks:
            found += [claim for task in tasks for claim in await self._close(task)]
            tasks = await store.outvoted(job.number, after=tasks[-1].ordinal, limit=PAGE) if len(tasks) == PAGE else []
        return found

    async def _close(self, task: Task) -> list[Claimed]:
        """The answers that differ in their bytes from the one that stands, and are the same all the same; one a node."""
        given = {each.attempt: each for each in await self._store.assignments(task.job, task.ordinal)}
        results = {attempt: each.result for attempt, each in given.items() if each.result is not None}
        others = [attempt for attempt, result in results.items() if result.digest != task.digest]
        if task.answer not in results or not others:
            return []
        question = e.Recall(0, "compare", (task.job, task.ordinal, task.answer, *others))
        rows = await recall(self._store, question, self._read_blob, self._run_program)
        same = sorted({attempt for pair in rows.close if task.answer in pair for attempt in pair} & set(others))
        paid = {given[attempt].node for attempt in results.keys() - set(others)}
        found = {}
        for attempt in same:
            node = given[attempt].node
            if node not in paid:
                units = task.stop - task.start
                found[node] = Claimed(task.ordinal, units, node, results[attempt].cpu_ms)
        return list(found.values())


async def _booked_at(store: Store, job: int) -> int:
    booked = await store.credits(job, limit=limits.RECALL_ROWS)
    return max((entry.at for entry in booked), default=-1)


async def _booked(store: Store, job: int) -> tuple[dict[int, tuple[int, int, int]], dict[int, int]]:
    """(tasks, units, amount) of each node booked for the job, and its last turn."""
    sums: dict[int, tuple[int, int, int]] = {}
    turns: dict[int, int] = {}
    page = await store.credits(job, limit=PAGE)
    while page:
        for entry in page:
            tasks, units, amount = sums.get(entry.node, (0, 0, 0))
            sums[entry.node] = (tasks + entry.tasks, units + entry.units, amount + entry.amount)
            turns[entry.node] = entry.turn
        last = page[-1]
        page = await store.credits(job, node=last.node, turn=last.turn, limit=PAGE) if len(page) == PAGE else []
    return sums, turns


async def _price(store: Store, job: Job, more: list[Claimed]) -> float:
    """What a unit of the job costs, by the first tasks that several nodes answered; 0.0 when there are none. `more`: claims
    of answers that are the same but for their bytes."""
    claims = [*await store.claimed(job.number, limit=limits.RECALL_ROWS), *more]
    longest = round(job.spec.timeout_ms * max(job.spec.milli_cpus / 1000, 1.0))  # nobody can have used more
    speeds: dict[int, float] = {}
    tasks: dict[int, tuple[int, list[float]]] = {}
    for claim in claims:
        if claim.node not in speeds:
            node = await store.node(claim.node)
            speeds[claim.node] = node.speed if node is not None else 0.0
        tasks.setdefault(claim.ordinal, (claim.units, []))[1].append(
            credit.cost(min(claim.cpu_ms, longest), speeds[claim.node])
        )
    return credit.price(tasks.values())
