"""Credit as a hub books it: once a job and node, alike for all, balanced when a job is run again, made up for after a crash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.model import Credit, JobState, Node, Outcome, Range
from crowdgrid.core.trust.comparison import Numeric
from crowdgrid.hub.app import App
from crowdgrid.store.booking import Books
from crowdgrid.store.memory import MemoryStore
from tests.unit.hub.test_hub_at_work import ADA, HeldBlobs, at_work, opened

VOTED: dict[str, Any] = {"consensus": "majority", "overlap": 2}


async def node(app: App, owner: str, speed: float = 0.0) -> int:
    """A node that is connected; its number."""
    key = owner.encode().ljust(32, b".")
    record = await app.hub.keeper.ask(c.Join(Node(0, key, owner, "", owner, 0, runtimes=("wasm",), speed=speed)))
    await app.hub.keeper.ask(c.Connect(record, record.number))
    return int(record.number)


async def answer(app: App, number: int, said: bytes | Callable[[int], bytes], cpu_ms: int = 10) -> int:
    """Have a node answer one task; how many it was given."""
    keeper = app.hub.keeper
    held = await _held(app, number)
    await keeper.ask(c.Fetch(number, 1, 1000, 1 << 30))
    given = [key for key in await _held(app, number) if key not in held]
    for key in given:
        data = said if isinstance(said, bytes) else said(key[1])
        digest = hashlib.sha256(data).digest()
        told = c.Reported(key, Outcome.OK, digest, data, size=len(data), cpu_ms=cpu_ms, wall_ms=cpu_ms)
        await keeper.ask(c.Report(number, (told,)))
    await keeper.ask(c.Fetch(number, 0, 0, 0))
    return len(given)


async def _held(app: App, number: int) -> list[Any]:
    for _ in range(3):
        await app.hub.keeper.ask(c.Snapshot())
    return list(app.hub.keeper._engine.state.nodes[number].held)


async def state_of(app: App, job: str) -> JobState:
    return (await app.hub.submissions.find(ADA, job)).state


async def booked(app: App, job: str, count: int) -> list[Credit]:
    """The entries of a job, when there are so many."""
    number = app.hub.keeper.ids.numbers(job)[1]
    found: list[Credit] = []
    for _ in range(500):
        found = await app.hub.keeper.store.credits(number)
        if len(found) >= count:
            break
        await asyncio.sleep(0.01)
    assert len(found) == count, found
    return found


async def done(app: App, job: str, nodes: dict[int, tuple[bytes, int]]) -> None:
    for _ in range(50):
        if await state_of(app, job) is JobState.FINAL:
            return
        for number, (said, cpu_ms) in nodes.items():
            await answer(app, number, said, cpu_ms)
    raise AssertionError("it does not end")


def test_those_who_agree_are_paid_alike_and_who_boasts_or_errs_gains_nothing() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        one, two, boaster, liar = [await node(app, owner) for owner in ("one", "two", "boaster", "liar")]
        job = await opened(app, split=Range(0, 60, 10), consensus="majority", overlap=4)
        said = {one: (b"right", 10), two: (b"right", 14), boaster: (b"right", 10**9), liar: (b"wrong", 10**9)}
        await done(app, job, said)
        found = await booked(app, job, 3)
        assert {each.owner for each in found} == {"one", "two", "boaster"}
        assert len({(each.price, each.kind, each.submitter) for each in found}) == 1
        assert 10 * 1_000 / 10 <= found[0].price <= 14 * 1_000 / 10, "millionths a unit: about 10 ms for ten of them"
        assert all(each.amount == round(each.units * each.price) for each in found)

    at_work(story, owners_vote_once=True)


def test_nobody_can_claim_more_than_a_run_may_take_nor_break_the_ledger() -> None:
    """Two colluders' numbers of 64 bits were once a commit the store refused, and the hub began anew, again and again."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        one, two = [await node(app, owner, 1e308) for owner in ("one", "two")]
        job = await opened(app, split=Range(0, 4, 1), timeout_ms=1_000, **VOTED)
        await done(app, job, {one: (b"x", (1 << 63) - 1), two: (b"x", (1 << 63) - 1)})
        found = await booked(app, job, 2)
        assert {each.price for each in found} == {1_000 * 1_000 * limits.SPEED_MOST / limits.REFERENCE_SPEED}

    at_work(story)


