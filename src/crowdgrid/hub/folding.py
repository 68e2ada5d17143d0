"""Partials: folds each closed block of a job's tasks in the background, so that a long job's answer is soon there.

A partial is a cache (see `hub/reduction.py`): one that is missing is folded when the answer is asked for, one whose
block had a task opened again is dropped by the engine. Blocks are counted in memory only; what a restart forgets
is folded at the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.reducing import REDUCERS
from crowdgrid.errors import CrowdgridError
from crowdgrid.hub.keeper import Keeper
from crowdgrid.hub.reduction import Reduction

log = logging.getLogger("crowdgrid.folding")


class Folding:
    """Watches tasks settle and folds the blocks that close, one at a time."""

    def __init__(self, keeper: Keeper, reduction: Reduction) -> None:
        self._keeper = keeper
        self._reduction = reduction
        self._settled: dict[tuple[int, int], int] = {}
        self._closed: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        keeper.listeners.append(self._on_effects)

    def _on_effects(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            if type(effect) is e.Settled:
                self._count(effect.job, effect.task.ordinal // limits.BLOCK_TASKS)
            elif type(effect) is e.DropPartial:
                self._settled.pop((effect.job, effect.block), None)
            elif type(effect) is e.JobChanged and effect.job.ended_at:
                self._forget(effect.job.number)

    def _count(self, job: int, block: int) -> None:
        key = (job, block)
        count = self._settled.get(key, 0) + 1
        if count < limits.BLOCK_TASKS:
            self._settled[key] = count
        else:
            self._settled.pop(key, None)
            self._closed.put_nowait(key)

    def _forget(self, job: int) -> None:
        for key in [key for key in self._settled if key[0] == job]:
            del self._settled[key]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            key = await self._closed.get()
            try:
                await self._fold(*key)
            except CrowdgridError as error:
                log.warning("A block could not be folded; it will be when the answer is asked for: %s", error)

    async def _fold(self, number: int, block: int) -> None:
        job = await self._keeper.store.job(number)
        if job is None or not REDUCERS[job.spec.reduce].keeps_state:
            return
        partial = await self._reduction.fold_block(job, block)
        if partial is not None:
            # The engine keeps it only if nothing of the job was opened again since the job was read.
            await self._keeper.ask(c.Put(partial, job.revision))
