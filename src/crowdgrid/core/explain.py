"""`why`: every wait and every end, explained from what the engine knows now."""

from __future__ import annotations

from typing import TypeAlias

from crowdgrid import limits
from crowdgrid.core import unsandboxed, voting
from crowdgrid.core.commands import Why
from crowdgrid.core.effects import Explanation, Live, LiveNode, Reason, Reply
from crowdgrid.core.model import JobState, NodeState, Task, TaskState
from crowdgrid.core.scheduling.eligibility import objections
from crowdgrid.core.scheduling.ranking import Ranking
from crowdgrid.core.scheduling.ready import head_of, runnable
from crowdgrid.core.state import JobRun, NodeRun, State
from crowdgrid.errors import NotFound

_NODES_SHOWN = 1_000
_KINDS_SHOWN = 20
_Matched: TypeAlias = tuple[int, ...]
_Rejected: TypeAlias = tuple[tuple[int, tuple[str, ...]], ...]


def explain(state: State, command: Why, rule: Ranking) -> None:
    """Answer a `Why`."""
    if command.node:
        state.emit(Reply(_node(state, command.node)))
        return
    job = state.jobs.get(command.job)
    if job is None:
        raise NotFound("It has ended, so nothing keeps it.", hint="Its record tells how it ended.")
    if command.ordinal >= 0:
        state.emit(Reply(_task(state, job, command.ordinal, rule)))
    else:
        state.emit(Reply(_lacking_voters(state, job, _job(state, job, rule))))


def _job(state: State, job: JobRun, rule: Ranking) -> Explanation:
    matched, rejected = _match(state, job)
    reasons = [Reason(f"{job.in_queue:,} tasks wait, {job.in_progress:,} run, {job.validated:,} are settled.")]
    if job.units_cut < job.units:
        reasons.append(Reason(f"{job.units - job.units_cut:,} of {job.units:,} units are not in a task yet."))
    failing = next((ordinal for ordinal, ballot in job.ballots.items() if ballot.problem), None)
    if failing is not None:
        reasons += _comparator_problem(job, failing)
    if job.retrying:
        reasons.append(Reason("What failed is being opened again."))
    if job.paused:
        reasons.append(Reason("It is paused; `crowdgrid jobs resume` lets it go on.", blocks=True))
    if job.state is JobState.VALIDATING:
        reasons.append(Reason("Its program is still being looked at.", blocks=True))
    if job.state is JobState.OPEN:
        reasons.append(Reason("Its input is not sealed: more may be appended."))
    if runnable(job):
        reasons += _queue_reasons(state, job, rule)
        if not matched:
            reasons.append(Reason("No connected node may run it.", blocks=True))
        elif not any(state.nodes[number].slots for number in matched):
            reasons.append(Reason("Every node that may run it is busy.", blocks=True))
    blocking = [reason.text for reason in reasons if reason.blocks]
    summary = " ".join(blocking) or (f"It is {job.state.value}." if not job.in_progress else "It is being worked on.")
    return Explanation("job", summary, tuple(reasons), tuple(matched), tuple(rejected))


def _queue_reasons(state: State, job: JobRun, rule: Ranking) -> list[Reason]:
    reasons = [Reason(f"Its urgency by the hub's rule is {rule.urgency(head_of(job, state.now)):.2f}.")]
    mine = (job.priority, rule.urgency(head_of(job, state.now)), -job.number)
    ahead = sum(
        runnable(other) and (other.priority, rule.urgency(head_of(other, state.now)), -other.number) > mine
        for other in state.jobs.values()
    )
    if ahead:
        what = "1 job that waits is" if ahead == 1 else f"{ahead:,} jobs that wait are"
        reasons.append(Reason(f"{what} more urgent; between owners the one who used least goes first."))
    return reasons


def _match(state: State, job: JobRun) -> tuple[list[int], list[tuple[int, tuple[str, ...]]]]:
    matched: list[int] = []
    rejected: list[tuple[int, tuple[str, ...]]] = []
    for number, node in list(state.nodes.items())[:_NODES_SHOWN]:
        found = objections(job, node, state.now)
        if found:
            rejected.append((number, tuple(found)))
        else:
            matched.append(number)
    return matched, rejected


def _task(state: State, job: JobRun, ordinal: int, rule: Ranking) -> Explanation:
    task = job.open.get(ordinal)
    if task is None:
        raise NotFound("This task has ended, so nothing keeps it.", hint="Its record tells how it ended.")
    reasons = [Reason(f"It covers units {task.start:,} to {task.stop - 1:,}.")]
    if task.stale:
        reasons.append(Reason(f"It lost its lease {task.stale} times; at {job.spec.stale_ceiling} it is given up."))
    holders = [
        lease.assignment
        for attempt in range(task.attempts)
        if (lease := state.leases.get((task.job, ordinal, attempt))) is not None
    ]
    for held in holders:
        age = (state.now - held.leased_at) / 1000
        reasons.append(Reason(f"Attempt {held.attempt + 1} has been with its node for {age:.1f} s."))
    if job.replicates:
        reasons += _votes(job, task)
    if task.state is TaskState.IN_PROGRESS and ordinal not in job.short:
        summary = "Its answers are being compared." if voting.comparing(job, ordinal) else "It is being worked on."
        return Explanation("task", summary, tuple(reasons), tuple(a.node for a in holders))
    whole = _job(state, job, rule)
    matched, rejected = _voters(state, job, task, whole) if job.replicates else (whole.matched, whole.rejected)
    summary = whole.summary
    if whole.matched and not matched:
        summary = "No connected node may vote on it."
        reasons.append(
            Reason(
                "Every node that may run the job has answered it or is at work on it, or another of its owner.",
                blocks=True,
            )
        )
    return Explanation("task", summary, (*reasons, *whole.reasons), matched, rejected)


