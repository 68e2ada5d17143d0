"""Long polls: wait until a job is in one of some states, by listening instead of asking the store again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from crowdgrid.core.effects import Effect, JobChanged
from crowdgrid.core.model import JobState

if TYPE_CHECKING:
    from crowdgrid.hub.keeper import Keeper


async def until(keeper: Keeper, job: int, states: Collection[JobState], seconds: float) -> bool:
    """Whether the job came into one of `states` within `seconds`. It may have been in one before."""
    arrived = asyncio.Event()

    def hear(effects: Sequence[Effect]) -> None:
        if any(isinstance(e, JobChanged) and e.job.number == job and e.job.state in states for e in effects):
            arrived.set()

    keeper.listeners.append(hear)
    try:
        # What was committed between the caller's look and this moment is seen here.
        known = await keeper.store.job(job)
        if known is None or known.state in states:
            return True
        await asyncio.wait_for(arrived.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        keeper.listeners.remove(hear)
    return True
