"""Tasks more than one node works on: the published votes to the digit, and no assignment more than a decision needs."""

from __future__ import annotations

from typing import Any

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import AssignmentKey, Items, JobState, Outcome, Range, TaskState, Verdict
from crowdgrid.core.trust.consensus.bounded_error import MARGIN
from crowdgrid.core.trust.policy import Policy
from crowdgrid.core.voting import is_vote
from tests.unit.core.rig import LEASE_MS, Rig, of

ONE = Range(0, 1, 1)


def people(rig: Rig, count: int, **fields: Any) -> list[int]:
    """So many nodes, each of an owner of its own."""
    return [rig.node(owner=f"owner {at}", **fields) for at in range(count)]


def offer(rig: Rig, nodes: list[int], slots: int = 1) -> list[tuple[int, AssignmentKey]]:
    """Each asks for work; who got what."""
    for node in nodes:
        rig.fetch(node, slots)
    return [(node, assignment.key) for node, assignment in rig.leases()]


def trusted(rig: Rig, *trusts: float) -> list[int]:
    return [rig.node(owner=f"owner {at}", trust=trust) for at, trust in enumerate(trusts)]


# --- trust-weighted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusts", "score", "shown"),
    [
        ((7.0, 7.0, 3.0, 3.0, 3.0), 14 / 23, 6.1),
        ((9.0, 9.0, 1.5, 1.5, 1.5), 0.8, 8.0),
    ],
)
def test_the_published_votes(trusts: tuple[float, ...], score: float, shown: float) -> None:
    """Two trusted nodes say 42, three others say evil; all five are asked at once."""
    rig = Rig()
    job = rig.submit(ONE, consensus="trust_weighted", overlap=5)
    nodes = trusted(rig, *trusts)
    leased = dict(offer(rig, nodes))
    assert sorted(leased) == nodes
    for at, node in enumerate(nodes):
        assert rig.engine.state.jobs.get(job), "nothing is scored before all have answered"
        rig.report(node, leased[node], answer=b"42" if at < 2 else b"evil")
    task = rig.task(job, 0)
    assert task.state is TaskState.VALIDATED
    assert task.confidence == pytest.approx(score, abs=1e-12)
    assert round(10 * task.confidence, 1) == shown
    (row,) = rig.settled(job)
    assert row.assignment is not None
    assert row.assignment.result is not None
    assert row.assignment.result.payload == b"42"
    moved = [rig.record(node).trust for node in nodes]
    assert moved == pytest.approx([t + 0.1 for t in trusts[:2]] + [max(1.0, t - 0.5) for t in trusts[2:]])


def test_below_the_threshold_no_trust_moves_and_one_more_is_asked() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="trust_weighted", overlap=2)
    nodes = trusted(rig, 5.0, 5.0, 4.0)
    leased = dict(offer(rig, nodes[:2]))
    rig.report(nodes[0], leased[nodes[0]], answer=b"1")
    rig.report(nodes[1], leased[nodes[1]], answer=b"2")
    task = rig.task(job, 0)
    assert (task.state, task.wanted) == (TaskState.IN_QUEUE, 3)
    assert [rig.record(node).trust for node in nodes] == [5.0, 5.0, 4.0]
    ((node, key),) = offer(rig, nodes)
    assert node == nodes[2]
    rig.report(node, key, answer=b"2")
    assert rig.task(job, 0).confidence == pytest.approx(9 / 14)


# --- majority ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overlap", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_of_the_overlap_is_asked_and_enough(overlap: int, quorum: int) -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=overlap)
    nodes = people(rig, 6)
    leased = offer(rig, nodes)
    assert len(leased) == quorum
    for node, key in leased:
        rig.report(node, key)
    assert rig.job(job).state is JobState.FINAL
    assert not offer(rig, nodes)


