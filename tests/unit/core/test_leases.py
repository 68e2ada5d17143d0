"""Leases: renewed, run out, cut short, put off, sent again."""

from __future__ import annotations

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import AssignmentState, Items, JobState, NodeState, Outcome, Range, TaskState
from crowdgrid.errors import BadInput, NotAllowed
from tests.unit.core.rig import LEASE_MS, RECONNECT_MS, Rig, of, reported


def _leased(slots: int = 1, **spec: object) -> tuple[Rig, int, int, list[tuple[int, int, int]]]:
    """A rig, a job, the one node, and what it holds."""
    rig = Rig()
    job = rig.submit(**spec)  # type: ignore[arg-type]
    node = rig.node(slots)
    return rig, job, node, rig.plan()


def test_a_heartbeat_that_names_an_assignment_renews_it() -> None:
    """Protects long tasks: a node that says it is at work keeps its work."""
    rig, job, node, keys = _leased(timeout_ms=600_000)
    rig.wait(3 * LEASE_MS, beat=(node, tuple(keys)))
    assert list(rig.engine.state.leases) == keys
    assert rig.task(job, 0).stale == 0


def test_a_lease_that_is_not_renewed_runs_out_and_counts_against_the_task() -> None:
    rig, job, _, keys = _leased()
    rig.wait(LEASE_MS - 1_000)
    assert list(rig.engine.state.leases) == keys
    rig.wait(1_000)
    task = rig.task(job, 0)
    assert (task.state, task.stale) == (TaskState.IN_QUEUE, 1)
    assert rig.assignments(job, 0)[0].state is AssignmentState.EXPIRED


def test_a_lease_runs_out_only_when_nothing_waits_to_be_handled() -> None:
    """Protects nodes whose heartbeat lies unread in the hub's own queue."""
    rig, _, _, keys = _leased()
    rig.wait(2 * LEASE_MS, idle=False)
    assert list(rig.engine.state.leases) == keys
    rig.do(c.Tick(True))
    assert not rig.engine.state.leases


def test_two_leases_of_one_job_may_run_out_together_when_the_first_ends_the_job() -> None:
    """Protects the hub: a node that vanishes with several tasks at their ceiling must not break the engine."""
    rig, job, _, keys = _leased(3, stale_ceiling=1)
    assert len(keys) == 3
    rig.wait(LEASE_MS)
    assert rig.job(job).state is JobState.FAILED
    assert not rig.engine.state.leases


def test_a_closed_link_cuts_leases_short() -> None:
    """Protects the others' time: work of a node that left goes elsewhere after RECONNECT_SECONDS."""
    rig, job, node, keys = _leased()
    rig.disconnect(node)
    rig.wait(RECONNECT_MS - 1)
    assert list(rig.engine.state.leases) == keys
    rig.wait(1)
    assert rig.task(job, 0).state is TaskState.IN_QUEUE
    assert node not in rig.engine.state.nodes


def test_a_node_that_is_back_in_time_keeps_its_leases() -> None:
    rig, _, node, keys = _leased()
    rig.disconnect(node)
    rig.wait(RECONNECT_MS - 1_000)
    rig.connect(node)
    rig.wait(LEASE_MS - 1_000)
    assert list(rig.engine.state.leases) == keys
    assert rig.report(node, *keys) == ["counted"]


def test_a_disconnect_of_an_earlier_link_changes_nothing() -> None:
    """Protects a node that reconnected before the hub saw its old link close."""
    rig, _, node, keys = _leased()
    first = rig.engine.state.nodes[node].session
    closed = of(e.CloseLink, rig.connect(node))
    assert [link.session for link in closed] == [first]
    rig.do(c.Disconnect(node, first))
    rig.wait(RECONNECT_MS + 1_000)
    assert list(rig.engine.state.leases) == keys


def test_a_deadline_is_never_renewed() -> None:
    """Protects jobs from a node that says for ever that it is nearly done."""
    rig, job, node, keys = _leased(timeout_ms=1_000)
    deadline_ms = 1_000 * limits.DEADLINE_FACTOR + limits.DEADLINE_SLACK_MS
    rig.wait(deadline_ms - 1_000, beat=(node, tuple(keys)))
    assert list(rig.engine.state.leases) == keys
    effects = rig.wait(1_000, beat=(node, tuple(keys)))
    assert [withdraw.assignments for withdraw in of(e.Withdraw, effects)] == [tuple(keys)]
    assert rig.task(job, 0).stale == 1


