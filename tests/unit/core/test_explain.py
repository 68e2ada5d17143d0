"""`why`: for every state a sentence, and it is true."""

from __future__ import annotations

import msgspec
import pytest

from crowdgrid.core import commands as c
from crowdgrid.core.effects import Explanation, Live
from crowdgrid.core.model import Items, NodeState, Outcome, Range
from crowdgrid.errors import NotFound
from tests.unit.core.rig import Rig


def _why(rig: Rig, **of: int) -> Explanation:
    found: Explanation = rig.reply(c.Why(**of))
    assert found.summary
    assert all(reason.text.endswith(".") for reason in found.reasons), found.reasons
    return found


def _texts(found: Explanation) -> str:
    return " ".join(reason.text for reason in found.reasons)


def test_a_job_whose_program_is_looked_at() -> None:
    rig = Rig()
    assert _why(rig, job=rig.submit(checked=False)).summary == "Its program is still being looked at."


def test_a_job_no_node_may_run_names_each_node_and_what_it_lacks() -> None:
    rig = Rig()
    job = rig.submit(labels=("gpu",))
    node = rig.node(1)
    found = _why(rig, job=job)
    assert found.summary == "No connected node may run it."
    assert found.rejected == ((node, ("It lacks the label gpu.",)),)
    assert "10 of 10 units are not in a task yet." in _texts(found)


def test_a_job_whose_nodes_are_busy() -> None:
    rig = Rig()
    job, node = rig.submit(), rig.node(2)
    rig.plan()
    found = _why(rig, job=job)
    assert found.summary == "Every node that may run it is busy."
    assert found.matched == (node,)
    assert "0 tasks wait, 2 run, 0 are settled." in _texts(found)


def test_a_paused_job() -> None:
    rig = Rig()
    job = rig.submit()
    rig.do(c.Pause(job))
    assert _why(rig, job=job).summary.startswith("It is paused;")


def test_an_open_job_that_has_nothing_to_do() -> None:
    rig = Rig()
    found = _why(rig, job=rig.submit(Items()))
    assert found.summary == "It is open."
    assert "more may be appended" in _texts(found)


def test_a_job_all_of_whose_tasks_run() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 1, 1))
    rig.node(1)
    rig.plan()
    assert _why(rig, job=job).summary == "It is being worked on."


def test_a_completed_job() -> None:
    rig = Rig()
    job = rig.submit(final_after_ms=9_000)
    rig.finish(job, rig.node())
    assert _why(rig, job=job).summary == "It is completed."


def test_a_job_behind_others_says_how_many() -> None:
    rig = Rig()
    job = rig.submit()
    for _ in range(3):
        rig.submit(priority=1)
    assert "3 jobs that wait are more urgent" in _texts(_why(rig, job=job))


def test_jobs_of_a_lower_priority_are_not_ahead_however_old() -> None:
    rig = Rig()
    rig.submit(priority=0)
    rig.now += 3_600_000
    assert "more urgent" not in _texts(_why(rig, job=rig.submit(priority=1)))


def test_a_job_says_how_urgent_it_is_by_the_rule() -> None:
    rig = Rig()
    job = rig.submit(milli_cpus=500, memory_bytes=1 << 30)
    rig.now += 10_000
    assert "Its urgency by the hub's rule is 10.00." in _texts(_why(rig, job=job))


def test_a_job_whose_failed_tasks_are_being_opened() -> None:
    rig = Rig()
    job = rig.submit()
    rig.engine.handle(c.Retry(job), rig.now)
    assert "What failed is being opened again." in _texts(_why(rig, job=job))


def test_a_job_that_has_ended_and_a_task_that_has_settled_are_not_found() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 2, 1))
    node = rig.node(1)
    rig.report(node, *rig.plan())
    with pytest.raises(NotFound):
        _why(rig, job=job, ordinal=0)
    rig.do(c.Cancel(job))
    with pytest.raises(NotFound):
        _why(rig, job=job)


