"""One client reading one job's settled tasks: live while it can keep up, from the store otherwise.

A row may be sent twice, never not at all. Tasks settle in any order, so a place in the order of ordinals is not
enough; a reader is always in one of two conditions:

- **behind**: it looks through the store. `scanned` is the ordinal up to which it has looked; a task that settles
  above it will be found there, one at or below it is noted in `missed`, and so is every one that settles while a
  page is being read (the page may or may not show it).
- **live**: it has looked at everything and missed nothing. Rows go out as their commit is told. A row that cannot
  go out (no window left, too much waiting to be sent) is noted in `missed`, and the reader is behind again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, Protocol

from crowdgrid import limits
from crowdgrid.core.effects import Settled, TaskChanged
from crowdgrid.core.model import Assignment, Outcome, Task, TaskState
from crowdgrid.hub.given_up import reason_of
from crowdgrid.hub.links.outbox import HEAVY_BYTES, Outbox
from crowdgrid.hub.links.proofs import PROOF_BYTES, Proofs
from crowdgrid.ids import did_of
from crowdgrid.protocol import messages as m
from crowdgrid.store import SettledRow, Store

PAGE_ROWS: Final = 256  # × limits.INLINE_BYTES: 16 MiB at most
ROW_BYTES: Final = 128  # roughly what a row costs beside its payload
MESSAGE_BYTES_MAX: Final = limits.FRAME_BYTES // 2
MISSED_MAX: Final = 10_000  # more are found again by scanning
RUN_GAP: Final = 16  # missed ordinals this close are read together
ENDED: Final = (TaskState.SPLIT, TaskState.ABANDONED)


class NodeNames:
    """did:keys by node number: computed once, because base58 of a key costs more than the rest of a row."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[int, str] = {0: ""}

    def learn(self, number: int, key: bytes) -> None:
        """A node was seen."""
        if number not in self._known:
            self._known[number] = did_of(key)

    def get(self, number: int) -> str | None:
        """Its did:key if it was seen since this hub started."""
        return self._known.get(number)

    async def find(self, number: int) -> str:
        """Its did:key, looked up when it must be."""
        if number not in self._known and (node := await self._store.node(number)) is not None:
            self.learn(number, node.key)
        return self._known.get(number, "")


def row_of(
    task: Task, assignment: Assignment | None, node: str, proof: m.ResultProof | None = None, *, error: str = ""
) -> m.ResultRow:
    """A settled task as the link shows it. `error`: why it has no answer, if it has none."""
    result = assignment.result if assignment is not None else None
    if result is None:
        failed, start, stop = Outcome.NODE_ERROR, task.start, task.stop
        return m.ResultRow(
            task.ordinal, start, stop, task.state, failed, b"", error=error, node=node, parent=task.parent
        )
    return m.ResultRow(
        task.ordinal,
        task.start,
        task.stop,
        task.state,
        result.outcome,
        result.payload,
        result.blob,
        result.error,
        result.errors,
        node,
        task.answer,
        task.parent,
        proof,
    )