def test_a_job_that_cannot_be_booked_does_not_keep_the_next_one_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Books.entries
    broken: list[int] = []

    async def fails_once(self: Books, number: int, now: int) -> list[Credit]:
        if not broken:
            broken.append(number)
            raise OverflowError("cannot convert float infinity to integer")
        return await entries(self, number, now)

    monkeypatch.setattr(Books, "entries", fails_once)

    async def story(app: App, blobs: HeldBlobs) -> None:
        nodes = {await node(app, owner): (b"x", 10) for owner in ("one", "two")}
        first = await opened(app, split=Range(0, 2, 1), **VOTED)
        await done(app, first, nodes)
        second = await opened(app, split=Range(0, 2, 1), **VOTED)
        await done(app, second, nodes)
        await booked(app, second, 2)
        assert broken == [app.hub.keeper.ids.numbers(first)[1]]

    at_work(story)


def test_what_is_slow_is_paid_by_its_speed() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        slow, quick = await node(app, "slow", 5_000.0), await node(app, "quick", 20_000.0)
        job = await opened(app, split=Range(0, 4, 1), **VOTED)
        await done(app, job, {slow: (b"x", 40), quick: (b"x", 10)})
        found = await booked(app, job, 2)
        assert {each.amount for each in found} == {4 * 20_000}, "20 ms of the reference a unit, said in two ways"

    at_work(story)


def test_a_job_nobody_compared_pays_nothing_and_is_no_price() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        one = await node(app, "one")
        job = await opened(app, split=Range(0, 3, 1))
        await done(app, job, {one: (b"x", 10)})
        await app.bookkeeping.book(app.hub.keeper.ids.numbers(job)[1])
        assert await booked(app, job, 0) == []

    at_work(story)


def test_answers_that_are_the_same_but_for_their_bytes_are_paid() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        one, two, liar = [await node(app, owner) for owner in ("one", "two", "liar")]
        job = await opened(app, split=Range(0, 3, 1), consensus="majority", overlap=3, comparison=Numeric(rtol=1e-6))
        await done(app, job, {liar: (b"9.9", 10), one: (b"1.0", 10), two: (b"1.0000000001", 10)})
        found = await booked(app, job, 2)
        assert {(each.owner, each.tasks) for each in found} == {("one", 3), ("two", 3)}

    at_work(story)


def test_what_a_crash_left_undone_is_booked_when_the_hub_starts_and_nothing_twice() -> None:
    store = MemoryStore()
    jobs: list[str] = []

    async def before(app: App, blobs: HeldBlobs) -> None:
        app.bookkeeping._ended = asyncio.Queue()  # whoever listens puts them where nobody looks
        task = next(task for task in app._work if task.get_name() == "bookkeeping")
        task.cancel()
        nodes = {await node(app, owner): (b"x", 10) for owner in ("one", "two")}
        jobs.append(await opened(app, split=Range(0, 3, 1), **VOTED))
        await done(app, jobs[0], nodes)
        await booked(app, jobs[0], 0)

    async def after(app: App, blobs: HeldBlobs) -> None:
        found = await booked(app, jobs[0], 2)
        assert [each.turn for each in found] == [0, 0]
        await app.bookkeeping.book(found[0].job)
        assert await booked(app, jobs[0], 2) == found, "doing it again does nothing"

    at_work(before, store=store)
    at_work(after, store=store)
    at_work(after, store=store)


def test_a_job_run_again_is_balanced_by_another_entry() -> None:
    """Its answer was an error, which two nodes agreed on and were paid for; then it was run again."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        keeper = app.hub.keeper
        nodes = [await node(app, owner) for owner in ("one", "two", "three", "four")]
        job = await opened(app, split=Range(0, 1), max_errors=1, **VOTED)
        number = keeper.ids.numbers(job)[1]
        for at in nodes[:2]:
            await keeper.ask(c.Fetch(at, 1, 1000, 1 << 30))
            [key] = await _held(app, at)
            bad = c.Reported(key, Outcome.PROGRAM_ERROR, b"d" * 32, error="It went wrong.", errors=1, cpu_ms=10)
            await keeper.ask(c.Report(at, (bad,)))
        assert await state_of(app, job) is JobState.FAILED
        first = await booked(app, job, 2)
        await app.hub.submissions.retry(ADA, job)
        await done(app, job, dict.fromkeys(nodes[2:], (b"x", 30)))
        found = await booked(app, job, 6)  # two that earned, taken back, and two more
        sums: dict[str, int] = {}
        for each in found:
            sums[each.owner] = sums.get(each.owner, 0) + each.amount
        assert sums["one"] == sums["two"] == 0, "what did not stand is taken back"
        assert sums["three"] == sums["four"] > 0
        assert {each.job for each in first} == {number}

    at_work(story)
