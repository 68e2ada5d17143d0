"""Who holds what: the book of open assignments, below the rules that give and end them.

Every open assignment stands in `State.leases` and in its node's `held`, and its node is looked at again before the
first of its leases may run out. `jobs` and `leasing` both keep this book, through these functions only.
"""

from __future__ import annotations

from heapq import heappush
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.core.effects import TaskChanged, Withdraw
from crowdgrid.core.lifecycle import TASK, step
from crowdgrid.core.model import AssignmentKey, AssignmentState, Task, TaskState
from crowdgrid.core.scheduling import ready
from crowdgrid.core.state import JobRun, Lease, NodeRun, State
from crowdgrid.core.trust.votes import Vote

LEASE_MS: Final = limits.LEASE_SECONDS * 1000
RECONNECT_MS: Final = limits.RECONNECT_SECONDS * 1000

GIVEN_BACK: Final[tuple[TaskState, ...]] = (TaskState.IN_QUEUE,)
LOST: Final[tuple[TaskState, ...]] = (TaskState.FAILED, TaskState.PENDING, TaskState.IN_QUEUE)

_replace = msgspec.structs.replace


def enqueue(job: JobRun, ordinal: int) -> None:
    """Put an ordinal into the job's queue; lower ordinals, which are older, come first."""
    heappush(job.queue, ordinal)


def put_back(state: State, job: JobRun, task: Task, way: tuple[TaskState, ...], stale: int, why: str) -> None:
    """Let a task nobody holds any more wait in the queue again. `way`: the states it passes on."""
    job.in_progress -= 1
    job.short.discard(task.ordinal)
    moved = _replace(task, state=step(TASK, (task.state, *way)), stale=stale)
    job.open[task.ordinal] = moved
    job.in_queue += 1
    enqueue(job, task.ordinal)
    ready.wake(state, job)
    state.save(moved)
    state.emit(TaskChanged(moved, why))


def hold(state: State, job: JobRun, node: NodeRun, held: Lease) -> None:
    """Note that `node` holds an assignment, and look at it when its lease may run out."""
    key = held.assignment.key
    state.leases[key] = held
    node.held[key] = held
    node.given += 1
    state.use_of(job.owner).under_way += job.spec.target_ms
    look_again(state, node, min(held.expires_at, held.deadline_at))


def look_again(state: State, node: NodeRun, at: int) -> None:
    """Have the node looked at when `at` has come, unless it is looked at before."""
    if not node.check_at or at < node.check_at:
        node.check_at = at
        heappush(state.checks, (at, node.record.number))


def withdraw(state: State, node: NodeRun, keys: tuple[AssignmentKey, ...], reason: str) -> None:
    """Tell a node to drop assignments; if it is away, its next heartbeat gets the same answer."""
    if node.session:
        state.emit(Withdraw(node.record.number, node.session, keys, reason))


def holders(state: State, task: Task) -> list[Lease]:
    """The open assignments of a task, in the order of their attempts."""
    found = [state.leases.get((task.job, task.ordinal, attempt)) for attempt in range(task.since, task.attempts)]
    return [held for held in found if held is not None]


def release(state: State, held: Lease) -> None:
    """The assignment is no longer open, for whatever reason."""
    assignment = held.assignment
    del state.leases[assignment.key]
    node = state.nodes.get(assignment.node)
    if node is not None:
        node.held.pop(assignment.key, None)
        if not node.held:
            forget_if_idle(state, node)
    job = state.jobs.get(assignment.job)
    if job is not None:
        usage = state.use_of(job.owner)
        usage.under_way -= job.spec.target_ms
        state.eased[job.owner] = None


def forget_if_idle(state: State, node: NodeRun) -> None:
    """A node that is away, holds nothing and has no vote on an open task leaves memory."""
    if not node.held and not node.session and not node.votes:
        state.nodes.pop(node.record.number, None)


def forget_votes(state: State, job: JobRun, ordinal: int) -> list[Vote]:
    """The task is open no longer: the votes there were, and nothing keeps their nodes in memory any more."""
    ballot = job.ballots.pop(ordinal, None)
    votes = ballot.votes if ballot is not None else []
    for vote in votes:
        node = state.nodes.get(vote.assignment.node)
        if node is not None:
            node.votes -= 1
            forget_if_idle(state, node)
    return votes


def withdraw_all(state: State, job: JobRun, reason: str, *, keep: bool = False) -> None:
    """End every open assignment of a job that stops, and tell the nodes.

    `keep`: the job may go on later, so its tasks go back to the queue; otherwise they are forgotten, and what is
    in the store counts for nothing now that their job has ended.
    """
    by_node: dict[int, list[AssignmentKey]] = {}
    for task in list(job.open.values()):
        if task.state is not TaskState.IN_PROGRESS:
            continue
        for attempt in range(task.attempts):
            held = state.leases.get((job.number, task.ordinal, attempt))
            if held is not None:
                by_node.setdefault(held.assignment.node, []).append(held.assignment.key)
                release(state, held)
                state.save(_replace(held.assignment, state=AssignmentState.CANCELLED, ended_at=state.now))
        if keep:
            wanting, ballot = task, job.ballots.get(task.ordinal)
            if ballot is not None and len(ballot.votes) >= task.wanted:  # they were being compared
                wanting = _replace(task, wanted=len(ballot.votes) + 1)
            put_back(state, job, wanting, GIVEN_BACK, task.stale, reason)
    if not keep:
        for ordinal in list(job.ballots):
            forget_votes(state, job, ordinal)
        job.open.clear()
        job.short.clear()
        job.queue.clear()
        job.in_queue = job.in_progress = 0
    for number, keys in by_node.items():
        node = state.nodes.get(number)
        if node is not None:
            withdraw(state, node, tuple(keys), reason)
