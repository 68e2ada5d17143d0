"""Nodes: joining, coming, going, offering, giving back."""

from __future__ import annotations

import msgspec

from crowdgrid import limits
from crowdgrid.core import canaries, holding, learning, leasing
from crowdgrid.core.commands import Connect, Decline, Disconnect, Fetch, Heartbeat, Join, Remainder, Update
from crowdgrid.core.effects import CloseLink, NodeChanged, Reply, TaskChanged
from crowdgrid.core.lifecycle import ASSIGNMENT, TASK, step
from crowdgrid.core.model import Assignment, AssignmentState, Node, NodeState, Task, TaskState
from crowdgrid.core.scheduling import offers, ready
from crowdgrid.core.state import JobRun, Lease, NodeRun, State
from crowdgrid.errors import BadInput, NotAllowed

_replace = msgspec.structs.replace


# --- coming and going --------------------------------------------------------------------------


def join(state: State, command: Join) -> None:
    """A node that was never here gets its number."""
    state.last_node += 1
    trust = min(max(command.node.trust, state.policy.trust_least), state.policy.trust_most)
    node = _replace(command.node, number=state.last_node, created_at=state.now, seen_at=state.now, trust=trust)
    state.save(node)
    if command.invitation is not None:
        state.save(command.invitation)
    state.emit(Reply(node))


def connect(state: State, command: Connect) -> None:
    """A node opened a link. What it holds goes on; a link it had before is closed."""
    record = command.node
    node = state.nodes.get(record.number)
    # What was read in the store may be older than what is known here.
    known = record.state if node is None else node.record.state
    if NodeState.LEFT in (record.state, known):
        raise NotAllowed("This node was removed from the grid.", hint="Join again with a new invitation.")
    if node is None:
        node = state.nodes[record.number] = NodeRun(record, state.now)
    elif node.session:
        state.emit(CloseLink(record.number, node.session, "The node opened a newer link."))
        _count(state, node.record, -1)
    offers.withdraw(state, node)
    seen_at = _last_seen(state, node, record)
    node.record = record = _replace(_earned(record, node.record), state=known, seen_at=state.now, linked=True)
    node.session = command.session
    node.since, node.given = state.now, 0
    node.heard_at = state.now
    learning.returned(state, node, seen_at)
    _count(state, record, 1)
    if command.news:
        for job in state.jobs.values():
            job.declined.pop(record.number, None)
    for held in node.held.values():
        held.expires_at = max(held.expires_at, state.now + holding.LEASE_MS)
        held.missed = 1  # nothing of it is under way on a new link: what the first heartbeat does not name is not there
    holding.look_again(state, node, state.now + holding.LEASE_MS)
    state.save(node.record)
    state.emit(NodeChanged(node.record, online=True))
    state.emit(Reply(node.record))


def _last_seen(state: State, node: NodeRun, record: Node) -> int:
    """When the node was last here. If a hub died with its link open, that is when that hub last wrote anything."""
    if node.session:
        return state.now
    seen_at = max(record.seen_at, node.record.seen_at)
    return max(seen_at, state.grid.now) if record.linked else seen_at


def _earned(record: Node, known: Node) -> Node:
    """`record` with what the node has earned by now: what the sender read in the store may be older, and trust moves
    by what others answer, too."""
    return _replace(record, trust=known.trust, validated=known.validated, lost=known.lost)