class Watcher(Protocol):
    """What a reading asks of its link."""

    outbox: Outbox

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until the link closes."""
        ...


class Reading:
    """See the module.

    Args:
        job: its number. public: its id outside.
        after: the client has every row up to this ordinal. window: rows it takes until it grants more.
        proofs: where rows get the proofs they are to come with; None: they come without.
    """

    def __init__(
        self,
        link: Watcher,
        store: Store,
        names: NodeNames,
        *,
        job: int,
        public: str,
        after: int,
        window: int,
        proofs: Proofs | None = None,
    ) -> None:
        self._store = store
        self._names = names
        self._proofs = proofs
        self._outbox = link.outbox
        self._job = job
        self._public = public
        self._window = window
        self._scanned = after
        self._scanning = True
        self._fetching = False
        self._missed: set[int] = set()
        self._room = asyncio.Event()
        self._behind = asyncio.Event()
        self._behind.set()
        self._task = link.start(self._run())

    def stop(self) -> None:
        """The client wants no more."""
        self._task.cancel()

    def grant(self, rows: int) -> None:
        """The client takes so many rows more."""
        self._window += rows
        self._room.set()

    def lighter(self) -> None:
        """The link has sent something."""
        self._room.set()

    def offer(self, effects: Sequence[Settled | TaskChanged]) -> None:
        """Tasks of this job that were settled by the commit just made."""
        rows = None if self._behind.is_set() or self._window < len(effects) else self._rows_now(effects)
        if rows is None:
            self._miss([effect.task.ordinal for effect in effects])
            return
        self._window -= len(rows)
        for part, weight in _parts(rows):
            self._outbox.put(m.Results(self._public, part), weight)

    def _rows_now(self, effects: Sequence[Settled | TaskChanged]) -> list[m.ResultRow] | None:
        """The rows, unless they are too much for the link now or one's node has to be looked up."""
        rows: list[m.ResultRow] = []
        weight = self._outbox.weight
        for effect in effects:
            if effect.task.state is TaskState.ABANDONED:
                return None  # what its nodes said is in the store
            assignment = effect.assignment if type(effect) is Settled else None
            node = self._names.get(assignment.node if assignment is not None else 0)
            if node is None:
                return None
            proof = None
            if self._proofs is not None and assignment is not None and assignment.result is not None:
                if not self._proofs.here(assignment.result):
                    return None
                proof = self._proofs.proof(assignment)
            row = row_of(effect.task, assignment, node, proof)
            rows.append(row)
            weight += _weight(row)
        return rows if weight <= HEAVY_BYTES else None

    def _miss(self, ordinals: Sequence[int]) -> None:
        if self._fetching or not self._scanning:
            self._missed.update(ordinals)
        else:
            self._missed.update([ordinal for ordinal in ordinals if ordinal <= self._scanned])
        if len(self._missed) > MISSED_MAX and not self._fetching:
            self._scanned = min(self._missed) - 1
            self._scanning = True
            self._missed.clear()
        self._behind.set()

    # --- behind ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._behind.wait()
            await self._wait_for_room()
            if self._scanning:
                await self._scan()
            elif self._missed:
                await self._fetch(*_first_run(self._missed))
            else:
                self._behind.clear()  # nothing was awaited since the look at `_missed`: live

    async def _wait_for_room(self) -> None:
        while self._window <= 0 or self._outbox.heavy:
            self._room.clear()
            await self._room.wait()

    async def _scan(self) -> None:
        limit = min(self._window, PAGE_ROWS)
        page = await self._read(self._scanned, -1, limit)
        if len(page) < limit:
            self._scanning = False
        else:
            self._scanned = page[-1].task.ordinal
            self._missed = {ordinal for ordinal in self._missed if ordinal <= self._scanned}
        await self._show(page)

    async def _fetch(self, first: int, stop: int) -> None:
        limit = min(self._window, PAGE_ROWS)
        asked, self._missed = self._missed, set()  # what settles meanwhile is missed anew
        page = await self._read(first - 1, stop, limit)
        looked_to = page[-1].task.ordinal + 1 if len(page) == limit else stop
        self._missed |= {ordinal for ordinal in asked if not first <= ordinal < looked_to}
        await self._show(page)

    async def _read(self, after: int, stop: int, limit: int) -> list[SettledRow]:
        self._fetching = True
        try:
            return await self._store.settled(self._job, after=after, stop=stop, limit=limit)
        finally:
            self._fetching = False

    async def _show(self, page: Sequence[SettledRow]) -> None:
        rows = []
        for found in page:
            why, number = "", found.assignment.node if found.assignment is not None else 0
            if found.task.state is TaskState.ABANDONED:
                why, number = await reason_of(self._store, found.task)
            node = await self._names.find(number)
            rows.append(row_of(found.task, found.assignment, node, await self._proof(found.assignment), error=why))
        self._window -= len(rows)
        for part, weight in _parts(rows):
            while self._outbox.heavy:
                self._room.clear()
                await self._room.wait()
            self._outbox.put(m.Results(self._public, part), weight)

    async def _proof(self, assignment: Assignment | None) -> m.ResultProof | None:
        if self._proofs is None or assignment is None or assignment.result is None:
            return None
        await self._proofs.fetch(assignment.result)
        return self._proofs.proof(assignment)


def _weight(row: m.ResultRow) -> int:
    """Bytes of a row in a message, roughly and not too few."""
    return len(row.payload) + len(row.error) + (ROW_BYTES if row.proof is None else ROW_BYTES + PROOF_BYTES)


def _first_run(missed: set[int]) -> tuple[int, int]:
    """The lowest missed ordinals that lie close together, as [first, stop)."""
    ordered = sorted(missed)
    last = ordered[0]
    for ordinal in ordered[1:]:
        if ordinal - last > RUN_GAP:
            break
        last = ordinal
    return ordered[0], last + 1


def _parts(rows: Sequence[m.ResultRow]) -> Iterator[tuple[tuple[m.ResultRow, ...], int]]:
    """Rows in messages that fit a frame, with their weights."""
    part: list[m.ResultRow] = []
    weight = 0
    for row in rows:
        size = _weight(row)
        if part and weight + size > MESSAGE_BYTES_MAX:
            yield tuple(part), weight
            part, weight = [], 0
        part.append(row)
        weight += size
    if part:
        yield tuple(part), weight
