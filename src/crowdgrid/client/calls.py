"""Single calls of one program on their way: each appended to one open job, each future answered as its task settles.

Calls made while an append is under way go together in the next one, so a burst of a thousand calls costs a few
messages and one call alone costs one round trip. How many are handed to the grid is bounded by a window that grows
while the grid takes what it is given: what is still here can be cancelled, and costs the grid nothing.

Invariants: calls are appended in the order in which they were made; every future is answered once: with its call's
outcome, or with what became of the job.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.client import background
from crowdgrid.client.appending import append_chunk
from crowdgrid.client.bound import Bound
from crowdgrid.client.futures import settle
from crowdgrid.client.joblink import WINDOW_ROWS, JobLink
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.core.model import TaskState
from crowdgrid.errors import CrowdgridError, JobFailed
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import packed_bytes

WINDOW_CALLS: Final = 64
WINDOW_CALLS_MAX: Final = 20_000
QUICK_SECONDS: Final = 0.25  # a window answered sooner than this may be twice as large


class Calls:
    """See the module. `submit` may be called from any thread; the rest runs on crowdgrid's loop.

    Args:
        open_job: opens the job.
        outcomes: reads what comes.
        blob, put_blob: fetch and store what is too large for a message.
        watch: runs beside the job.
        bound: how many calls the grid has at once, these and others; None lets the window grow.
    """

    def __init__(
        self,
        open_job: Callable[[], Awaitable[JobLink]],
        outcomes: Outcomes,
        *,
        blob: Callable[[str], Awaitable[bytes]],
        put_blob: Callable[[bytes], Awaitable[str]],
        watch: Callable[[JobLink], Coroutine[Any, Any, None]],
        bound: Bound | None = None,
    ) -> None:
        self._open_job = open_job
        self._outcomes = outcomes
        self._blob = blob
        self._put_blob = put_blob
        self._watch = watch
        self._bound = bound
        self._window = WINDOW_CALLS if bound is None else bound.count
        self._grows = bound is None
        self._lock = threading.Lock()
        self._made: deque[tuple[Future[Any], bytes]] = deque()  # and not handed over yet
        self._woken = False
        self._given: dict[int, Future[Any]] = {}  # by unit: with the grid
        self._full: tuple[int, float] | None = None  # the unit that filled the window, and when it was handed over
        self._judged: m.JobInfo | None = None  # the counters the window was judged by last
        self._rows: deque[m.ResultRow] = deque()
        self._owed = 0  # rows the hub's window is short of
        self._news = asyncio.Event()
        self._job: JobLink | None = None
        self._task: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.ended: CrowdgridError | None = None  # it takes no more calls

    # --- from any thread -------------------------------------------------------------------------

    def submit(self, future: Future[Any], item: bytes) -> bool:
        """Take a call; False: this job has ended, open another one."""
        with self._lock:
            if self.ended is not None:
                return False
            self._made.append((future, item))
            wake, self._woken = not self._woken, True
        if wake:
            background.loop().call_soon_threadsafe(self._start)
        return True

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a call of it."""
        return not self._made and not self._given

    # --- on the loop -----------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._news.set()

    async def close(self, error: CrowdgridError, *, cancel: bool = False) -> None:
        """Take no more calls; those nobody answered fail with `error`. What the grid has it may finish, unless
        `cancel`."""
        self._end(error)
        if self._watching is not None:
            self._watching.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._job is not None and self._job.failure is None and not self._job.ended:
            with suppress(CrowdgridError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await (self._job.cancel("Its program gave it up.") if cancel else self._job.seal())

    async def _run(self) -> None:
        try:
            self._job = job = await self._open_job()
            job.watchers.append(self._news.set)
            job.read(self._arrived, signed=self._outcomes.signed)
            self._watching = asyncio.get_running_loop().create_task(self._watch(job))
            while True:
                await self._answer_all(job)
                if job.failure is not None or (job.ended and not self._rows):
                    break
                await self._hand_over(job)
                await self._news.wait()
                self._news.clear()
            self._end(job.failure or JobFailed(_why(job)))
        except CrowdgridError as error:
            self._end(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Nobody may be left waiting for a future that is no longer looked after.
            self._end(CrowdgridError(f"The calls of this function failed: {type(error).__name__}: {error}"))
            raise

    def _end(self, error: CrowdgridError) -> None:
        with self._lock:
            self.ended = self.ended or error
            left = [future for future, _ in self._made]
            self._made.clear()
        given = [self._taken(unit) for unit in list(self._given)]
        if self._bound is not None:
            self._bound.leave(self._news)
        for future in [*given, *left]:
            if future is not None:
                settle(future, error=error)

    # --- to the grid -----------------------------------------------------------------------------

    async def _hand_over(self, job: JobLink) -> None:
        while (room := self._room(job)) > 0 and (chunk := self._next_chunk(room)):
            first = job.units
            if self._bound is not None:
                self._bound.take(self._news, len(chunk))
            self._given.update(enumerate([future for future, _ in chunk], first))
            if self._made and len(self._given) >= self._window and self._full is None:
                self._full = (first + len(chunk) - 1, asyncio.get_running_loop().time())
            try:
                answer = await append_chunk(job, [item for _, item in chunk], self._put_blob)
            except CrowdgridError as error:
                self._refused(first, len(chunk), error)
                if job.units != first:
                    raise
                continue
            answer.add_done_callback(partial(self._appended, first, len(chunk)))
        if self._bound is not None:
            self._bound.wait(self._news) if self._made else self._bound.leave(self._news)

    def _appended(self, first: int, count: int, done: asyncio.Future[int]) -> None:
        if not done.cancelled() and isinstance(error := done.exception(), CrowdgridError):
            self._refused(first, count, error)

    def _refused(self, first: int, count: int, error: CrowdgridError) -> None:
        self._full = None
        for unit in range(first, first + count):
            if (future := self._taken(unit)) is not None:
                settle(future, error=error)

    def _room(self, job: JobLink) -> int:
        if self._grows and self._made and len(self._given) >= self._window and self._judged is not job.info:
            self._judged = job.info
            counts = job.info.counts
            if counts.units_cut == counts.units and counts.in_queue <= counts.in_progress // 2:
                self._grow()  # nothing waits at the hub: there are more workers than calls
        room = self._window - len(self._given)
        return room if self._bound is None else min(room, self._bound.room(self._news))

    def _taken(self, unit: int) -> Future[Any] | None:
        """The future of a call the grid has no more, if nobody took it before."""
        future = self._given.pop(unit, None)
        if future is not None and self._bound is not None:
            self._bound.give_back()
        return future

    def _grow(self) -> None:
        self._window = min(WINDOW_CALLS_MAX, 2 * self._window)

    def _next_chunk(self, room: int) -> list[tuple[Future[Any], bytes]]:
        """The calls made first that nobody cancelled: as many as one message holds, or one large one."""
        chunk: list[tuple[Future[Any], bytes]] = []
        size = 0
        with self._lock:
            while self._made and len(chunk) < min(room, limits.APPEND_ITEMS):
                future, item = self._made[0]
                if chunk and packed_bytes(len(chunk) + 1, size + len(item)) > limits.INLINE_BYTES:
                    break
                self._made.popleft()
                if future.set_running_or_notify_cancel():
                    chunk.append((future, item))
                    size += len(item)
            if not self._made:
                self._woken = False
        return chunk

    # --- from the grid ---------------------------------------------------------------------------

    def _arrived(self, rows: Sequence[m.ResultRow]) -> None:
        self._rows.extend(rows)
        self._news.set()

    async def _answer_all(self, job: JobLink) -> None:
        while self._rows:
            row = self._rows.popleft()
            self._owed += 1
            if row.state != TaskState.SPLIT:
                payload = await self._blob(row.blob) if row.blob else row.payload
                refused = await self._outcomes.check(row, payload) if self._outcomes.signed else None
                self._answer(row, payload, refused)
        if self._owed >= WINDOW_ROWS // 4:
            job.grant(self._owed)
            self._owed = 0

    def _answer(self, row: m.ResultRow, payload: bytes, refused: CrowdgridError | None) -> None:
        if self._full is not None and row.start <= self._full[0] < row.stop:
            # How long the call took that went in last says how long the whole window takes.
            if self._grows and asyncio.get_running_loop().time() - self._full[1] < QUICK_SECONDS:
                self._grow()
            self._full = None
        try:
            for unit, answer in enumerate(self._outcomes.answers(row, payload, refused), row.start):
                if (future := self._taken(unit)) is not None:
                    ok, outcome = self._outcomes.outcome(answer, row, unit)
                    settle(future, value=outcome) if ok else settle(future, error=outcome)
        except Exception as error:  # noqa: BLE001 — a result that cannot be read is its own calls' failure
            for unit in range(row.start, row.stop):
                if (future := self._taken(unit)) is not None:
                    settle(future, error=error)


def _why(job: JobLink) -> str:
    reason = job.info.reason.rstrip(".")
    return f"The job of this function ended before its calls were answered: {reason or 'it is ' + job.info.state}."