def _votes(job: JobRun, task: Task) -> list[Reason]:
    votes = voting.votes_on(job, task.ordinal)
    found = [Reason(f"{len(votes)} of {task.wanted} nodes it wants have answered.")]
    found += _comparator_problem(job, task.ordinal)
    if len(votes) > 1 and not voting.comparing(job, task.ordinal):
        groups = voting.groups_of(job, job.ballots[task.ordinal])
        if len(groups) > 1:
            sizes = ", ".join(str(len(group)) for group in sorted(groups, key=len, reverse=True))
            found.append(Reason(f"They gave {len(groups)} different answers ({sizes})."))
    return found


def _comparator_problem(job: JobRun, ordinal: int) -> list[Reason]:
    ballot = job.ballots.get(ordinal)
    if ballot is None or not ballot.problem:
        return []
    return [
        Reason(f"The job's comparator could not tell answers apart, which are taken for different: {ballot.problem}")
    ]


def _voters(state: State, job: JobRun, task: Task, whole: Explanation) -> tuple[_Matched, _Rejected]:
    """Who of those that may run the job may also vote on the task."""
    matched: list[int] = []
    rejected = list(whole.rejected)
    for number in whole.matched:
        why = voting.objection(state, job, task, state.nodes[number])
        if why:
            rejected.append((number, (why,)))
        else:
            matched.append(number)
    return tuple(matched), tuple(rejected)


def _lacking_voters(state: State, job: JobRun, whole: Explanation) -> Explanation:
    """Where nodes vote: whether what waits of a job wants more owners than there are. The first tasks stand for all."""
    waiting = [task for task in job.open.values() if task.state is TaskState.IN_QUEUE or task.ordinal in job.short]
    some = waiting[: limits.VOTERS_TRIED]
    if not job.replicates or not some or not whole.matched or job.units_cut < job.units:
        return whole
    if any(_voters(state, job, task, whole)[0] for task in some):
        return whole
    wanted = max(task.wanted for task in some)
    why = f"It waits for nodes of more owners: its tasks want {wanted}, and who may run it has answered or is at work."
    rejected = _voters(state, job, some[0], whole)[1]
    return Explanation("job", why, (*whole.reasons, Reason(why, blocks=True)), (), rejected)


def _node(state: State, number: int) -> Explanation:
    node = state.nodes.get(number)
    if node is None:
        return Explanation("node", "It is not connected and holds nothing.", (Reason("It is offline.", blocks=True),))
    reasons = [Reason(f"It holds {len(node.held):,} assignments and offers {node.slots:,} more slots.")]
    if not node.session:
        reasons.append(Reason("Its link is closed; its leases run out soon.", blocks=True))
    elif node.record.state is not NodeState.ACTIVE:
        reasons.append(Reason(f"It is {node.record.state.value} and is given nothing new.", blocks=True))
    elif not node.slots:
        reasons.append(Reason("It asks for nothing: it is busy, or its owner's limits hold it back.", blocks=True))
    reasons.append(Reason(unsandboxed.described(node.record.trusts)))
    reasons += _standing(state, node)
    reasons += _jobs_for(state, node)
    blocking = [reason.text for reason in reasons if reason.blocks]
    return Explanation("node", " ".join(blocking) or "It is at work or ready to be.", tuple(reasons))


def _standing(state: State, node: NodeRun) -> list[Reason]:
    """What its answers have shown, as others judged them."""
    found = [Reason(f"Its trust index is {node.record.trust:.1f}.")]
    for standing, doubt in state.standings.of(node.record.number)[:_KINDS_SHOWN]:
        found.append(
            Reason(
                f"Of its answers of kind {standing.kind} {standing.judged:,} were compared with others, of which "
                f"{standing.wrong:,.1f} are believed to be wrong; the next is wrong with a chance of {doubt:.2g}."
            )
        )
    return found


def _jobs_for(state: State, node: NodeRun) -> list[Reason]:
    ready = [job for job in state.jobs.values() if runnable(job)]
    if not ready:
        return [Reason("No job waits for a node.")]
    found = []
    for job in ready[:20]:
        no = objections(job, node, state.now)
        own = job.owner == node.record.owner  # a node's owner is told no names of other people's jobs
        called = f"Job {job.base.name}" if job.base.name and own else "A job" if own else "Somebody else's job"
        found.append(Reason(f"{called}: {' '.join(no) or 'it may run it.'}"))
    return found


def live(state: State) -> Live:
    """What is alive and not in the store."""
    nodes = tuple(LiveNode(n, bool(run.session), len(run.held), run.slots) for n, run in state.nodes.items())
    open_tasks = sum(len(job.open) for job in state.jobs.values())
    return Live(nodes, len(state.jobs), open_tasks, len(state.leases))
