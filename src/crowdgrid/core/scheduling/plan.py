"""Handing out work, once a batch: the best tasks first, each to the best of the waiting offers.

Which job comes next is the active queue's word (`scheduling.ready`), which node is the offers' (`scheduling.offers`).
Shares are counted anew after each hand-out, so that nobody waits behind somebody else's million tasks. A hand-out is
at most the job's part for one node, so that the work is spread over the nodes that wait for it.
"""

from __future__ import annotations

from heapq import heappop

from crowdgrid import limits
from crowdgrid.core import canaries, holding, leasing, voting
from crowdgrid.core.model import Assignment, Task, TaskState
from crowdgrid.core.scheduling import offers, ready
from crowdgrid.core.scheduling.ranking import Ranking
from crowdgrid.core.scheduling.speculation import speculate
from crowdgrid.core.splitting import sizing
from crowdgrid.core.state import JobRun, Lane, NodeRun, State


def plan(state: State, rule: Ranking) -> None:
    """Lease until no offer or no work is left that fits."""
    if not state.offering:
        return
    ready.admit(state, rule)
    if state.now - state.ordered_at >= limits.RERANK_MS:
        ready.rank_again(state, rule)
    for priority in sorted(state.levels, reverse=True):
        lanes = list(state.levels[priority].values())
        for lane in lanes:
            if lane.lines and not lane.pool.offers:
                lane.pool.skips += 1
        _serve(state, rule, lanes)
        if not state.offering:
            return
    speculate(state, rule)


def _serve(state: State, rule: Ranking, lanes: list[Lane]) -> None:
    """Serve the jobs of one priority: each turn goes to the owner with the least use, and to their first job."""
    aside: list[JobRun] = []  # jobs for which none of the offers will do, this time
    while (job := ready.next_job(state, lanes)) is not None:
        if not _lease_some(state, rule, job):
            ready.leave(state, rule, job)
            aside.append(job)
        elif not ready.runnable(job):
            ready.leave(state, rule, job)
    for job in aside:
        ready.wake(state, job)


def _lease_some(state: State, rule: Ranking, job: JobRun) -> bool:
    """Give one node what it should have of this job now. False: nothing could be given, or nothing need be yet."""
    if job.short and voting.may_rest(state, job):
        return False
    node = offers.best(state, job, rule)
    if node is None:
        job.skips += 1
        return False
    if _lease_to(state, job, node):
        return True
    # The best node may not vote on what waits, for it has, or another one of its owner's; some other may.
    return job.replicates and any(_lease_to(state, job, other) for other in offers.others(state, job, node))


def _lease_to(state: State, job: JobRun, node: NodeRun) -> bool:
    assert job.pool is not None
    units = _piece(state, job, node)
    waiting = job.in_queue + len(job.short) + -(-(job.units - job.units_cut) // units)
    quantum = min(max(1, -(-waiting // len(job.pool.offers))), node.slots, limits.FRAME_TASKS)
    hopeless = job.replicates and voting.is_hopeless(state, job, node)
    if hopeless:
        quantum = 1
    canary = canaries.give(state, job, node, quantum) if job.known else None
    leases = [canary] if canary is not None else []
    leases += _take(state, job, node, quantum - len(leases), units)
    if not leases:
        return False
    if hopeless:
        leasing.rest(state, job, node.record.number, offers.expected_s(state, job, node))
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
    while job.queue and len(leases) < quantum and len(passed) < limits.VOTERS_TRIED:
        ordinal = heappop(job.queue)
        task = job.open.get(ordinal)
        if task is None or (task.state is not TaskState.IN_QUEUE and ordinal not in job.short):
            continue
        if task.bound_to and task.bound_to != node.record.number:
            passed.append(ordinal)
            continue
        if job.replicates and voting.objection(state, job, task, node):
            passed.append(ordinal)
            continue
        short = ordinal in job.short
        leases.append(leasing.lease(state, job, task, node))
        if short and ordinal in job.short:
            passed.append(ordinal)  # it wants still more nodes
    for ordinal in passed:
        holding.enqueue(job, ordinal)
    wanted = voting.opening(state, job, node.record.number) if job.replicates else 1
    while len(leases) < quantum and job.units_cut < job.units:
        leases.append(leasing.cut(state, job, node, units, wanted))
    return leases
