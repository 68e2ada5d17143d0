"""The keeper: the one place where the engine runs, and where what it decided becomes fact.

Group commit. Commands of all links wait in two queues (people and heartbeats before reports). The keeper takes
what is there, lets the engine handle it, writes all records in one transaction, and only then lets
messages, replies and events out: nothing anybody was told is ever lost, for one fsync a batch. While a commit
is under way the next commands gather, so a batch grows with the load and a lone command waits for nobody.

Each transaction begins by moving the grid row from the batch and epoch this keeper knows; when that row is
not there another hub took over and this one ends (`errors.Fenced`). When a commit fails otherwise, its outcome
is unknown: the engine is thrown away, links are closed, `problem` says why, and everything is rebuilt from
the store, again and again with growing pauses. Start, full disk, lost database and take-over are one path.

Reads never come from the live engine but from the store (`keeper.store`), save for `Why` and `Snapshot`, which
are commands like any other.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any

import msgspec

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.engine import Engine, restore
from crowdgrid.core.model import Assignment, GridRow, Record, Task, key_of
from crowdgrid.core.scheduling.ranking import DEFAULT
from crowdgrid.core.trust.policy import POLICY, Policy
from crowdgrid.errors import Busy, CrowdgridError, Fenced, Unavailable
from crowdgrid.hub.clock import Clock
from crowdgrid.ids import PublicIds
from crowdgrid.store import Batch, Opened, Store
from crowdgrid.store.recalling import RunProgram, recall

log = logging.getLogger("crowdgrid.keeper")

_REBUILD_SECONDS_FIRST = 0.25
_CALM_SECONDS = 2.0 * limits.REBUILD_SECONDS_MAX


class Handled(msgspec.Struct):
    """One batch the engine has handled: what to write, what to tell, whom to answer."""

    batch: Batch
    effects: list[e.Effect]
    answers: list[tuple[asyncio.Future[Any], Any]]
    commands: int = 0


class Figures(msgspec.Struct):
    """Counters for `/metrics`; only ever raised."""

    commands: int = 0
    batches: int = 0
    records: int = 0
    engine_seconds: float = 0.0
    commit_seconds: float = 0.0
    rebuilds: int = 0


class Keeper:
    """See the module.

    Args:
        store: where records are kept; opened by `start`.
        clock: engine time. ranking: the hub's scheduling rule. policy: what it has decided about trust.
        blobs: where answers are that were too large for a row; for comparing them.

    Attributes:
        problem: "" while it works, else one sentence why not.
        grid: the grid row as last committed. ids: how numbers are shown outside.
        listeners: called with the effects of each committed batch, in order, on the event loop.
        saved: called with the records of each committed batch.
        resets: called with the reason when the engine was thrown away: links close themselves.
        opened: what the store held when it was opened last (tokens and invitations are read from it).
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        ranking: str = DEFAULT,
        policy: Policy = POLICY,
        blobs: Blobs | None = None,
    ) -> None:
        self.store = store
        self.problem = "The hub is starting."
        self.listeners: list[Callable[[Sequence[e.Effect]], None]] = []
        self.saved: list[Callable[[Sequence[Record]], None]] = []
        self.resets: list[Callable[[str], None]] = []
        self.figures = Figures()
        self.on_commit: list[Callable[[float, int], None]] = []
        self.opened: Opened
        self.grid: GridRow
        self.ids: PublicIds
        self._clock = clock or Clock()
        self._ranking = ranking
        self._policy = policy
        self.blobs = blobs
        self.comparators: RunProgram | None = None  # runs comparators of submitters
        self._engine: Engine
        self._urgent: deque[tuple[c.Command, asyncio.Future[Any] | None]] = deque()
        self._bulk: deque[tuple[c.Command, asyncio.Future[Any] | None]] = deque()
        self._drops: list[tuple[list[int], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._closed: asyncio.Future[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._next_tick = 0
        self._asked: list[asyncio.Future[Any]] = []  # by the commands of the batch under way
        self._unread: CrowdgridError | None = None  # why a read for the engine failed
        self._failed_at = -_CALM_SECONDS
        self._pause = 0.0

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and go to work.

        Raises:
            Unavailable: the store cannot be opened; later failures are handled, the first one is the operator's.
        """
        self._closed = asyncio.get_running_loop().create_future()
        await self._rebuild()
        self._loop_task = asyncio.create_task(self._run(), name="keeper")

    async def close(self) -> None:
        """Commit what waits and close the store."""
        self._closing = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        for task in list(self._readers):
            task.cancel()
        await self.store.close()

    async def wait_closed(self) -> None:
        """Returns when the keeper has ended. Raises Fenced when another hub took over."""
        assert self._closed is not None
        await asyncio.shield(self._closed)

    def now(self) -> int:
        """Engine time, ms."""
        return self._clock.now()

    # --- commands ----------------------------------------------------------------------------

    async def ask(self, command: c.Command) -> Any:
        """The engine's reply to `command`, after the commit.

        Raises:
            CrowdgridError: what the engine refused; Busy when too much waits; Unavailable when the commit failed
                (then whether it happened is unknown, and asking again must be harmless).
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(command, future)
        return await future

    def tell(self, command: c.Command) -> None:
        """Let `command` happen; nobody waits for it. Raises Busy when too much waits already."""
        self._put(command, None)

    def submit(self, command: c.Command) -> asyncio.Future[Any]:
        """Like `ask`, without waiting: for a link that keeps several requests in flight, in order."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(command, future)
        return future

    async def drop_jobs(self, numbers: Sequence[int]) -> None:
        """Remove ended jobs and all their rows; those still in the engine's memory are left alone."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drops.append(([n for n in numbers if n not in self._engine.state.jobs], future))
        self._wake.set()
        await future

    def _put(self, command: c.Command, future: asyncio.Future[Any] | None) -> None:
        if self.problem:
            raise Unavailable(self.problem)
        queue = self._bulk if type(command) is c.Report else self._urgent
        if len(queue) >= limits.INBOUND_COMMANDS:
            raise Busy
        queue.append((command, future))
        self._wake.set()

    # --- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        assert self._closed is not None
        try:
            while not await self._worked():
                await self._rebuild_until_done()
        except Fenced as error:
            self._give_up(str(error))
            self._closed.set_exception(error)
            self._closed.exception()  # seen here; whoever waits sees it too
        finally:
            if not self._closed.done():
                self._closed.set_result(None)

    async def _worked(self) -> bool:
        """Work until told to close (True), or until something failed (False). Raises Fenced."""
        try:
            await self._work()
        except Fenced:
            raise
        except Exception as error:
            if isinstance(error, CrowdgridError):
                self._give_up(f"The store could not be used: {_told(error)}")
            else:
                log.exception("The engine failed; it is rebuilt from the store.")
                self._give_up("The hub made a mistake and begins again from its store; its log has the details.")
            return False
        return True

    async def _work(self) -> None:
        while True:
            await self._wait()
            if self._unread is not None:
                raise self._unread
            handled = self._handle_waiting()
            if handled is None:
                if self._closing:
                    return
                continue
            await self._commit(handled)

    async def _wait(self) -> None:
        """Until there are commands, or it is time for a tick."""
        if self._urgent or self._bulk or self._drops or self._closing:
            await asyncio.sleep(0)  # let what has arrived be read: it may join this batch
            return
        self._wake.clear()
        pause = max(0, self._next_tick - self.now()) / 1000
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    def _handle_waiting(self) -> Handled | None:
        """Let the engine handle what waits. None: there was nothing to do."""
        began = perf_counter()
        now = self.now()
        effects: list[e.Effect] = []
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        self._asked.clear()
        count = room = 0
        while count < limits.BATCH_COMMANDS and room < limits.BATCH_RESULTS and (self._urgent or self._bulk):
            command, future = (self._urgent or self._bulk).popleft()
            if future is not None:
                self._asked.append(future)
            count += 1
            room += len(command.results) if type(command) is c.Report else 1
            self._handle_one(command, future, now, effects, answers)
        if now >= self._next_tick:
            self._next_tick = now + limits.TICK_MS
            effects += self._engine.handle(c.Tick(not (self._urgent or self._bulk)), now)
        if self._engine.wants_plan:
            effects += self._engine.handle(c.Plan(), now)
        if not (count or effects or self._drops):
            return None
        handled = Handled(self._batch(effects), effects, answers, count)
        self.figures.engine_seconds += perf_counter() - began
        return handled

    def _handle_one(
        self,
        command: c.Command,
        future: asyncio.Future[Any] | None,
        now: int,
        effects: list[e.Effect],
        answers: list[tuple[asyncio.Future[Any], Any]],
    ) -> None:
        try:
            found = self._engine.handle(command, now)
        except CrowdgridError as error:
            if future is not None:
                answers.append((future, error))
            else:
                log.info("A %s was refused: %s", type(command).__name__, error)
            return
        except Exception:
            if future is not None:  # asked again it would fail again, and stop everybody once more
                _answer(future, CrowdgridError("The hub made a mistake over this request; its log has the details."))
            raise
        effects += found
        if future is not None:
            answers.append((future, next((x.value for x in found if type(x) is e.Reply), None)))

    def _batch(self, effects: Sequence[e.Effect]) -> Batch:
        records: dict[Any, Record] = {}
        partials: list[tuple[int, int]] = []
        for effect in effects:
            if type(effect) is e.Save:
                record = effect.record
                kind = type(record)
                if kind is Task:
                    records[record.job, record.ordinal] = record  # type: ignore[union-attr]
                elif kind is Assignment:
                    records[record.key] = record  # type: ignore[union-attr]
                else:
                    records[key_of(record)] = record
            elif type(effect) is e.DropPartial:
                partials.append((effect.job, effect.block))
                records.pop(("partial", effect.job, effect.block), None)  # kept earlier in this very batch
        grid = msgspec.structs.replace(self._engine.grid(), epoch=self.grid.epoch, batch=self.grid.batch + 1)
        return Batch(grid, tuple(records.values()), tuple(partials), tuple(n for ns, _ in self._drops for n in ns))

    async def _commit(self, handled: Handled) -> None:
        batch = handled.batch
        drops, self._drops = self._drops, []
        if batch.records or batch.dropped_partials or batch.dropped_jobs:
            began = perf_counter()
            try:
                await self.store.commit(batch)
            except Exception as error:
                self._refuse(handled, error)
                for _, waiting in drops:
                    _answer(waiting, Unavailable(f"It is not known whether this was kept: {error}"))
                raise
            took = perf_counter() - began
            self.grid = batch.grid
            self._count(handled, took)
        self.figures.commands += handled.commands
        self._tell(handled)
        for _, waiting in drops:
            _answer(waiting, None)

    def _refuse(self, handled: Handled, error: Exception) -> None:
        """Answer those whose batch was not written."""
        unknown = Unavailable(f"It is not known whether this was kept: {error}")
        # What a store will never take must not be asked for again, where it is known who asked.
        final = isinstance(error, CrowdgridError) and not error.retryable and handled.commands == 1
        for future, _ in handled.answers:
            _answer(future, error if final else unknown)

    def _count(self, handled: Handled, took: float) -> None:
        self.figures.batches += 1
        self.figures.records += len(handled.batch.records)
        self.figures.commit_seconds += took
        for watch in self.on_commit:
            watch(took, handled.commands)

    def _tell(self, handled: Handled) -> None:
        """Let out what is now fact."""
        for future, value in handled.answers:
            _answer(future, value)
        told = [effect for effect in handled.effects if type(effect) is not e.Save]
        for effect in told:
            if type(effect) is e.Recall:
                self._start_recall(effect)
        for listener_of_records in self.saved:  # first: a lease is sent with the input its own batch may have saved
            listener_of_records(handled.batch.records)
        for listener in self.listeners:
            listener(told)

    def _start_recall(self, effect: e.Recall) -> None:
        task = asyncio.create_task(self._recall(effect, self._engine))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _recall(self, effect: e.Recall, engine: Engine) -> None:
        try:
            rows = await recall(self.store, effect, self.blobs.read_bytes if self.blobs else None, self.comparators)
        except CrowdgridError as error:
            if engine is self._engine and not self.problem:
                self._unread = error  # the engine waits for these rows, and would for ever
                self._wake.set()
            return
        if engine is self._engine and not self.problem:
            self._urgent.append((rows, None))
            self._wake.set()

    # --- starting, and starting over ------------------------------------------------------------

    def _give_up(self, why: str) -> None:
        log.error("%s", why)
        self.problem = why
        for queue in (self._urgent, self._bulk):
            for _, future in queue:
                if future is not None:
                    _answer(future, Unavailable(why))
            queue.clear()
        for future in self._asked:
            _answer(future, Unavailable(why))
        for _, waiting in self._drops:
            _answer(waiting, Unavailable(why))
        self._drops = []
        for reset in self.resets:
            reset(why)

    async def _rebuild_until_done(self) -> None:
        """Go on from the store; at once, or when that failed lately after growing pauses. Raises Fenced."""
        while not self._closing:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._next_pause())  # or until it is closed
            self.figures.rebuilds += 1
            try:
                await self._rebuild()
                return
            except Fenced:
                raise
            except CrowdgridError as error:
                self.problem = f"The store cannot be used: {_told(error)}"
                log.error("%s", self.problem)

    def _next_pause(self) -> float:
        """Seconds to wait. A store may open well and then fail with each commit, as one on a full disk does: so what
        counts is how long ago the last failure was, not whether it could be opened since."""
        now = monotonic()
        calm, self._failed_at = now - self._failed_at > _CALM_SECONDS, now
        longer = max(self._pause * 2, _REBUILD_SECONDS_FIRST)
        self._pause = 0.0 if calm else min(longer, limits.REBUILD_SECONDS_MAX)
        return self._pause

    async def _rebuild(self) -> None:
        opened = await self.store.open(grid_id=os.urandom(16), id_key=os.urandom(16))
        self._clock.begin(opened.grid.now)
        engine, effects = restore(
            opened.grid,
            opened.jobs,
            opened.tasks,
            opened.assignments,
            opened.nodes,
            self.now(),
            self._ranking,
            standings=opened.standings,
            policy=self._policy,
        )
        self.opened = opened
        self.grid = opened.grid
        self.ids = PublicIds(opened.grid.id_key)
        self._engine = engine
        self._unread = None
        self._next_tick = self.now() + limits.TICK_MS
        self.problem = ""
        await self._commit(Handled(self._batch(effects), effects, []))


def _told(error: CrowdgridError) -> str:
    """What went wrong and, where that is known, what to do about it."""
    known = error.hint and error.hint != error.default_hint
    return f"{error.message} {error.hint}" if known else error.message


def _answer(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, CrowdgridError):
        future.set_exception(value)
    else:
        future.set_result(value)
