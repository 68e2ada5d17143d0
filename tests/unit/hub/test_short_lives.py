"""Jobs that ask to be kept for less than the hub keeps jobs, on a real hub in memory."""

from __future__ import annotations

import asyncio

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.model import JobState, Node, Outcome, Range
from crowdgrid.errors import BadInput, NotFound
from crowdgrid.hub.app import App
from crowdgrid.hub.clock import Clock
from crowdgrid.store.memory import MemoryStore
from tests.unit.hub.test_hub_at_work import ADA, HeldBlobs, at_work, opened

MINUTE = 60_000


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.seconds)


async def ended(app: App, keep_ms: int) -> str:
    job = await opened(app, split=Range(0, 3), keep_ms=keep_ms)
    await app.hub.submissions.cancel(ADA, job)
    return job


async def is_there(app: App, job: str) -> bool:
    try:
        await app.hub.submissions.find(ADA, job)
    except NotFound:
        return False
    return True


async def dropped(app: App) -> int:
    return (await app.collector.collect())[0]


@pytest.mark.parametrize("hub_seconds", [0.0, 86_400.0], ids=["a hub that keeps jobs for ever", "for a day"])
def test_a_job_goes_when_its_own_time_has_passed(hub_seconds: float) -> None:
    """Those that asked for nothing stay as long as the hub says."""
    time = Time()

    async def story(app: App, blobs: HeldBlobs) -> None:
        short, longer, plain = [await ended(app, ms) for ms in (MINUTE, 10 * MINUTE, 0)]
        still_open = await opened(app, split=Range(0, 3), keep_ms=1)
        assert await dropped(app) == 0
        time.seconds += 61
        assert await dropped(app) == 1
        time.seconds += 600
        assert await dropped(app) == 1
        assert [await is_there(app, job) for job in (short, longer, plain, still_open)] == [False, False, True, True]

    at_work(story, clock=time.clock, keep_jobs_seconds=hub_seconds)


def test_the_hubs_own_time_is_the_longest() -> None:
    time = Time()

    async def story(app: App, blobs: HeldBlobs) -> None:
        await ended(app, 100 * MINUTE)
        time.seconds += 61
        assert await dropped(app) == 1

    at_work(story, clock=time.clock, keep_jobs_seconds=60.0)


def test_after_a_restart_they_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have ended: they are looked up page by page, once."""
    monkeypatch.setattr("crowdgrid.hub.collector.JOBS_AT_ONCE", 3)
    store, time = MemoryStore(), Time()

    async def before(app: App, blobs: HeldBlobs) -> None:
        for n in range(20):
            await ended(app, MINUTE if n % 2 else 0)

    async def after(app: App, blobs: HeldBlobs) -> None:
        assert await dropped(app) == 0
        time.seconds += 61
        await ended(app, MINUTE)
        assert await dropped(app) == 10
        time.seconds += 61
        assert await dropped(app) == 1

    at_work(before, store=store, clock=time.clock)
    at_work(after, store=store, clock=time.clock)


def test_one_that_runs_again_is_counted_from_its_new_end() -> None:
    """It failed, was noted, and somebody wants it after all."""
    time = Time()

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app, split=Range(0, 1), keep_ms=MINUTE, max_errors=1)
        keeper = app.hub.keeper
        node = await keeper.ask(c.Join(Node(0, b"k" * 32, "ada", "", "n", 0, runtimes=("wasm",))))
        await keeper.ask(c.Connect(node, 1))
        number = (await app.hub.submissions.find(ADA, job)).number

        async def fails(attempt: int) -> None:
            await keeper.ask(c.Fetch(node.number, 1, 1000, 1 << 30))
            await keeper.ask(c.Snapshot())
            bad = c.Reported((number, 0, attempt), Outcome.PROGRAM_ERROR, b"d" * 32, error="It went wrong.", errors=1)
            await keeper.ask(c.Report(node.number, (bad,)))
            assert (await app.hub.submissions.find(ADA, job)).state is JobState.FAILED

        await fails(0)
        time.seconds += 59
        await app.hub.submissions.retry(ADA, job)
        time.seconds += 2
        assert await dropped(app) == 0
        await fails(1)
        assert await dropped(app) == 0
        time.seconds += 61
        assert await dropped(app) == 1

    at_work(story, clock=time.clock)


def test_one_that_is_being_read_is_left_alone() -> None:
    """Its reader has what there is of it first, however slowly it reads."""
    time, read = Time(), set[int]()

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await ended(app, MINUTE)
        number = (await app.hub.submissions.find(ADA, job)).number
        app.collector._is_read = read.__contains__
        read.add(number)
        time.seconds += 61
        assert await dropped(app) == 0
        assert await is_there(app, job)
        read.clear()
        assert await dropped(app) == 1

    at_work(story, clock=time.clock)


def test_a_time_that_cannot_be_is_refused() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        for keep_ms in (-1, limits.KEEP_MS_MAX + 1):
            with pytest.raises(BadInput, match="keep_ms"):
                await opened(app, keep_ms=keep_ms)
        await asyncio.gather(*[opened(app, keep_ms=ms) for ms in (0, limits.KEEP_MS_MAX)])

    at_work(story)
