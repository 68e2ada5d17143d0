"""What happened, for people who watch: events with ids, a ring of the last ones, and their readers.

Source is the keeper's batches (`saw` is one of its listeners), so an event tells only what is committed. Ids are
`batch.index` and only grow, over restarts too, because the batch number is kept in the store.

- A job's change of state is told at once; its counters at most twice a second.
- Tasks are told only for a job somebody watches, one event a batch, and go on being kept for a while after
  the last watcher left, so that a dropped connection can resume.
- Each event names the owner it may be shown to.
- When the engine had to be rebuilt, every reader gets `reset`: nobody can say what the last batch told.
- A reader that comes back with an id the ring still covers gets exactly what it missed; otherwise it gets
  `reset` and reads afresh. One that does not keep up is cut off, which is the same to it.

An event's JSON is made when the first reader takes it, and once: without readers it costs a tuple.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.core import effects
from crowdgrid.core.model import Job, JobState, Task
from crowdgrid.errors import BadInput, Busy
from crowdgrid.hub import views

if TYPE_CHECKING:
    from crowdgrid.hub.access import Principal
    from crowdgrid.ids import PublicIds

EventId: TypeAlias = tuple[int, int]

COUNTERS_SECONDS = 0.5
WATCH_LINGERS_SECONDS = 60.0
READERS_MAX = 1_000
WAITING_MAX = 1_000  # events one reader may lag behind
_ENDED = frozenset({JobState.INVALID, JobState.FINAL, JobState.FAILED, JobState.CANCELLED})


class Event:
    """One event: what it is, whose, and how to say it."""

    __slots__ = ("_say", "_text", "id", "job", "kind", "owner")

    def __init__(self, id: EventId, kind: str, owner: str, job: int, say: Callable[[], object]) -> None:
        self.id = id
        self.kind = kind
        self.owner = owner
        self.job = job
        self._say: Callable[[], object] | None = say
        self._text = b""

    def __lt__(self, other: Event) -> bool:
        return self.id < other.id

    @property
    def text(self) -> bytes:
        """The event as `text/event-stream` has it."""
        if self._say is not None:
            data = msgspec.json.encode(self._say())
            self._text = b"id: %d.%d\nevent: %s\ndata: %s\n\n" % (*self.id, self.kind.encode(), data)
            self._say = None
        return self._text


class TaskNews(msgspec.Struct, frozen=True):
    """A task that moved, and why in words."""

    id: str
    ordinal: int
    start: int
    stop: int
    state: str
    stale: int
    errors: int
    why: str


class Reader:
    """One who watches. Iterate over it; it ends when the reader is cut off or the hub closes."""

    def __init__(self, principal: Principal, job: int) -> None:
        self.principal = principal
        self.job = job
        self.cut = False
        self._waiting: deque[Event] = deque()
        self._more = asyncio.Event()

    def offers(self, event: Event) -> bool:
        """Whether this event is for this reader."""
        if not self.principal.sees(event.owner):
            return False
        return event.job == self.job if self.job else event.kind != "tasks"

    def put(self, event: Event) -> None:
        """Hand it an event, or cut it off when it lags too far behind."""
        if len(self._waiting) >= WAITING_MAX:
            self.end()
        elif not self.cut:
            self._waiting.append(event)
            self._more.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.cut = True
        self._waiting.clear()
        self._more.set()

    async def take(self) -> list[Event]:
        """What waits; empty when the reader was cut off."""
        await self._more.wait()
        self._more.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Watch:
    """The kept task events of one watched job."""

    def __init__(self, owner: str, since: EventId) -> None:
        self.owner = owner
        self.since = since  # after this nothing is missing
        self.readers = 0
        self.forget_at = 0.0  # once nobody reads
        self.ring: deque[Event] = deque(maxlen=limits.EVENTS_KEPT // 10)

    def add(self, event: Event) -> None:
        """Keep it; remember what is no longer covered."""
        if len(self.ring) == self.ring.maxlen:
            self.since = self.ring[0].id
        self.ring.append(event)


class Happenings:
    """The ring and its readers.

    Args:
        batch: the number of the last committed batch. ids: how numbers are shown outside.
        clock: seconds, monotonic.
    """

    def __init__(self, batch: Callable[[], int], ids: Callable[[], PublicIds], clock: Callable[[], float]) -> None:
        self._batch = batch
        self._ids = ids
        self._clock = clock
        self._last: EventId = (-1, 0)
        self._floor: EventId = (-1, 0)
        self._ring: deque[Event] = deque(maxlen=limits.EVENTS_KEPT)
        self._readers: set[Reader] = set()
        self._watches: dict[int, Watch] = {}
        self._told: dict[int, tuple[str, bool, str, int, int]] = {}  # job -> what was last told of it
        self._pending: dict[int, Job] = {}  # jobs whose counters moved
        self._flush: asyncio.TimerHandle | None = None

    # --- from the keeper ------------------------------------------------------------------------

    def saw(self, batch: Sequence[effects.Effect]) -> None:
        """Make events of one committed batch."""
        self._begin()
        tasks: dict[int, list[tuple[Task, str]]] = {}
        for effect in batch:
            if isinstance(effect, effects.JobChanged):
                self._job(effect.job)
            elif isinstance(effect, effects.NodeChanged):
                self._node(effect)
            elif isinstance(effect, effects.Settled | effects.TaskChanged) and effect.task.job in self._watches:
                why = effect.why if isinstance(effect, effects.TaskChanged) else "settled"
                tasks.setdefault(effect.task.job, []).append((effect.task, why))
        for job, moved in tasks.items():
            self._tasks(job, moved)

    def _begin(self) -> None:
        """Start where the store stands: whatever was told before a restart is gone, so all of it counts as missed."""
        if self._last[0] < 0:
            self._last = self._floor = (self._batch(), 1 << 31)

    def _job(self, job: Job) -> None:
        news = (job.state.value, job.paused, job.reason, job.revision, job.spec.priority)
        if self._told.get(job.number) == news:
            self._pending[job.number] = job
            if self._flush is None:
                self._flush = asyncio.get_running_loop().call_later(COUNTERS_SECONDS, self._tell_counters)
            return
        self._pending.pop(job.number, None)
        if job.state in _ENDED:
            self._told.pop(job.number, None)
        else:
            self._told[job.number] = news
        self._say("job", job.owner, job.number, lambda: views.job_info(job, self._ids()))

    def _tell_counters(self) -> None:
        self._flush = None
        pending, self._pending = self._pending, {}
        for job in pending.values():
            self._say("counts", job.owner, job.number, partial(self._counts, job))

    def _counts(self, job: Job) -> object:
        return views.counts_info(job, self._ids())

    def _node(self, effect: effects.NodeChanged) -> None:
        node, online = effect.node, effect.online
        self._say("node", node.owner, 0, lambda: views.node_info(node, online=online))

    def _tasks(self, job: int, moved: list[tuple[Task, str]]) -> None:
        watch = self._watches[job]
        event = Event(self._next(), "tasks", watch.owner, job, lambda: self._news(job, moved))
        watch.add(event)
        for reader in [reader for reader in self._readers if reader.offers(event)]:
            reader.put(event)

    def _news(self, job: int, moved: list[tuple[Task, str]]) -> dict[str, Any]:
        ids = self._ids()
        rows = [
            TaskNews(
                ids.task(task.job, task.ordinal), task.ordinal, task.start, task.stop,
                task.state.name.lower(), task.stale, task.errors, why,
            )
            for task, why in moved
        ]  # fmt: skip
        return {"job": ids.job(job), "tasks": rows}

    def _next(self) -> EventId:
        batch = self._batch()
        self._last = (batch, 0) if batch > self._last[0] else (self._last[0], self._last[1] + 1)
        return self._last

    def _say(self, kind: str, owner: str, job: int, say: Callable[[], object]) -> None:
        if len(self._ring) == self._ring.maxlen:
            self._floor = self._ring[0].id
        event = Event(self._next(), kind, owner, job, say)
        self._ring.append(event)
        for reader in [reader for reader in self._readers if reader.offers(event)]:
            reader.put(event)

    # --- to readers -----------------------------------------------------------------------------

    def open(self, principal: Principal, *, job: Job | None = None, last: EventId | None = None) -> Reader:
        """Start to watch: everything one may see, or with `job` that job and its tasks.

        Args:
            last: the id of the last event the reader saw; what came since is given again, or `reset`.

        Raises:
            Busy: there are too many readers.
        """
        if len(self._readers) >= READERS_MAX:
            raise Busy(f"{READERS_MAX:,} people watch this grid already.")
        self._begin()
        self._forget_watches()
        number = job.number if job else 0
        covered = last is None or self._covers(number, last)
        if job:
            self._watches.setdefault(number, Watch(job.owner, self._last)).readers += 1
        reader = Reader(principal, number)
        if not covered:
            self._reset(reader)
        elif last is not None:
            self._replay(reader, last)
        self._readers.add(reader)
        return reader

    def _covers(self, job: int, last: EventId) -> bool:
        if not self._floor <= last <= self._last:
            return False
        return not job or (job in self._watches and self._watches[job].since <= last)

    def _replay(self, reader: Reader, last: EventId) -> None:
        watched = self._watches[reader.job].ring if reader.job else ()
        missed = [event for event in merge(self._ring, watched) if event.id > last and reader.offers(event)]
        if len(missed) > WAITING_MAX:
            self._reset(reader)
            return
        for event in missed:
            reader.put(event)

    def _reset(self, reader: Reader) -> None:
        reader.put(Event(self._last, "reset", reader.principal.owner, reader.job, dict))

    def close(self, reader: Reader) -> None:
        """The reader went away."""
        self._readers.discard(reader)
        if watch := self._watches.get(reader.job):
            watch.readers -= 1
            watch.forget_at = self._clock() + WATCH_LINGERS_SECONDS

    def _forget_watches(self) -> None:
        now = self._clock()
        old = [job for job, watch in self._watches.items() if not watch.readers and now >= watch.forget_at]
        for job in old:
            del self._watches[job]

    def start_over(self, _why: str) -> None:
        """The engine is rebuilt: whether its last batch was committed is not known, so everybody reads afresh."""
        self._begin()
        self._ring.clear()
        self._told.clear()
        self._pending.clear()
        self._floor = self._next()
        for watch in self._watches.values():
            watch.ring.clear()
            watch.since = self._last
        for reader in self._readers:
            self._reset(reader)

    def stop(self) -> None:
        """End every reader: the hub closes."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for reader in self._readers:
            reader.end()


def parse_id(text: str) -> EventId:
    """The two numbers of an event id. Raises BadInput."""
    batch, dot, index = text.partition(".")
    if not (dot and batch.isdecimal() and index.isdecimal() and len(text) <= 40):
        raise BadInput(f"{text[:40]!r} is not the id of an event.", hint="Send back the id as it came, or none.")
    return int(batch), int(index)


async def texts(reader: Reader, keep_alive_seconds: float) -> AsyncIterator[bytes]:
    """The reader's events as bytes, with a comment where nothing happened for a while."""
    while not reader.cut:
        try:
            events = await asyncio.wait_for(reader.take(), keep_alive_seconds)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        if events:
            yield b"".join([event.text for event in events])