def test_a_deadline_allows_for_every_run_of_a_task() -> None:
    """Protects tasks of many items: each item is a run with a time-out of its own."""
    rig = Rig()
    job = rig.submit(Items(piece=5), timeout_ms=1_000)
    rig.append(job, 0, 5)
    rig.node(1)
    (_, assignment), *_ = rig.leases()
    assert assignment.deadline_ms == 5 * 1_000 * limits.DEADLINE_FACTOR + limits.DEADLINE_SLACK_MS


def test_a_machine_that_slept_puts_off_every_timer() -> None:
    """Protects the crowd from the hub's own sleep: nobody was silent, nobody listened."""
    rig, _, node, keys = _leased(timeout_ms=1_000)
    rig.do(c.Tick(True))
    rig.sleep(8 * 3_600_000)
    assert list(rig.engine.state.leases) == keys
    rig.wait(LEASE_MS - 2_000, beat=(node, tuple(keys)))
    assert list(rig.engine.state.leases) == keys


def test_a_clock_that_steps_back_ends_nothing_and_goes_on() -> None:
    rig, _, node, keys = _leased(timeout_ms=600_000)
    before = rig.engine.state.now
    rig.now -= 3_600_000
    rig.do(c.Tick(True))
    assert rig.engine.state.now == before
    rig.now = before
    rig.wait(LEASE_MS - 1_000, beat=(node, tuple(keys)))
    assert list(rig.engine.state.leases) == keys


def test_what_two_heartbeats_in_a_row_did_not_name_is_sent_again() -> None:
    """Protects tasks whose message was lost with a link."""
    rig, _, node, keys = _leased(2)
    assert not of(e.Assign, rig.do(c.Heartbeat(node, (keys[0],))))
    sent = of(e.Assign, rig.do(c.Heartbeat(node, (keys[0],))))
    assert [assignment.key for effect in sent for _, assignment in effect.leases] == [keys[1]]
    assert sent[0].again
    assert not of(e.Assign, rig.do(c.Heartbeat(node, tuple(keys))))


def test_what_is_sent_again_comes_in_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAME_TASKS", 2)
    rig, _, node, _ = _leased(5)
    keys = sorted(rig.engine.state.leases)
    assert len(keys) == 5
    rig.do(c.Heartbeat(node))
    sent = of(e.Assign, rig.do(c.Heartbeat(node)))
    assert [len(effect.leases) for effect in sent] == [2, 2, 1]
    assert sorted(assignment.key for effect in sent for _, assignment in effect.leases) == keys


def test_a_result_the_store_is_asked_about_is_not_dropped() -> None:
    """Protects a late result: its node names it until it has a verdict."""
    rig, _, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    rig.engine.handle(c.Report(node, (reported(key),)), rig.now)
    assert not of(e.Withdraw, rig.do(c.Heartbeat(node, (key,))))


def test_a_heartbeat_that_names_what_is_not_held_is_told_to_drop_it() -> None:
    """Protects nodes from working for nobody: cancellation is state, repeated until it is heard."""
    rig, job, node, keys = _leased()
    rig.do(c.Cancel(job))
    strange = (keys[0], (77, 0, 0))
    (withdraw,) = of(e.Withdraw, rig.do(c.Heartbeat(node, strange)))
    assert withdraw.assignments == strange
    assert withdraw.reason


def test_a_node_nothing_is_heard_of_loses_its_link() -> None:
    rig = Rig()
    node = rig.node()
    assert not of(e.CloseLink, rig.wait(LEASE_MS - 1_000))
    (closed,) = of(e.CloseLink, rig.wait(1_000))
    assert closed.node == node


def test_a_node_that_beats_keeps_its_link_although_it_holds_nothing() -> None:
    rig = Rig()
    node = rig.node()
    assert not of(e.CloseLink, rig.wait(5 * LEASE_MS, beat=(node, ())))


# --- given up ------------------------------------------------------------------------------------


