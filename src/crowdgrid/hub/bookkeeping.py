"""Books credit: when a job ends, what each node has earned by it goes from its submitter's account to its owner's.

What it earned `store.booking` counts. Doing it twice does nothing, and what a crash left undone is found when the hub
starts: ended jobs whose entries are older than their end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.errors import CrowdgridError
from crowdgrid.store import booking

if TYPE_CHECKING:
    from crowdgrid.hub.keeper import Keeper

AGAIN_SECONDS: Final = 5.0
log = logging.getLogger("crowdgrid.hub.bookkeeping")


class Bookkeeping:
    """Follows jobs as they end and books what they earned, one at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ended: asyncio.Queue[int] = asyncio.Queue()
        keeper.listeners.append(self._hear)

    def _hear(self, batch: Sequence[e.Effect]) -> None:
        for effect in batch:
            if type(effect) is e.JobChanged and booking.earns(effect.job):
                self._ended.put_nowait(effect.job.number)

    async def run(self) -> None:
        """Until cancelled."""
        await self._until_done(self._look_up)
        while True:
            number = await self._ended.get()
            await self._until_done(partial(self.book, number))

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                return
            except CrowdgridError as error:
                log.warning("booking credit is put off: %s", error.message)
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                # One job that cannot be booked must not keep all others from it.
                log.exception("the credit of a job cannot be booked; it is looked at again when the hub starts")
                return

    async def _look_up(self) -> None:
        """What ended and was not booked before the hub stopped."""
        async for number in booking.unbooked(self._keeper.store):
            self._ended.put_nowait(number)

    async def book(self, number: int) -> None:
        """Book what a job that has ended earned and is not booked yet."""
        keeper = self._keeper
        read_blob = keeper.blobs.read_bytes if keeper.blobs else None
        books = booking.Books(keeper.store, read_blob, keeper.comparators)
        entries = await books.entries(number, keeper.now())
        for at in range(0, len(entries), booking.PAGE):
            await keeper.ask(c.Book(tuple(entries[at : at + booking.PAGE])))
