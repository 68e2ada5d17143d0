"""Leases: given, renewed, run out, given back.

Two timers. The lease is short and renewed by each heartbeat that names the assignment; the deadline is never
renewed. Both end in the same way: the assignment has expired, its task goes back to the queue with its
stale count raised, and a result that comes after all is still welcome while the task is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.core import holding, jobs, voting, weights
from crowdgrid.core.effects import Assign, CloseLink
from crowdgrid.core.holding import LEASE_MS
from crowdgrid.core.lifecycle import ASSIGNMENT, TASK, step
from crowdgrid.core.model import Assignment, AssignmentKey, AssignmentState, Task, TaskState
from crowdgrid.core.splitting import runs_in
from crowdgrid.core.state import JobRun, Lease, NodeRun, State

_FAILED_MS_MAX: Final = 2 * limits.DECLINED_MS
_REFUSAL_CHARS: Final = 200
_replace = msgspec.structs.replace


# --- giving ----------------------------------------------------------------------------------


def cut(state: State, job: JobRun, node: NodeRun, units: int, wanted: int) -> tuple[Task, Assignment]:
    """Cut the next task of at most `units` from the cursor and lease it, in one step: bounds never change later.

    `wanted`: how many nodes it begins with when this is the first, see `voting.opening`.
    """
    start = job.units_cut
    stop = weights.held_down(job, start, min(start + units, job.units))
    ordinal = job.tasks
    job.units_cut = stop
    job.tasks = ordinal + 1
    job.in_progress += 1
    task = Task(job.number, ordinal, start, stop, TaskState.IN_PROGRESS, state.now, 1)
    if job.replicates and (wanted := max(wanted, voting.least(state, job, ordinal))) > 1:
        task = _replace(task, wanted=wanted)
    return _give(state, job, task, node, 0)


def lease(state: State, job: JobRun, task: Task, node: NodeRun) -> tuple[Task, Assignment]:
    """Lease a task that waits in the queue, or is in progress and wants one more node."""
    if task.state is TaskState.IN_QUEUE:
        job.in_queue -= 1
        job.in_progress += 1
        moved = _replace(task, state=step(TASK, (task.state, TaskState.IN_PROGRESS)), attempts=task.attempts + 1)
        if job.replicates and not job.ballots.get(task.ordinal):  # it begins, perhaps with another node than before
            wanted = voting.opening(state, job, node.record.number)
            moved = _replace(moved, wanted=max(task.wanted, wanted, voting.least(state, job, task.ordinal)))
    else:
        moved = _replace(task, attempts=task.attempts + 1)
    return _give(state, job, moved, node, task.attempts)


def _give(state: State, job: JobRun, task: Task, node: NodeRun, attempt: int) -> tuple[Task, Assignment]:
    number = node.record.number
    runs = runs_in(job.spec.split, task.start, task.stop)
    deadline_ms = job.spec.timeout_ms * runs * limits.DEADLINE_FACTOR + limits.DEADLINE_SLACK_MS
    assignment = Assignment(task.job, task.ordinal, attempt, number, AssignmentState.LEASED, state.now, deadline_ms)
    job.open[task.ordinal] = task
    holding.hold(state, job, node, Lease(assignment, state.now, LEASE_MS))
    state.save(task)
    state.save(assignment)
    state.touch(job)
    if task.wanted > 1:
        voting.recount(state, job, task)
    return task, assignment


def send(state: State, node: NodeRun, leases: list[tuple[Task, Assignment]], again: bool = False) -> None:
    """Tell a node what it holds now."""
    if node.session:
        number = node.record.number
        for at in range(0, len(leases), limits.FRAME_TASKS):
            state.emit(Assign(number, node.session, tuple(leases[at : at + limits.FRAME_TASKS]), LEASE_MS, again))


# --- renewing --------------------------------------------------------------------------------


def renew(state: State, node: NodeRun, named: Iterable[AssignmentKey]) -> None:
    """A heartbeat: renew what is named, have dropped what is not (or no longer) held, send again what two
    heartbeats in a row did not name."""
    expires_at = state.now + LEASE_MS
    strange: list[AssignmentKey] = []
    for held in node.held.values():
        held.missed += 1
    for key in named:
        held_now = node.held.get(key)
        if held_now is None:
            if key not in state.late and key not in state.canaries:
                strange.append(key)
        else:
            held_now.expires_at = expires_at
            held_now.missed = 0
    if strange:
        holding.withdraw(state, node, tuple(strange), "This is no longer yours to do.")
    forgotten = [held for held in node.held.values() if held.missed >= 2]
    for held in forgotten:
        held.missed = 0
    again = [(state.jobs[h.assignment.job].open[h.assignment.ordinal], h.assignment) for h in forgotten]
    if again:
        send(state, node, again, again=True)


def turn_down(state: State, job: JobRun, node: int, ms: int, why: str = "") -> None:
    """Offer the job to others first: to this node not before `ms` have passed. `why`: what the node said."""
    until = {number: at for number, at in job.declined.items() if at > state.now} if job.declined else {}
    until[node] = max(until.get(node, 0), state.now + ms)
    job.declined = until
    job.rested.intersection_update(until)
    if why or job.refusals:
        said = {**job.refusals, node: why[:_REFUSAL_CHARS]}
        job.refusals = {number: said[number] for number in until if said.get(number)}


def rest(state: State, job: JobRun, node: int, expected_s: float) -> None:
    """Give the node nothing of the job for a good while: its answers are mostly wrong, and this one will show whether
    they still are. `expected_s`: what it is expected to take for one task, s; 0 unknown."""
    ms = max(limits.HOPELESS_REST_MS, int(expected_s * 1000) * limits.HOPELESS_REST_TASKS)
    job.declined[node] = state.now + min(ms, limits.HOPELESS_REST_MS_MAX)
    job.rested.add(node)


def turn_down_failed(state: State, job: JobRun, node: int, why: str) -> None:
    """Let others try first. While there are others, longer each time in a row: a broken node (a full disk, say) is
    always free, and would else bring a task to its stale ceiling within seconds while they are busy."""
    job.failed[node] = times = job.failed.get(node, 0) + 1
    alone = not any(other.session and number != node for number, other in state.nodes.items())
    ms = limits.FAILED_MS if alone else min(limits.FAILED_MS << min(times, 16) >> 1, _FAILED_MS_MAX)
    turn_down(state, job, node, ms, why)


# --- ending ----------------------------------------------------------------------------------


def end(state: State, held: Lease, how: AssignmentState, why: str, *, stale: bool) -> None:
    """End an assignment without an answer and put its task back to the queue.

    `stale`: this counts against the task; at its ceiling it is abandoned.
    """
    assignment = held.assignment
    holding.release(state, held)
    state.save(_replace(assignment, state=step(ASSIGNMENT, (assignment.state, how)), ended_at=state.now))
    job = state.jobs[assignment.job]
    job.lost += stale
    state.touch(job)
    requeue(state, job, job.open[assignment.ordinal], why, stale=stale)


def requeue(state: State, job: JobRun, task: Task, why: str, *, stale: bool) -> None:
    """Put a task in progress back to the queue, or abandon it at its stale ceiling."""
    if any((task.job, task.ordinal, attempt) in state.leases for attempt in range(task.attempts)):
        if job.replicates:
            voting.recount(state, job, task)
        return  # another node still works on it
    if (
        job.replicates
        and voting.comparing(job, task.ordinal)
        and len(voting.votes_on(job, task.ordinal)) >= task.wanted
    ):
        return  # its answers are being compared
    count = task.stale + stale
    if count >= job.spec.stale_ceiling:
        job.in_progress -= 1
        path = (task.state, TaskState.FAILED, TaskState.ABANDONED)
        over = _replace(task, state=step(TASK, path), stale=count)
        jobs.abandon(state, job, over, f"A task lost its lease {count} times, the last time because: {why}")
    else:
        holding.put_back(state, job, task, holding.LOST if stale else holding.GIVEN_BACK, count, why)


# --- time ------------------------------------------------------------------------------------


def extend_all(state: State, gap_ms: int) -> None:
    """This machine slept: nobody is to blame for the silence, so every timer is put off by it."""
    for held in state.leases.values():
        held.expires_at += gap_ms
        held.deadline_at += gap_ms
    for node in state.nodes.values():
        node.heard_at += gap_ms


def expire(state: State) -> None:
    """End every lease whose time has come. Called only when nothing waits to be handled."""
    while state.checks and state.checks[0][0] <= state.now:
        at, number = heappop(state.checks)
        node = state.nodes.get(number)
        if node is None or node.check_at != at:
            continue
        node.check_at = 0
        _expire_node(state, node)


def _expire_node(state: State, node: NodeRun) -> None:
    now = state.now
    if node.session and now - node.heard_at >= LEASE_MS:
        reason = f"Nothing was heard from it for {limits.LEASE_SECONDS} s."
        state.emit(CloseLink(node.record.number, node.session, reason))
    ended = 0
    for held in list(node.held.values()):
        if held.assignment.key not in node.held:
            continue  # the one before ended its job
        if held.deadline_at <= now:
            ended += 1
            holding.withdraw(state, node, (held.assignment.key,), "It took longer than its deadline.")
            end(state, held, AssignmentState.EXPIRED, "Its deadline passed.", stale=True)
        elif held.expires_at <= now:
            ended += 1
            end(state, held, AssignmentState.EXPIRED, "Its node was not heard from.", stale=True)
    if ended:
        node.record = _replace(node.record, lost=node.record.lost + ended)
        state.save(node.record)
    times = [min(held.expires_at, held.deadline_at) for held in node.held.values()]
    if node.session:
        times.append(node.heard_at + LEASE_MS if now - node.heard_at < LEASE_MS else now + LEASE_MS)
    if times:
        holding.look_again(state, node, max(min(times), now + 1))