def test_a_task_that_runs_names_its_holder_and_tells_since_when() -> None:
    rig = Rig()
    job, node = rig.submit(Range(0, 10, 5)), rig.node(1)
    rig.plan()
    rig.now += 2_500
    found = _why(rig, job=job, ordinal=0)
    assert found.summary == "It is being worked on."
    assert found.matched == (node,)
    assert _texts(found) == "It covers units 0 to 4. Attempt 1 has been with its node for 2.5 s."


def test_a_task_that_waits_tells_what_it_lost_and_who_could_run_it() -> None:
    rig = Rig()
    job, node = rig.submit(stale_ceiling=3), rig.node(1)
    rig.report(node, *rig.plan(), outcome=Outcome.NODE_ERROR)
    found = _why(rig, job=job, ordinal=0)
    assert "It lost its lease 1 times; at 3 it is given up." in _texts(found)
    assert found.rejected == ((node, ("It declined this job: It went wrong. It is asked again in 1 s.",)),)


def test_a_node_at_work_and_a_node_without_work() -> None:
    rig = Rig()
    node = rig.node(3)
    assert _why(rig, node=node).summary == "It is at work or ready to be."
    assert "No job waits for a node." in _texts(_why(rig, node=node))
    rig.submit(name="primes")
    rig.plan()
    found = _why(rig, node=node)
    assert "It holds 3 assignments and offers 0 more slots." in _texts(found)
    assert "Somebody else's job: it may run it." in _texts(found)
    assert "primes" not in _texts(found), "a node's owner is not told what other people call their jobs"
    rig.submit(name="mine", owner="olga")
    assert "Job mine: it may run it." in _texts(_why(rig, node=node))
    assert found.summary.startswith("It asks for nothing")


def test_a_node_that_drains() -> None:
    rig = Rig()
    node = rig.node(1)
    rig.do(c.Update(msgspec.structs.replace(rig.record(node), state=NodeState.DRAINING)))
    assert _why(rig, node=node).summary == "It is draining and is given nothing new."


def test_a_node_whose_link_is_closed_and_a_node_that_is_gone() -> None:
    rig = Rig()
    rig.submit()
    node = rig.node(1)
    rig.plan()
    rig.disconnect(node)
    assert _why(rig, node=node).summary == "Its link is closed; its leases run out soon."
    rig.wait(5_000)
    assert _why(rig, node=node).summary == "It is not connected and holds nothing."


def test_asking_why_changes_nothing() -> None:
    """Protects the order of service: looking must not move anybody up or down."""
    asked, silent = Rig(), Rig()
    for rig in (asked, silent):
        for size in range(1, 6):
            rig.submit(Range(0, 3, 1), memory_bytes=size << 28, owner="ab"[size % 2])
        rig.now += 3_000
    for job in asked.engine.state.jobs:
        asked.do(c.Why(job=job))
        asked.do(c.Snapshot())
    for rig in (asked, silent):
        rig.node(9)
    assert asked.plan() == silent.plan()


def test_a_snapshot_counts_what_is_alive() -> None:
    rig = Rig()
    rig.submit()
    node = rig.node(3)
    rig.plan()
    rig.fetch(node, 1)
    rig.node()
    live: Live = rig.reply(c.Snapshot())
    assert (live.open_jobs, live.open_tasks, live.leased) == (1, 3, 3)
    assert [(n.node, n.online, n.held, n.slots) for n in live.nodes] == [(1, True, 3, 1), (2, True, 0, 0)]


def test_a_job_that_wants_more_owners_than_there_are() -> None:
    """Not before all who may have answered, nor when somebody else has come."""
    rig = Rig()
    job = rig.submit(Range(0, 2, 1), consensus="majority", overlap=5)
    nodes = [rig.node(2, owner=f"owner {at}") for at in range(2)]
    leased = rig.leases()
    assert not _why(rig, job=job).summary.startswith("No ")
    for node, assignment in leased:
        rig.report(node, assignment.key)
    for node in nodes:
        rig.fetch(node, 2)
    found = _why(rig, job=job)
    assert found.summary.startswith("It waits for nodes of more owners: its tasks want 3,")
    assert (found.matched, [node for node, _ in found.rejected]) == ((), nodes)
    third = rig.node(owner="owner 3")
    assert _why(rig, job=job).matched == (*nodes, third)
