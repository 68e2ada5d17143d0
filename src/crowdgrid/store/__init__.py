"""Port `Store`: where the grid's records are kept, and the fence that lets only one hub write.

Adapters: `memory.py` (tests, throw-away grids), `sqlite.py`, `postgres.py`; one schema, `schema.py`. `tests/contracts/test_store.py` is
the contract, run over all of them.

Rules every adapter keeps:

- `commit` is all or nothing. When it returns, the batch survives `kill -9` and power loss.
- Every commit first moves the grid row: `UPDATE grid SET batch = :batch … WHERE epoch = :mine AND batch = :batch - 1`.
  No row means another hub took over: `errors.Fenced`, nothing written. Any other failure is `errors.Unavailable`
  and leaves the outcome unknown until `open()` reads `batch` again.
- `open` takes the store over: it raises `epoch` by one, so that every earlier opener is fenced off. Opening again with
  the same handle goes on where it was, or raises `errors.Fenced` when another hub took over meanwhile.
- Reads see committed state only and may run while a commit is under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from crowdgrid.core.model import (
    Assignment,
    Chunk,
    Credit,
    GridRow,
    Invitation,
    Job,
    JobState,
    Node,
    Partial,
    Record,
    Signature,
    Standing,
    Task,
    TaskState,
    Token,
    TrustMove,
)


class Batch(msgspec.Struct, frozen=True):
    """One transaction.

    Attributes:
        grid: the grid row after this batch; `grid.batch` is one more than the last committed.
        records: saved in place of those with the same key (the last one of a key wins; callers pass each key once).
        dropped_partials: (job, block) to forget.
        dropped_jobs: job numbers whose every row is to go (retention); only ended jobs.
    """

    grid: GridRow
    records: Sequence[Record] = ()
    dropped_partials: Sequence[tuple[int, int]] = ()
    dropped_jobs: Sequence[int] = ()


class Opened(msgspec.Struct, frozen=True):
    """What a hub needs to go on: only what is still open.

    Jobs that are validating, open, sealed or completed; open tasks (up to `TaskState.FAILED`) of those jobs,
    by (job, ordinal); of those tasks the leased assignments, and the reported ones that count as votes; every node
    one of these assignments is of; all standings, tokens and invitations.
    """

    grid: GridRow
    jobs: tuple[Job, ...]
    tasks: tuple[Task, ...]
    assignments: tuple[Assignment, ...]
    nodes: tuple[Node, ...]
    standings: tuple[Standing, ...]
    tokens: tuple[Token, ...]
    invitations: tuple[Invitation, ...]


class SettledRow(msgspec.Struct, frozen=True, gc=False):
    """A settled task with the assignment (and its result) that settled it; None for abandoned or split ones."""

    task: Task
    assignment: Assignment | None


class Earned(msgspec.Struct, frozen=True, gc=False):
    """How many tasks of a job a node gave the answer of that stands, and units in them."""

    node: int
    tasks: int
    units: int


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """What one of several nodes that gave a task's answer says it took, ms of CPU."""

    ordinal: int
    units: int
    node: int
    cpu_ms: int


class CreditDay(msgspec.Struct, frozen=True, gc=False):
    """What a node earned on one day (of UTC, counted from 1970), millionths."""

    node: int
    owner: str
    day: int
    amount: int


