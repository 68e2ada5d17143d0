"""The active queue: jobs that have something to lease, in the order in which they are served.

Higher priority first; among equals the owner with the least use; among an owner's jobs the ranking rule. A `Lane`
holds the jobs of one priority and one kind of need, by owner, so that choosing the next job costs the same with ten
jobs as with ten thousand. For each owner the first `limits.ACTIVE_QUEUE` jobs of a lane are ranked, again at most
once every `limits.RERANK_MS`; the rest is a backlog in the order of submission that moves up as they leave.

A job is in its lane (`job.lane`), or noted in `State.woken` to be put there by the next plan, or it has nothing to
lease. Jobs that ran out of work may linger in a lane until they are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

from crowdgrid import limits
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import Task, TaskState
from crowdgrid.core.scheduling import scarcity
from crowdgrid.core.scheduling.ranking import Head, Ranking
from crowdgrid.core.state import JobRun, Lane, Line, State

_Top: TypeAlias = tuple[float, float, int]  # share of the owner, −urgency, job


def runnable(job: JobRun) -> bool:
    """Whether the job has something to lease."""
    return job.has_work and not job.paused and job.state in JOB_RUNS


def wake(state: State, job: JobRun) -> None:
    """Have the next plan look at the job, if it has something to lease."""
    if job.lane is None and runnable(job):
        state.woken[job.number] = job


def head_of(job: JobRun, now: int) -> Head:
    """The facts of a job's next task."""
    waiting = _first_waiting(job)
    since = waiting.created_at if waiting else job.base.created_at
    skips = job.skips + (job.pool.skips if job.pool is not None else 0)
    lost = waiting.stale if waiting else 0
    return Head(
        job.number,
        (now - since) / 1000,
        job.spec.milli_cpus,
        job.spec.memory_bytes,
        lost + skips // limits.SKIPS_PER_STALE,
        job.in_progress + job.validated > 0,
        lost,
        job.pool.pressure if job.pool is not None else 1.0,
    )


def _first_waiting(job: JobRun) -> Task | None:
    while job.queue:
        task = job.open.get(job.queue[0])
        if task is not None and (task.state is TaskState.IN_QUEUE or task.ordinal in job.short):
            return task
        heappop(job.queue)  # it has left the queue in another way
    return None


# --- in and out ----------------------------------------------------------------------------------


def admit(state: State, rule: Ranking) -> None:
    """Put what was woken into its lane, and owners who gave back work in their new place."""
    for job in state.woken.values():
        if job.lane is None and runnable(job):
            _enter(state, rule, job)
    state.woken.clear()
    for owner in state.eased:
        for lanes in state.levels.values():
            for lane in lanes.values():
                if len(lane.lines) > 1 and owner in lane.lines:
                    _note_share(state, lane, owner)
    state.eased.clear()


def _enter(state: State, rule: Ranking, job: JobRun) -> None:
    assert job.pool is not None
    lanes = state.levels.setdefault(job.priority, {})
    lane = lanes.get(job.pool.needs)
    if lane is None or lane.pool is not job.pool:
        lane = lanes[job.pool.needs] = Lane(job.pool)
    line = lane.lines.get(job.owner)
    new = line is None
    if line is None:
        line = lane.lines[job.owner] = Line()
    job.lane = lane
    if len(line.active) < limits.ACTIVE_QUEUE:
        _activate(state, rule, line, job)
    else:
        heappush(line.backlog, job.number)
    if new:
        _note_share(state, lane, job.owner)


def _activate(state: State, rule: Ranking, line: Line, job: JobRun) -> None:
    job.rank = (-rule.urgency(head_of(job, state.now)), job.number)
    insort(line.active, job.rank)


def _note_share(state: State, lane: Lane, owner: str) -> None:
    first = lane.lines[owner].active[0]
    heappush(lane.shares, (state.use_of(owner).share(state.now), *first, owner))


def leave(state: State, rule: Ranking | None, job: JobRun) -> None:
    """Take the job out. Without a `rule` the backlog moves up at the next ranking."""
    state.woken.pop(job.number, None)
    lane, rank = job.lane, job.rank
    job.lane = job.rank = None
    if lane is None or rank is None:
        return  # nowhere, or in a backlog, where it is passed over when its turn comes
    line = lane.lines[job.owner]
    del line.active[bisect_left(line.active, rank)]
    if rule is not None:
        _move_up(state, rule, lane, line)
    if not line.active:
        _retire(state, lane, line, job.owner)


def _move_up(state: State, rule: Ranking, lane: Lane, line: Line) -> None:
    while line.backlog and len(line.active) < limits.ACTIVE_QUEUE:
        job = state.jobs.get(heappop(line.backlog))
        if job is not None and job.lane is lane and job.rank is None:
            _activate(state, rule, line, job)


def _retire(state: State, lane: Lane, line: Line, owner: str) -> None:
    """The last ranked job of an owner left the lane; what is in the backlog comes in again by the next plan."""
    del lane.lines[owner]
    for number in line.backlog:
        job = state.jobs.get(number)
        if job is not None and job.lane is lane and job.rank is None:
            job.lane = None
            wake(state, job)
    if not lane.lines:
        lane.shares.clear()


def rank_again(state: State, rule: Ranking) -> None:
    """Rank everything ready anew, as ages and shares have moved on."""
    state.ordered_at = state.now
    scarcity.measure(state)
    for priority, lanes in list(state.levels.items()):
        for needs, lane in list(lanes.items()):
            _rank_lane(state, rule, lane)
            if not lane.lines:
                del lanes[needs]
        if not lanes:
            del state.levels[priority]


def _rank_lane(state: State, rule: Ranking, lane: Lane) -> None:
    for owner, line in list(lane.lines.items()):
        jobs = [state.jobs[number] for _, number in line.active]
        line.active.clear()
        for job in jobs:
            if runnable(job):
                job.rank = (-rule.urgency(head_of(job, state.now)), job.number)
                line.active.append(job.rank)
            else:
                job.lane = job.rank = None
        line.active.sort()
        _move_up(state, rule, lane, line)
        if not line.active:
            del lane.lines[owner]
    lane.shares = [(state.use_of(owner).share(state.now), *line.active[0], owner) for owner, line in lane.lines.items()]
    heapify(lane.shares)


# --- choosing ------------------------------------------------------------------------------------


def next_job(state: State, lanes: Iterable[Lane]) -> JobRun | None:
    """The job to serve next among lanes of one priority: of those whose needs some offer suits, the first job of
    the owner with the least use."""
    best: _Top | None = None
    for lane in lanes:
        if lane.pool.offers and lane.lines:
            top = _top(state, lane)
            if best is None or top < best:
                best = top
    return state.jobs[best[2]] if best else None


def _top(state: State, lane: Lane) -> _Top:
    """The first job of the owner with the least use; what the heap says of an owner may be too little by now."""
    shares = lane.shares
    while True:
        noted, _, _, owner = shares[0]
        line = lane.lines.get(owner)
        if line is None:
            heappop(shares)
            continue
        share = state.use_of(owner).share(state.now)
        if share <= noted:
            return (share, *line.active[0])
        heapreplace(shares, (share, *line.active[0], owner))