def test_a_disagreement_asks_for_exactly_what_is_lacking() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=3)
    nodes = people(rig, 5)
    (a, one), (b, two) = offer(rig, nodes)
    rig.report(a, one, answer=b"1")
    rig.report(b, two, answer=b"2")
    assert rig.task(job, 0).wanted == 3
    ((c_, third),) = offer(rig, nodes)
    assert c_ not in (a, b)
    rig.report(c_, third, answer=b"2")
    assert rig.task(job, 0).digest == rig.assignments(job, 0)[1].result.digest  # type: ignore[union-attr]
    assert rig.record(a).trust == 1.0
    assert rig.record(b).trust == rig.record(c_).trust == pytest.approx(1.1)


def test_an_error_of_the_program_is_an_answer_like_any_other() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2)
    for node, key in offer(rig, people(rig, 2)):
        rig.report(node, key, outcome=Outcome.PROGRAM_ERROR, answer=b"exit 3")
    assert (rig.task(job, 0).outcome, rig.task(job, 0).errors) == (Outcome.PROGRAM_ERROR, 1)


def test_what_is_not_needed_any_more_is_withdrawn() -> None:
    """A lease that ran out is answered after all, and its answer decides: the one made in its place is ended."""
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, stale_ceiling=9)
    nodes = people(rig, 3)
    (a, one), (b, two) = offer(rig, nodes[:2])
    rig.wait(61_000, beat=(b, (two,)))
    ((c_, three),) = offer(rig, nodes[2:])
    rig.report(b, two)
    assert rig.job(job).state is JobState.SEALED
    effects = rig.do_report(a, one)
    assert [(w.node, w.assignments) for w in of(e.Withdraw, effects)] == [(c_, (three,))]
    assert rig.job(job).state is JobState.FINAL


# --- who -----------------------------------------------------------------------------------------


def test_nobody_votes_twice_nor_do_two_nodes_of_one_owner() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 4, 1), consensus="majority", overlap=2)
    mine = [rig.node(owner="ada"), rig.node(owner="ada")]
    first = offer(rig, mine, slots=10)
    assert sorted(key[1] for _, key in first) == [0, 1, 2, 3]
    for node, key in first:
        rig.report(node, key)
    assert offer(rig, mine, slots=10) == []
    assert all(task.state is TaskState.IN_QUEUE for task in rig.tasks_of(job))
    other = rig.node(owner="ben")
    assert len(offer(rig, [other], slots=10)) == 4


def test_where_owners_may_all_their_nodes_vote() -> None:
    rig = Rig(policy=Policy(owners_vote_once=False))
    rig.submit(ONE, consensus="majority", overlap=2)
    nodes = [rig.node(owner="ada"), rig.node(owner="ada")]
    assert sorted(node for node, _ in offer(rig, nodes)) == nodes


def test_a_late_answer_of_a_node_that_has_voted_does_not_count() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, stale_ceiling=9)
    (node,) = people(rig, 1)
    ((_, early),) = offer(rig, [node])
    rig.wait(61_000)
    ((_, again),) = offer(rig, [node])
    assert again != early
    assert rig.report(node, again) == [Verdict.COUNTED]
    assert rig.report(node, early) == [Verdict.LATE_UNNEEDED]
    assert len(rig.run(job).ballots[0].votes) == 1
    rig.restart()
    assert [vote.assignment.key for vote in rig.run(job).ballots[0].votes] == [again]


def test_an_answer_that_comes_after_its_task_was_settled_is_no_vote_when_the_task_is_judged_again() -> None:
    """A node whose lease had run out answers the same task twice, the second time in time: one vote, also later."""
    rig = Rig(policy=Policy(audit_rate=0.0))
    job = rig.submit(ONE, consensus="bounded_error", error_bound=1e-3, final_after_ms=3_600_000)
    nodes = people(rig, 2)
    late = dict(offer(rig, nodes))
    rig.wait(LEASE_MS)
    for node in nodes:
        rig.connect(node)
    again = dict(offer(rig, nodes))
    for node in nodes:
        assert rig.report(node, again[node]) == ["counted"]
    settled = rig.task(job, 0)
    assert settled.state is TaskState.VALIDATED
    assert rig.report(nodes[0], late[nodes[0]]) == ["late_paid"]
    votes = [each for each in rig.assignments(job, 0) if is_vote(each)]
    assert [each.node for each in votes] == [again_node for again_node, _ in sorted(again.items(), key=lambda x: x[1])]


