"""An engine and a store in memory, with the keeper's part between them: what tests of the engine stand on."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core import invariants
from crowdgrid.core.engine import restore
from crowdgrid.core.model import Assignment, Job, Record, Task, key_of
from crowdgrid.core.trust.policy import POLICY, Policy
from crowdgrid.store import Batch, SettledRow
from crowdgrid.store.memory import MemoryStore
from crowdgrid.store.recalling import recall

T = TypeVar("T")

SMALL = {"ACTIVE_QUEUE": 2, "BLOCK_TASKS": 4, "FRAME_TASKS": 3, "HELD_ASSIGNMENTS": 6, "RECALL_ROWS": 2}


def now_done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits, as those of `MemoryStore`."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waited")


@contextmanager
def small_limits() -> Iterator[None]:
    """Pages, frames and queues so small that a handful of tasks fills several."""
    before = {name: getattr(limits, name) for name in SMALL}
    for name, value in SMALL.items():
        setattr(limits, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(limits, name, value)


class MemoryGrid:
    """See the module. `now` is the engine's time, ms."""

    def __init__(self, ranking: str = "priority_fit", policy: Policy = POLICY) -> None:
        self.ranking = ranking
        self.policy = policy
        self.store = MemoryStore()
        self.now = 1_000_000
        self.open()

    def open(self) -> list[e.Effect]:
        """Start an engine from what the store holds; returns what it wants done at once."""
        opened = now_done(self.store.open(grid_id=b"g" * 16, id_key=b"k" * 16))
        self.grid = opened.grid
        self.engine, effects = restore(
            opened.grid,
            opened.jobs,
            opened.tasks,
            opened.assignments,
            opened.nodes,
            self.now,
            self.ranking,
            standings=opened.standings,
            policy=self.policy,
        )
        invariants.check(self.engine)
        return effects

    def write(self, effects: Iterable[e.Effect]) -> None:
        """Commit what they want kept."""
        records: dict[Any, Record] = {}
        partials: list[tuple[int, int]] = []
        for effect in effects:
            if isinstance(effect, e.Save):
                records[key_of(effect.record)] = effect.record
            elif isinstance(effect, e.DropPartial):
                partials.append((effect.job, effect.block))
                records.pop(("partial", effect.job, effect.block), None)
        grid = msgspec.structs.replace(self.engine.grid(), epoch=self.grid.epoch, batch=self.grid.batch + 1)
        now_done(self.store.commit(Batch(grid, tuple(records.values()), partials)))
        self.grid = grid

    def read(self, effect: e.Recall) -> c.Recalled:
        """What the store answers the engine."""
        return now_done(recall(self.store, effect))

    # --- looking into the store ---

    def job(self, number: int) -> Job:
        found = now_done(self.store.job(number))
        assert found is not None
        return found

    def task(self, job: int, ordinal: int) -> Task:
        found = now_done(self.store.task(job, ordinal))
        assert found is not None
        return found

    def assignments(self, job: int, ordinal: int) -> list[Assignment]:
        return now_done(self.store.assignments(job, ordinal))

    def tasks_of(self, job: int) -> list[Task]:
        found: list[Task] = []
        while page := now_done(self.store.tasks(job, after=found[-1].ordinal if found else -1, limit=2)):
            found += page
        return found

    def settled(self, job: int) -> list[SettledRow]:
        found: list[SettledRow] = []
        while page := now_done(self.store.settled(job, after=found[-1].task.ordinal if found else -1, limit=2)):
            found += page
        return found
