"""Submissions, programs and the collector on a real hub in memory, where a test holds the store or the blobs up."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.blobs.memory import MemoryBlobs
from crowdgrid.core import commands as c
from crowdgrid.core.model import Items, JobState, Range
from crowdgrid.errors import BadInput, Conflict, NotFound, Unavailable
from crowdgrid.hub.access import Principal
from crowdgrid.hub.app import App, build
from crowdgrid.hub.clock import Clock
from crowdgrid.hub.submission import check_between
from crowdgrid.protocol.messages import JobRequest
from crowdgrid.protocol.packing import pack_chunk
from crowdgrid.settings import HubSettings
from crowdgrid.store.memory import MemoryStore

ADA = Principal("ada", "submitter")
ECHO = (Path(__file__).parents[3] / "src/crowdgrid/kernels/echo.wasm").read_bytes()


class HeldBlobs(MemoryBlobs):
    """Blobs that take until a test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()
        self.broken = 0

    async def put_bytes(self, content: bytes) -> str:
        await self.free.wait()
        return await super().put_bytes(content)

    async def read_bytes(self, digest: str) -> bytes:
        if self.broken:
            self.broken -= 1
            raise Unavailable("The folder is not mounted.")
        return await super().read_bytes(digest)

    def names(self) -> Any:
        return self._aged()

    async def _aged(self) -> Any:
        async for digest, _ in super().names():
            yield digest, 7200.0


def at_work(
    story: Callable[[App, HeldBlobs], Awaitable[None]],
    *,
    clock: Clock | None = None,
    store: MemoryStore | None = None,
    blobs: HeldBlobs | None = None,
    **options: Any,
) -> None:
    async def run() -> None:
        held = blobs or HeldBlobs()
        settings = HubSettings(admin_token="cg_of-a-test-that-is-long", **options)
        app = build(settings, store=store or MemoryStore(), blobs=held, clock=clock)
        await app.start()
        try:
            await story(app, held)
        finally:
            await app.say_goodbye()
            await app.stop()

    asyncio.run(run())


async def opened(app: App, **told: Any) -> str:
    digest = await app.hub.programs.add(ECHO)
    request = msgspec.structs.replace(JobRequest(program=digest, split=Items()), **told)
    return app.hub.keeper.ids.job((await app.hub.submissions.open(ADA, request)).number)


# --- appending --------------------------------------------------------------------------------


def test_appends_never_overtake_one_another() -> None:
    """A large append whose blob is slow, a small one and a seal, asked for at once, arrive in that order."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        blobs.free.clear()
        submissions = app.hub.submissions
        large = asyncio.create_task(submissions.append(ADA, job, 0, [b"x" * (limits.INLINE_BYTES + 1)]))
        small = asyncio.create_task(submissions.append(ADA, job, 1, [b"y"]))
        seal = asyncio.create_task(submissions.seal(ADA, job))
        await asyncio.sleep(0)
        blobs.free.set()
        await seal
        assert [await large, await small] == [1, 2]
        assert (await submissions.find(ADA, job)).counts.units == 2

    at_work(story)


def test_a_refused_append_does_not_hold_the_next_one_up() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        submissions = app.hub.submissions
        with pytest.raises(NotFound):
            await submissions.append(ADA, job, 0, blob=hashlib.sha256(b"nowhere").hexdigest())
        with pytest.raises(BadInput):
            await submissions.append(ADA, job, 0)
        with pytest.raises(BadInput):
            await submissions.append(ADA, job, -1, [b"x"])
        with pytest.raises(Conflict):
            await submissions.append(ADA, job, 5, [b"x"])
        assert await submissions.append(ADA, job, 0, [b"x"]) == 1

    at_work(story)


def test_a_packed_chunk_is_appended_by_its_digest() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        digest = await blobs.put_bytes(pack_chunk([b"a", b"b"]))
        assert await app.hub.submissions.append(ADA, job, 0, blob=digest) == 2
        junk = await blobs.put_bytes(b"no chunk")
        with pytest.raises(BadInput):
            await app.hub.submissions.append(ADA, job, 2, blob=junk)

    at_work(story)


def test_a_client_cannot_append_to_anothers_job_it_knows_the_id_of() -> None:
    """The memory of known jobs is no way around the rule."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        bob = Principal("bob", "submitter")
        for attempt in (
            app.hub.submissions.append(bob, job, 0, [b"x"]),
            app.hub.submissions.seal(bob, job),
            app.hub.submissions.cancel(bob, job),
        ):
            with pytest.raises(NotFound):
                await attempt

    at_work(story)


