"""Tasks that more than one node works on: who may vote, what the votes come to, what it teaches about the voters.

A job whose consensus is not `single` keeps a ballot (`JobRun.ballots`) for each open task that has votes. `Task.wanted`
says how many nodes are to have voted or to be at work on it; a task in progress that lacks one is in `JobRun.short`
and in the queue. Assignments are added when a decision needs them and withdrawn when it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import log
from typing import Protocol

import msgspec

from crowdgrid import limits
from crowdgrid.core import asking, holding, jobs
from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import TaskChanged
from crowdgrid.core.lifecycle import ASSIGNMENT, JOB_RUNS, TASK, step
from crowdgrid.core.model import (
    VOTER_BYTES,
    Assignment,
    AssignmentState,
    Node,
    Outcome,
    Task,
    TaskState,
)
from crowdgrid.core.reducing import REDUCERS
from crowdgrid.core.reducing.looking import look
from crowdgrid.core.scheduling import ready
from crowdgrid.core.splitting import per_item
from crowdgrid.core.state import JobRun, Lease, NodeRun, State
from crowdgrid.core.trust.comparators.closeness import classes
from crowdgrid.core.trust.comparison import Exact
from crowdgrid.core.trust.consensus import CONSENSUS
from crowdgrid.core.trust.consensus.bounded_error import stands_alone
from crowdgrid.core.trust.policy import Policy
from crowdgrid.core.trust.standings import audited
from crowdgrid.core.trust.votes import Answer, Ballot, Vote, answer_of, rightness

_replace = msgspec.structs.replace


class Settle(Protocol):
    """See `settling.settle`."""

    def __call__(
        self, state: State, job: JobRun, task: Task, answer: Assignment, confidence: float, *, hit: bool
    ) -> None: ...


# --- who ---------------------------------------------------------------------------------------


def opening(state: State, job: JobRun, node: int) -> int:
    """How many nodes a new task begins with when `node` is the first of them; at least its `least`."""
    return CONSENSUS[job.spec.consensus].opening(job.spec, state.standings.doubt(node, job.kind))


def least(state: State, job: JobRun, ordinal: int) -> int:
    """How many votes a task needs in any case: an audited one is looked at twice. Only where a node may stand alone."""
    if job.spec.consensus != "bounded_error":
        return 1
    return 2 if audited(state.grid.id_key, job.number, ordinal, state.policy.audit_rate) else 1


def objection(state: State, job: JobRun, task: Task, node: NodeRun) -> str:
    """Why `node` may not vote on this task; "" when it may."""
    if has_voted(state, job, task, node):
        return f"It, or another node of {_witness(state.policy)}, has given an answer."
    for held in holding.holders(state, task):
        if held.assignment.node == node.record.number:
            return "It is at work on it."
        if one_witness(state.policy, state.nodes[held.assignment.node].record, node.record):
            return f"Another node of {_witness(state.policy)} is at work on it."
    return ""


def one_witness(policy: Policy, one: Node, other: Node) -> bool:
    """Whether two nodes count as one: of one owner, or at addresses of one block, where that is the hub's rule."""
    same_block = policy.blocks_vote_once and one.block != "" and one.block == other.block
    return (policy.owners_vote_once and one.owner == other.owner) or same_block


def _witness(policy: Policy) -> str:
    return "its owner or address block" if policy.blocks_vote_once else "its owner"


def votes_on(job: JobRun, ordinal: int) -> list[Vote]:
    """The votes on an open task."""
    ballot = job.ballots.get(ordinal)
    return ballot.votes if ballot is not None else []


def may_rest(state: State, job: JobRun) -> bool:
    """Whether all that a job could lease now are second looks at tasks that one node may decide, none of them old: they
    can wait for other work to travel with. A lease by itself costs hub and node frames, a report with its signature and a
    commit, more than many a task."""
    if job.in_queue or job.units_cut < job.units or job.spec.consensus != "bounded_error":
        return False
    return all(_is_young(state, job, ordinal) for ordinal in job.short)


def _is_young(state: State, job: JobRun, ordinal: int) -> bool:
    held = holding.holders(state, job.open[ordinal])
    if len(held) != 1 or ordinal in job.ballots:
        return False
    first = held[0].assignment
    young = state.now - first.leased_at < limits.AUDIT_REST_MS
    return young and stands_alone(job.spec, state.standings.doubt(first.node, job.kind))


def is_hopeless(state: State, job: JobRun, node: NodeRun) -> bool:
    """Whether what the node says of the job's tasks is believed to be wrong more often than right: each task that is
    given to it has to be given to somebody else, too."""
    bounded = job.spec.consensus == "bounded_error"
    return bounded and state.standings.doubt(node.record.number, job.kind) > limits.HOPELESS_DOUBT


