"""What only the keeper itself can be put through: clocks that jump, time that passes, reads and commits that fail.

The clocks are the test's; everything else is real. A node is played with the commands its link would give.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import Assignment, AssignmentKey, Chunk, Items, JobSpec, Node, Outcome, Range, Split, Verdict
from crowdgrid.errors import CrowdgridError, Fenced, Unavailable
from crowdgrid.hub import keeper as module
from crowdgrid.hub.clock import Clock
from crowdgrid.hub.keeper import Keeper
from crowdgrid.protocol.packing import pack_chunk
from crowdgrid.store import Batch
from crowdgrid.store.memory import MemoryStore
from crowdgrid.store.sqlite import SqliteStore

HOUR: Final = 3_600.0
START: Final = 1_700_000_000.0


class Time:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 1_000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


class FailingStore(MemoryStore):
    """A store that fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0
        self.failing_commits = self.failing_reads = 0

    async def open(self, *, grid_id: bytes, id_key: bytes) -> Any:
        self.opened += 1
        return await super().open(grid_id=grid_id, id_key=id_key)

    async def commit(self, batch: Batch) -> None:
        if self.failing_commits:
            self.failing_commits -= 1
            raise Unavailable("The disk is full.", hint="Free some space.")
        await super().commit(batch)

    async def assignments(self, job: int, ordinal: int) -> list[Assignment]:
        if self.failing_reads:
            self.failing_reads -= 1
            raise Unavailable("The database is gone.")
        return await super().assignments(job, ordinal)


class House:
    """A keeper at work, and a node by hand."""

    def __init__(self, store: Any = None, time: Time | None = None) -> None:
        self.time = time or Time()
        self.keeper = Keeper(store or MemoryStore(), clock=self.time.clock())
        self.told: list[e.Effect] = []
        self.resets: list[str] = []
        self.keeper.listeners.append(self._hear)
        self.keeper.resets.append(self.resets.append)
        self._news = asyncio.Event()
        self._sessions = 0

    def _hear(self, effects: Sequence[e.Effect]) -> None:
        self.told += effects
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """What `condition` gives once it is true; looked at after every commit."""
        async with asyncio.timeout(20):
            while not (found := condition()):
                self._news.clear()
                await asyncio.wait_for(asyncio.shield(self._news.wait()), 20)
            return found

    async def tick(self) -> None:
        """Let the keeper see what time it is."""
        await self.keeper.ask(c.Snapshot())

    async def live(self, seconds: int, *held: AssignmentKey, node: int = 0) -> None:
        """So much time passes, a second at a time, while the node says what it holds."""
        for _ in range(seconds):
            self.time.passes(1)
            if node:
                await self.keeper.ask(c.Heartbeat(node, held))
            await self.tick()

    async def job(self, split: Split, units: int = 0) -> int:
        spec = JobSpec("ab" * 32, split, runtime="echo")
        return int((await self.keeper.ask(c.Submit("ada", spec, units, checked=True))).number)

    async def append(self, job: int, first: int, *items: bytes) -> int:
        packed = pack_chunk(items)
        appended: e.Appended = await self.keeper.ask(c.Append(Chunk(job, first, len(items), len(packed), packed)))
        return appended.units

    async def node(self, name: str = "n") -> int:
        """A node that is linked."""
        key = hashlib.sha256(name.encode()).digest()
        told = Node(0, key, "ada", "", name, 0, runtimes=("echo",), milli_cpus=64_000, memory_bytes=64 << 30)
        known = await self.keeper.store.node_keyed(key) or await self.keeper.ask(c.Join(told))
        self._sessions += 1
        await self.keeper.ask(c.Connect(known, self._sessions))
        return int(known.number)

    async def lease(self, node: int, slots: int = 1) -> list[AssignmentKey]:
        """What the node is given when it asks."""
        self.told.clear()
        await self.keeper.ask(c.Fetch(node, slots, 1000, 1 << 30))
        found = await self.until(lambda: [each for each in self.told if isinstance(each, e.Assign)])
        return [assignment.key for each in found for _, assignment in each.leases]

    async def report(self, node: int, key: AssignmentKey, payload: bytes = b"1") -> Verdict:
        """The verdict on its answer."""
        self.told.clear()
        digest = hashlib.sha256(payload).digest()
        await self.keeper.ask(c.Report(node, (c.Reported(key, Outcome.OK, digest, payload, "", len(payload)),)))
        await self.until(lambda: any(isinstance(each, e.Acknowledge) for each in self.told))
        return next(each.verdicts[0][1] for each in self.told if isinstance(each, e.Acknowledge))

    async def counts(self, job: int) -> Any:
        record = await self.keeper.store.job(job)
        assert record is not None
        return record.counts


