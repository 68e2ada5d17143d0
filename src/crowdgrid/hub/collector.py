"""The collector: removes what nothing needs any more.

- Jobs that ended longer ago than they are kept, with every row of theirs.
- Blobs that no record names and that are older than a grace time: a program or chunk is put before the record that
  names it is committed, so what is young is left alone.

A blob that is named between the look at the records and its removal could only be one that is put again just then,
and putting makes it young. Both walks are paged and in no hurry; a failure is logged and tried again next time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from crowdgrid.errors import CrowdgridError

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.keeper import Keeper

JOBS_AT_ONCE: Final = 100
log = logging.getLogger("crowdgrid.hub.collector")


class Collector:
    """See the module.

    Args:
        keep_jobs_seconds: how long an ended job is kept; 0 for ever.
        grace_seconds: age below which a blob nothing names is left alone.
        pause_seconds: time between two rounds.
    """

    def __init__(
        self, keeper: Keeper, blobs: Blobs, *, keep_jobs_seconds: float, grace_seconds: float, pause_seconds: float
    ) -> None:
        self._keeper = keeper
        self._blobs = blobs
        self._keep_ms = int(keep_jobs_seconds * 1000)
        self._grace_seconds = grace_seconds
        self._pause_seconds = pause_seconds

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

    async def _drop_blobs(self) -> int:
        old = {digest async for digest, age in self._blobs.names() if age >= self._grace_seconds}
        if not old:
            return 0
        async for digest in self._keeper.store.named_blobs():
            old.discard(digest)
        for digest in old:
            await self._blobs.remove(digest)
        return len(old)
