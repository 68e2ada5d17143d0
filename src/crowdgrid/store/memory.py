"""`Store` in memory: for tests, simulations and throw-away grids. The model the other adapters are tested against."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec

from crowdgrid.core.model import (
    VOTER_BYTES,
    Assignment,
    AssignmentState,
    Chunk,
    Credit,
    GridRow,
    Invitation,
    Job,
    JobState,
    Node,
    Outcome,
    Partial,
    Record,
    Signature,
    Standing,
    Task,
    TaskState,
    Token,
    TrustMove,
)
from crowdgrid.core.trust.comparison import Program
from crowdgrid.errors import Fenced
from crowdgrid.store import Batch, Claimed, CreditDay, Earned, Opened, SettledRow, faults
from crowdgrid.store.reads import page

_OPEN_JOBS = frozenset({JobState.VALIDATING, JobState.OPEN, JobState.SEALED, JobState.COMPLETED})
_SETTLED = frozenset({TaskState.VALIDATED, TaskState.SPLIT, TaskState.ABANDONED})


class _JobRows:
    """What lies below one job. Ordinals are kept sorted: they nearly always arrive so."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.ordinals: list[int] = []
        self.assignments: dict[int, dict[int, Assignment]] = {}
        self.chunks: dict[int, Chunk] = {}
        self.firsts: list[int] = []
        self.partials: dict[int, Partial] = {}

    def save_task(self, task: Task) -> None:
        if task.ordinal not in self.tasks:
            insort(self.ordinals, task.ordinal)
        self.tasks[task.ordinal] = task

    def save_chunk(self, chunk: Chunk) -> None:
        if chunk.first not in self.chunks:
            insort(self.firsts, chunk.first)
        self.chunks[chunk.first] = chunk

    def tasks_after(self, after: int) -> Iterator[Task]:
        for index in range(bisect_right(self.ordinals, after), len(self.ordinals)):
            yield self.tasks[self.ordinals[index]]

    def settled(self, task: Task) -> SettledRow:
        return SettledRow(task, self.assignments.get(task.ordinal, {}).get(task.answer))


_UNIQUE: dict[str, tuple[type[Any], Callable[[Any], object]]] = {
    "job_name": (Job, lambda job: (job.owner, job.name) if job.name else None),
    "job_key": (Job, lambda job: (job.owner, job.key) if job.key else None),
    "node_key": (Node, lambda node: node.key),
    "token_secret": (Token, lambda token: token.secret_hash),
    "invitation_code": (Invitation, lambda invitation: invitation.code_hash),
}


