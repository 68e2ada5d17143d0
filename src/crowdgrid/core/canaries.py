"""Canaries: tasks whose answer is known, given to a node once more among its others, to see what it answers.

They cost nobody an input: a task several nodes agreed on is one. So they catch what votes cannot: colluders who agree on
the same lie meet an answer that others gave before them. A stranger is given them more often than a node that is
known. Nothing in a lease tells a canary from another task; its answer is judged against the known one, and is no vote.

They stand beside the book of leases: nobody waits for one, and one that is lost is forgotten. Attempts of canaries are
counted from `FIRST`, where no other attempt ever comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.core import learning
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    AssignmentState,
    Outcome,
    Task,
)
from crowdgrid.core.splitting import runs_in
from crowdgrid.core.state import Canary, JobRun, Known, NodeRun, State
from crowdgrid.core.trust.comparison import Exact
from crowdgrid.core.trust.standings import audited
from crowdgrid.core.trust.votes import Vote

FIRST: Final = 1 << 15
_NEWCOMER: Final = 20.0  # times as often is a node on probation given one
_replace = msgspec.structs.replace


def note(state: State, job: JobRun, task: Task, votes: Iterable[Vote]) -> None:
    """A task was settled: its answer may be known well enough for a canary."""
    given = list(votes)
    if not state.policy.canary_rate or len(given) < 2:
        return
    if job.spec.consensus != "bounded_error" or type(job.spec.comparison) is not Exact:
        return
    nodes = {vote.assignment.node for vote in given}
    job.known.append(Known(task, nodes, {vote.owner for vote in given}))


def forget(job: JobRun, ordinal: int) -> None:
    """The answer of a task is known no longer."""
    for known in list(job.known):
        if known.task.ordinal == ordinal:
            job.known.remove(known)


def give(state: State, job: JobRun, node: NodeRun, tasks: int) -> tuple[Task, Assignment] | None:
    """A canary for `node`, if it is to have one among the next `tasks` of this job."""
    if not job.known:
        return None
    number, owner = node.record.number, node.record.owner
    standing = state.standings.get(number, job.kind)
    newcomer = standing is None or standing.judged < state.policy.probation
    rate = state.policy.canary_rate * (_NEWCOMER if newcomer else 1.0)
    state.last_canary += 1
    if not audited(state.grid.id_key, job.number, state.last_canary, min(1.0, rate * tasks), b"canary"):
        return None
    known = next((each for each in job.known if number not in each.nodes and owner not in each.owners), None)
    if known is None:
        return None
    known.nodes.add(number)
    known.owners.add(owner)
    attempt = FIRST + state.last_canary % FIRST
    task = known.task
    runs = runs_in(job.spec.split, task.start, task.stop)
    deadline_ms = job.spec.timeout_ms * runs * limits.DEADLINE_FACTOR + limits.DEADLINE_SLACK_MS
    given = Assignment(task.job, task.ordinal, attempt, number, AssignmentState.LEASED, state.now, deadline_ms)
    state.canaries[given.key] = Canary(given, task)
    state.save(given)
    return task, given


def judge(state: State, answer: Assignment) -> None:
    """A canary was answered: what that says about its node."""
    canary = state.canaries.pop(answer.key)
    state.save(_replace(answer, state=AssignmentState.RETRACTED))
    job, result, task = state.jobs.get(answer.job), answer.result, canary.task
    if job is None or result is None or result.outcome is Outcome.NODE_ERROR:
        return
    if not any(known.task is task for known in job.known):
        return  # its answer is not known any more
    agrees = (result.outcome, result.digest) == (task.outcome, task.digest)
    learning.canary(state, job.kind, answer, right=task.confidence if agrees else 1.0 - task.confidence)


def is_one(state: State, key: AssignmentKey, node: int) -> bool:
    """Whether this is a canary this node holds."""
    canary = state.canaries.get(key)
    return canary is not None and canary.assignment.node == node


def drop(state: State, key: AssignmentKey, node: int, how: AssignmentState) -> None:
    """A node gives something back that is no lease: if it is a canary, nothing is held against it."""
    if is_one(state, key, node):
        canary = state.canaries.pop(key)
        state.save(_replace(canary.assignment, state=how, ended_at=state.now))


def expire(state: State) -> None:
    """Forget the canaries whose time is over, or whose job."""
    for key, canary in list(state.canaries.items()):
        given = canary.assignment
        if given.job not in state.jobs:
            del state.canaries[key]
        elif given.leased_at + given.deadline_ms <= state.now:
            drop(state, key, given.node, AssignmentState.EXPIRED)
