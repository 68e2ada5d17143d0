"""A job's results as they come: settled tasks made into rows for people, in order if wanted, with back-pressure.

In order means by the units' place in the input. What came out of order waits here and gives the hub's window back at
once, because the missing piece could not come otherwise; rows that are ready and not taken do not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from crowdgrid.client.joblink import WINDOW_ROWS, JobLink
from crowdgrid.core.model import Outcome, TaskState
from crowdgrid.core.reducing.answers import unpack_answers
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput
from crowdgrid.protocol import messages as m

TAKEN_ROWS: Final = 500
ABANDONED: Final = "No node could finish it: too many leases were lost."


@dataclass(frozen=True, slots=True)
class Row:
    """What the grid says about units [start, stop) of a job's input.

    For items and parameter grids that is one run, for ranges and lines one task.

    Attributes:
        ok: the program exited with 0.
        data: what it printed, when ok. error: one sentence, when not.
        node: the did:key of the node that answered, "" when none did.
        task: the ordinal of the task it was part of.
    """

    start: int
    stop: int
    ok: bool
    data: bytes
    error: str
    node: str
    task: int

    @property
    def text(self) -> str:
        """`data` as text, without white space around it."""
        return self.data.decode(errors="replace").strip()


class RowStream:
    """The rows of one job, from the first.

    Args:
        job: in hand; the stream begins to read at once.
        blob: fetches a result that is too large for the link.
        ordered: rows come in the order of the input.
    """

    def __init__(self, job: JobLink, blob: Callable[[str], Awaitable[bytes]], *, ordered: bool = True) -> None:
        self._job = job
        self._blob = blob
        self._ordered = ordered
        self._each = per_item(job.info.spec.split)
        self._ready: deque[m.ResultRow] = deque()
        self._early: list[tuple[int, int, m.ResultRow]] = []
        self._next = 0  # the first unit not yet ready
        self._came = 0  # settled tasks, split ones too
        self._owed = 0  # rows the hub's window is short of
        self._news = asyncio.Event()
        job.watchers.append(self._news.set)
        job.read(self._arrived)

    def close(self) -> None:
        """Read no more."""
        self._job.stop_reading()
        if self._news.set in self._job.watchers:
            self._job.watchers.remove(self._news.set)

    async def take(self) -> list[Row]:
        """Rows that are ready, at least one; none when there will be no more.

        Raises:
            CrowdgridError: the job cannot be read any longer.
        """
        while not self._ready:
            if self._job.failure is not None:
                raise self._job.failure
            if self._complete:
                self._flush_gaps()
                if not self._ready:
                    return []
                break
            self._news.clear()
            await self._news.wait()
        taken = [self._ready.popleft() for _ in range(min(TAKEN_ROWS, len(self._ready)))]
        self._grant()
        return [row for task in taken for row in await self._rows_of(task)]

    @property
    def _complete(self) -> bool:
        counts = self._job.info.counts
        return self._job.ended and self._came >= counts.validated + counts.split + counts.abandoned

    def _flush_gaps(self) -> None:
        """A job that ended early has gaps: what waited behind them comes now."""
        while self._early:
            self._ready.append(heappop(self._early)[2])

    # --- from the link ---------------------------------------------------------------------------

    def _arrived(self, rows: Sequence[m.ResultRow]) -> None:
        self._came += len(rows)
        self._owed += len(rows)
        for row in rows:
            if row.state == TaskState.SPLIT:
                continue  # its children come as rows of their own
            if self._ordered:
                heappush(self._early, (row.start, row.ordinal, row))
            else:
                self._ready.append(row)
        while self._early and self._early[0][0] == self._next:
            row = heappop(self._early)[2]
            self._next = row.stop
            self._ready.append(row)
        self._grant()
        self._news.set()

    def _grant(self) -> None:
        rows = min(self._owed, WINDOW_ROWS - len(self._ready))
        if rows >= WINDOW_ROWS // 4:
            self._owed -= rows
            self._job.grant(rows)

    # --- into rows -------------------------------------------------------------------------------

    async def _rows_of(self, task: m.ResultRow) -> list[Row]:
        if task.state == TaskState.ABANDONED or task.outcome != Outcome.OK:
            error = task.error or ABANDONED
            return [Row(a, b, False, b"", error, task.node, task.ordinal) for a, b in self._units(task)]
        payload = await self._blob(task.blob) if task.blob else task.payload
        if not self._each:
            return [Row(task.start, task.stop, True, payload, "", task.node, task.ordinal)]
        return list(_answers(task, payload))

    def _units(self, task: m.ResultRow) -> Iterator[tuple[int, int]]:
        if not self._each:
            return iter([(task.start, task.stop)])
        return ((unit, unit + 1) for unit in range(task.start, task.stop))


def _answers(task: m.ResultRow, payload: bytes) -> Iterator[Row]:
    answers = unpack_answers(payload)
    if len(answers) != task.stop - task.start:
        raise BadInput(f"Task {task.ordinal} has {len(answers)} answers for {task.stop - task.start} units.")
    for unit, answer in enumerate(answers, task.start):
        yield Row(unit, unit + 1, answer.ok, answer.data, answer.error, task.node, task.ordinal)