def cores_of(record: Node) -> int:
    """Whole cores a node brings, at least one."""
    return max(1, record.milli_cpus // 1000)


def _count(state: State, record: Node, sign: int) -> None:
    """A node's link opened (1) or closed (−1): how large the crowd is, and how fast its mean node."""
    state.cores += sign * cores_of(record)
    if record.speed > 0:
        state.speeds += sign * record.speed
        state.measured += sign


def disconnect(state: State, command: Disconnect) -> None:
    """A link closed; its leases are cut short, so that others do the work unless the node is back soon."""
    node = state.nodes.get(command.node)
    if node is None or node.session != command.session:
        return
    offers.withdraw(state, node)
    node.session = 0
    _count(state, node.record, -1)
    node.record = _replace(node.record, seen_at=state.now, linked=False)
    soon = state.now + holding.RECONNECT_MS
    for held in node.held.values():
        held.expires_at = min(held.expires_at, soon)
    if node.held:
        holding.look_again(state, node, soon)
    state.save(node.record)
    state.emit(NodeChanged(node.record, online=False))
    holding.forget_if_idle(state, node)


def update(state: State, command: Update) -> None:
    """A new record for a node. One that has left loses its link and its leases. Whose Python it runs only the node itself
    says: the sender may have read it in the store before the node changed its mind."""
    record = command.node
    node = state.nodes.get(record.number)
    if node is not None:
        record = _replace(_earned(record, node.record), linked=bool(node.session), trusts=node.record.trusts)
    state.save(record)
    state.emit(NodeChanged(record, online=bool(node and node.session)))
    state.emit(Reply(record))
    if node is None:
        return
    if node.session:
        _count(state, node.record, -1)
        _count(state, record, 1)
    offers.withdraw(state, node)
    node.record = record
    if record.state is NodeState.LEFT:
        for held in list(node.held.values()):
            leasing.end(state, held, AssignmentState.CANCELLED, "Its node was removed.", stale=False)
        if node.session:
            state.emit(CloseLink(record.number, node.session, "The node was removed from the grid."))


# --- what a node says ----------------------------------------------------------------------------


def heard(state: State, number: int) -> NodeRun | None:
    """The node, noted as alive now."""
    node = state.nodes.get(number)
    if node is not None:
        node.heard_at = state.now
    return node


def fetch(state: State, command: Fetch) -> None:
    """A standing offer, in place of the last one."""
    node = heard(state, command.node)
    if node is not None:
        offers.stand(state, node, command.slots, command.milli_cpus, command.memory_bytes)


def heartbeat(state: State, command: Heartbeat) -> None:
    """Alive, and holding these."""
    node = heard(state, command.node)
    if node is not None:
        leasing.renew(state, node, command.held)


def decline(state: State, command: Decline) -> None:
    """Given back untouched: nothing against the task, and the node is not offered the job again for a while."""
    heard(state, command.node)
    for key in command.assignments:
        held = state.leases.get(key)
        if held is None or held.assignment.node != command.node:
            canaries.drop(state, key, command.node, AssignmentState.DECLINED)
            continue
        job = state.jobs[held.assignment.job]
        leasing.turn_down(state, job, command.node, limits.DECLINED_MS, command.reason)
        leasing.end(state, held, AssignmentState.DECLINED, f"Its node declined: {command.reason}", stale=False)


def remainder(state: State, command: Remainder) -> None:
    """Split a task where its node stopped. What is done is leased to the node anew (at once, as it only has to be
    reported), what is not goes back to the queue; the task itself is settled as `split`. The part said to be done cannot be split again."""
    node = heard(state, command.node)
    held = state.leases.get(command.assignment)
    if node is None or held is None or held.assignment.node != command.node:
        return
    job = state.jobs[held.assignment.job]
    task = job.open[held.assignment.ordinal]
    if not task.start <= command.at < task.stop:
        raise BadInput("What is given back must lie inside the task.")
    leasing.turn_down(state, job, command.node, limits.FAILED_MS)  # else lease and return go round without end
    if command.at == task.start or held.finished or job.replicates:  # votes are on the whole task
        leasing.end(state, held, AssignmentState.DECLINED, "Its node gave it back.", stale=False)
        return
    _split(state, job, task, node, held, command.at)


def _split(state: State, job: JobRun, task: Task, node: NodeRun, held: Lease, at: int) -> None:
    holding.release(state, held)
    state.nodes.setdefault(node.record.number, node)  # it may be away already, but it will hold the first part
    state.save(
        _replace(
            held.assignment,
            state=step(ASSIGNMENT, (held.assignment.state, AssignmentState.DECLINED)),
            ended_at=state.now,
        )
    )
    parent = _replace(task, state=step(TASK, (task.state, TaskState.SPLIT)))
    del job.open[task.ordinal]
    job.in_progress -= 1
    job.split += 1
    state.save(parent)
    done = _child(state, job, task, task.start, at)
    rest = _child(state, job, task, at, task.stop)
    holding.enqueue(job, rest.ordinal)
    state.save(rest)
    state.emit(TaskChanged(parent, "Its node gave the rest of it back."))
    pair: tuple[Task, Assignment] = leasing.lease(state, job, done, node)
    state.leases[pair[1].key].finished = True
    leasing.send(state, node, [pair])
    ready.wake(state, job)


def _child(state: State, job: JobRun, task: Task, start: int, stop: int) -> Task:
    child = Task(
        job.number,
        job.tasks,
        start,
        stop,
        TaskState.IN_QUEUE,
        task.created_at,
        parent=task.ordinal,
        bound_to=task.bound_to,
    )
    job.tasks += 1
    job.in_queue += 1
    job.open[child.ordinal] = child
    state.touch(job)
    return child