class Store(Protocol):
    """See the module's rules. Every method raises `errors.Unavailable` when the store cannot be reached or
    written (full disk, lost database), with what happened in the message."""

    async def open(self, *, grid_id: bytes, id_key: bytes) -> Opened:
        """Migrate to the newest revision, take the store over, load what is open. The two arguments are used
        once, when the grid is new. Raises `errors.Unavailable` (also: the schema is newer than this version)."""
        ...

    async def commit(self, batch: Batch) -> None:
        """Write one batch. Raises `errors.Fenced` or `errors.Unavailable`."""
        ...

    async def close(self) -> None:
        """Release everything. Safe to call twice."""
        ...

    # --- reads; every list is paged: at most `limit` (≤ limits.RECALL_ROWS) rows after the cursor ---

    async def job(self, number: int) -> Job | None: ...

    async def job_named(self, owner: str, name: str) -> Job | None: ...

    async def job_keyed(self, owner: str, key: str) -> Job | None: ...

    async def jobs(
        self, *, owner: str = "", states: Sequence[JobState] = (), before: int = 0, limit: int = 100
    ) -> list[Job]:
        """Newest first, numbers below `before` (0: from the newest); `owner` "" for everybody's."""
        ...

    async def task(self, job: int, ordinal: int) -> Task | None: ...

    async def tasks(
        self, job: int, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 100
    ) -> list[Task]:
        """By ordinal, above `after`."""
        ...

    async def children(self, job: int, parent: int) -> list[Task]:
        """The tasks one task was split into, by start."""
        ...

    async def settled(self, job: int, *, after: int = -1, stop: int = -1, limit: int = 1000) -> list[SettledRow]:
        """Settled tasks (validated, split, abandoned) by ordinal, above `after` and, unless −1, below `stop`."""
        ...

    async def flawed(self, job: int, *, after: int = -1, limit: int = 1000) -> list[SettledRow]:
        """Abandoned tasks and validated ones with `errors` > 0, by ordinal, above `after`."""
        ...

    async def voted(self, job: int, node: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        """Validated tasks that name the node among their voters, by ordinal, above `after`. Looks at every task of the
        job; may give one that names it by accident."""
        ...

    async def alone(self, job: int, *, last: int, node: int = 0, after: int = -1, limit: int = 1000) -> list[Task]:
        """The `last` validated tasks, by ordinal, that each node has answered alone: by node, then by ordinal, above
        task `after` of `node`. Looks at every task of the job."""
        ...

    async def assignments(self, job: int, ordinal: int) -> list[Assignment]:
        """All of one task, by attempt."""
        ...

    async def signature(self, number: int) -> Signature | None: ...

    async def chunks(self, job: int, *, first: int, stop: int) -> list[Chunk]:
        """The chunks that hold units of [first, stop), in order."""
        ...

    async def partials(self, job: int) -> list[Partial]:
        """By block."""
        ...

    async def node(self, number: int) -> Node | None: ...

    async def trust_moves(self, node: int, *, before: int = 0, limit: int = 1000) -> list[TrustMove]:
        """How a node's trust index moved, newest first; below time `before` unless that is 0."""
        ...

    async def earned(self, job: int, *, after: int = 0, limit: int = 1000) -> list[Earned]:
        """What each node of a job has earned: its answer is in its bytes the one that stands. By node, above `after`."""
        ...

    async def claimed(self, job: int, *, limit: int = 1000) -> list[Claimed]:
        """The same answers of tasks that several nodes voted on, by ordinal and node."""
        ...

    async def outvoted(self, job: int, *, after: int = -1, limit: int = 1000) -> list[Task]:
        """Validated tasks on which somebody's vote differs in its bytes from the answer, by ordinal, above `after`."""
        ...

    async def credits(self, job: int, *, node: int = 0, turn: int = -1, limit: int = 1000) -> list[Credit]:
        """What was booked for a job, by node and turn, above `turn` of `node`."""
        ...

    async def credits_of(self, node: int, *, before: int = 0, limit: int = 1000) -> list[Credit]:
        """What a node earned, newest first; below time `before` unless that is 0."""
        ...

    async def credit_days(
        self, *, node: int = 0, owner: str = "", after: int = 0, limit: int = 1000
    ) -> list[CreditDay]:
        """Sums by node and day, of one `node` or all numbers above `after`, of one owner or all; whole nodes only unless
        one has more days than `limit`."""
        ...

    async def price(self, kind: str) -> float:
        """The last price that was paid for programs of this kind, millionths a unit; 0 none."""
        ...

    async def node_keyed(self, key: bytes) -> Node | None: ...

    async def nodes(self, *, owner: str = "", after: int = 0, limit: int = 100) -> list[Node]:
        """By number, above `after`."""
        ...

    async def ended_before(self, when: int, *, limit: int = 100) -> list[int]:
        """Numbers of jobs that ended before `when` (ms), oldest first: for retention."""
        ...

    def named_blobs(self) -> AsyncIterator[str]:
        """Every blob digest some record names (programs, chunks, results), in pages, for the collector."""
        ...
