"""A job's settled tasks as they come, in order if wanted, with back-pressure.

In order means by the units' place in the input. What came out of order waits here and gives the hub's window back at
once, because the missing piece could not come otherwise; tasks that are ready and not taken do not.

Invariants: every settled task is handed on once for each of its answers; no more than `WINDOW_ROWS` tasks are ready
and not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from crowdgrid.client.joblink import WINDOW_ROWS, JobLink
from crowdgrid.core.model import Outcome, TaskState
from crowdgrid.protocol import messages as m

TAKEN_TASKS: Final = 500


class Arrivals:
    """The settled tasks of one job, from the first.

    Args:
        job: in hand; reading begins at once.
        blob: fetches a result that is too large for the link.
        ordered: tasks come in the order of the input.
        signed: each comes with the proof that its node signed it.
        after: tasks up to this ordinal are known already.
    """

    def __init__(
        self,
        job: JobLink,
        blob: Callable[[str], Awaitable[bytes]],
        *,
        ordered: bool = True,
        signed: bool = False,
        after: int = -1,
    ) -> None:
        self.job = job
        self._blob = blob
        self._ordered = ordered
        self._ready: deque[m.ResultRow] = deque()
        self._early: list[tuple[int, int, m.ResultRow]] = []
        self._next = 0  # the first unit not yet ready
        self._came = 0  # settled tasks, split ones too
        self._owed = 0  # rows the hub's window is short of
        self._news = asyncio.Event()
        job.watchers.append(self._news.set)
        job.read(self._arrived, after=after, signed=signed)

    def close(self) -> None:
        """Read no more."""
        self.job.stop_reading()
        if self._news.set in self.job.watchers:
            self.job.watchers.remove(self._news.set)

    async def take(self) -> list[tuple[m.ResultRow, bytes]]:
        """Tasks that are ready, each with its payload; at least one, none when there will be no more.

        Raises:
            CrowdgridError: the job cannot be read any longer.
        """
        while not self._ready:
            if self.job.failure is not None:
                raise self.job.failure
            if self._complete:
                self._flush_gaps()
                if not self._ready:
                    return []
                break
            self._news.clear()
            await self._news.wait()
        taken = [self._ready.popleft() for _ in range(min(TAKEN_TASKS, len(self._ready)))]
        self._grant()
        return [(task, await self._payload(task)) for task in taken]

    async def _payload(self, task: m.ResultRow) -> bytes:
        return await self._blob(task.blob) if task.blob and task.outcome == Outcome.OK else task.payload

    @property
    def _complete(self) -> bool:
        counts = self.job.info.counts
        return self.job.ended and self._came >= counts.validated + counts.split + counts.abandoned

    def _flush_gaps(self) -> None:
        """A job that ended early has gaps: what waited behind them comes now."""
        while self._early:
            self._ready.append(heappop(self._early)[2])

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
            self.job.grant(rows)
