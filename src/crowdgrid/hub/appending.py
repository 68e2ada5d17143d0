"""Appending to jobs: in the order in which it was asked for, each unit once, and never something else in its place.

A client that lost its link says its appends again; one that was killed is started anew and says them all again,
perhaps cut into other chunks. Both are right as long as they say the same units: what the job has is compared with
what was sent, the rest of a chunk is appended. Two programs that append different units to one job are told apart
by the same look, where one of them would otherwise lose its units without a word.

Order is kept by a lock a job, held until an append is queued for the engine, not until it is answered. Only where
something is in the way (the chunk does not begin where the job was seen to end) it is held until that is settled, so
that what follows never finds a gap. What the engine says of overlaps counts; `Line.units` only tells which way to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from crowdgrid.core import commands
from crowdgrid.core.effects import Appended
from crowdgrid.core.model import Chunk, Job
from crowdgrid.errors import Busy, Conflict

if TYPE_CHECKING:
    from crowdgrid.hub.inputs import Inputs
    from crowdgrid.hub.keeper import Keeper

UNKNOWN: Final = -1
Make: TypeAlias = Callable[[int], Awaitable[Chunk]]


class Line:
    """One job's appends.

    Attributes:
        units: how many the job will have once what is queued is appended, as far as this hub has seen.
    """

    __slots__ = ("lock", "number", "owner", "units")

    def __init__(self, job: Job) -> None:
        self.number = job.number
        self.owner = job.owner
        self.units = job.counts.units
        self.lock = asyncio.Lock()


class Appending:
    """See the module."""

    def __init__(self, keeper: Keeper, inputs: Inputs) -> None:
        self._keeper = keeper
        self._inputs = inputs

    async def append(self, line: Line, first: int, make: Make) -> int:
        """Append the chunk `make` gives for position `first`; how many units the job has then.

        Raises:
            Conflict: the job has other units at these places, or takes no more.
            CrowdgridError: what `make` raises, or the engine.
        """
        async with line.lock:
            chunk = await make(first)
            if first != line.units:
                return await self._among(line, chunk)
            line.units = UNKNOWN  # unless it is queued
            answer = self._keeper.submit(commands.Append(chunk))
            line.units = first + chunk.count
        try:
            done: Appended = await answer
        except Exception:
            line.units = UNKNOWN
            raise
        if not done.known:
            return done.units
        line.units = UNKNOWN
        if done.known < chunk.count:  # and what was queued after it found a gap: say it all again, in order
            raise Busy("Another program appends to this job at the same moment.")
        await self._check(chunk, done.known)
        return done.units

    async def append_last(self, line: Line, make: Make) -> int:
        """Append a chunk after everything that is there, whoever appended it; how many units the job has then."""
        async with line.lock:
            first = line.units if line.units != UNKNOWN else await self._stored_units(line)
            chunk = await make(first)
            while (done := await self._ask(line, chunk)).known:
                chunk = replace(chunk, first=done.units)
            return done.units

    async def _among(self, line: Line, chunk: Chunk) -> int:
        """Append what the job has not of a chunk that does not begin at its end. The caller holds the lock."""
        done = await self._ask(line, chunk)
        if not done.known:
            return done.units
        await self._check(chunk, done.known)
        if done.known < chunk.count:
            done = await self._ask(line, await self._inputs.rest(chunk, done.known))
            if done.known:
                raise Busy("Another program appends to this job at the same moment.")
        return done.units

    async def _ask(self, line: Line, chunk: Chunk) -> Appended:
        line.units = UNKNOWN
        done: Appended = await self._keeper.ask(commands.Append(chunk))
        line.units = done.units
        return done

    async def _check(self, chunk: Chunk, known: int) -> None:
        """Raises Conflict unless the chunk's first `known` units are the ones the job has there."""
        unit = await self._inputs.differs(chunk, known)
        if unit >= 0:
            raise Conflict(
                f"Another program appended other items to this job from unit {unit:,} on.",
                hint="Give each program a job of its own (another key); to go on with a job, give it the same input.",
            )

    async def _stored_units(self, line: Line) -> int:
        job = await self._keeper.store.job(line.number)
        return job.counts.units if job is not None else 0
