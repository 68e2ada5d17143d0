"""The reads of the port, once for both SQL adapters, over named statements.

An adapter only says how a statement is fetched. Every list is a page, and rows of a job that is being
removed (see `sweep.py`) are not seen any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from crowdgrid import limits
from crowdgrid.core.model import (
    VOTER_BYTES,
    Assignment,
    Chunk,
    Credit,
    Job,
    JobState,
    Node,
    Partial,
    Signature,
    Task,
    TaskState,
    TrustMove,
)
from crowdgrid.core.trust.comparison import Program
from crowdgrid.store import Claimed, CreditDay, Earned, SettledRow, rows

T = TypeVar("T")
_LAST: Final = (1 << 63) - 1
_OPEN: Final = frozenset(state for state in TaskState if state <= TaskState.FAILED)


def page(limit: int) -> int:
    """Rows one read may answer with."""
    return max(0, min(limit, limits.RECALL_ROWS))


def one_of(states: Iterable[Any], every: Iterable[Any]) -> dict[str, Any]:
    """The parameters `state0`, `state1` … for `states`, or for every state when there are none.

    There are as many as there are states at all; the last is repeated.
    """
    all_ = [state.value for state in every]
    wanted = [state.value for state in states] or all_
    padded = wanted[: len(all_)] + [wanted[-1]] * (len(all_) - len(wanted))
    return {f"state{i}": value for i, value in enumerate(padded)}


class SqlReads(ABC):
    """The reading half of a `Store` on a database."""

    def __init__(self) -> None:
        self.dropped: set[int] = set()
        """Jobs whose rows are being removed."""

    @abstractmethod
    async def fetch(self, statement: str, **parameters: Any) -> Sequence[rows.Row]:
        """All rows of a statement of `QUERIES`."""

    async def _many(self, decode: Callable[[rows.Row], T], statement: str, **parameters: Any) -> list[T]:
        if parameters.get("job") in self.dropped:
            return []
        return rows.decoded(decode, await self.fetch(statement, **parameters))

    async def _one(self, decode: Callable[[rows.Row], T], statement: str, **parameters: Any) -> T | None:
        found = await self._many(decode, statement, **parameters)
        return found[0] if found else None

    # --- jobs ---

    async def job(self, number: int) -> Job | None:
        return await self._one(rows.job, "job", number=number)

    async def job_named(self, owner: str, name: str) -> Job | None:
        return await self._one(rows.job, "job_named", owner=owner, name=name)

    async def job_keyed(self, owner: str, key: str) -> Job | None:
        return await self._one(rows.job, "job_keyed", owner=owner, key=key)

    async def jobs(
        self, *, owner: str = "", states: Sequence[JobState] = (), before: int = 0, limit: int = 100
    ) -> list[Job]:
        wanted = {"before": before or _LAST, "limit": page(limit), **one_of(states, JobState)}
        if owner:
            return await self._many(rows.job, "jobs_owned", owner=owner, **wanted)
        return await self._many(rows.job, "jobs", **wanted)

    async def ended_before(self, when: int, *, limit: int = 100) -> list[int]:
        return [row[0] for row in await self.fetch("ended_before", when=when, limit=page(limit))]

    # --- tasks ---

    async def task(self, job: int, ordinal: int) -> Task | None:
        return await self._one(rows.task, "task", job=job, ordinal=ordinal)

    async def tasks(
        self, job: int, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 100
    ) -> list[Task]:
        only_open = bool(states) and _OPEN.issuperset(states)  # then the index of open tasks finds them
        wanted = {"after": after, "limit": page(limit), **one_of(states, TaskState)}
        return await self._many(rows.task, "tasks_open" if only_open else "tasks", job=job, **wanted)

    async def children(self, job: int, parent: int) -> list[Task]:
        return await self._many(rows.task, "children", job=job, parent=parent)

    async def settled(self, job: int, *, after: int = -1, stop: int = -1, limit: int = 1000) -> list[SettledRow]:
        wanted = {"after": after, "stop": _LAST if stop == -1 else stop, "limit": page(limit)}
        return await self._many(rows.settled, "settled", job=job, **wanted)

    async def flawed(self, job: int, *, after: int = -1, limit: int = 1000) -> list[SettledRow]:
        return await self._many(rows.settled, "flawed", job=job, after=after, limit=page(limit))

    async def voted(self, job: int, node: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        wanted = {"after": after, "limit": page(limit), "voter": node.to_bytes(VOTER_BYTES, "big")}
        return await self._many(rows.task, "voted", job=job, **wanted)

    async def alone(self, job: int, *, last: int, node: int = 0, after: int = -1, limit: int = 1000) -> list[Task]:
        wanted = {"voter": node.to_bytes(VOTER_BYTES, "big"), "after": after, "last": last, "limit": page(limit)}
        return await self._many(rows.task, "alone", job=job, **wanted)

    async def assignments(self, job: int, ordinal: int) -> list[Assignment]:
        return await self._many(rows.assignment, "assignments", job=job, ordinal=ordinal)

    async def signature(self, number: int) -> Signature | None:
        return await self._one(rows.signature, "signature", number=number)

    # --- inputs and folds ---

    async def chunks(self, job: int, *, first: int, stop: int) -> list[Chunk]:
        if stop <= first:
            return []
        return await self._many(rows.chunk, "chunks", job=job, first=first, stop=stop)

    async def partials(self, job: int) -> list[Partial]:
        return await self._many(rows.partial, "partials", job=job)

    # --- nodes ---

    async def node(self, number: int) -> Node | None:
        return await self._one(rows.node, "node", number=number)

    async def trust_moves(self, node: int, *, before: int = 0, limit: int = 1000) -> list[TrustMove]:
        return await self._many(rows.trust_move, "trust_moves", node=node, before=before or _LAST, limit=page(limit))

    async def earned(self, job: int, *, after: int = 0, limit: int = 1000) -> list[Earned]:
        return await self._many(rows.earned, "earned", job=job, after=after, limit=page(limit))

    async def claimed(self, job: int, *, limit: int = 1000) -> list[Claimed]:
        return await self._many(rows.claimed, "claimed", job=job, limit=page(limit))

    async def outvoted(self, job: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        return await self._many(rows.task, "outvoted", job=job, after=after, limit=page(limit))

    async def credits(self, job: int, *, node: int = 0, turn: int = -1, limit: int = 1000) -> list[Credit]:
        found = await self.fetch("credits", job=job, node=node, turn=turn, limit=page(limit))
        return rows.decoded(rows.credit, found)

    async def credits_of(self, node: int, *, before: int = 0, limit: int = 1000) -> list[Credit]:
        return await self._many(rows.credit, "credits_of", node=node, before=before or _LAST, limit=page(limit))

    async def credit_days(
        self, *, node: int = 0, owner: str = "", after: int = 0, limit: int = 1000
    ) -> list[CreditDay]:
        if node:
            return await self._many(rows.credit_day, "credit_days_of", node=node, limit=page(limit))
        return await self._many(rows.credit_day, "credit_days", after=after, whose=owner, limit=page(limit))

    async def price(self, kind: str) -> float:
        found = await self.fetch("price", kind=kind, limit=1)
        return float(found[0][0]) if found else 0.0

    async def node_keyed(self, key: bytes) -> Node | None:
        return await self._one(rows.node, "node_keyed", key=key)

    async def nodes(self, *, owner: str = "", after: int = 0, limit: int = 100) -> list[Node]:
        wanted = {"after": after, "limit": page(limit)}
        if owner:
            return await self._many(rows.node, "nodes_owned", owner=owner, **wanted)
        return await self._many(rows.node, "nodes", **wanted)

    # --- for the collector ---

    async def named_blobs(self) -> AsyncIterator[str]:
        for statement, keys in (
            ("programs_named", ("after",)),
            ("chunks_named", ("job", "first")),
            ("results_named", ("job", "ordinal", "attempt")),
        ):
            async for digest in self._named(statement, keys):
                yield digest
        async for spec in self._named("comparators_named", ("after",)):
            comparison = rows.comparison(spec)
            if isinstance(comparison, Program):
                yield comparison.digest

    async def _named(self, statement: str, keys: tuple[str, ...]) -> AsyncIterator[str]:
        """The last column of every row, paged by the columns before it."""
        at: Sequence[Any] = (-1,) * len(keys)
        while True:
            found = await self.fetch(statement, limit=limits.RECALL_ROWS, **dict(zip(keys, at)))
            for row in found:
                if row[-1]:
                    yield row[-1]
            if len(found) < limits.RECALL_ROWS:
                return
            at = tuple(found[-1])[:-1]
