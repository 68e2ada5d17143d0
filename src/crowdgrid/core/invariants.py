"""What must be true of the engine after every command. Tests call it each time, a simulator now and then."""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core import holding, voting
from crowdgrid.core.engine import Engine
from crowdgrid.core.lifecycle import JOB_RUNS, TASK_OPEN
from crowdgrid.core.model import AssignmentState, JobState, TaskState
from crowdgrid.core.scheduling.eligibility import suits
from crowdgrid.core.scheduling.ready import runnable
from crowdgrid.core.state import JobRun, State


def check(engine: Engine) -> None:
    """Raises AssertionError with what is wrong."""
    state = engine.state
    for job in state.jobs.values():
        _check_job(state, job)
    _check_leases(state)
    _check_offers(state)
    _check_queue(state)
    assert not state.dirty, "a changed job was not saved"
    assert state.cores == sum(
        max(1, node.record.milli_cpus // 1000) for node in state.nodes.values() if node.session
    ), "the crowd's cores are miscounted"


def _check_job(state: State, job: JobRun) -> None:
    label = f"job {job.number}"
    asked = state.recalls.values()
    states = [task.state for task in job.open.values()]
    assert all(s in TASK_OPEN for s in states), f"{label}: an ended task is still in memory"
    assert job.in_queue == states.count(TaskState.IN_QUEUE), f"{label}: in_queue is miscounted"
    assert job.in_progress == states.count(TaskState.IN_PROGRESS), f"{label}: in_progress is miscounted"
    assert job.in_queue + job.in_progress == len(states), f"{label}: a task rests between two states"
    if job.state in JOB_RUNS:
        ended = job.validated + job.abandoned + job.split
        unsettled = job.retrying  # while pages come in, some open tasks have not been taken up again
        assert unsettled or len(states) + ended == job.tasks, f"{label}: a task is lost"
        open_units = sum(task.stop - task.start for task in job.open.values())
        assert unsettled or open_units + job.units_done == job.units_cut, f"{label}: units are lost"
        finished = job.sealed and job.units_cut == job.units and not states and not unsettled
        looked_at = job.number in state.whole or any(
            question.query == "alone" and question.key[0] == job.number for _, question, _ in asked
        )
        assert not finished or job.state is JobState.OPEN or looked_at, (
            f"{label}: everything is done and it is not complete"
        )
    assert 0 <= job.units_done <= job.units_cut <= job.units, f"{label}: units out of order"
    queued = set(job.queue)
    _check_votes(state, job, queued)
    for ordinal, task in job.open.items():
        assert task.ordinal == ordinal and task.start < task.stop <= job.units, f"{label}: bad bounds"
        assert task.state is not TaskState.IN_QUEUE or ordinal in queued, f"{label}: task {ordinal} waits in no queue"
        if task.state is TaskState.IN_PROGRESS:
            held = any((job.number, ordinal, attempt) in state.leases for attempt in range(task.attempts))
            assert held or voting.comparing(job, ordinal), f"{label}: nobody works on task {ordinal}"


def _check_votes(state: State, job: JobRun, queued: set[int]) -> None:
    label, once = f"job {job.number}", state.policy.owners_vote_once
    assert job.replicates or not (job.ballots or job.short), f"{label}: votes where nobody votes"
    assert job.ballots.keys() <= job.open.keys(), f"{label}: votes on a task that is not open"
    assert job.short <= queued, f"{label}: a task wants a node and waits in no queue"
    if not job.replicates:
        return
    for ordinal, task in job.open.items():
        votes, held = voting.votes_on(job, ordinal), holding.holders(state, task)
        nodes = [vote.assignment.node for vote in votes] + [lease.assignment.node for lease in held]
        owners = [vote.owner for vote in votes] + [state.nodes[number].record.owner for number in nodes[len(votes) :]]
        assert len(set(nodes)) == len(nodes), f"{label}: a node works twice on task {ordinal}"
        assert not once or len(set(owners)) == len(owners), f"{label}: an owner works twice on task {ordinal}"
        lacks = task.wanted - len(nodes)
        assert lacks >= -(task.wanted == 1), f"{label}: more nodes than wanted work on task {ordinal}"
        if task.state is TaskState.IN_QUEUE:
            waits = lacks or voting.comparing(job, ordinal)
            assert not held and waits, f"{label}: task {ordinal} waits for nothing"
        else:
            assert (ordinal in job.short) == (lacks > 0), f"{label}: nobody knows what task {ordinal} wants"


def _check_leases(state: State) -> None:
    for key, lease in state.leases.items():
        assignment = lease.assignment
        assert assignment.key == key and assignment.state is AssignmentState.LEASED, f"{key}: a bad lease"
        job = state.jobs.get(assignment.job)
        assert job is not None and assignment.ordinal in job.open, f"{key}: leased, but its task is not open"
        node = state.nodes.get(assignment.node)
        assert node is not None and node.held.get(key) is lease, f"{key}: its node does not hold it"
        assert node.check_at and node.check_at <= max(state.now, min(lease.expires_at, lease.deadline_at)), (
            f"{key}: nobody will see it run out"
        )
    under_way: dict[str, int] = {}
    for lease in state.leases.values():
        job = state.jobs[lease.assignment.job]
        under_way[job.owner] = under_way.get(job.owner, 0) + job.spec.target_ms
    for owner, usage in state.usage.items():
        assert usage.under_way == under_way.get(owner, 0), f"{owner}: what is under way is miscounted"
    voted: dict[int, int] = {}
    for job in state.jobs.values():
        for ballot in job.ballots.values():
            for vote in ballot.votes:
                voted[vote.assignment.node] = voted.get(vote.assignment.node, 0) + 1
    assert voted == {number: node.votes for number, node in state.nodes.items() if node.votes}, "votes are miscounted"
    held = sum(len(node.held) for node in state.nodes.values())
    assert held == len(state.leases), "a node holds what is not leased"


def _check_offers(state: State) -> None:
    for needs, pool in state.pools.items():
        assert pool.offers == sorted(pool.offers), f"{needs}: the offers are out of order"
        fitting = [node.key for node in state.offering.values() if suits(needs, node)]
        assert pool.offers == sorted(key for key in fitting if key), f"{needs}: an offer is lost"
        assert pool.jobs == sum(job.pool is pool for job in state.jobs.values()), f"{needs}: jobs are miscounted"
    assert sum(pool.jobs for pool in state.pools.values()) == len(state.jobs), "a job without a pool"
    for number, node in state.nodes.items():
        assert (node.key is not None) == (number in state.offering), f"node {number}: its offer is lost"
        assert (node.key is not None) == (node.slots > 0), f"node {number}: an offer of nothing"
        assert not node.slots or node.session, f"node {number}: an offer without a link"


def _check_queue(state: State) -> None:
    for job in state.jobs.values():
        noted = job.lane is not None or job.number in state.woken
        assert noted or not runnable(job), f"job {job.number}: it has work, and no plan will look at it"
        if job.lane is not None:
            line = job.lane.lines.get(job.owner)
            assert line and (job.rank in line.active or job.number in line.backlog), f"job {job.number}: out of line"
        waits = job.state is JobState.OPEN and job.orphan_at
        assert not waits or 0 < job.alarm_at <= max(job.orphan_at, state.now), f"job {job.number}: an orphan unseen"
    for priority, lanes in state.levels.items():
        for needs, lane in lanes.items():
            for owner, line in lane.lines.items():
                assert line.active == sorted(line.active) and line.active, f"{needs}: a line is out of order"
                assert len(line.active) <= limits.ACTIVE_QUEUE, f"{owner}: too many jobs are ranked"
                for rank in line.active:
                    job = state.jobs[rank[1]]
                    assert job.rank == rank and job.lane is lane, f"job {job.number}: it is elsewhere"
                    assert (job.owner, job.priority) == (owner, priority), f"job {job.number}: it is misplaced"
            owners = {entry[3] for entry in lane.shares}
            assert owners >= set(lane.lines), f"{needs}: an owner is passed over"
    counted: dict[str, int] = {}
    for job in state.jobs.values():
        counted[job.owner] = counted.get(job.owner, 0) + 1
    assert state.owned == counted, "owners' jobs are miscounted"