class MemoryStore:
    """Everything in dicts. Opening it again takes it over, as with a real one; closing keeps what is in it."""

    def __init__(self) -> None:
        self._grid: GridRow | None = None
        self._open = False
        self._credits: dict[tuple[int, int, int], Credit] = {}
        self._moves: dict[tuple[int, int, int, int], TrustMove] = {}
        self._standings: dict[tuple[int, str], Standing] = {}
        self._numbered: dict[type, dict[int, Any]] = {
            Job: {},
            Node: {},
            Token: {},
            Invitation: {},
            Signature: {},
        }
        self._below: dict[int, _JobRows] = {}
        self._places: dict[str, dict[object, int]] = {index: {} for index in _UNIQUE}

    # --- the port: writing ---

    async def open(self, *, grid_id: bytes, id_key: bytes) -> Opened:
        old = self._grid or GridRow(epoch=0, batch=0, now=0, grid_id=grid_id, id_key=id_key)
        self._grid = msgspec.structs.replace(old, epoch=old.epoch + 1)
        self._open = True
        return self._opened(self._grid)

    async def commit(self, batch: Batch) -> None:
        grid = self._checked()
        if (grid.epoch, grid.batch) != (batch.grid.epoch, batch.grid.batch - 1):
            raise Fenced
        self._check_unique(batch)
        for job, block in batch.dropped_partials:
            self._of(job).partials.pop(block, None)
        for number in batch.dropped_jobs:
            self._drop(number)
        for record in batch.records:
            self._save(record)
        self._grid = msgspec.structs.replace(batch.grid, grid_id=grid.grid_id, id_key=grid.id_key)

    async def close(self) -> None:
        self._open = False

    def _checked(self) -> GridRow:
        if not self._open or self._grid is None:
            raise faults.closed()
        return self._grid

    def _of(self, job: int) -> _JobRows:
        found = self._below.get(job)
        if found is None:
            found = self._below[job] = _JobRows()
        return found

    def _check_unique(self, batch: Batch) -> None:
        """Raise Conflict before anything is written."""
        gone = set(batch.dropped_jobs)
        for index, (kind, place) in _UNIQUE.items():
            given: dict[int, Any] = {each.number: each for each in batch.records if isinstance(each, kind)}
            moving = gone.union(given) if kind is Job else given.keys()
            claimed: dict[object, int] = {}
            for number, record in given.items():
                where = place(record)
                holder = self._places[index].get(where, number) if where else number
                if holder not in moving or (where and claimed.setdefault(where, number) != number):
                    raise faults.clash(index)

    def _save(self, record: Record) -> None:
        match record:
            case Task():
                self._of(record.job).save_task(record)
            case Assignment():
                attempts = self._of(record.job).assignments.setdefault(record.ordinal, {})
                attempts[record.attempt] = record
            case Chunk():
                self._of(record.job).save_chunk(record)
            case Partial():
                self._of(record.job).partials[record.block] = record
            case TrustMove():
                self._moves[record.node, record.at, record.job, record.ordinal] = record
            case Credit():
                self._credits[record.job, record.node, record.turn] = record
            case Standing():
                self._standings[record.node, record.kind] = record
            case Job() | Node() | Token() | Invitation() | Signature():
                self._save_numbered(record)

    def _save_numbered(self, record: Job | Node | Token | Invitation | Signature) -> None:
        kept = self._numbered[type(record)]
        self._leave_places(kept.get(record.number))
        kept[record.number] = record
        for index, (kind, place) in _UNIQUE.items():
            if type(record) is kind and (where := place(record)):
                self._places[index][where] = record.number

    def _leave_places(self, record: Any) -> None:
        for index, (kind, place) in _UNIQUE.items():
            if type(record) is kind and self._places[index].get(place(record)) == record.number:
                del self._places[index][place(record)]

    def _drop(self, number: int) -> None:
        self._leave_places(self._numbered[Job].pop(number, None))
        self._below.pop(number, None)

    def _opened(self, grid: GridRow) -> Opened:
        jobs = tuple(job for job in self._sorted(Job) if job.state in _OPEN_JOBS)
        tasks = tuple(
            task for job in jobs for task in self._of(job.number).tasks_after(-1) if task.state <= TaskState.FAILED
        )
        held = tuple(
            each
            for task in tasks
            for _, each in sorted(self._of(task.job).assignments.get(task.ordinal, {}).items())
            if each.state == AssignmentState.LEASED or _is_vote(task, each)
        )
        numbers = {each.node for each in held}
        return Opened(
            grid=grid,
            jobs=jobs,
            tasks=tasks,
            assignments=held,
            nodes=tuple(node for node in self._sorted(Node) if node.number in numbers),
            standings=tuple(each for _, each in sorted(self._standings.items())),
            tokens=tuple(self._sorted(Token)),
            invitations=tuple(self._sorted(Invitation)),
        )

    def _sorted(self, kind: type) -> list[Any]:
        return [record for _, record in sorted(self._numbered[kind].items())]

    # --- the port: reading ---

    def _found(self, kind: type, number: int | None) -> Any:
        self._checked()
        return None if number is None else self._numbered[kind].get(number)

    def _rows(self, job: int) -> _JobRows:
        self._checked()
        return self._below.get(job) or _JobRows()

    async def job(self, number: int) -> Job | None:
        found: Job | None = self._found(Job, number)
        return found

    async def job_named(self, owner: str, name: str) -> Job | None:
        return await self.job(self._places["job_name"].get((owner, name), 0))

    async def job_keyed(self, owner: str, key: str) -> Job | None:
        return await self.job(self._places["job_key"].get((owner, key), 0))

    async def jobs(
        self, *, owner: str = "", states: Sequence[JobState] = (), before: int = 0, limit: int = 100
    ) -> list[Job]:
        self._checked()
        wanted = [
            job
            for job in reversed(self._sorted(Job))
            if (not owner or job.owner == owner)
            and (not states or job.state in states)
            and (not before or job.number < before)
        ]
        return wanted[: page(limit)]

    async def task(self, job: int, ordinal: int) -> Task | None:
        return self._rows(job).tasks.get(ordinal)

    async def tasks(
        self, job: int, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 100
    ) -> list[Task]:
        return _first(limit, (t for t in self._rows(job).tasks_after(after) if not states or t.state in states))

    async def children(self, job: int, parent: int) -> list[Task]:
        if parent < 0:
            return []
        found = [task for task in self._rows(job).tasks.values() if task.parent == parent]
        return sorted(found, key=lambda task: (task.start, task.ordinal))

    async def settled(self, job: int, *, after: int = -1, stop: int = -1, limit: int = 1000) -> list[SettledRow]:
        rows = self._rows(job)
        end = len(rows.ordinals) if stop == -1 else bisect_left(rows.ordinals, stop)
        span = rows.ordinals[bisect_right(rows.ordinals, after) : end]
        tasks = (rows.tasks[ordinal] for ordinal in span)
        return _first(limit, (rows.settled(task) for task in tasks if task.state in _SETTLED))

    async def flawed(self, job: int, *, after: int = -1, limit: int = 1000) -> list[SettledRow]:
        rows = self._rows(job)
        return _first(limit, (rows.settled(task) for task in rows.tasks_after(after) if _flawed(task)))

    async def voted(self, job: int, node: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        voter = node.to_bytes(VOTER_BYTES, "big")
        found = (task for task in self._rows(job).tasks_after(after) if voter in task.voters)
        return _first(limit, (task for task in found if task.state == TaskState.VALIDATED))

    async def alone(self, job: int, *, last: int, node: int = 0, after: int = -1, limit: int = 1000) -> list[Task]:
        by_voter: dict[bytes, list[Task]] = {}
        for task in self._rows(job).tasks_after(-1):
            if task.state == TaskState.VALIDATED and len(task.voters) == VOTER_BYTES:
                by_voter.setdefault(task.voters, []).append(task)
        found = [(voter, task) for voter in sorted(by_voter) for task in by_voter[voter][-last:]]
        start = (node.to_bytes(VOTER_BYTES, "big"), after)
        return _first(limit, (task for voter, task in found if (voter, task.ordinal) > start))

    async def assignments(self, job: int, ordinal: int) -> list[Assignment]:
        return [each for _, each in sorted(self._rows(job).assignments.get(ordinal, {}).items())]

    async def signature(self, number: int) -> Signature | None:
        found: Signature | None = self._found(Signature, number)
        return found

    async def chunks(self, job: int, *, first: int, stop: int) -> list[Chunk]:
        rows = self._rows(job)
        if stop <= first:
            return []
        begin = max(0, bisect_right(rows.firsts, first) - 1)
        span = rows.firsts[begin : bisect_left(rows.firsts, stop)]
        return [chunk for at in span if (chunk := rows.chunks[at]).first + chunk.count > first]

    async def partials(self, job: int) -> list[Partial]:
        return [partial for _, partial in sorted(self._rows(job).partials.items())]

    async def node(self, number: int) -> Node | None:
        found: Node | None = self._found(Node, number)
        return found

    async def trust_moves(self, node: int, *, before: int = 0, limit: int = 1000) -> list[TrustMove]:
        self._checked()
        found = (self._moves[key] for key in sorted(self._moves, reverse=True) if key[0] == node)
        return _first(limit, (move for move in found if not before or move.at < before))

    async def earned(self, job: int, *, after: int = 0, limit: int = 1000) -> list[Earned]:
        found: dict[int, Earned] = {}
        for task, answer in self._standing_answers(job):
            before = found.get(answer.node, Earned(answer.node, 0, 0))
            found[answer.node] = Earned(answer.node, before.tasks + 1, before.units + task.stop - task.start)
        return _first(limit, (found[number] for number in sorted(found) if number > after))

    async def claimed(self, job: int, *, limit: int = 1000) -> list[Claimed]:
        found = [
            Claimed(task.ordinal, task.stop - task.start, answer.node, answer.result.cpu_ms)
            for task, answer in self._standing_answers(job)
            if len(task.voters) > VOTER_BYTES and answer.result is not None
        ]
        return _first(limit, iter(sorted(found, key=lambda each: (each.ordinal, each.node))))

    async def outvoted(self, job: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        rows = self._rows(job)
        found = (
            task
            for task in rows.tasks_after(after)
            if task.state == TaskState.VALIDATED
            and len(task.voters) > VOTER_BYTES
            and any(
                answer.result.outcome != Outcome.NODE_ERROR and not _is_same(task, answer)
                for answer in rows.assignments.get(task.ordinal, {}).values()
                if answer.state in _GIVEN and answer.result is not None
            )
        )
        return _first(limit, found)

    def _standing_answers(self, job: int) -> Iterator[tuple[Task, Assignment]]:
        rows = self._rows(job)
        for task in rows.tasks_after(-1):
            if task.state == TaskState.VALIDATED:
                paid: set[int] = set()
                for answer in rows.assignments.get(task.ordinal, {}).values():
                    if answer.state in _GIVEN and _is_same(task, answer) and answer.node not in paid:
                        paid.add(answer.node)
                        yield task, answer

    async def credits(self, job: int, *, node: int = 0, turn: int = -1, limit: int = 1000) -> list[Credit]:
        self._checked()
        keys = sorted(key for key in self._credits if key[0] == job and key[1:] > (node, turn))
        return _first(limit, (self._credits[key] for key in keys))

    async def credits_of(self, node: int, *, before: int = 0, limit: int = 1000) -> list[Credit]:
        self._checked()
        found = [each for each in self._credits.values() if each.node == node and (not before or each.at < before)]
        return _first(limit, iter(sorted(found, key=lambda each: (each.at, each.job, each.turn), reverse=True)))

    async def credit_days(
        self, *, node: int = 0, owner: str = "", after: int = 0, limit: int = 1000
    ) -> list[CreditDay]:
        self._checked()
        sums: dict[tuple[int, str, int], int] = {}
        for each in self._credits.values():
            if each.node == node or (not node and each.node > after and owner in ("", each.owner)):
                key = (each.node, each.owner, each.at // 86_400_000)
                sums[key] = sums.get(key, 0) + each.amount
        return _first(limit, (CreditDay(*key, sums[key]) for key in sorted(sums)))

    async def price(self, kind: str) -> float:
        self._checked()
        found = [each for each in self._credits.values() if each.kind == kind and each.price > 0]
        return max(found, key=lambda each: each.at).price if found else 0.0

    async def node_keyed(self, key: bytes) -> Node | None:
        return await self.node(self._places["node_key"].get(key, 0))

    async def nodes(self, *, owner: str = "", after: int = 0, limit: int = 100) -> list[Node]:
        self._checked()
        wanted = (n for n in self._sorted(Node) if n.number > after and (not owner or n.owner == owner))
        return _first(limit, wanted)

    async def ended_before(self, when: int, *, limit: int = 100) -> list[int]:
        self._checked()
        ended = [
            (job.ended_at, job.number)
            for job in self._sorted(Job)
            if 0 < job.ended_at < when and job.state not in _OPEN_JOBS
        ]
        return [number for _, number in sorted(ended)[: page(limit)]]

    async def named_blobs(self) -> AsyncIterator[str]:
        self._checked()
        for digest in [*self._named()]:
            if digest:
                yield digest

    def _named(self) -> Iterator[str]:
        for job in self._sorted(Job):
            yield job.spec.program
            if isinstance(job.spec.comparison, Program):
                yield job.spec.comparison.digest
        for rows in self._below.values():
            for chunk in rows.chunks.values():
                yield chunk.blob
            for attempts in rows.assignments.values():
                for each in attempts.values():
                    if each.result is not None:
                        yield each.result.blob


def _is_vote(task: Task, each: Assignment) -> bool:
    result = each.result if each.state == AssignmentState.REPORTED and each.attempt >= task.since else None
    return result is not None and result.outcome != Outcome.NODE_ERROR


_GIVEN = (AssignmentState.REPORTED, AssignmentState.RETRACTED)


def _is_same(task: Task, answer: Assignment) -> bool:
    """Whether this is, in its bytes, the answer that stands."""
    result = answer.result
    return result is not None and (result.outcome, result.digest) == (task.outcome, task.digest)


def _flawed(task: Task) -> bool:
    return task.state == TaskState.ABANDONED or (task.state == TaskState.VALIDATED and task.errors > 0)


def _first(limit: int, found: Iterator[Any]) -> list[Any]:
    return [each for each, _ in zip(found, range(page(limit)))]
