"""Handing out work, once a batch: the best tasks first, each to the best of the waiting offers.

The active queue is a bounded window of jobs in the order of (priority, fair share of the owner, the ranking
rule), sorted at most once every `limits.RERANK_MS`. Between owners of equal priority the one with the
least use goes first, counted anew after each hand-out, so that nobody waits behind somebody else's million tasks.
"""

from __future__ import annotations

from heapq import heappop
from itertools import groupby

from crowdgrid import limits
from crowdgrid.core import leasing
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import Assignment, Task, TaskState
from crowdgrid.core.scheduling import offers
from crowdgrid.core.scheduling.ranking import Head, Ranking
from crowdgrid.core.splitting import sizing
from crowdgrid.core.state import JobRun, NodeRun, State


def plan(state: State, rule: Ranking) -> None:
    """Lease until no offer or no work is left that fits."""
    if not state.offers or not any(runnable(job) for job in state.jobs.values()):
        return
    if state.order_stale or state.now - state.ordered_at >= limits.RERANK_MS:
        _sort(state, rule)
    for _, same in groupby(state.order, key=lambda job: -job.priority):
        if not state.offers:
            return
        _serve(state, rule, list(same))


def runnable(job: JobRun) -> bool:
    """Whether the job has something to lease."""
    return job.has_work and not job.paused and job.state in JOB_RUNS


def head_of(job: JobRun, now: int) -> Head:
    """The facts of a job's next task."""
    waiting = job.open.get(job.queue[0]) if job.queue else None
    since = waiting.created_at if waiting else job.base.created_at
    stale = (waiting.stale if waiting else 0) + job.skips // limits.SKIPS_PER_STALE
    return Head(
        job.number,
        (now - since) / 1000,
        job.spec.milli_cpus,
        job.spec.memory_bytes,
        stale,
        job.in_progress + job.validated > 0,
    )


def _sort(state: State, rule: Ranking) -> None:
    ready = [job for job in state.jobs.values() if runnable(job)]
    ready.sort(key=lambda job: (-job.priority, -rule.urgency(head_of(job, state.now)), job.number))
    state.order = ready[: limits.ACTIVE_QUEUE]
    state.ordered_at = state.now
    state.order_stale = False


def _serve(state: State, rule: Ranking, jobs: list[JobRun]) -> None:
    """Serve jobs of one priority: each turn goes to the owner with the least use, and to their first job."""
    queues: dict[str, list[JobRun]] = {}
    for job in reversed(jobs):
        queues.setdefault(job.owner, []).append(job)
    while queues and state.offers:
        owner = next(iter(queues))
        if len(queues) > 1:
            owner = min(queues, key=lambda who: state.use_of(who).share(state.now))
        job = queues[owner][-1]
        if not (runnable(job) and _lease_some(state, rule, job)):
            queues[owner].pop()
            if not queues[owner]:
                del queues[owner]


def _lease_some(state: State, rule: Ranking, job: JobRun) -> bool:
    """Give one node what it should have of this job now. False: nothing could be given."""
    if job.blocked == state.offers_version:
        return False
    node = offers.best(state, job, rule.closest_fit)
    if node is None:
        job.blocked = state.offers_version
        job.skips += 1
        return False
    units = _piece(state, job, node)
    waiting = job.in_queue + -(-(job.units - job.units_cut) // units)
    quantum = min(max(1, -(-waiting // len(state.offers))), node.slots, limits.FRAME_TASKS)
    leases = _take(state, job, node, quantum, units)
    if not leases:
        return False
    job.skips = 0
    slots, cpus, memory = node.slots - len(leases), node.milli_cpus, node.memory_bytes
    offers.stand(state, node, slots, cpus, memory)
    leasing.send(state, node, leases)
    return True


def _piece(state: State, job: JobRun, node: NodeRun) -> int:
    left = job.units - job.units_cut
    if left <= 0:
        return 1
    return sizing.piece(
        job.spec.split,
        units_left=left,
        rate=job.rates.get(node.record.number) or job.rate,
        proved=job.proved,
        target_ms=job.spec.target_ms,
        timeout_ms=job.spec.timeout_ms,
        slots=max(state.cores, 1),
    )


def _take(state: State, job: JobRun, node: NodeRun, quantum: int, units: int) -> list[tuple[Task, Assignment]]:
    """Lease up to `quantum` tasks: what waits in the queue first, then new pieces of `units` from the cursor."""
    leases: list[tuple[Task, Assignment]] = []
    passed: list[int] = []
    while job.queue and len(leases) < quantum:
        ordinal = heappop(job.queue)
        task = job.open.get(ordinal)
        if task is None or task.state is not TaskState.IN_QUEUE:
            continue
        if task.bound_to and task.bound_to != node.record.number:
            passed.append(ordinal)
            continue
        leases.append(leasing.lease(state, job, task, node))
    for ordinal in passed:
        leasing.enqueue(job, ordinal)
    while len(leases) < quantum and job.units_cut < job.units:
        leases.append(leasing.cut(state, job, node, units))
    return leases
