"""How a world is brought to an end: healthy nodes come, every job is let go on, and what it answered is checked."""

from __future__ import annotations

import msgspec

from crowdgrid.core import commands as c
from crowdgrid.core.model import Job, JobState, TaskState
from tests.unit.core.truth import audit, total, worth
from tests.unit.core.world import OWNERS, RUNTIMES, Dice, Member, World

ROUNDS = 400
STRANGERS = 12


def heal(world: World) -> None:
    """Let machines that can run anything for anybody do all work there is, and all that failed again."""
    world.commit()
    healthy = _newcomers(world)
    for member in world.members.values():
        if member.session and member not in healthy:
            world.part(member)
    for round_ in range(ROUNDS):
        _round(world, healthy)
        if round_ % 8 == 7:
            for job in _failed(world):
                world.handle(c.Retry(job.number, job))
            world.commit()
        busy = world.engine.state.jobs or world.engine.state.recalls
        if round_ > 8 and not busy and not _failed(world):
            break
    else:
        left = [job.record() for job in world.engine.state.jobs.values()]
        raise AssertionError(f"healthy nodes never finished: {left or _failed(world)}")
    _round(world, healthy)
    audit(world, world.jobs)


def check_answers(world: World) -> None:
    """Every job that was not cancelled is final; what must cover its input covers it once, with the true sum; and
    every report got its verdict."""
    for number in world.jobs:
        job = world.job(number)
        assert job.state in (JobState.FINAL, JobState.CANCELLED, JobState.INVALID), job
        if job.state is JobState.FINAL and job.hit < 0 and not job.spec.completion.at_least:
            done = [task for task in world.tasks_of(number) if task.state is TaskState.VALIDATED]
            assert sum(task.stop - task.start for task in done) == job.counts.units == job.counts.units_done
            assert total(world, number) == worth(0, job.counts.units), f"a wrong sum in {job}"
    assert not +world.expected, f"reports without a verdict: {+world.expected}"


def _newcomers(world: World) -> list[Member]:
    """One of every owner, for pickled functions run on nodes of their own owner only; and enough strangers to outvote
    all that was answered before."""
    owners = [*OWNERS, *(f"stranger {number}" for number in range(STRANGERS))]
    for owner in owners:
        node = world.new_node(Dice(0))
        strong = msgspec.structs.replace(
            node,
            owner=owner,
            group="lab",
            runtimes=RUNTIMES[-1],
            trusts=("own", "everyone"),
            labels=("gpu", "big"),
            trust=9.0,
            milli_cpus=8000,
        )
        world.handle(c.Join(strong))
    world.commit()
    return [world.members[number] for number in sorted(world.members)[-len(owners) :]]


def _round(world: World, healthy: list[Member]) -> None:
    world.now += 2_000
    for member in healthy:
        if not member.session:
            world.connect(member)
        world.handle(c.Heartbeat(member.number, (*member.held, *member.spool)))
        world.handle(c.Fetch(member.number, 6, 4000, 1 << 30))
    _let_jobs_go_on(world)
    world.handle(c.Tick(True))
    world.handle(c.Plan())
    world.commit()
    while world.to_read or world.answers:
        world.do_read(0)
        world.do_recalled(0)
        world.commit()
    for member in healthy:
        for key in list(member.held):
            world.finish(member, key, Dice.for_health())
        if member.spool:
            world.send(member, list(member.spool.values()))
    world.commit()


def _let_jobs_go_on(world: World) -> None:
    while world.to_check:
        world.handle(c.Checked(world.to_check.pop()))
    for job in list(world.engine.state.jobs.values()):
        if job.paused:
            world.handle(c.Resume(job.number))
        if not job.sealed:
            world.handle(c.Seal(job.number))


def _failed(world: World) -> list[Job]:
    """Jobs whose owner would have something done again."""
    return [job for number in world.jobs if _wants(job := world.job(number))]


def _wants(job: Job) -> bool:
    if job.state is JobState.FINAL:
        return bool(job.counts.errors or job.counts.abandoned) and job.hit < 0
    return job.state is JobState.FAILED
