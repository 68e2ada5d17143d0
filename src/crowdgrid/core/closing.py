"""The last look at a job's answers before it is complete: what nodes answered alone since they were last compared.

Audits are drawn by chance, so the last answers of a node were often compared with nobody's. Whoever begins to lie near the
end of a job (a sleeper) would get away with them. So the last `Policy.closing_audits` answers that each node gave alone
after the last one that others agreed with are given to one more node each. Those who answered them keep their votes; if
they prove wrong, all their answers are looked at again (see `doubting`), and then this look is taken once more.

Nothing of it is kept: after a restart a job that is about to be complete is looked at again, and what was under way then
goes on as tasks that want one more vote.
"""

from __future__ import annotations

from functools import partial

from crowdgrid.core import asking, jobs, voting
from crowdgrid.core.commands import Recalled
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import Assignment, Node
from crowdgrid.core.scheduling.eligibility import is_kind_for
from crowdgrid.core.settling import reopen
from crowdgrid.core.state import JobRun, State
from crowdgrid.core.trust.standings import audited

_WHY = "It is given to one more node before the job is complete: the one that answered it was not compared since."


def look(state: State) -> None:
    """Look at the jobs that would be complete now. After a restart their nodes are given the time to come back."""
    for job in list(state.whole.values()):
        if job.nodes_back_at <= state.now:
            del state.whole[job.number]
            if job.state in JOB_RUNS and not job.open:
                _ask(state, job, ())


def _ask(state: State, job: JobRun, cursor: tuple[int, ...]) -> None:
    then = partial(_page, number=job.number, reopened=job.reopened, cursor=cursor)
    asking.ask(state, "alone", (job.number, state.policy.closing_audits), then, cursor)


def _page(state: State, rows: Recalled, *, number: int, reopened: int, cursor: tuple[int, ...]) -> None:
    job = state.jobs.get(number)
    if job is None or job.state not in JOB_RUNS:
        return
    if job.reopened != reopened:  # by somebody else: it is looked at anew when that is settled
        jobs.maybe_complete(state, job)
        return
    nodes = {node.number: node for node in rows.nodes}
    given: dict[int, list[tuple[Assignment, Node]]] = {}
    for answer in rows.assignments:
        if answer.node in nodes and voting.is_vote(answer):
            given.setdefault(answer.ordinal, []).append((answer, nodes[answer.node]))
    share = _share(state, job)
    for task in rows.tasks:
        votes = [vote for vote in given.get(task.ordinal, ()) if vote[0].attempt >= task.since]
        mine = next((vote for vote in votes if vote[0].attempt == task.answer), None)
        if not audited(state.grid.id_key, number, task.ordinal, share, b"closing"):
            continue
        if mine is None or state.standings.is_proved(job.kind, mine[0]):
            continue
        if _somebody(state, job, mine[1]):
            reopen(state, job, task, _WHY, votes=votes, audit=True)
    if rows.cursor:
        _ask(state, job, rows.cursor)
    elif not job.open:
        job.looked_over = True
        jobs.maybe_complete(state, job)


def _share(state: State, job: JobRun) -> float:
    """Of the last answers, how many are looked at: all of them if they are few beside the job."""
    most = state.policy.closing_audits * max(len(job.rates), 1)
    return min(1.0, state.policy.closing_share * job.validated / most)


def _somebody(state: State, job: JobRun, author: Node) -> bool:
    """Whether there is anybody who could answer it, too: a job is not to wait for who may never come."""
    assert job.pool is not None
    for other in state.nodes.values():
        if not other.session or other.record.number == author.number:
            continue
        if voting.one_witness(state.policy, other.record, author):
            continue
        if is_kind_for(job.pool.needs, other.record):
            return True
    return False
