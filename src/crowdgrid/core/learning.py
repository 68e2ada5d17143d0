"""What is learned about nodes: from votes on settled tasks, from what they contradict, and from their absence.

Two numbers are kept of a node. What is believed of its answers, by kind (`trust.standings`), decides. The trust index, 1
to 10, is for people, for jobs that ask for a least one, and for `trust_weighted`: it moves by steps, or follows from what
is believed (`Policy.trust_from`). Each of its moves is kept.
"""

from __future__ import annotations

from math import log10

import msgspec

from crowdgrid import limits
from crowdgrid.core import voting
from crowdgrid.core.model import Assignment, AssignmentKey, TrustMove
from crowdgrid.core.scheduling import offers
from crowdgrid.core.state import JobRun, NodeRun, State
from crowdgrid.core.trust.votes import rightness

_replace = msgspec.structs.replace
_DAY_MS = 86_400_000


def judge(state: State, job: JobRun, answer: Assignment) -> None:
    """The task is settled by `answer`: what its votes say about those who gave them."""
    votes = voting.votes_on(job, answer.ordinal)
    if len(votes) < 2:
        return
    groups = voting.groups_of(job, job.ballots[answer.ordinal])
    right = rightness(votes, groups, job.spec.collision)
    won = next(group for group in groups if any(votes[at].assignment is answer for at in group))
    for at, (vote, chance) in enumerate(zip(votes, right, strict=True)):
        standing = state.standings.learn(vote.assignment.node, job.kind, chance, state.now)
        if chance > 0.5:
            state.standings.prove(job.kind, vote.assignment)
        state.save(standing)
        state.moved.append((standing, vote.doubt))
        _step_trust(state, state.nodes[vote.assignment.node], vote.assignment.key, agrees=at in won)


def canary(state: State, kind: str, answer: Assignment, *, right: float) -> None:
    """A node answered a task whose answer was known; `right`: the chance that its own is right."""
    number = answer.node
    before = state.standings.doubt(number, kind)
    standing = state.standings.learn(number, kind, right, state.now)
    if right > 0.5:
        state.standings.prove(kind, answer)
    state.save(standing)
    state.moved.append((standing, before))
    node = state.nodes.get(number)
    if node is not None:
        _step_trust(state, node, answer.key, agrees=right > 0.5)


def contradicted(state: State, number: int, key: AssignmentKey) -> None:
    """A node gave a second, different answer to an assignment. The first one goes on counting, but whichever of them is
    right, the node said something that is not: that costs as much as an answer that is outvoted."""
    node = state.nodes.get(number)
    if node is not None:
        _step_trust(state, node, key, agrees=False)


def returned(state: State, node: NodeRun, seen_at: int) -> None:
    """A node is here again that was last seen at `seen_at`: the longer it was away, the less is it known. Half of what
    it has shown, and of its trust index, is left after `Policy.absence_days`."""
    away = state.now - seen_at
    if away < limits.ABSENCE_MS_LEAST or not state.policy.absence_days:
        return
    left = 0.5 ** (away / (state.policy.absence_days * _DAY_MS))
    for standing in state.standings.fade(node.record.number, left, state.now):
        state.save(standing)
    least = state.policy.trust_least
    if node.record.trust > least:
        _set_trust(state, node, least + (node.record.trust - least) * left, (0, 0, 0))


def index_of(doubt: float) -> float:
    """The trust index of a node whose next answer is wrong with the chance `doubt`: 1 for one in ten and more, 4 for one
    in a hundred, 7 for one in a thousand, 10 for one in ten thousand and less."""
    return min(max(1.0, -3.0 * log10(doubt) - 2.0), 10.0)


def _step_trust(state: State, node: NodeRun, key: AssignmentKey, *, agrees: bool) -> None:
    policy = state.policy
    if policy.trust_from == "posterior":
        doubt = max((doubt for _, doubt in state.standings.of(node.record.number)), default=policy.stranger_doubt)
        _set_trust(state, node, index_of(doubt), key)
    else:
        _set_trust(state, node, node.record.trust + (policy.trust_up if agrees else -policy.trust_down), key)


def _set_trust(state: State, node: NodeRun, trust: float, key: AssignmentKey) -> None:
    policy = state.policy
    before, after = node.record.trust, round(min(max(trust, policy.trust_least), policy.trust_most), 6)
    if after == before:
        return
    slots, cpus, memory = node.slots, node.milli_cpus, node.memory_bytes
    if slots:
        offers.withdraw(state, node)  # the trust index is part of its place
    node.record = _replace(node.record, trust=after)
    state.save(node.record)
    state.save(TrustMove(node.record.number, state.now, key[0], key[1], before, after))
    if slots:
        offers.stand(state, node, slots, cpus, memory)
