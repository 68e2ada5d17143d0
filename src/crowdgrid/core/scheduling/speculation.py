"""Copies of a job's last tasks, for nodes that would else wait: whoever is done first counts.

A job ends with its slowest task, and in a crowd one of them is always on a machine that was switched off for the night.
So when nothing of a job waits any more and it is in its tail (85 % of its tasks are settled, or fewer than 20 are open),
a task is given to one more node once it is older than half the tasks were when they were reported. One copy at a time, oldest
first; the copy that comes second is withdrawn, and nothing is held against its node. Tasks that several nodes
vote on have others at work already and are left to `voting`. Functions outside of a sandbox may do more than answer, and
are not run twice at once.

Sources: the rule is that of MapReduce's backup tasks (J. Dean, S. Ghemawat, OSDI 2004), with the median as in M. Zaharia
et al., "Improving MapReduce performance in heterogeneous environments", OSDI 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from statistics import median

from crowdgrid import limits
from crowdgrid.core import holding, leasing, voting
from crowdgrid.core.effects import TaskChanged
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import UNSANDBOXED, Task, TaskState
from crowdgrid.core.scheduling import offers
from crowdgrid.core.scheduling.ranking import Ranking
from crowdgrid.core.state import JobRun, Lease, NodeRun, State

_SAMPLES = 5  # turnarounds to know before a task can be late


def is_due(state: State) -> bool:
    """Whether late tasks may be looked for."""
    return bool(state.jobs) and state.policy.speculate and state.now - state.speculated_at >= limits.SPECULATE_MS


def speculate(state: State, rule: Ranking) -> None:
    """Give copies of late tasks to nodes nothing else is there for; at most once every `limits.SPECULATE_MS`."""
    if not is_due(state):
        return
    state.speculated_at = state.now
    for job in list(state.jobs.values()):
        if not state.offering:
            return
        if is_tail(job) and job.pool is not None and job.pool.offers:
            _copy_late(state, rule, job)


def is_tail(job: JobRun) -> bool:
    """Whether nothing of it waits and the end is near."""
    if (
        job.spec.runtime in UNSANDBOXED
        or not job.in_progress
        or job.state not in JOB_RUNS
        or job.paused
        or not job.sealed
        or job.has_work
    ):
        return False
    near = job.in_progress < limits.TAIL_TASKS or job.validated >= limits.TAIL_SHARE * job.tasks
    return near and len(job.turnarounds) >= _SAMPLES and job.in_progress <= limits.TAIL_OPEN_MAX


def _copy_late(state: State, rule: Ranking, job: JobRun) -> None:
    before = state.now - max(median(job.turnarounds), limits.SPECULATE_MS)
    assert job.pool is not None
    late = nsmallest(len(job.pool.offers), _late(state, job, before), key=lambda each: each[0].assignment.leased_at)
    for held, task in late:
        node = _best(state, rule, job, task, held)
        if node is None:
            continue
        slots, cpus, memory = node.slots - 1, node.milli_cpus, node.memory_bytes
        pair = leasing.lease(state, job, task, node)
        offers.stand(state, node, slots, cpus, memory)
        leasing.send(state, node, [pair])
        state.emit(TaskChanged(pair[0], "It takes longer than others did, so one more node was given it."))


def _late(state: State, job: JobRun, before: float) -> Iterator[tuple[Lease, Task]]:
    for task in job.open.values():
        if task.state is not TaskState.IN_PROGRESS or task.wanted > 1 or task.bound_to or task.ordinal in job.ballots:
            continue
        held = holding.holders(state, task)
        if len(held) == 1 and held[0].assignment.leased_at <= before and not held[0].finished:
            yield held[0], task


def _best(state: State, rule: Ranking, job: JobRun, task: Task, held: Lease) -> NodeRun | None:
    for node in offers.in_order(state, job, rule):
        other = node.record.number != held.assignment.node
        if other and not (job.replicates and voting.objection(state, job, task, node)):
            return node
    return None
