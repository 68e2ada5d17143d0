"""Leases: given, renewed, run out, given back.

Two timers. The lease is short and renewed by each heartbeat that names the assignment; the deadline is never
renewed. Both end in the same way: the assignment has expired, its task goes back to the queue with its
stale count raised, and a result that comes after all is still welcome while the task is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.core import jobs
from crowdgrid.core.effects import Assign, CloseLink, TaskChanged, Withdraw
from crowdgrid.core.lifecycle import ASSIGNMENT, TASK, step
from crowdgrid.core.model import Assignment, AssignmentKey, AssignmentState, Task, TaskState
from crowdgrid.core.scheduling import ready
from crowdgrid.core.splitting import runs_in
from crowdgrid.core.state import JobRun, Lease, NodeRun, State

LEASE_MS = limits.LEASE_SECONDS * 1000
RECONNECT_MS = limits.RECONNECT_SECONDS * 1000

_FAILED_MS_MAX: Final = 2 * limits.DECLINED_MS
_replace = msgspec.structs.replace
_LOST: Final[tuple[TaskState, ...]] = (TaskState.FAILED, TaskState.PENDING, TaskState.IN_QUEUE)
_GIVEN_BACK: Final[tuple[TaskState, ...]] = (TaskState.IN_QUEUE,)


# --- giving ----------------------------------------------------------------------------------


def enqueue(job: JobRun, ordinal: int) -> None:
    """Put an ordinal into the job's queue; lower ordinals, which are older, come first."""
    heappush(job.queue, ordinal)


def cut(state: State, job: JobRun, node: NodeRun, units: int) -> tuple[Task, Assignment]:
    """Cut the next task of at most `units` from the cursor and lease it, in one step: bounds never change later."""
    start = job.units_cut
    stop = min(start + units, job.units)
    ordinal = job.tasks
    job.units_cut = stop
    job.tasks = ordinal + 1
    job.in_progress += 1
    task = Task(job.number, ordinal, start, stop, TaskState.IN_PROGRESS, state.now, 1)
    return _give(state, job, task, node, 0)


def lease(state: State, job: JobRun, task: Task, node: NodeRun) -> tuple[Task, Assignment]:
    """Lease a task that waits in the queue."""
    job.in_queue -= 1
    job.in_progress += 1
    moved = _replace(task, state=step(TASK, (task.state, TaskState.IN_PROGRESS)), attempts=task.attempts + 1)
    return _give(state, job, moved, node, task.attempts)


def _give(state: State, job: JobRun, task: Task, node: NodeRun, attempt: int) -> tuple[Task, Assignment]:
    number = node.record.number
    runs = runs_in(job.spec.split, task.start, task.stop)
    deadline_ms = job.spec.timeout_ms * runs * limits.DEADLINE_FACTOR + limits.DEADLINE_SLACK_MS
    assignment = Assignment(task.job, task.ordinal, attempt, number, AssignmentState.LEASED, state.now, deadline_ms)
    job.open[task.ordinal] = task
    hold(state, job, node, Lease(assignment, state.now, LEASE_MS))
    state.save(task)
    state.save(assignment)
    state.touch(job)
    return task, assignment


def hold(state: State, job: JobRun, node: NodeRun, held: Lease) -> None:
    """Note that `node` holds an assignment, and look at it when its lease may run out."""
    key = held.assignment.key
    state.leases[key] = held
    node.held[key] = held
    state.use_of(job.owner).under_way += job.spec.target_ms
    look_again(state, node, min(held.expires_at, held.deadline_at))


def look_again(state: State, node: NodeRun, at: int) -> None:
    """Have the node looked at when `at` has come, unless it is looked at before."""
    if not node.check_at or at < node.check_at:
        node.check_at = at
        heappush(state.checks, (at, node.record.number))


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
            if key not in state.late:
                strange.append(key)
        else:
            held_now.expires_at = expires_at
            held_now.missed = 0
    if strange:
        withdraw(state, node, tuple(strange), "This is no longer yours to do.")
    forgotten = [held for held in node.held.values() if held.missed >= 2]
    for held in forgotten:
        held.missed = 0
    again = [(state.jobs[h.assignment.job].open[h.assignment.ordinal], h.assignment) for h in forgotten]
    if again:
        send(state, node, again, again=True)


