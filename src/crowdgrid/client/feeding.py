"""Input flowing into an open job: pulled from the caller's iterator on a thread, appended from the event loop.

The iterator may block, so it has a thread of its own, and whatever it yielded is the loop's at once: the next item may
depend on what becomes of this one. While appends are under way what comes gathers, so a fast source makes large chunks
and a slow one is not held up. Back-pressure: no more than `WINDOW_UNITS` may be appended
and unsettled, nor `WAITING_UNITS` or `WINDOW_BYTES` read and not yet sent, so a source without end costs no memory.

A job that has units already (a program goes on with the key of one that died) is fed from the beginning all the same:
the hub passes over what it has, says `Conflict` if that is something else, and takes the rest. A feed refused so
leaves the job alone: it is somebody else's, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.client.appending import append_chunk
from crowdgrid.client.joblink import JobLink
from crowdgrid.errors import Conflict, CrowdgridError, JobFailed
from crowdgrid.protocol.packing import packed_bytes

WINDOW_UNITS: Final = 50_000
WINDOW_BYTES: Final = 16 << 20
WAITING_UNITS: Final = 10_000
APPENDS_MAX: Final = 4  # under way at once
BLOB_BYTES_WANTED: Final = limits.CHUNK_BYTES // 2
ANSWERED: Final = frozenset({"completed", "final"})


class Feed:
    """One job's input on its way.

    Args:
        job: in hand and open.
        source: the units.
        put_blob: stores a chunk too large for a message.
        taken: how many units somebody has taken the results of; None when nobody takes them here. It stays at most
            `WINDOW_UNITS` behind, so a consumer that pauses costs no memory. Call `job.tell()` when it moves.
    """

    def __init__(
        self,
        job: JobLink,
        source: Iterator[bytes],
        put_blob: Callable[[bytes], Awaitable[str]],
        *,
        taken: Callable[[], int] | None = None,
    ) -> None:
        self._job = job
        self._source = source
        self._put_blob = put_blob
        self._taken = taken
        self._loop = asyncio.get_running_loop()
        self._appends = job.appends()
        # Each of these is written by one of the two threads only, so neither waits for the other for each item.
        self._pulled: list[bytes] = []  # appended to by the thread, taken from the front by the loop
        self._pulled_units = self._pulled_bytes = 0  # ever, by the thread
        self._sent_units = self._sent_bytes = 0  # ever, by the loop
        self._woken = False  # the loop knows that something was pulled
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._open = threading.Event()  # the thread may pull more
        self._open.set()
        self._exhausted = False  # the source ended
        self._over = False  # and the loop has all of it
        self._stopped = False
        self.error: BaseException | None = None

    async def run(self) -> None:
        """Feed everything and seal the job.

        Raises:
            JobFailed: the source raised; the job is cancelled.
            Conflict: the job has other input, or was sealed before this one ended.
            CrowdgridError: the hub refused the input.
        """
        self._job.watchers.append(self._news.set)
        threading.Thread(target=self._pull, name="crowdgrid-feed", daemon=True).start()
        try:
            await self._append_all()
            if self.error is not None:
                raise await self._give_up(self.error)
            await (self._job.seal() if not self._job.ended else self._compare_ended())
        except (JobFailed, Conflict):
            raise
        except CrowdgridError as error:
            if self._job.failure is None and not self._job.ended:
                raise await self._give_up(error) from None
            raise
        finally:
            self._stopped = True
            self._open.set()
            self._job.watchers.remove(self._news.set)
            self._job.close_feed(self._appends)

    async def _compare_ended(self) -> None:
        """The job ended before this sealed it. If it has its answers, somebody else did, or time; then its input must
        be no other than this one. Raises Conflict."""
        info = self._job.info
        if info.state not in ANSWERED or info.spec.reduce == "first":  # which ends when it has found something
            return
        units = self._appends.units
        while units <= info.counts.units and (self._waiting or not self._over):
            if not self._waiting:
                await self._wait(set())
            units += len(self._next_chunk(limits.APPEND_ITEMS))
        if units != info.counts.units and self.error is None:
            more = "more" if units > info.counts.units else f"{units:,}"
            raise Conflict(
                f"This job was sealed with {info.counts.units:,} units, and the input given now has {more}.",
                hint="It was left alone for too long, or another program fed it. Run it again with another key.",
            )

    async def _give_up(self, error: BaseException) -> CrowdgridError:
        told = error.message if isinstance(error, CrowdgridError) else f"{type(error).__name__}: {error}"
        with suppress(CrowdgridError):  # it may have ended by itself
            await self._job.cancel(f"Its input failed: {told}"[: limits.NAME_CHARS])
        failed = JobFailed(f"The input of the job failed after {self._appends.units:,} units: {told}")
        failed.__cause__ = error
        return failed

    # --- the thread ------------------------------------------------------------------------------

    def _pull(self) -> None:
        pulled = self._pulled
        try:
            for item in self._source:
                pulled.append(item)
                self._pulled_units += 1
                self._pulled_bytes += len(item)
                if not self._woken:  # else it has yet to look
                    self._woken = True
                    self._wake()
                if self._full:
                    self._open.clear()
                    if self._full:  # still: so it is yet to be opened
                        self._open.wait()
                if self._stopped:
                    return
        except BaseException as error:  # noqa: BLE001 — it is raised where the caller waits
            self.error = error
        self._exhausted = True
        self._wake()

    @property
    def _full(self) -> bool:
        """Whether as much was pulled and not sent as may be."""
        return (
            self._pulled_bytes - self._sent_bytes > WINDOW_BYTES
            or self._pulled_units - self._sent_units > WAITING_UNITS
        )

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:
            self._stopped = True  # the loop is closed: nobody is left to feed

    # --- the loop --------------------------------------------------------------------------------

    def _take(self) -> None:
        over = self._exhausted  # asked before looking: then nothing comes after what is there
        self._woken = False
        count = len(self._pulled)
        self._waiting += self._pulled[:count]
        del self._pulled[:count]
        self._over = over
        self._news.set()

    async def _append_all(self) -> None:
        under_way: set[asyncio.Future[int]] = set()
        while not self._job.ended:
            room = self._room()
            if self._waiting and room > 0 and len(under_way) < APPENDS_MAX:
                under_way.add(await append_chunk(self._appends, self._next_chunk(room), self._put_blob))
            elif self._over and not self._waiting and not under_way:
                return
            else:
                await self._wait(under_way)
            for done in [answer for answer in under_way if answer.done()]:
                under_way.discard(done)
                self._check(done)

    def _check(self, answer: asyncio.Future[int]) -> None:
        """Raises what the append was refused with, unless the job ended meanwhile: then input is pointless."""
        if answer.exception() is not None and not self._job.ended:
            answer.result()

    async def _wait(self, under_way: set[asyncio.Future[int]]) -> None:
        self._news.clear()
        news = asyncio.ensure_future(self._news.wait())
        waited: list[asyncio.Future[Any]] = [news, *under_way]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def _room(self) -> int:
        done = self._job.settled if self._taken is None else self._taken()
        return WINDOW_UNITS - (self._appends.units - done)

    def _next_chunk(self, room: int) -> list[bytes]:
        """From the front of what waits: as much as one message holds, or one large item."""
        count = size = 0
        for item in self._waiting[: min(room, limits.APPEND_ITEMS)]:
            size += len(item)
            if count and packed_bytes(count + 1, size) > BLOB_BYTES_WANTED:
                break
            count += 1
        chunk = self._waiting[:count]
        del self._waiting[:count]
        self._sent_bytes += sum(map(len, chunk))
        self._sent_units += count
        held_bytes, held_units = self._pulled_bytes - self._sent_bytes, self._pulled_units - self._sent_units
        if held_bytes < WINDOW_BYTES // 2 and held_units < WAITING_UNITS // 2:
            self._open.set()
        return chunk
