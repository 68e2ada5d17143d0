"""The ring of events: ids that only grow, a floor that is told, a stream for those who may see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.core import effects as e
from crowdgrid.core.model import Counts, Job, JobSpec, JobState, Range, Task, TaskState
from crowdgrid.errors import BadInput
from crowdgrid.hub import happenings as h
from crowdgrid.hub.access import Principal
from crowdgrid.ids import PublicIds

ADA = Principal("ada", "submitter")
IDS = PublicIds(bytes(16))
JOB = Job(1, "ada", "", "", "", 0, JobState.OPEN, JobSpec("0" * 64, Range(0, 1)), Counts())


class World:
    """Happenings whose batches and clock a test moves."""

    def __init__(self) -> None:
        self.batch = 7
        self.seconds = 0.0
        self.all = h.Happenings(lambda: self.batch, lambda: IDS, lambda: self.seconds)

    def commit(self, *effects: e.Effect) -> None:
        self.batch += 1
        self.all.saw(effects)

    def job(self, number: int = 1, **change: Any) -> e.JobChanged:
        return e.JobChanged(msgspec.structs.replace(JOB, number=number, **change))


def told(events: list[h.Event]) -> list[tuple[str, str, Any]]:
    """(id, kind, data) as a browser reads them."""
    found = []
    for event in events:
        lines = event.text.decode().split("\n")
        found.append((lines[0][4:], lines[1][7:], json.loads(lines[2][6:])))
    return found


def in_loop(story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World()
        await story(world)
        world.all.stop()

    asyncio.run(run())


def test_ids_grow_within_and_over_batches() -> None:
    async def story(world: World) -> None:
        reader = world.all.open(ADA)
        world.commit(world.job(1), world.job(2))
        world.commit(world.job(1, paused=True))
        assert [id for id, _, _ in told(await reader.take())] == ["8.0", "8.1", "9.0"]

    in_loop(story)


def test_counters_are_gathered_and_the_last_one_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand settled tasks a second make two events, and the last one is true."""
    monkeypatch.setattr(h, "COUNTERS_SECONDS", 0.0)

    async def story(world: World) -> None:
        reader = world.all.open(ADA)
        world.commit(world.job())
        await reader.take()
        for done in range(1, 1001):
            world.commit(world.job(counts=Counts(validated=done)))
        ((_, kind, data),) = told(await reader.take())
        assert (kind, data["counts"]["validated"]) == ("counts", 1000)

    in_loop(story)


def test_a_state_overtakes_counters_that_wait() -> None:
    """No counters of an earlier moment follow the event that says a job has ended."""

    async def story(world: World) -> None:
        reader = world.all.open(ADA)
        world.commit(world.job())
        world.commit(world.job(counts=Counts(validated=1)))
        world.commit(world.job(counts=Counts(validated=2), state=JobState.FINAL))
        kinds = [(kind, data["state"]) for _, kind, data in told(await reader.take())]
        assert kinds == [("job", "open"), ("job", "final")]
        world.all._tell_counters()
        assert world.all._pending == {}
        assert world.all._told == {}

    in_loop(story)


def test_the_ring_is_bounded_and_a_reader_is_given_no_more_than_it_may_lag() -> None:
    """Whoever missed more than a reader may have waiting is told to read afresh, though the ring still has it."""

    async def story(world: World) -> None:
        for number in range(1, limits.EVENTS_KEPT + 3):
            world.commit(world.job(number))
        assert len(world.all._ring) == limits.EVENTS_KEPT
        long_ago, just_now = world.all._ring[0].id, world.all._ring[-3].id
        assert [kind for _, kind, _ in told(await world.all.open(ADA, last=long_ago).take())] == ["reset"]
        assert [kind for _, kind, _ in told(await world.all.open(ADA, last=just_now).take())] == ["job", "job"]

    in_loop(story)


def test_what_a_ring_lost_is_a_reset_and_what_it_holds_is_not() -> None:
    """The floor is the last event that fell out: whoever saw that one has missed nothing."""

    async def story(world: World) -> None:
        world.all._ring = type(world.all._ring)(maxlen=3)
        for number in range(1, 6):
            world.commit(world.job(number))
        fell_out = (world.all._ring[0].id[0] - 1, 0)
        assert [kind for _, kind, _ in told(await world.all.open(ADA, last=fell_out).take())] == ["job"] * 3
        before = (fell_out[0] - 1, 0)
        assert [kind for _, kind, _ in told(await world.all.open(ADA, last=before).take())] == ["reset"]

    in_loop(story)


def test_tasks_are_kept_only_while_somebody_watches_or_has_just_left() -> None:
    settled = Task(1, 0, 0, 1, TaskState.VALIDATED, 0)

    async def story(world: World) -> None:
        world.commit(e.TaskChanged(settled, "unseen"))
        assert world.all._watches == {}
        reader = world.all.open(ADA, job=JOB)
        world.commit(e.TaskChanged(settled, "seen"))
        ((last, kind, data),) = told(await reader.take())
        assert (kind, data["tasks"][0]["why"]) == ("tasks", "seen")
        world.all.close(reader)
        world.commit(e.TaskChanged(settled, "while away"))
        again = world.all.open(ADA, job=JOB, last=h.parse_id(last))
        ((_, _, data),) = told(await again.take())
        assert data["tasks"][0]["why"] == "while away"
        world.all.close(again)
        world.seconds += h.WATCH_LINGERS_SECONDS
        late = world.all.open(ADA, job=JOB, last=h.parse_id(last))
        assert [kind for _, kind, _ in told(await late.take())] == ["reset"]

    in_loop(story)


def test_everybody_reads_afresh_when_the_engine_was_rebuilt() -> None:
    """Whether the failed batch was committed is not known: who watches, and who comes back, is told `reset`."""

    async def story(world: World) -> None:
        everything, one = world.all.open(ADA), world.all.open(ADA, job=JOB)
        world.commit(world.job())
        ((last, _, _),) = told(await everything.take())
        await one.take()
        world.all.start_over("The disk is full.")
        for reader in (everything, one, world.all.open(ADA, last=h.parse_id(last))):
            assert [kind for _, kind, _ in told(await reader.take())] == ["reset"]
        world.commit(e.TaskChanged(Task(1, 0, 0, 1, TaskState.VALIDATED, 0), "after"))
        assert [kind for _, kind, _ in told(await one.take())] == ["tasks"]
        world.all.close(one)

    in_loop(story)


def test_another_owners_events_are_not_offered_and_an_admin_sees_all() -> None:
    async def story(world: World) -> None:
        bob = world.all.open(Principal("bob", "submitter"))
        root = world.all.open(Principal("root", "admin"))
        world.commit(world.job())
        assert len(await root.take()) == 1
        assert not bob._waiting

    in_loop(story)


def test_a_keep_alive_is_said_when_nothing_happens() -> None:
    async def story(world: World) -> None:
        stream = h.texts(world.all.open(ADA), 0.0)
        assert (await anext(stream)).startswith(b":")

    in_loop(story)


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "a.b", "1.2.3", "-1.2", "9" * 50 + ".1"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        h.parse_id(text)