def test_a_report_heard_after_its_link_was_closed_still_votes() -> None:
    """Both wait for the keeper at once, and what closes links is handled first."""
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2)
    a, b = people(rig, 2)
    (_, one), (_, two) = offer(rig, [a, b])
    rig.disconnect(a)
    assert rig.report(a, one) == [Verdict.COUNTED]
    rig.disconnect(b)
    assert rig.report(b, two) == [Verdict.COUNTED]
    assert rig.job(job).state is JobState.FINAL
    assert rig.engine.state.nodes == {}


def test_a_vote_taken_back_is_asked_for_again() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2)
    a, b, c_ = people(rig, 3)
    ((_, one),) = offer(rig, [a])
    rig.report(a, one)
    rig.retract(a, one)
    assert not rig.run(job).ballots
    leased = offer(rig, [b, c_])
    assert len(leased) == 2
    for node, key in leased:
        rig.report(node, key)
    assert rig.job(job).state is JobState.FINAL


# --- a bound on errors -----------------------------------------------------------------------------


def test_two_strangers_decide_what_none_may_alone_and_learn_from_each_other() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0))
    job = rig.submit(Range(0, 600, 1), consensus="bounded_error", error_bound=1e-3)
    a, b = people(rig, 2)
    while job in rig.engine.state.jobs:
        for node, key in offer(rig, [a, b]):
            rig.report(node, key)
    tasks = rig.tasks_of(job)
    assert all(task.confidence >= 1 - MARGIN * 1e-3 for task in tasks), "the bound is kept with room to spare"
    assert tasks[0].attempts == 2
    assert tasks[580].attempts == 1, "who has been right for long stands alone"
    standing = rig.engine.state.standings.get(a, rig.kind)
    assert standing is not None
    assert standing.judged >= 50
    assert standing.wrong < 0.01


def test_an_address_block_has_one_vote_where_the_hub_says_so() -> None:
    rig = Rig(policy=Policy(blocks_vote_once=True))
    job = rig.submit(ONE, consensus="majority", overlap=2)
    first = rig.node(1, owner="ada", block="10.1.2.0/24")
    rig.node(1, owner="ben", block="10.1.2.0/24")
    [(_, given)] = rig.leases()
    rig.report(first, given.key)
    assert rig.leases() == []
    told: e.Explanation = rig.reply(c.Why(job, 0))
    assert "address block" in str(told.rejected)
    elsewhere = rig.node(1, owner="cleo", block="10.9.9.0/24")
    unknown = rig.node(1, owner="dora")
    [(node, given)] = rig.leases()
    assert node in (elsewhere, unknown)
    rig.report(node, given.key)
    assert job not in rig.engine.state.jobs


def test_nodes_of_this_machine_are_of_no_block() -> None:
    rig = Rig(policy=Policy(blocks_vote_once=True))
    job = rig.submit(ONE, consensus="majority", overlap=2)
    for node in people(rig, 2):
        rig.fetch(node, 1)
    for node, given in rig.leases():
        rig.report(node, given.key)
    assert job not in rig.engine.state.jobs


def test_a_liar_is_found_out_and_its_answers_do_not_stand() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0))
    job = rig.submit(Range(0, 60, 1), consensus="bounded_error", error_bound=1e-4)
    liar, *honest = people(rig, 4)
    while job in rig.engine.state.jobs:
        for node, key in offer(rig, [liar, *honest]):
            rig.report(node, key, answer=b"lie" if node == liar else b"truth")
    for row in rig.settled(job):
        assert row.assignment is not None
        assert row.assignment.result is not None
        assert row.assignment.result.payload == b"truth"
    doubt = rig.engine.state.standings.doubt
    assert doubt(liar, rig.kind) > 0.9
    assert all(doubt(node, rig.kind) < 0.05 for node in honest)
    assert rig.record(liar).trust == 1.0