def has_voted(state: State, job: JobRun, task: Task, node: NodeRun) -> bool:
    """Whether there is a vote of this node's, or of its owner's where that is the same."""
    number, owner, once = node.record.number, node.record.owner, state.policy.owners_vote_once
    votes = votes_on(job, task.ordinal)
    if any(vote.assignment.node == number or (once and vote.owner == owner) for vote in votes):
        return True
    blocks = state.policy.blocks_vote_once and node.record.block
    return bool(blocks) and any(state.nodes[vote.assignment.node].record.block == blocks for vote in votes)


# --- how many ----------------------------------------------------------------------------------


def recount(state: State, job: JobRun, task: Task) -> None:
    """See whether a task in progress lacks a node, and have it in the queue if it does."""
    lacks = task.wanted - len(votes_on(job, task.ordinal)) - len(holding.holders(state, task)) > 0
    if lacks and task.ordinal not in job.short:
        job.short.add(task.ordinal)
        holding.enqueue(job, task.ordinal)
        ready.wake(state, job)
    elif not lacks:
        job.short.discard(task.ordinal)


def alone(state: State, job: JobRun, task: Task, node: int) -> float:
    """The confidence in a node's answer that needs no other, 0.0 if it is not enough: the short way of `cast`, for a
    task that was given to one node because it may stand alone, and that nobody else has voted on."""
    if task.wanted > 1 or job.spec.consensus != "bounded_error" or task.ordinal in job.ballots:
        return 0.0
    doubt = state.standings.doubt(node, job.kind)
    return 1.0 - doubt if stands_alone(job.spec, doubt) else 0.0


def cast(state: State, job: JobRun, task: Task, answer: Assignment, settle: Settle, *, hit: bool) -> None:
    """Count an answer, and `settle` the task if that decides it, now or when answers have been compared.

    The caller has made sure that its node may vote (`objection`), but for open assignments, which are its own or
    lose to an answer that is here.
    """
    node = state.nodes[answer.node]
    node.votes += 1
    record = node.record
    doubt = state.standings.doubt(record.number, job.kind)
    vote = Vote(answer, record.owner, hit=hit, doubt=doubt, trust=record.trust)
    ballot = job.ballots.get(task.ordinal)
    if ballot is None:
        ballot = job.ballots[task.ordinal] = Ballot()
    ballot.votes.append(vote)
    _withdraw_same(state, job, task, node)
    decide(state, job, task, ballot, settle)


def decide(state: State, job: JobRun, task: Task, ballot: Ballot, settle: Settle) -> None:
    """What the votes come to. Where other bytes may be the same answer they are compared first, outside of the engine,
    and it is decided then."""
    if not _comparable(job, ballot):
        there = len(ballot.votes) + len(holding.holders(state, task))
        if there > task.wanted:  # one came late
            job.open[task.ordinal] = task = _replace(task, wanted=there)
            state.save(task)
        if there == task.wanted and task.state is TaskState.IN_QUEUE:  # likewise, and nobody else need be asked
            job.in_queue -= 1
            job.in_progress += 1
            job.open[task.ordinal] = task = _replace(task, state=step(TASK, (task.state, TaskState.IN_PROGRESS)))
            state.save(task)
        elif task.state is TaskState.IN_PROGRESS:
            _place(state, job, task)
        _compare(state, job, task, ballot, settle)
        return
    decided = _decide(state, job, task, ballot)
    if isinstance(decided, tuple):
        vote = ballot.votes[decided[0]]
        settle(state, job, task, vote.assignment, decided[1], hit=vote.hit)
    elif decided > limits.VOTES_MAX:
        _give_up(state, job, task)
    else:
        _ask_more(state, job, task, decided)


def comparing(job: JobRun, ordinal: int) -> bool:
    """Whether answers to an open task are being compared."""
    ballot = job.ballots.get(ordinal)
    return ballot is not None and not _comparable(job, ballot)


def _comparable(job: JobRun, ballot: Ballot) -> bool:
    """Whether it is known of all answers which are the same."""
    if type(job.spec.comparison) is Exact or len(ballot.votes) == 1:
        return True
    answers = {answer_of(vote) for vote in ballot.votes}
    return len(answers) == 1 or answers <= ballot.compared


def _compare(state: State, job: JobRun, task: Task, ballot: Ballot, settle: Settle) -> None:
    first: dict[Answer, int] = {}
    for vote in ballot.votes:
        first.setdefault(answer_of(vote), vote.assignment.attempt)
    answers = {attempt: answer for answer, attempt in first.items()}
    then = partial(_compared, number=job.number, ordinal=task.ordinal, answers=answers, settle=settle)
    asking.ask(state, "compare", (job.number, task.ordinal, *first.values()), then)