def _lose(rig: Rig, node: int, times: int) -> None:
    for _ in range(times):
        rig.fetch(node, 1)
        assert rig.plan()
        rig.disconnect(node)
        rig.wait(RECONNECT_MS)
        rig.connect(node)


def test_a_task_that_loses_its_lease_again_and_again_is_abandoned_and_its_job_fails() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 1, 1), stale_ceiling=3)
    _lose(rig, rig.node(), 3)
    assert rig.task(job, 0).state is TaskState.ABANDONED
    ended = rig.job(job)
    assert ended.state is JobState.FAILED
    assert "lost its lease 3 times" in ended.reason


def test_a_job_may_go_on_without_abandoned_tasks() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 3, 1), stale_ceiling=2, allow_abandoned=True)
    node = rig.node()
    _lose(rig, node, 2)
    rig.finish(job, node)
    ended = rig.job(job)
    assert ended.state is JobState.FINAL
    assert (ended.counts.abandoned, ended.counts.validated, ended.counts.units_done) == (1, 2, 3)


def test_a_node_that_loses_leases_has_them_counted() -> None:
    rig, _, node, keys = _leased(3)
    rig.wait(LEASE_MS)
    assert rig.record(node).lost == len(keys) == 3
    assert rig.job(keys[0][0]).counts.lost == 3


# --- given back ------------------------------------------------------------------------------------


def test_a_declined_task_goes_back_at_no_cost_and_the_node_is_left_alone_for_a_while() -> None:
    """Protects against a lease flying back and forth between the hub and a node that will not have it."""
    rig, job, node, keys = _leased()
    rig.do(c.Decline(node, tuple(keys), "Its owner is at the machine."))
    task = rig.task(job, 0)
    assert (task.state, task.stale) == (TaskState.IN_QUEUE, 0)
    rig.fetch(node, 1)
    assert rig.plan() == []
    rig.now += limits.DECLINED_MS - 1
    assert rig.plan() == []
    rig.now += 1
    assert rig.plan() == [(job, 0, 1)]  # without another word from the node


def test_declining_somebody_elses_lease_changes_nothing() -> None:
    rig, _, _, keys = _leased()
    other = rig.node()
    rig.do(c.Decline(other, tuple(keys)))
    assert list(rig.engine.state.leases) == keys


def test_after_a_node_error_another_node_goes_first_and_then_the_same_again() -> None:
    """Protects jobs on a grid of one: its only node must be asked again, and not only when it speaks."""
    rig, job, node, keys = _leased()
    rig.report(node, *keys, outcome=Outcome.NODE_ERROR)
    assert rig.task(job, 0).stale == 1
    rig.fetch(node, 1)
    assert rig.plan() == []
    other = rig.node(1)
    assert rig.leases()[0][0] == other
    rig.now += limits.FAILED_MS
    assert rig.leases()[0][0] == node


def test_a_node_error_does_not_shorten_a_refusal() -> None:
    rig, _, node, keys = _leased(2)
    rig.do(c.Decline(node, tuple(keys[:1])))
    rig.report(node, keys[1], outcome=Outcome.NODE_ERROR)
    rig.fetch(node, 1)
    rig.now += limits.DECLINED_MS - 1
    assert rig.plan() == []
    rig.now += 1
    assert len(rig.plan()) == 1


def test_the_parts_of_a_task_bound_to_a_node_are_bound_to_it_too() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    run = rig.run(job)
    run.open[0] = msgspec.structs.replace(run.open[0], bound_to=node)
    rig.do(c.Remainder(node, key, 4))
    assert [task.bound_to for task in rig.tasks_of(job)] == [node] * 3


def test_a_remainder_splits_a_task_where_its_node_stopped() -> None:
    """Protects work done: children cover the parent, the finished part stays with its node, the rest goes on."""
    rig = Rig()
    job = rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    effects = rig.do(c.Remainder(node, key, 4))
    (sent,) = of(e.Assign, effects)
    (task, assignment), *_ = sent.leases
    assert (task.start, task.stop, task.parent) == (0, 4, 0)
    parent, done, rest = rig.tasks_of(job)
    assert (parent.state, parent.start, parent.stop) == (TaskState.SPLIT, 0, 10)
    assert (done.start, done.stop, rest.start, rest.stop) == (0, 4, 4, 10)
    assert (rest.state, rest.parent) == (TaskState.IN_QUEUE, 0)
    assert rig.report(node, key) == ["late_unneeded"]
    assert rig.report(node, assignment.key) == ["counted"]
    rig.wait(limits.FAILED_MS)
    rig.finish(job, node)
    ended = rig.job(job)
    assert (ended.state, ended.counts.split, ended.counts.validated) == (JobState.FINAL, 1, 2)
    assert ended.counts.units_done == 10


