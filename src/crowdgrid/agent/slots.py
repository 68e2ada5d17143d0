"""What runs: CPU and memory slots, the queues of leased tasks, and the batches in the workers.

A batch is one call of a runtime: one task, or several short ones of the same job (about
`BATCH_SECONDS` of work), or a slice of a task that has many runs. One asyncio task drives one batch,
so a thousand trivial tasks cost a handful of asyncio tasks.

Cancelling a running task ends its worker. When others share the batch it is given `GRACE_SECONDS` to end
by itself; what it then loses runs again. A lease whose deadline passes is dropped and its worker
ended: the hub has let it go at the same moment, by its own clock, and nothing is owed for it.

Invariants: `cpu_left` and `memory_left` are what is lent less what running batches asked for (below zero
only after less is lent than before); an assignment is waiting, in one batch, or gone; everything in a batch ends as answered, dropped
or waiting again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from crowdgrid.agent.work import Held, JobQueue
from crowdgrid.errors import CrowdgridError
from crowdgrid.limits import APPEND_ITEMS
from crowdgrid.protocol import packing
from crowdgrid.protocol.messages import Lease, LeaseSpec
from crowdgrid.runtimes import Finished, Result, Runs, Runtime
from crowdgrid.runtimes import Outcome as Ran

BATCH_SECONDS: Final = 0.02  # short tasks put together
SLICE_SECONDS: Final = 0.1  # of a task with many runs, between points where it may be stopped
GRACE_SECONDS: Final = 0.1  # a batch may take to end when only some of it was cancelled
BATCH_BYTES: Final = 4 << 20  # of stdin in one call
TRIES: Final = 2  # a task whose worker died of outside causes is run again once
TRIES_MAX: Final = 5  # starts of one task, for whatever reason it was stopped
_NODE_ERROR: Final = Ran.NODE_ERROR  # looked up once, see `work`
QUEUES: Final = 256  # queues remembered, for how long their runs take

log = logging.getLogger(__name__)


class Events(Protocol):
    """What becomes of assignments. Called on the event loop, never while `Slots` is changing."""

    def answered(self, held: Held) -> None:
        """All runs are in `held.finished`."""

    def stopped(self, held: Held) -> None:
        """Only the first runs are in `held.finished`, as `stop_at_boundary` asked; none is possible."""

    def refused(self, held: Sequence[Held], reason: str) -> None:
        """They cannot run here and are forgotten."""

    def returned(self, held: Sequence[Held], reason: str) -> None:
        """They could run here, but not now, and are forgotten."""

    def settled(self) -> None:
        """A batch has ended: there may be a free place."""


class Inputs(Protocol):
    """Where blobs of inputs come from."""

    async def read(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Their content. Raises CrowdgridError when one cannot be had."""


class _Batch:
    """What one worker is doing."""

    __slots__ = ("again", "begun", "boundary", "held", "memory", "milli", "task")

    def __init__(self, held: list[Held], milli: int, memory: int) -> None:
        self.held = held
        self.milli = milli
        self.memory = memory
        self.boundary = False  # stop between two runs
        self.begun = False  # a task cancelled before its first step would never give anything back
        self.again = False  # what is lost when it is ended runs again
        self.task: asyncio.Task[None] | None = None