def turn_down(state: State, job: JobRun, node: int, ms: int) -> None:
    """Offer the job to others first: to this node not before `ms` have passed."""
    until = {number: at for number, at in job.declined.items() if at > state.now} if job.declined else {}
    until[node] = max(until.get(node, 0), state.now + ms)
    job.declined = until


def turn_down_failed(state: State, job: JobRun, node: int) -> None:
    """Let others try first. While there are others, longer each time in a row: a broken node (a full disk, say) is
    always free, and would else bring a task to its stale ceiling within seconds while they are busy."""
    job.failed[node] = times = job.failed.get(node, 0) + 1
    alone = not any(other.session and number != node for number, other in state.nodes.items())
    turn_down(state, job, node, limits.FAILED_MS if alone else min(limits.FAILED_MS << min(times, 16) >> 1, _FAILED_MS_MAX))


def withdraw(state: State, node: NodeRun, keys: tuple[AssignmentKey, ...], reason: str) -> None:
    """Tell a node to drop assignments; if it is away, its next heartbeat gets the same answer."""
    if node.session:
        state.emit(Withdraw(node.record.number, node.session, keys, reason))


# --- ending ----------------------------------------------------------------------------------


def release(state: State, held: Lease) -> None:
    """The assignment is no longer open, for whatever reason."""
    assignment = held.assignment
    del state.leases[assignment.key]
    node = state.nodes.get(assignment.node)
    if node is not None:
        node.held.pop(assignment.key, None)
        if not node.held and not node.session:
            forget_if_idle(state, node)
    job = state.jobs.get(assignment.job)
    if job is not None:
        usage = state.use_of(job.owner)
        usage.under_way -= job.spec.target_ms
        state.eased[job.owner] = None


def forget_if_idle(state: State, node: NodeRun) -> None:
    """A node that is away and holds nothing leaves memory."""
    if not node.held and not node.session:
        state.nodes.pop(node.record.number, None)


def end(state: State, held: Lease, how: AssignmentState, why: str, *, stale: bool) -> None:
    """End an assignment without an answer and put its task back to the queue.

    `stale`: this counts against the task; at its ceiling it is abandoned.
    """
    assignment = held.assignment
    release(state, held)
    state.save(_replace(assignment, state=step(ASSIGNMENT, (assignment.state, how)), ended_at=state.now))
    job = state.jobs[assignment.job]
    job.lost += stale
    state.touch(job)
    requeue(state, job, job.open[assignment.ordinal], why, stale=stale)


def requeue(state: State, job: JobRun, task: Task, why: str, *, stale: bool) -> None:
    """Put a task in progress back to the queue, or abandon it at its stale ceiling."""
    if any((task.job, task.ordinal, attempt) in state.leases for attempt in range(task.attempts)):
        return  # another node still works on it
    job.in_progress -= 1
    count = task.stale + stale
    if count >= job.spec.stale_ceiling:
        path = (task.state, TaskState.FAILED, TaskState.ABANDONED)
        jobs.abandon(state, job, _replace(task, state=step(TASK, path), stale=count), why)
        return
    way_back = _LOST if stale else _GIVEN_BACK
    moved = _replace(task, state=step(TASK, (task.state, *way_back)), stale=count)
    job.open[task.ordinal] = moved
    job.in_queue += 1
    enqueue(job, task.ordinal)
    ready.wake(state, job)
    state.save(moved)
    state.emit(TaskChanged(moved, why))


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
            requeue(state, job, task, reason, stale=False)
    if not keep:
        job.open.clear()
        job.queue.clear()
        job.in_queue = job.in_progress = 0
    for number, keys in by_node.items():
        node = state.nodes.get(number)
        if node is not None:
            withdraw(state, node, tuple(keys), reason)


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
            withdraw(state, node, (held.assignment.key,), "It took longer than its deadline.")
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
        look_again(state, node, max(min(times), now + 1))