def test_every_task_is_audited_where_the_hub_says_so() -> None:
    rig = Rig(policy=Policy(audit_rate=1.0))
    job = rig.submit(Range(0, 10, 1), consensus="bounded_error", error_bound=0.9)
    nodes = people(rig, 3)
    while job in rig.engine.state.jobs:
        for node, key in offer(rig, nodes, slots=4):
            rig.report(node, key)
    assert {task.attempts for task in rig.tasks_of(job)} == {2}


def test_nodes_that_never_agree_are_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdgrid.limits.VOTES_MAX", 4)
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=3)
    nodes = people(rig, 8)
    while job in rig.engine.state.jobs:
        for node, key in offer(rig, nodes):
            rig.report(node, key, answer=b"%d" % node)
    ended = rig.job(job)
    assert ended.state is JobState.FAILED
    assert ended.reason == "4 nodes answered a task and did not agree."


# --- after a restart -------------------------------------------------------------------------------


def test_a_hit_voted_on_before_a_restart_still_ends_the_search() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 50, 1), consensus="majority", overlap=2, reduce="first")
    a, b = people(rig, 2)
    leased = offer(rig, [a, b])
    assert {key[1] for _, key in leased} == {0}
    (_, one), (_, two) = leased
    rig.report(a, one, answer=b"found", hit=True)
    rig.restart()
    rig.connect(b)
    rig.report(b, two, answer=b"found", hit=True)
    assert rig.job(job).hit == 0
    assert rig.job(job).state is JobState.FINAL


def test_a_new_node_begins_within_the_hubs_bounds() -> None:
    rig = Rig(policy=Policy(trust_least=2.0, trust_most=6.0))
    assert [rig.record(rig.node(trust=trust)).trust for trust in (1.0, 3.0, 9.0)] == [2.0, 3.0, 6.0]


@pytest.mark.parametrize("consensus", ["majority", "trust_weighted", "bounded_error"])
def test_votes_and_standings_survive_a_restart(consensus: str) -> None:
    rig = Rig()
    job = rig.submit(Range(0, 2, 1), consensus=consensus, overlap=2, error_bound=1e-6)
    a, b, c_ = people(rig, 3)
    leased = offer(rig, [a, b], slots=2)
    for node, key in leased:
        if node == a or key[1] == 0:
            rig.report(node, key)
    known = rig.engine.state.standings.all()
    assert known
    rig.restart()
    assert rig.engine.state.standings.all() == known
    assert [vote.assignment.node for vote in rig.run(job).ballots[1].votes] == [a]
    for node in (a, b, c_):
        rig.connect(node)
    rig.report(b, *[key for node, key in leased if node == b and key[1] == 1])
    assert rig.task(job, 1).confidence > 0.9


def test_a_second_look_waits_a_moment_for_other_work_to_travel_with_it() -> None:
    """The other node gets it with the next task, or when the first has answered, or soon in any case."""
    for meanwhile in ("work", "answer", "time"):
        rig = Rig(policy=Policy(audit_rate=1.0))
        job = rig.submit(Items(1), consensus="bounded_error", error_bound=0.01)
        nodes = people(rig, 2)
        for at in range(12):  # until both may stand alone
            rig.append(job, at, 1)
            while leased := offer(rig, nodes):
                for node, key in leased:
                    rig.report(node, key)
        assert all(rig.engine.state.standings.doubt(node, rig.kind) <= 0.01 for node in nodes)
        rig.append(job, 12, 1)
        ((first, key),) = offer(rig, nodes)
        assert offer(rig, nodes) == [], "it may wait"
        if meanwhile == "work":
            rig.append(job, 13, 1)
            assert {(node, ordinal) for node, (_, ordinal, _) in offer(rig, nodes)} >= {(3 - first, 12)}
        elif meanwhile == "answer":
            rig.report(first, key)
            assert offer(rig, nodes) == [(3 - first, (job, 12, 1))]
        else:
            rig.wait(limits.AUDIT_REST_MS)
            assert offer(rig, nodes) == [(3 - first, (job, 12, 1))]