def test_known_jobs_cost_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdgrid.hub.submission.KNOWN_JOBS", 3)

    async def story(app: App, blobs: HeldBlobs) -> None:
        jobs = [await opened(app) for _ in range(6)]
        assert len(app.hub.submissions._known) == 3
        assert [await app.hub.submissions.append(ADA, job, 0, [b"x"]) for job in jobs] == [1] * 6

    at_work(story)


def test_two_opens_with_one_key_at_once_open_one_job() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        digest = await app.hub.programs.add(ECHO)
        request = JobRequest(program=digest, split=Range(0, 3), key="once")
        jobs = await asyncio.gather(*(app.hub.submissions.open(ADA, request) for _ in range(5)))
        assert len({job.number for job in jobs}) == 1

    at_work(story)


def test_a_limit_names_field_value_and_bounds() -> None:
    with pytest.raises(BadInput, match="timeout_ms is 1 ms; it may be 10 to 604,800,000 ms"):
        check_between("timeout_ms", 1)


# --- programs ---------------------------------------------------------------------------------


def test_a_program_is_judged_although_the_blobs_were_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is not lost in `validating` because the folder of blobs was away when it was opened."""
    monkeypatch.setattr("crowdgrid.hub.programs.RETRY_SECONDS", 0.0)

    async def story(app: App, blobs: HeldBlobs) -> None:
        digest = await blobs.put_bytes(ECHO)
        blobs.broken = 3
        request = JobRequest(program=digest, split=Range(0, 3))
        job = await app.hub.submissions.open(ADA, request)
        assert job.state is JobState.VALIDATING
        while job.state is JobState.VALIDATING:
            await asyncio.sleep(0)
            job = await app.hub.submissions.find(ADA, app.hub.keeper.ids.job(job.number))
        assert job.state is JobState.SEALED

    at_work(story)


def test_a_known_program_is_scheduled_at_once() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        digest = await app.hub.programs.add(ECHO)
        job = await app.hub.submissions.open(ADA, JobRequest(program=digest, split=Range(0, 3)))
        assert job.state is JobState.SEALED
        assert app.hub.programs.sizes[digest] == len(ECHO)

    at_work(story)


def test_a_restarted_hub_knows_the_sizes_and_judges_what_was_not_yet_judged() -> None:
    """Leases tell nodes how large a program is; a job that was validating when the hub ended goes on by itself."""

    async def run() -> None:
        store, blobs = MemoryStore(), HeldBlobs()
        settings = HubSettings(admin_token="cg_of-a-test-that-is-long")
        digest = await blobs.put_bytes(ECHO)
        first = build(settings, store=store, blobs=blobs)
        await first.start()
        blobs.broken = 1 << 30
        job = await first.hub.submissions.open(ADA, JobRequest(program=digest, split=Range(0, 3)))
        assert job.state is JobState.VALIDATING
        await first.stop()
        blobs.broken = 0
        second = build(settings, store=store, blobs=blobs)
        await second.start()
        while job.state is JobState.VALIDATING:
            await asyncio.sleep(0)
            job = await second.hub.submissions.find(ADA, second.hub.keeper.ids.job(job.number))
        assert job.state is JobState.SEALED
        assert second.hub.programs.sizes == {digest: len(ECHO)}
        await second.stop()

    asyncio.run(run())


def test_a_program_of_another_runtime_is_not_looked_at_as_wasm() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        digest = await app.hub.programs.add(b"anything", "echo")
        job = await app.hub.submissions.open(ADA, JobRequest(program=digest, split=Range(0, 3), runtime="echo"))
        assert job.state is JobState.SEALED

    at_work(story)


def test_a_program_that_is_gone_makes_its_job_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdgrid.hub.programs.RETRY_SECONDS", 0.0)

    async def story(app: App, blobs: HeldBlobs) -> None:
        digest = await blobs.put_bytes(ECHO)
        blobs.broken = 1
        job = await app.hub.submissions.open(ADA, JobRequest(program=digest, split=Range(0, 3)))
        await blobs.remove(digest)
        while job.state is JobState.VALIDATING:
            await asyncio.sleep(0)
            job = await app.hub.submissions.find(ADA, app.hub.keeper.ids.job(job.number))
        assert (job.state, "no longer" in job.reason) == (JobState.INVALID, True)

    at_work(story)


# --- the collector ----------------------------------------------------------------------------


def test_blobs_nothing_names_are_removed_and_named_ones_kept() -> None:
    """A job's program and appended chunks stay; a stray upload goes; after the job is gone, so do its blobs."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        stray = await blobs.put_bytes(b"stray")
        job = await opened(app)
        await app.hub.submissions.append(ADA, job, 0, [b"x" * (limits.INLINE_BYTES + 1)])
        assert await app.collector.collect() == (0, 1)
        assert await blobs.size(stray) is None
        await app.hub.submissions.cancel(ADA, job)
        number = (await app.hub.submissions.find(ADA, job)).number
        await app.hub.keeper.drop_jobs([number])
        assert await app.collector.collect() == (0, 2)
        assert [digest async for digest, _ in blobs.names()] == []

    at_work(story)