class Slots:
    """Runs leases in the workers of `runtimes`.

    Args:
        runtimes: by name, started.
        inputs: fetches blobs of inputs.
        events: is told what becomes of assignments.
        milli_cpus, memory_bytes: what is lent.
        objection: why the owner does not want leases of a spec here, "" when they may come.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        inputs: Inputs,
        events: Events,
        *,
        milli_cpus: int,
        memory_bytes: int,
        objection: Callable[[LeaseSpec], str] = lambda spec: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_bytes = self.memory_left = memory_bytes
        self.milli_cpus = self.cpu_left = milli_cpus
        self.task_seconds = 0.0
        self.rest_share = 0.0  # of the time, workers rest between batches: a CPU share below one core
        self._held: dict[bytes, Held] = {}
        self._queues: dict[LeaseSpec, JobQueue] = {}
        self._batches: set[_Batch] = set()
        self._runtimes, self._inputs, self._events, self._clock = runtimes, inputs, events, clock
        self._objection = objection
        self._arrivals = 0

    # --- what is here ---

    @property
    def workers(self) -> int:
        """How many batches may run at once."""
        return max(1, self.milli_cpus // 1000)

    @property
    def held(self) -> list[bytes]:
        """Every assignment waiting or running."""
        return list(self._held)

    @property
    def busy(self) -> int:
        """Batches running."""
        return len(self._batches)

    @property
    def running(self) -> int:
        """Assignments running."""
        return sum(len(batch.held) for batch in self._batches)

    @property
    def queued_seconds(self) -> float:
        """How long one worker would need for what waits, as far as is known."""
        return sum([queue.waiting_seconds for queue in self._queues.values() if queue.waiting])

    def queue_of(self, spec: LeaseSpec) -> JobQueue:
        """The queue of this spec, a new one if there is none. Raises ValueError for a bad program digest."""
        queue = self._queues.get(spec)
        if queue is None:
            self._forget_queues()
            queue = self._queues[spec] = JobQueue(spec)
        return queue

    def _forget_queues(self) -> None:
        for spec, queue in list(self._queues.items())[: max(0, len(self._queues) - QUEUES)]:
            if not queue.waiting:
                del self._queues[spec]

    def __contains__(self, assignment: bytes) -> bool:
        return assignment in self._held

    def __len__(self) -> int:
        return len(self._held)

    # --- taking and dropping ---

    def why_not(self, spec: LeaseSpec) -> str:
        """Why leases of `spec` can never run here, "" when they can."""
        if refusal := self._objection(spec):
            return refusal
        if spec.runtime not in self._runtimes:
            return f"This node has no runtime {spec.runtime[:40]!r}."
        if spec.memory_bytes > self.memory_bytes:
            return f"It needs {spec.memory_bytes >> 20:,} MB of memory; this node lends {self.memory_bytes >> 20:,} MB."
        if spec.milli_cpus > max(self.milli_cpus, 1000):
            return f"It needs {spec.milli_cpus / 1000:g} cores; this node lends {self.milli_cpus / 1000:g}."
        return ""

    def lend(self, milli_cpus: int, memory_bytes: int) -> None:
        """Change what is lent. What runs goes on; what can no longer run here is given back."""
        self.cpu_left += milli_cpus - self.milli_cpus
        self.memory_left += memory_bytes - self.memory_bytes
        self.milli_cpus, self.memory_bytes = milli_cpus, memory_bytes
        for queue in self._queues.values():
            if queue.waiting and (reason := self.why_not(queue.spec)):
                self.refuse_waiting(queue, reason)

    def evict(self) -> None:
        """Refuse what the owner objects to by now, also what runs: its workers end."""
        for queue in dict.fromkeys(held.queue for held in self._held.values()):
            if reason := self._objection(queue.spec):
                self._refuse([held for held in self._held.values() if held.queue is queue], reason)

    def add(self, queue: JobQueue, lease: Lease) -> None:
        """Take a lease; one already held is passed over. Call `dispatch` when all are in."""
        if lease.assignment in self._held:
            return
        self._arrivals += 1
        held = Held(queue, lease, self._clock() + lease.deadline_ms / 1000, self._arrivals)
        self._held[lease.assignment] = held
        queue.waiting.append(held)

    def drop(self, assignments: Iterable[bytes]) -> None:
        """Forget assignments; the workers of those that run are ended, at once or after the grace."""
        thinned = set()
        for assignment in assignments:
            held = self._held.pop(assignment, None)
            if held is None:
                continue
            held.dropped = True
            if held.running:
                self._leave(held)
            else:
                thinned.add(held.queue)
        for queue in thinned:
            kept = [held for held in queue.waiting if not held.dropped]
            queue.waiting.clear()
            queue.waiting.extend(kept)

    def refuse_waiting(self, queue: JobQueue, reason: str) -> None:
        """Refuse what waits in `queue`: its job cannot run here."""
        self._refuse(list(queue.waiting), reason)

    def return_waiting(self, reason: str, keep: int = 0) -> None:
        """Give back what waits, but for the `keep` oldest."""
        self._return([held for held in self._held.values() if not held.running][keep:], reason)

    def return_all(self, reason: str) -> None:
        """Give back everything and end all workers that run something."""
        self._return(list(self._held.values()), reason)

    def stop_at_boundary(self) -> None:
        """Let tasks with many runs end between two of them; see `Events.stopped`."""
        for batch in self._batches:
            batch.boundary = True

    def expire(self) -> int:
        """Drop what has passed its deadline; returns how many."""
        now = self._clock()
        late = [held.id for held in self._held.values() if held.expires <= now]
        self.drop(late)
        return len(late)

    async def idle(self) -> None:
        """Wait until no batch runs."""
        while self._batches:
            await asyncio.wait([batch.task for batch in self._batches if batch.task])

    def _refuse(self, held: Sequence[Held], reason: str) -> None:
        if held:
            self.drop([one.id for one in held])
            self._events.refused(held, reason)

    def _return(self, held: Sequence[Held], reason: str) -> None:
        if held:
            self.drop([one.id for one in held])
            self._events.returned(held, reason)

    def _leave(self, held: Held) -> None:
        batch = next((batch for batch in self._batches if held in batch.held), None)
        if batch is None or batch.task is None:
            return
        if all(one.dropped for one in batch.held):
            if batch.begun:
                batch.task.cancel()
        elif not batch.again:
            batch.again = True
            asyncio.get_running_loop().call_later(GRACE_SECONDS, batch.task.cancel)

    # --- choosing ---

    def dispatch(self) -> None:
        """Start as many batches as fit."""
        while len(self._batches) < self.workers and (queue := self._next()) is not None:
            self._start(queue)

    def _next(self) -> JobQueue | None:
        """The queue whose oldest lease came first, of those that can start now."""
        best = None
        for queue in self._queues.values():
            if not queue.waiting or not queue.path or not self._fits(queue.spec):
                continue
            if best is None or queue.waiting[0].arrival < best.waiting[0].arrival:
                best = queue
        return best

    def _fits(self, spec: LeaseSpec) -> bool:
        # A part of a core lent is used by one worker that rests in between.
        return not self._batches or (spec.milli_cpus <= self.cpu_left and spec.memory_bytes <= self.memory_left)

    def _start(self, queue: JobQueue) -> None:
        spec = queue.spec
        batch = _Batch(self._take(queue), spec.milli_cpus, spec.memory_bytes)
        self.cpu_left -= batch.milli
        self.memory_left -= batch.memory
        for held in batch.held:
            held.running = True
            held.tries += 1
        self._batches.add(batch)
        batch.task = asyncio.get_running_loop().create_task(self._drive(queue, batch))

    def _take(self, queue: JobQueue) -> list[Held]:
        """The next leases of `queue` that make one batch: a fair share of it, some ms of work."""
        free = self.workers - len(self._batches)
        share = -(-len(queue.waiting) // max(1, free))
        runs = min(queue.runs_within(BATCH_SECONDS), APPEND_ITEMS)
        taken = [queue.waiting.popleft()]
        runs -= taken[0].run_count
        while queue.waiting and len(taken) < share and queue.waiting[0].run_count <= runs:
            taken.append(queue.waiting.popleft())
            runs -= taken[-1].run_count
        return taken

    # --- running ---

    async def _drive(self, queue: JobQueue, batch: _Batch) -> None:
        batch.begun = True
        began = self._clock()
        try:
            if await self._prepare(batch):
                await self._run(queue, batch)
        except asyncio.CancelledError:
            if not any(one.dropped for one in batch.held):
                raise  # the whole agent is being ended
        except CrowdgridError as error:
            log.warning("A runtime could not work: %s", error.message)
        finally:
            self._end(batch)
        try:
            if self.rest_share > 0:
                await asyncio.sleep((self._clock() - began) * self.rest_share / (1 - self.rest_share))
        finally:
            self._batches.discard(batch)
            self._events.settled()

    async def _prepare(self, batch: _Batch) -> bool:
        """Read the inputs. Leases whose input is wrong or cannot be had are refused."""
        for held in batch.held:
            if held.runs or held.dropped:
                continue
            try:
                given = held.lease.input
                blobs = packing.blobs_of(given) if given.parts or given.tails_blob else ()
                held.prepare(await self._inputs.read(blobs) if blobs else {})
            except CrowdgridError as error:
                held.running = False  # so that dropping it does not end this very batch
                self._refuse([held], error.message)
        batch.held = [held for held in batch.held if not held.dropped]
        return bool(batch.held)

    async def _run(self, queue: JobQueue, batch: _Batch) -> None:
        runtime = self._runtimes[queue.spec.runtime]
        todo = Runs.joined([held.runs[len(held.finished) :] for held in batch.held])
        owed = deque([(held, len(held.runs) - len(held.finished)) for held in batch.held])
        at = 0
        while at < len(todo) and not (at and batch.boundary):
            part = todo[at : at + self._slice(queue, batch)]
            began = self._clock()
            results = await runtime.run(queue.spec.program, queue.path, part, queue.spec.owner)
            queue.observe(self._clock() - began, len(part))
            at += len(part)
            self._hand_out(owed, results.items)
            if batch.held[0].broken:
                return

    def _slice(self, queue: JobQueue, batch: _Batch) -> int:
        if len(batch.held) > 1:
            return APPEND_ITEMS
        return min(APPEND_ITEMS, queue.runs_within(SLICE_SECONDS))

    def _hand_out(self, owed: deque[tuple[Held, int]], items: Sequence[Result]) -> None:
        """Give the next results to those whose runs they are; `owed` says how many runs of each are left."""
        at = 0
        while at < len(items):
            held, count = owed.popleft()
            its = items[at : at + count]
            at += len(its)
            if len(its) < count:
                owed.appendleft((held, count - len(its)))
            if not held.broken and not held.dropped:
                self._take_in(held, its)

    def _take_in(self, held: Held, items: Sequence[Result]) -> None:
        failed = [at for at, one in enumerate(items) if type(one) is Finished and one.outcome is _NODE_ERROR]
        if not failed:
            held.finished.items += items
        else:
            held.broken = True
            # With a try left, `_end` lets it wait again; else that it failed is its answer.
            held.finished.items += items[: failed[0] + (held.tries >= TRIES)]
            if held.tries < TRIES:
                return
        if held.broken or len(held.finished) == len(held.runs):
            self._finish(held)

    def _finish(self, held: Held) -> None:
        seconds = held.queue.run_seconds * len(held.runs)
        self.task_seconds += (seconds - self.task_seconds) * (0.2 if self.task_seconds else 1.0)
        del self._held[held.id]
        self._events.answered(held)

    def _end(self, batch: _Batch) -> None:
        """Give back what the batch used; what it did not finish waits again or is handed over in part."""
        self.cpu_left += batch.milli
        self.memory_left += batch.memory
        for held in reversed(batch.held):
            held.running = False
            if held.dropped or held.id not in self._held:
                continue
            if batch.boundary and held.finished:
                del self._held[held.id]
                self._events.stopped(held)
            elif held.tries >= TRIES_MAX:
                self._refuse([held], "It could not be run to its end here.")
            else:
                held.broken = False
                held.queue.waiting.appendleft(held)