def _compared(
    state: State, rows: Recalled, *, number: int, ordinal: int, answers: dict[int, Answer], settle: Settle
) -> None:
    job = state.jobs.get(number)
    ballot = job.ballots.get(ordinal) if job is not None else None
    if job is None or ballot is None or job.state not in JOB_RUNS:
        return
    ballot.compared.update(answers.values())
    for one, other in rows.close:
        a, b = sorted((answers[one], answers[other]))
        ballot.close.add((a, b))
    if rows.problem:
        ballot.problem = rows.problem
        told = f"Two answers were taken for different: the job's comparator could not tell. {rows.problem}"
        state.emit(TaskChanged(job.open[ordinal], told))
    if _comparable(job, ballot):
        state.touch(job)
        decide(state, job, job.open[ordinal], ballot, settle)


def _decide(state: State, job: JobRun, task: Task, ballot: Ballot) -> tuple[int, float] | int:
    if len(ballot.votes) > 1:
        _look_again(state, job, ballot.votes)
    rule = CONSENSUS[job.spec.consensus]
    return rule.decide(job.spec, ballot.votes, groups_of(job, ballot), least(state, job, task.ordinal))


def _look_again(state: State, job: JobRun, votes: list[Vote]) -> None:
    """What is believed of the voters now."""
    for vote in votes:
        number = vote.assignment.node
        vote.doubt = state.standings.doubt(number, job.kind)
        vote.trust = state.nodes[number].record.trust


def groups_of(job: JobRun, ballot: Ballot) -> list[list[int]]:
    """Which votes are the same answer, the first of each the one that stands for it."""
    found: dict[Answer, list[int]] = {}
    for at, vote in enumerate(ballot.votes):
        found.setdefault(answer_of(vote), []).append(at)
    if not ballot.close:
        return list(found.values())
    near: list[set[int]] = [set() for _ in ballot.votes]
    for answer, same in found.items():
        for other, close in found.items():
            if answer == other or (min(answer, other), max(answer, other)) in ballot.close:
                for at in same:
                    near[at].update(close)
    weights = [_weight(job.spec.consensus, vote) for vote in ballot.votes]
    chosen = classes([tuple(sorted(each)) for each in near], weights)
    return [[choice.vote, *(at for at in choice.group if at != choice.vote)] for choice in chosen]


def _weight(consensus: str, vote: Vote) -> float:
    """What a vote counts when closeness has to make groups: a head, its trust, or how unlikely it is to be wrong."""
    if consensus == "trust_weighted":
        return vote.trust
    return -log(vote.doubt) if consensus == "bounded_error" else 1.0


def _ask_more(state: State, job: JobRun, task: Task, wanted: int) -> None:
    open_now = holding.holders(state, task)
    surplus = len(votes_on(job, task.ordinal)) + len(open_now) - wanted
    for held in reversed(open_now[len(open_now) - surplus :] if surplus > 0 else []):
        withdraw(state, held, "It is not needed to decide the task.")
        open_now.remove(held)
    if open_now or task.state is TaskState.IN_QUEUE:
        moved = _replace(task, wanted=wanted)
        job.open[task.ordinal] = moved
        state.save(moved)
        if moved.state is TaskState.IN_PROGRESS:
            recount(state, job, moved)
    else:
        _wait(state, job, _replace(task, wanted=wanted))


def _wait(state: State, job: JobRun, task: Task) -> None:
    """Nobody works on a task in progress, and it wants one more node."""
    moved = _replace(task, state=step(TASK, (task.state, TaskState.COMPLETED, TaskState.IN_QUEUE)))
    job.in_progress -= 1
    job.in_queue += 1
    job.short.discard(task.ordinal)
    job.open[task.ordinal] = moved
    holding.enqueue(job, task.ordinal)
    ready.wake(state, job)
    state.save(moved)
    state.touch(job)


def _give_up(state: State, job: JobRun, task: Task) -> None:
    for held in holding.holders(state, task):
        withdraw(state, held, "The task has been given up.")
    if task.state is TaskState.IN_QUEUE:
        job.in_queue -= 1
    else:
        job.in_progress -= 1
    over = _replace(task, state=step(TASK, (task.state, TaskState.COMPLETED, TaskState.ABANDONED)))
    jobs.abandon(state, job, over, f"{len(votes_on(job, task.ordinal))} nodes answered a task and did not agree.")