def test_a_remainder_of_a_node_whose_link_closed_meanwhile_is_taken() -> None:
    """Protects drain: the last words of a node may be handled after its link was seen to close."""
    rig = Rig()
    rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    rig.disconnect(node)
    rig.do(c.Remainder(node, key, 4))
    assert [held.assignment.node for held in rig.engine.state.leases.values()] == [node]


def test_a_remainder_with_nothing_done_gives_the_whole_task_back() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    rig.do(c.Remainder(node, key, 0))
    assert rig.task(job, 0).state is TaskState.IN_QUEUE
    assert rig.job(job).counts.split == 0


@pytest.mark.parametrize("at", [-1, 10, 11])
def test_a_remainder_must_lie_inside_the_task(at: int) -> None:
    rig = Rig()
    rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    with pytest.raises(BadInput):
        rig.do(c.Remainder(node, key, at))
    assert list(rig.engine.state.leases) == [key]


# --- nodes that leave ------------------------------------------------------------------------------


def test_a_draining_node_keeps_what_it_holds_and_gets_nothing_new() -> None:
    rig, _, node, keys = _leased()
    rig.do(c.Update(msgspec.structs.replace(rig.record(node), state=NodeState.DRAINING)))
    rig.fetch(node, 5)
    assert rig.plan() == []
    assert list(rig.engine.state.leases) == keys


def test_a_removed_node_loses_its_leases_at_no_cost_to_the_tasks_and_cannot_come_back() -> None:
    rig, job, node, _ = _leased()
    (closed,) = of(e.CloseLink, rig.do(c.Update(msgspec.structs.replace(rig.record(node), state=NodeState.LEFT))))
    assert closed.node == node
    task = rig.task(job, 0)
    assert (task.state, task.stale) == (TaskState.IN_QUEUE, 0)
    with pytest.raises(NotAllowed):
        rig.connect(node)


def test_a_node_may_change_its_size_while_it_is_here() -> None:
    """Protects the sizing of pieces, which counts the crowd's cores."""
    rig, _, node, _ = _leased()
    assert rig.engine.state.cores == 4
    rig.do(c.Update(msgspec.structs.replace(rig.record(node), milli_cpus=9_000)))
    assert rig.engine.state.cores == 9
    rig.disconnect(node)
    assert rig.engine.state.cores == 0


def test_a_record_read_long_ago_does_not_take_back_what_a_node_has_earned() -> None:
    """Protects history: a rename or a hello comes with a record that may be older than the last answers."""
    rig, _, node, keys = _leased()
    old = rig.record(node)
    rig.report(node, *keys)
    rig.do(c.Update(msgspec.structs.replace(old, name="new name")))
    assert (rig.record(node).validated, rig.record(node).name) == (1, "new name")
    rig.do(c.Connect(old, 99))
    assert rig.record(node).validated == 1


def test_a_hello_read_before_a_node_was_removed_does_not_bring_it_back() -> None:
    rig, _, node, _ = _leased()
    old = rig.record(node)
    rig.do(c.Update(msgspec.structs.replace(old, state=NodeState.LEFT)))
    with pytest.raises(NotAllowed):
        rig.do(c.Connect(old, 99))


def test_after_a_restart_a_node_that_had_gone_before_is_not_waited_for_long() -> None:
    """A hub that dies soon after an agent did must not give the dead agent's leases a whole life again; those of
    nodes that were linked to the very end do begin anew."""
    rig = Rig()
    rig.submit(Range(0, 2, 1))
    gone, there = rig.node(1), rig.node(1)
    rig.plan()
    rig.disconnect(gone)
    rig.restart()
    rig.wait(RECONNECT_MS)
    holders = {lease.assignment.node for lease in rig.engine.state.leases.values()}
    assert holders == {there}