def play(story: Callable[[House], Awaitable[None]], store: Any = None, time: Time | None = None) -> None:
    """A story in a house that is open and closed again."""

    async def whole() -> None:
        house = House(store, time)
        await house.keeper.start()
        try:
            await story(house)
        finally:
            await house.keeper.close()

    asyncio.run(whole())


# --- clocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-24 * HOUR, 24 * HOUR])
def test_a_wall_clock_that_jumps_while_the_hub_runs_changes_nothing(jump: float) -> None:
    """Somebody sets the date: no lease runs out, and engine time goes on as before."""

    async def story(house: House) -> None:
        job, node = await house.job(Range(0, 4, 1), 4), await house.node()
        (key,) = await house.lease(node)
        before = house.keeper.now()
        house.time.wall += jump
        await house.live(10, key, node=node)
        assert house.keeper.now() == before + 10_000
        assert await house.report(node, key) is Verdict.COUNTED
        assert (await house.counts(job)).lost == 0

    play(story)


@pytest.mark.parametrize("jump", [-24 * HOUR, 24 * HOUR])
def test_a_wall_clock_that_is_wrong_at_the_next_start_never_turns_time_back(tmp_path: Path, jump: float) -> None:
    """A machine whose clock battery died, or was set a day ahead: records stay in order, open leases begin anew."""
    time = Time()
    kept: dict[str, Any] = {}

    async def first(house: House) -> None:
        kept["job"], kept["node"] = await house.job(Range(0, 4, 1), 4), await house.node()
        (kept["key"],) = await house.lease(kept["node"])
        kept["now"] = house.keeper.now()

    async def second(house: House) -> None:
        assert house.keeper.now() >= kept["now"]
        await house.tick()
        assert await house.node() == kept["node"]
        assert await house.report(kept["node"], kept["key"]) is Verdict.COUNTED
        assert (await house.counts(kept["job"])).lost == 0

    play(first, SqliteStore(tmp_path / "grid.db"), time)
    time.wall += jump
    time.monotonic = 5.0  # it was started anew
    play(second, SqliteStore(tmp_path / "grid.db"), time)


def test_a_machine_that_slept_puts_off_every_lease() -> None:
    """The lid was closed for a night; in the morning the node's first heartbeat finds its lease in order."""

    async def story(house: House) -> None:
        job, node = await house.job(Range(0, 4, 1), 4), await house.node()
        (key,) = await house.lease(node)
        house.time.passes(8 * HOUR)
        await house.tick()
        await house.live(limits.LEASE_SECONDS - 5)
        await house.live(5, key, node=node)
        assert await house.report(node, key) is Verdict.COUNTED
        assert (await house.counts(job)).lost == 0

    play(story)


def test_an_agent_that_is_silent_for_a_minute_loses_its_lease_and_its_late_answer_still_helps() -> None:
    """Nobody slept but the agent: its task goes back to the queue, and what it says after all settles it."""

    async def story(house: House) -> None:
        job, node = await house.job(Range(0, 1, 1), 1), await house.node()
        (key,) = await house.lease(node)
        await house.live(limits.LEASE_SECONDS + 1)
        assert (await house.counts(job)).lost == 1
        assert any(isinstance(each, e.CloseLink) for each in house.told)
        assert await house.report(node, key) is Verdict.COUNTED
        assert (await house.counts(job)).validated == 1

    play(story)


def test_a_job_whose_client_vanished_is_sealed_after_a_while_and_completes() -> None:
    """Nobody goes on with it: what it has is answered and the job ends, instead of waiting for ever."""

    async def story(house: House) -> None:
        job, node = await house.job(Items()), await house.node()
        await house.keeper.ask(c.Attended(job, True))
        await house.append(job, 0, b"a", b"b")
        await house.live(limits.ORPHAN_SECONDS + 10, node=node)
        assert (await house.keeper.store.job(job)).state == "open"  # type: ignore[union-attr]
        await house.keeper.ask(c.Attended(job, False))
        await house.live(limits.ORPHAN_SECONDS - 10, node=node)
        assert await house.append(job, 2, b"c") == 3, "somebody may still go on with it"
        await house.live(limits.ORPHAN_SECONDS + 1, node=node)
        sealed = await house.keeper.store.job(job)
        assert sealed is not None
        assert sealed.state == "sealed"
        for key in await house.lease(node, 3):
            assert await house.report(node, key) is Verdict.COUNTED
        assert (await house.keeper.store.job(job)).state == "final"  # type: ignore[union-attr]

    play(story)