def test_jobs_are_forgotten_after_the_time_they_are_kept() -> None:
    seconds = [0.0]

    async def story(app: App, blobs: HeldBlobs) -> None:
        jobs = [await opened(app, split=Range(0, 3)) for _ in range(3)]
        for job in jobs[:2]:
            await app.hub.submissions.cancel(ADA, job)
        assert (await app.collector.collect())[0] == 0
        seconds[0] += 3601
        assert (await app.collector.collect())[0] == 2
        with pytest.raises(NotFound):
            await app.hub.submissions.find(ADA, jobs[0])
        assert (await app.hub.submissions.find(ADA, jobs[2])).state is JobState.SEALED

    at_work(story, clock=Clock(monotonic=lambda: seconds[0]), keep_jobs_seconds=3600)


def test_with_no_time_given_jobs_are_kept_for_ever() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        await app.hub.submissions.cancel(ADA, job)
        assert (await app.collector.collect())[0] == 0

    at_work(story, keep_jobs_seconds=0.0)


def test_young_blobs_are_left_alone() -> None:
    """A program is put before the job that names it: what is young is never removed."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        stray = await blobs.put_bytes(b"about to be named")
        assert await app.collector.collect() == (0, 0)
        assert await blobs.size(stray) is not None

    at_work(story, blob_grace_seconds=7201.0)


# --- secrets ----------------------------------------------------------------------------------


def test_a_short_secret_from_the_environment_is_refused() -> None:
    async def run() -> None:
        app = build(HubSettings(admin_token="short"), store=MemoryStore(), blobs=MemoryBlobs())
        try:
            with pytest.raises(BadInput, match="16 characters"):
                await app.start()
        finally:
            await app.stop()

    asyncio.run(run())


def test_the_invitation_of_the_environment_is_there_and_made_once() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        from crowdgrid.hub.app import make_sure_of_secrets

        assert app.hub.access.take_invitation("cgi_of-a-test-that-is-long").owner == "admin"
        assert await make_sure_of_secrets(app.hub) == ""
        assert len(app.hub.access.invitations()) == 1
        assert (await app.hub.keeper.ask(c.Snapshot())).open_jobs == 0

    at_work(story, invitation="cgi_of-a-test-that-is-long")


# --- opening: what would clash in the store ----------------------------------------------------------


def test_two_jobs_of_one_name_opened_at_once_do_not_meet_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects everybody: a name taken and let go while another opening has looked already would clash in the commit,
    and the hub would begin anew."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        first_waits, resets = asyncio.Event(), list[str]()
        app.hub.keeper.resets.append(resets.append)
        ready, calls = app.hub.programs.ready, 0

        async def slow(*asked: Any) -> bool:
            nonlocal calls
            calls += 1
            if calls == 1:
                await first_waits.wait()
            return await ready(*asked)

        monkeypatch.setattr(app.hub.programs, "ready", slow)
        first = asyncio.create_task(opened(app, name="one", key="1"))
        await asyncio.sleep(0)
        second = asyncio.create_task(opened(app, name="one", key="2"))
        for _ in range(50):
            await asyncio.sleep(0.002)
        if second.done():
            await app.hub.submissions.cancel(ADA, second.result())
        first_waits.set()
        answers = await asyncio.gather(first, second, return_exceptions=True)
        assert sorted(isinstance(answer, Conflict) for answer in answers) == [False, True]
        assert resets == []

    at_work(story)
