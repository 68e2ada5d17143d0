"""Reports: each result judged and answered with a verdict.

A result for an assignment that is open is judged at once. Any other (late, double, after a restart, of a task that
has been settled) is judged by what the store remembers. Until the node has a verdict it keeps the result; it may
drop it after any verdict.
"""

from __future__ import annotations

from functools import partial

import msgspec

from crowdgrid.core import asking, canaries, holding, learning, leasing, voting
from crowdgrid.core.commands import Recalled, Report, Reported
from crowdgrid.core.effects import Acknowledge
from crowdgrid.core.lifecycle import ASSIGNMENT, JOB_RUNS, step
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    AssignmentState,
    Outcome,
    Result,
    Signature,
    Task,
    TaskState,
    Verdict,
)
from crowdgrid.core.settling import vote
from crowdgrid.core.state import JobRun, Late, Lease, NodeRun, State

_replace = msgspec.structs.replace


# --- in time -------------------------------------------------------------------------------------


def report(state: State, command: Report) -> None:
    """Judge each result of a report frame."""
    signature = _keep_signature(state, command)
    node = state.nodes.get(command.node)
    verdicts: list[tuple[AssignmentKey, Verdict]] = []
    for reported in command.results:
        held = state.leases.get(reported.assignment)
        if held is None and canaries.is_one(state, reported.assignment, command.node):
            given = state.canaries[reported.assignment].assignment
            canaries.judge(state, _reported(state, given, reported, signature))
            verdicts.append((reported.assignment, Verdict.COUNTED))
        elif held is None:
            _ask_store(state, Late(command.node, reported, signature), verdicts)
        elif held.assignment.node != command.node:
            verdicts.append((reported.assignment, Verdict.NOT_YOURS))
        else:
            _judge(state, held, node, reported, signature)
            verdicts.append((reported.assignment, Verdict.COUNTED))
    if node is not None:
        state.save(node.record)
    if verdicts:
        state.emit(Acknowledge(command.node, tuple(verdicts)))


def _keep_signature(state: State, command: Report) -> int:
    if not command.signature:
        return 0
    state.last_signature += 1
    state.save(Signature(state.last_signature, command.node, command.leaves, command.signature))
    return state.last_signature


def _judge(state: State, held: Lease, node: NodeRun | None, reported: Reported, signature: int) -> None:
    """An answer to an open assignment."""
    if reported.outcome is Outcome.NODE_ERROR:
        spoilt = _reported(state, held.assignment, reported, signature)
        holding.release(state, held)
        state.save(spoilt)
        job = state.jobs[spoilt.job]
        job.lost += 1
        leasing.turn_down_failed(state, job, spoilt.node, reported.error)
        state.touch(job)
        leasing.requeue(state, job, job.open[spoilt.ordinal], f"Its node failed: {reported.error}", stale=True)
        return
    holding.release(state, held)
    job = state.jobs[held.assignment.job]
    task = job.open[held.assignment.ordinal]
    if job.failed:
        job.failed.pop(held.assignment.node, None)
    job.turnarounds.append(state.now - held.assignment.leased_at)
    _measure(job, held.assignment.node, task.stop - task.start, reported.wall_ms)
    # Use is bounded by how long the node had the task: one that claims an age would push the job's owner behind
    # everybody else for weeks.
    state.use_of(job.owner).add(state.now, max(1, min(reported.wall_ms, state.now - held.assignment.leased_at)))
    if node is not None:
        node.record = _replace(node.record, validated=node.record.validated + 1)
    answer = _reported(state, held.assignment, reported, signature)
    if node is None or node.session or not job.replicates:
        vote(state, job, task, answer, hit=reported.hit)
        return
    state.nodes.setdefault(node.record.number, node)  # its link may be closed already, and this was all it held
    vote(state, job, task, answer, hit=reported.hit)
    holding.forget_if_idle(state, node)


def _reported(state: State, assignment: Assignment, reported: Reported, signature: int) -> Assignment:
    result = Result(
        reported.outcome,
        reported.digest,
        reported.payload,
        reported.blob,
        reported.size,
        reported.error,
        reported.errors,
        reported.cpu_ms,
        reported.wall_ms,
        reported.memory_bytes,
        signature,
        reported.leaf,
        state.now,
        reported.stderr,
        reported.input,
    )
    a = assignment
    to = step(ASSIGNMENT, (a.state, AssignmentState.REPORTED))
    return Assignment(a.job, a.ordinal, a.attempt, a.node, to, a.leased_at, a.deadline_ms, state.now, result)