# --- a store that fails ----------------------------------------------------------------------------


def test_a_commit_that_fails_is_told_to_everybody_and_the_next_one_works() -> None:
    """Who asked learns that it is not known; links are ended with the reason and what to do; nothing half-done stays."""
    store = FailingStore()

    async def story(house: House) -> None:
        store.failing_commits = 1
        with pytest.raises(Unavailable, match=r"not known whether this was kept: The disk is full\."):
            await house.job(Range(0, 4, 1), 4)
        assert house.resets == ["The store could not be used: The disk is full. Free some space."]
        await house.until(lambda: not house.keeper.problem)
        assert await house.job(Range(0, 4, 1), 4) == 1

    play(story, store)


def test_a_store_that_fails_with_every_commit_is_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens well and then fails, again and again: the pauses grow, up to a limit, and a calm time ends that."""
    now = 1_000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    keeper = Keeper(MemoryStore(), clock=Time().clock())
    assert [keeper._next_pause() for _ in range(7)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, limits.REBUILD_SECONDS_MAX]
    now += 60
    assert keeper._next_pause() == 0.0


def test_a_read_that_fails_for_a_late_report_does_not_lose_it() -> None:
    """The node asks again on its next link and gets a verdict, not the word that its answer is here already."""
    store = FailingStore()

    async def story(house: House) -> None:
        job, node = await house.job(Range(0, 1, 1), 1), await house.node()
        (key,) = await house.lease(node)
        await house.live(limits.LEASE_SECONDS + 1)
        store.failing_reads = 1
        digest = hashlib.sha256(b"1").digest()
        await house.keeper.ask(c.Report(node, (c.Reported(key, Outcome.OK, digest, b"1", "", 1),)))
        await house.until(lambda: house.resets and not house.keeper.problem)
        node = await house.node()
        assert await house.report(node, key) is Verdict.COUNTED
        assert (await house.counts(job)).validated == 1

    play(story, store)


def test_a_mistake_of_the_engine_is_answered_and_stops_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever caused it is told so for good, others to try again; the engine begins anew from the store."""

    async def story(house: House) -> None:
        job = await house.job(Range(0, 4, 1), 4)
        engine = house.keeper._engine
        handle = engine.handle

        def broken(command: c.Command, now: int) -> list[e.Effect]:
            if isinstance(command, c.Pause):
                raise ZeroDivisionError
            return handle(command, now)

        monkeypatch.setattr(engine, "handle", broken)
        before, fault, after = [house.keeper.submit(each) for each in (c.Resume(job), c.Pause(job), c.Resume(job))]
        with pytest.raises(CrowdgridError, match="made a mistake over this request") as refused:
            await fault
        assert not refused.value.retryable
        for other in (before, after):
            with pytest.raises(Unavailable):
                await other
        await house.until(lambda: not house.keeper.problem)
        await house.keeper.ask(c.Pause(job))

    play(story)


def test_a_hub_whose_store_failed_does_not_take_it_back_from_the_one_that_took_over(tmp_path: Path) -> None:
    """It ends as fenced off, instead of the two taking the store from one another for ever."""
    path = tmp_path / "grid.db"

    class Flaky(SqliteStore):
        failing = False

        async def commit(self, batch: Batch) -> None:
            if self.failing:
                self.failing = False
                raise Unavailable("The network is gone.")
            await super().commit(batch)

    store = Flaky(path)

    async def story(house: House) -> None:
        newer = Keeper(SqliteStore(path), clock=house.time.clock())
        await newer.start()
        store.failing = True
        with pytest.raises(Unavailable):
            await house.job(Range(0, 4, 1), 4)
        async with asyncio.timeout(20):
            with pytest.raises(Fenced):
                await house.keeper.wait_closed()
        with pytest.raises(Unavailable, match="Another hub has taken over"):
            await house.job(Range(0, 4, 1), 4)
        await newer.ask(c.Submit("ada", JobSpec("ab" * 32, Range(0, 4, 1), runtime="echo"), 4, checked=True))
        await newer.close()

    play(story, store)
