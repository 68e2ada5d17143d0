"""The collector: removes what nothing needs any more.

- Jobs that ended longer ago than they are kept, with every row of theirs. Most are kept as long as the hub says; a job
  may ask for less (`JobSpec.keep_ms`: that of a map nobody named), and is removed then unless it is being read.
- Blobs that no record names and that are older than a grace time: a program or chunk is put before the record that
  names it is committed, so what is young is left alone.

A blob that is named between the look at the records and its removal could only be one that is put again just then,
and putting makes it young. All walks are paged and in no hurry; a failure is logged and tried again next time.

Which jobs are kept for less is followed as they end, and looked up once when the hub starts: no index is kept for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from crowdgrid.core.effects import Effect, JobChanged
from crowdgrid.core.model import Job, JobState
from crowdgrid.errors import CrowdgridError

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.keeper import Keeper

JOBS_AT_ONCE: Final = 100
ENDED: Final = (JobState.INVALID, JobState.FINAL, JobState.FAILED, JobState.CANCELLED)
log = logging.getLogger("crowdgrid.hub.collector")


class Collector:
    """See the module.

    Args:
        keep_jobs_seconds: how long an ended job is kept; 0 for ever.
        grace_seconds: age below which a blob nothing names is left alone.
        pause_seconds: time between two rounds.
        is_read: whether somebody reads the results of a job (by number) now.
    """

    def __init__(
        self,
        keeper: Keeper,
        blobs: Blobs,
        *,
        keep_jobs_seconds: float,
        grace_seconds: float,
        pause_seconds: float,
        is_read: Callable[[int], bool] = lambda job: False,
    ) -> None:
        self._keeper = keeper
        self._blobs = blobs
        self._keep_ms = int(keep_jobs_seconds * 1000)
        self._grace_seconds = grace_seconds
        self._pause_seconds = pause_seconds
        self._is_read = is_read
        self._due: list[tuple[int, int]] = []  # heap of (when it may be removed, job) of those kept for less
        self._followed = False  # `_due` is whole
        keeper.listeners.append(self._hear)
        keeper.resets.append(self._lose_sight)

    async def run(self) -> None:
        """Collect, for ever."""
        while True:
            await asyncio.sleep(self._pause_seconds)
            try:
                await self.collect()
            except CrowdgridError as error:
                log.warning("collecting was put off: %s", error.message)
            except Exception:
                log.exception("collecting failed; it is tried again")

    async def collect(self) -> tuple[int, int]:
        """One round; returns how many jobs and how many blobs were removed."""
        jobs = await self._drop_jobs() if self._keep_ms else 0
        jobs += await self._drop_due()
        blobs = await self._drop_blobs()
        if jobs or blobs:
            log.info("removed %d ended jobs and %d blobs nothing names", jobs, blobs)
        return jobs, blobs

    async def _drop_jobs(self) -> int:
        dropped = 0
        before = self._keeper.now() - self._keep_ms
        last: list[int] = []
        while numbers := await self._keeper.store.ended_before(before, limit=JOBS_AT_ONCE):
            if numbers == last:  # the engine still holds them: next time
                break
            await self._keeper.drop_jobs(numbers)
            dropped += len(numbers)
            last = numbers
        return dropped

    # --- jobs that are kept for less -----------------------------------------------------------

    def _hear(self, batch: Sequence[Effect]) -> None:
        for effect in batch:
            if type(effect) is JobChanged and effect.job.spec.keep_ms and effect.job.state in ENDED:
                heappush(self._due, (_due_at(effect.job), effect.job.number))

    def _lose_sight(self, _why: str) -> None:
        """The engine is rebuilt; what its last batch ended was not told."""
        self._followed = False

    async def _drop_due(self) -> int:
        if not self._followed:
            await self._look_up()
        dropped = 0
        put_off: list[tuple[int, int]] = []
        while self._due and self._due[0][0] <= self._keeper.now():
            numbers: dict[int, None] = {}  # one may have been noted twice
            while self._due and self._due[0][0] <= self._keeper.now() and len(numbers) < JOBS_AT_ONCE:
                at, number = heappop(self._due)
                if self._is_read(number):
                    put_off.append((at, number))
                elif await self._is_due(number):
                    numbers[number] = None
            if numbers:
                await self._keeper.drop_jobs(list(numbers))
                dropped += len(numbers)
        for each in put_off:
            heappush(self._due, each)
        return dropped

    async def _is_due(self, number: int) -> bool:
        """Whether it is still there, and has not been opened and ended again since it was noted."""
        job = await self._keeper.store.job(number)
        return job is not None and job.state in ENDED and _due_at(job) <= self._keeper.now()

    async def _look_up(self) -> None:
        self._followed = True  # from now on; what ends meanwhile may be noted twice, which does no harm
        try:
            found: list[tuple[int, int]] = []
            page = await self._keeper.store.jobs(states=ENDED, limit=JOBS_AT_ONCE)
            while page:
                found += [(_due_at(job), job.number) for job in page if job.spec.keep_ms]
                page = await self._keeper.store.jobs(states=ENDED, before=page[-1].number, limit=JOBS_AT_ONCE)
        except CrowdgridError:
            self._followed = False
            raise
        self._due += found
        heapify(self._due)

    # --- blobs ---------------------------------------------------------------------------------

    async def _drop_blobs(self) -> int:
        old = {digest async for digest, age in self._blobs.names() if age >= self._grace_seconds}
        if not old:
            return 0
        async for digest in self._keeper.store.named_blobs():
            old.discard(digest)
        for digest in old:
            await self._blobs.remove(digest)
        return len(old)


def _due_at(job: Job) -> int:
    return job.ended_at + job.spec.keep_ms