def _measure(job: JobRun, node: int, units: int, wall_ms: int) -> None:
    """Learn how fast a node (and the crowd) does this job: units per ms, a mean that favours the recent."""
    rate = units / max(wall_ms, 1)
    old = job.rates.get(node)
    job.rates[node] = rate if old is None else old * 0.5 + rate * 0.5
    job.rate = rate if not job.rate else job.rate * 0.75 + rate * 0.25
    job.proved = max(job.proved, units)


# --- late ------------------------------------------------------------------------------------------


def _ask_store(state: State, late: Late, verdicts: list[tuple[AssignmentKey, Verdict]]) -> None:
    key = late.reported.assignment
    waiting = state.late.get(key)
    if waiting is not None:  # the same assignment again while the first is still being looked up
        same = waiting.node == late.node and waiting.reported.digest == late.reported.digest
        verdicts.append((key, Verdict.DUPLICATE if same else Verdict.CONFLICTING))
        if waiting.node == late.node and not same and not _is_excuse(waiting.reported, late.reported):
            learning.contradicted(state, late.node, key)
        return
    state.late[key] = late
    asking.ask(state, "assignment", key, partial(_judge_late, late=late))


def _judge_late(state: State, rows: Recalled, *, late: Late) -> None:
    key = late.reported.assignment
    found = next((a for a in rows.assignments if a.key == key), None)
    task = rows.tasks[0] if rows.tasks else None
    waiting = state.late.get(key)
    withdrawn = waiting is not late
    if waiting is None or not withdrawn:
        state.late.pop(key, None)
    if found is None or task is None:
        verdict = Verdict.UNKNOWN
    elif found.node != late.node:
        verdict = Verdict.NOT_YOURS
    elif found.result is not None:
        same = found.result.digest == late.reported.digest and found.result.outcome == late.reported.outcome
        verdict = Verdict.DUPLICATE if same else Verdict.CONFLICTING
        if not same and not _is_excuse(found.result, late.reported):
            learning.contradicted(state, late.node, key)
    elif withdrawn:
        verdict = Verdict.LATE_UNNEEDED
    else:
        verdict = _late_verdict(state, late, task, found)
    state.emit(Acknowledge(late.node, ((key, verdict),)))


def _is_excuse(*said: Result | Reported) -> bool:
    """Whether one of these says what the machine did wrong: that is no answer, and none that contradicts one."""
    return any(each.outcome is Outcome.NODE_ERROR for each in said)


def _late_verdict(state: State, late: Late, task: Task, found: Assignment) -> Verdict:
    """A first result for an assignment that had ended: it still votes while its task is open."""
    if found.state is AssignmentState.RETRACTED or late.reported.outcome is Outcome.NODE_ERROR:
        return Verdict.LATE_UNNEEDED
    answer = _reported(state, _closed(found), late.reported, late.signature)
    job = state.jobs.get(task.job)
    open_task = job.open.get(task.ordinal) if job else None
    if job is not None and open_task is not None and job.state in JOB_RUNS and _may_vote(state, job, open_task, found):
        vote(state, job, open_task, answer, hit=late.reported.hit)
        return Verdict.COUNTED
    if job is not None and job.replicates:  # also of a settled task, whose votes may be looked at again
        answer = _replace(answer, state=step(ASSIGNMENT, (answer.state, AssignmentState.RETRACTED)))  # no vote, ever
    state.save(answer)
    agrees = task.state is TaskState.VALIDATED and task.digest == late.reported.digest
    return Verdict.LATE_PAID if agrees else Verdict.LATE_UNNEEDED


def _may_vote(state: State, job: JobRun, task: Task, found: Assignment) -> bool:
    """Where nodes vote, a late answer counts unless its node or owner has voted, or the answer it led to was given up."""
    node = state.nodes.get(found.node)
    if not job.replicates:
        return True
    return node is not None and found.attempt >= task.since and not voting.has_voted(state, job, task, node)


def _closed(found: Assignment) -> Assignment:
    """An assignment that was given up since the store was asked."""
    if found.state is AssignmentState.LEASED:
        return _replace(found, state=AssignmentState.CANCELLED)
    return found