def take_back(state: State, job: JobRun, task: Task, attempt: int) -> None:
    """A node withdraws its vote on an open task: as if it had not been asked."""
    votes = votes_on(job, task.ordinal)
    gone = next((vote for vote in votes if vote.assignment.attempt == attempt), None)
    if gone is None:
        return
    votes.remove(gone)
    if not votes:
        del job.ballots[task.ordinal]
    node = state.nodes[gone.assignment.node]
    node.votes -= 1
    holding.forget_if_idle(state, node)
    if task.state is TaskState.IN_PROGRESS:
        _place(state, job, task)


def _place(state: State, job: JobRun, task: Task) -> None:
    """Where a task in progress belongs now that it has more votes, or fewer."""
    held = holding.holders(state, task)
    if held:
        recount(state, job, task)
    elif len(votes_on(job, task.ordinal)) < task.wanted:
        _wait(state, job, task)


def _withdraw_same(state: State, job: JobRun, task: Task, node: NodeRun) -> None:
    """No node, and no owner, is to answer twice: a late answer may meet an assignment that was made since."""
    for held in holding.holders(state, task):
        other = state.nodes[held.assignment.node]
        if other is node or one_witness(state.policy, other.record, node.record):
            withdraw(state, held, "An earlier assignment has been answered after all.")


def withdraw(state: State, held: Lease, why: str) -> None:
    """End an open assignment nobody needs; nothing is held against its node."""
    gone = held.assignment
    holding.release(state, held)
    state.save(_replace(gone, state=step(ASSIGNMENT, (gone.state, AssignmentState.CANCELLED)), ended_at=state.now))
    node = state.nodes.get(gone.node)
    if node is not None:
        holding.withdraw(state, node, (gone.key,), why)


# --- what it teaches ---------------------------------------------------------------------------


def confidence(state: State, job: JobRun, task: Task, answers: Sequence[Assignment]) -> float:
    """The chance, with what is known now, that a settled task's answer is right; 0.0 if it is not among `answers`."""
    ballot = Ballot()
    for each in answers:
        ballot.votes.append(Vote(each, "", hit=False, doubt=state.standings.doubt(each.node, job.kind), trust=0.0))
    at = next((at for at, vote in enumerate(ballot.votes) if vote.assignment.attempt == task.answer), -1)
    return rightness(ballot.votes, groups_of(job, ballot), job.spec.collision)[at] if at >= 0 else 0.0


def voters(votes: Sequence[Vote]) -> bytes:
    """The numbers of the nodes that voted on a task, 8 bytes each: see `model.Task`."""
    return b"".join([vote.assignment.node.to_bytes(VOTER_BYTES, "big") for vote in votes])


# --- after a restart ---------------------------------------------------------------------------


def recall_vote(state: State, job: JobRun, answer: Assignment, node: NodeRun) -> None:
    """Take up a vote the store has kept. The first of a node's or an owner's is the one that counts."""
    record = node.record
    if has_voted(state, job, job.open[answer.ordinal], node):
        return
    node.votes += 1
    doubt = state.standings.doubt(record.number, job.kind)
    ballot = job.ballots.setdefault(answer.ordinal, Ballot())
    hit = job.spec.reduce == "first" and _is_hit(job, job.open[answer.ordinal], answer)
    ballot.votes.append(Vote(answer, record.owner, hit=hit, doubt=doubt, trust=record.trust))


def resume(state: State, job: JobRun, task: Task, settle: Settle) -> Task:
    """The task as it goes on when its votes are here. What was being compared is compared anew. More votes than were
    waited for may have come while its job had ended, and nobody decided then: one more is asked for, and decides."""
    held = holding.holders(state, task)
    there = len(votes_on(job, task.ordinal)) + len(held)
    waits = comparing(job, task.ordinal)
    if waits:
        _compare(state, job, task, job.ballots[task.ordinal], settle)
    idle = not held and not (waits and task.state is TaskState.IN_PROGRESS)
    if there + idle <= task.wanted:
        return task
    more = _replace(task, wanted=there + idle)
    job.open[task.ordinal] = more
    state.save(more)
    return more


def _is_hit(job: JobRun, task: Task, answer: Assignment) -> bool:
    """What the link said of the answer when it was reported, and the store does not keep: see `commands.Reported`."""
    result = answer.result
    if result is None or result.outcome is not Outcome.OK:
        return False
    units = task.stop - task.start if per_item(job.spec.split) else 0
    if result.blob:
        return not units or result.errors < units
    return look(REDUCERS[job.spec.reduce], result.payload, runs=units).hit


def is_vote(assignment: Assignment) -> bool:
    """Whether an assignment is an answer that counts."""
    return (
        assignment.state is AssignmentState.REPORTED
        and assignment.result is not None
        and assignment.result.outcome is not Outcome.NODE_ERROR
    )
