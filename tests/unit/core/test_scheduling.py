"""Who gets what: priorities, shares, order, fit, and who may not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.effects import Assign
from crowdgrid.core.model import Items, Node, NodeState, Outcome, Range, Task, TaskState
from crowdgrid.core.scheduling.eligibility import needs_of, objections, suits
from crowdgrid.core.scheduling.ranking import RANKINGS, Head
from crowdgrid.core.scheduling.ready import head_of
from tests.unit.core.rig import GB, Rig

MB = 1 << 20


# --- jobs ------------------------------------------------------------------------------------------


def test_a_higher_priority_goes_first() -> None:
    rig = Rig()
    low, high = rig.submit(priority=0), rig.submit(priority=5)
    rig.node(12)
    assert [key[0] for key in rig.plan()] == [high] * 10 + [low] * 2


def test_another_priority_holds_from_the_next_plan_on() -> None:
    rig = Rig()
    first, second = rig.submit(), rig.submit()
    node = rig.node(1)
    assert rig.plan()[0][0] == first
    rig.do(c.Reprioritise(second, 1))
    rig.fetch(node, 1)
    assert rig.plan()[0][0] == second


def test_a_job_nobody_can_run_does_not_hold_up_those_behind_it() -> None:
    rig = Rig()
    rig.submit(priority=9, labels=("gpu",))
    other = rig.submit()
    rig.node(1)
    assert [key[0] for key in rig.plan()] == [other]


def test_a_thousand_jobs_nobody_can_run_do_not_hold_up_those_behind_them() -> None:
    """Protects everybody: the active queue is bounded, and must not fill up with what cannot be placed."""
    rig = Rig("fifo")
    for _ in range(limits.ACTIVE_QUEUE + 10):
        rig.submit(labels=("gpu",))
    other = rig.submit()
    rig.node(1)
    assert [key[0] for key in rig.plan()] == [other]


def test_fifo_serves_jobs_in_the_order_of_submission() -> None:
    rig = Rig("fifo")
    jobs = [rig.submit(Range(0, 1, 1), memory_bytes=size * MB) for size in (900, 1, 500)]
    rig.node(3)
    assert [key[0] for key in rig.plan()] == jobs


def test_priority_fit_prefers_the_small_job_among_those_of_one_age() -> None:
    rig = Rig()
    large = rig.submit(Range(0, 1, 1), milli_cpus=1000, memory_bytes=GB)
    small = rig.submit(Range(0, 1, 1), milli_cpus=500, memory_bytes=MB)
    rig.now += 10_000
    rig.node(2)
    assert [key[0] for key in rig.plan()] == [small, large]


@pytest.mark.parametrize(
    ("age_s", "milli_cpus", "gb", "stale", "under_way", "priority"),
    [
        (100.0, 1000, 1.0, 0, False, 100 / 1.5),
        (100.0, 2000, 4.0, 0, False, 25.0),
        (100.0, 2000, 4.0, 2, False, 5.0),
        (100.0, 2000, 4.0, 2, True, 7.5),
        (0.0, 500, 0.0, 1, True, -15.0),
    ],
)
def test_priority_fit_is_the_published_formula(
    age_s: float, milli_cpus: int, gb: float, stale: int, under_way: bool, priority: float
) -> None:
    """(A/R − S·P_s)·W with R = cores + GB/2, P_s = 10, W = 1.5 for what is under way."""
    head = Head(1, age_s, milli_cpus, int(gb * GB), stale, under_way)
    assert RANKINGS["priority_fit"].urgency(head) == pytest.approx(priority, rel=1e-12)


def test_the_facts_of_a_jobs_next_task_are_those_of_the_first_that_waits() -> None:
    rig = Rig()
    job = rig.submit()
    assert head_of(rig.run(job), rig.now + 4_000) == Head(job, 4.0, 1000, 512 * MB, 0, False)
    rig.now += 1_000
    node = rig.node(3)
    rig.report(node, rig.plan()[0], outcome=Outcome.NODE_ERROR)
    assert head_of(rig.run(job), rig.now + 2_000) == Head(job, 2.0, 1000, 512 * MB, 1, True, 1)
    rig.report(node, (job, 0, 0))  # conflicting, so nothing changes
    late = msgspec.structs.replace(rig.task(job, 0), state=TaskState.IN_QUEUE)
    assert rig.run(job).open[0] == late


def test_tasks_of_lost_nodes_go_before_new_ones() -> None:
    rig = Rig()
    job = rig.submit()
    node = rig.node(2)
    rig.plan()
    rig.disconnect(node)
    rig.wait(5_000)
    rig.node(3)
    assert rig.plan() == [(job, 0, 1), (job, 1, 1), (job, 2, 0)]


def test_an_owner_with_a_million_tasks_leaves_the_other_their_turn() -> None:
    """Protects the small submitter: with equal use both get the same, whatever they have queued."""
    rig = Rig()
    rig.submit(Range(0, 1_000_000, 1), owner="ada")
    rig.now += 3_600_000
    small = rig.submit(Range(0, 10, 1), owner="bob")
    nodes = [rig.node() for _ in range(2)]
    got = {"ada": 0, "bob": 0}
    for _ in range(10):
        rig.now += 100
        for node in nodes:
            rig.fetch(node, 1)
        for node, assignment in rig.leases():
            got["bob" if assignment.job == small else "ada"] += 1
            rig.report(node, assignment.key, wall_ms=100)
    assert got == {"ada": 10, "bob": 10}


def test_use_is_forgotten_by_half_a_day_by_day() -> None:
    rig = Rig()
    usage = rig.engine.state.use_of("ada")
    usage.add(rig.now, 1_000)
    usage.add(rig.now + limits.SHARE_HALF_LIFE_MS, 1_000)
    assert usage.share(rig.now + limits.SHARE_HALF_LIFE_MS) == pytest.approx(1_500)
    assert usage.share(rig.now + 2 * limits.SHARE_HALF_LIFE_MS) == pytest.approx(750)


def test_an_owner_whose_tasks_are_done_is_served_by_what_they_used_and_not_by_what_was_reserved() -> None:
    """Protects short tasks: what was counted for a second and took a millisecond is given back at once."""
    rig = Rig()
    ada = rig.submit(Range(0, 1_000, 1), owner="ada")
    node = rig.node(5)
    keys = rig.plan()
    bob = rig.submit(Range(0, 1_000, 1), owner="bob")
    rig.engine.state.use_of("bob").add(rig.now, 2_000)
    rig.fetch(node, 1)
    assert rig.plan()[0][0] == bob
    rig.report(node, *keys, wall_ms=1)
    rig.fetch(node, 1)
    assert rig.plan()[0][0] == ada


def test_jobs_are_ranked_again_as_they_age() -> None:
    """Protects small jobs: with A/R a small young job overtakes a large old one after a while."""
    rig = Rig()
    large = rig.submit(Range(0, 100, 1), milli_cpus=1000, memory_bytes=8 * GB)
    rig.now += 50_000
    small = rig.submit(Range(0, 100, 1), milli_cpus=100, memory_bytes=GB)
    node = rig.node()
    for run in (large, small):  # both are under way, so the boost is the same
        rig.run(run).validated = 1
    order = []
    for _ in range(3):
        rig.engine.handle(c.Fetch(node, 1, 4000, 8 * GB), rig.now)
        (assign,) = (x for x in rig.engine.handle(c.Plan(), rig.now) if isinstance(x, Assign))
        order.append(assign.leases[0][0].job)
        rig.now += 4_000
    assert order == [large, large, small]


def test_use_of_long_ago_weighs_less_than_use_of_today() -> None:
    """Protects an owner who came back: what they used alone last week decays from when they used it."""
    rig = Rig()
    first = rig.submit(Range(0, 1_000, 1), owner="ada")
    node = rig.node(1)
    rig.report(node, *rig.plan(), wall_ms=1_000)
    rig.do(c.Pause(first))
    rig.now += 3 * limits.SHARE_HALF_LIFE_MS
    second = rig.submit(Range(0, 1_000, 1), owner="bob")
    rig.connect(node)
    rig.fetch(node, 1)
    rig.report(node, *rig.plan(), wall_ms=500)
    rig.do(c.Resume(first))
    rig.fetch(node, 1)
    assert rig.plan()[0][0] == first
    assert rig.engine.state.use_of("bob").used > rig.engine.state.use_of("ada").used
    assert second in rig.engine.state.jobs


def test_the_active_queue_is_bounded_and_the_backlog_moves_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVE_QUEUE", 3)
    rig = Rig("fifo")
    jobs = [rig.submit(Range(0, 1, 1)) for _ in range(10)]
    node = rig.node(1)
    seen = []
    for _ in jobs:
        seen += [key[0] for key in rig.plan()]
        (level,) = rig.engine.state.levels.values()
        assert all(len(line.active) <= 3 for lane in level.values() for line in lane.lines.values())
        rig.fetch(node, 1)
    assert seen == jobs


def test_one_plan_serves_the_backlog_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVE_QUEUE", 3)
    rig = Rig("fifo")
    jobs = [rig.submit(Range(0, 1, 1)) for _ in range(10)]
    rig.node(10)
    assert [key[0] for key in rig.plan()] == jobs


def test_when_the_ranked_jobs_of_an_owner_are_paused_the_backlog_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVE_QUEUE", 1)
    rig = Rig("fifo")
    first, second, third = (rig.submit(Range(0, 5, 1)) for _ in range(3))
    node = rig.node(1)
    assert rig.plan() == [(first, 0, 0)]
    rig.do(c.Pause(first))
    rig.fetch(node, 1)
    assert rig.plan() == [(second, 0, 0)]
    rig.do(c.Cancel(second))
    rig.fetch(node, 1)
    assert rig.plan() == [(third, 0, 0)]


def test_a_job_in_the_backlog_may_be_paused_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVE_QUEUE", 1)
    rig = Rig("fifo")
    jobs = [rig.submit(Range(0, 1, 1)) for _ in range(3)]
    node = rig.node(1)
    assert rig.plan() == [(jobs[0], 0, 0)]
    rig.do(c.Pause(jobs[2]))
    rig.do(c.Resume(jobs[2]))
    rig.do(c.Pause(jobs[1]))
    rig.fetch(node, 5)
    assert rig.plan() == [(jobs[2], 0, 0)]
    rig.do(c.Resume(jobs[1]))
    assert rig.plan() == [(jobs[1], 0, 0)]


# --- nodes -----------------------------------------------------------------------------------------


def test_a_task_goes_to_the_closest_fit() -> None:
    """Protects large nodes for large tasks: the smallest slot that is large enough is taken."""
    rig = Rig()
    rig.submit(Range(0, 1, 1), milli_cpus=1000, memory_bytes=GB)
    rig.node(1, milli_cpus=4000, memory_bytes=4 * GB)
    rig.node(1, milli_cpus=1000, memory_bytes=GB - 1)
    close = rig.node(1, milli_cpus=1000, memory_bytes=2 * GB)
    rig.node(1, milli_cpus=1000, memory_bytes=3 * GB)
    rig.node(1, milli_cpus=2000, memory_bytes=GB)
    assert [node for node, _ in rig.leases()] == [close]


def test_trust_breaks_ties_between_nodes_that_fit_alike() -> None:
    rig = Rig()
    rig.submit(Range(0, 2, 1))
    rig.node(1, trust=2.0)
    trusted = rig.node(1, trust=8.0)
    second = rig.node(1, trust=5.0)
    assert [node for node, _ in rig.leases()] == [trusted, second]


def test_fifo_takes_the_least_loaded_node() -> None:
    rig = Rig("fifo")
    busy = rig.node(2)
    first = rig.submit(Range(0, 2, 1))
    assert len(rig.plan()) == 2
    rig.fetch(busy, 1, milli_cpus=1000)
    idle = rig.node(1, milli_cpus=4000, memory_bytes=4 * GB)
    second = rig.submit(Range(0, 1, 1))
    assert [(node, a.job) for node, a in rig.leases()] == [(idle, second)]
    assert first != second


def test_work_is_spread_over_the_nodes_that_wait() -> None:
    rig = Rig()
    rig.submit(Range(0, 10, 1))
    nodes = [rig.node(10) for _ in range(5)]
    leased = [node for node, _ in rig.leases()]
    assert {node: leased.count(node) for node in nodes} == dict.fromkeys(nodes, 2)


def test_a_node_that_suits_is_found_behind_hundreds_that_do_not() -> None:
    """Protects jobs with special needs: nodes they cannot use must not hide the one they can."""
    rig = Rig()
    for _ in range(3 * limits.OFFERS_TRIED):
        rig.node(1)
    special = rig.node(1, labels=("gpu",))
    rig.submit(Range(0, 1, 1), labels=("gpu",))
    assert [node for node, _ in rig.leases()] == [special]


def test_a_node_holds_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELD_ASSIGNMENTS", 4)
    rig = Rig()
    rig.submit()
    node = rig.node(3)
    assert len(rig.plan()) == 3
    rig.fetch(node, 50)
    assert len(rig.plan()) == 1
    rig.fetch(node, 50)
    assert rig.plan() == []


def test_an_offer_stands_until_it_is_filled_or_replaced() -> None:
    rig = Rig()
    node = rig.node(3)
    assert rig.plan() == []
    rig.submit(Range(0, 1, 1))
    assert len(rig.plan()) == 1
    rig.submit(Range(0, 5, 1))
    assert len(rig.plan()) == 2
    rig.fetch(node, 0)
    assert rig.plan() == []


def test_an_offer_goes_with_the_link() -> None:
    rig = Rig()
    node = rig.node(3)
    rig.disconnect(node)
    rig.submit()
    assert rig.plan() == []
    rig.connect(node)
    assert rig.plan() == []  # it has to ask again


# --- may this node run this job? ---------------------------------------------------------------------

CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("runtime", {"runtime": "echo"}, {}, "It cannot run echo programs (it has wasm)."),
    ("python of nobody", {"runtime": "python"}, {}, "It runs nobody's Python."),
    (
        "python of a stranger",
        {"runtime": "python"},
        {"runtimes": ("python",), "trusts": ("own", "bob")},
        "Its owner has not said that Python of this job's owner may run there.",
    ),
    (
        "python, trusted and not there",
        {"runtime": "python"},
        {"trusts": ("ada",)},
        "It cannot run python programs (it has wasm).",
    ),
    (
        "pickled functions of a stranger",
        {"runtime": "python-pickle"},
        {"runtimes": ("python-pickle",), "trusts": ("own", "everyone", "ada")},
        "It runs pickled functions of its own owner only.",
    ),
    (
        "pickled functions where own is not said",
        {"runtime": "python-pickle"},
        {"owner": "ada", "runtimes": ("python-pickle",), "trusts": ("everyone", "ada")},
        "It runs no pickled functions: its owner has not said that Python of their own may run there.",
    ),
    ("no runtime", {}, {"runtimes": ()}, "It cannot run wasm programs (it has no runtime)."),
    ("cpus", {"milli_cpus": 1500}, {}, "It offers 1 CPUs a task; the job asks for 1.5."),
    ("memory", {"memory_bytes": 2 * GB}, {}, "It offers 1024 MB a task; the job asks for 2048 MB."),
    ("trust", {"min_trust": 5.0}, {"trust": 4.9}, "Its trust index is 4.9; the job asks for 5.0."),
    ("labels", {"labels": ("gpu", "big")}, {"labels": ("big",)}, "It lacks the label gpu."),
    ("region", {"region": "eu"}, {"region": "us"}, "It is in region us; the job must stay in eu."),
    ("no region", {"region": "eu"}, {}, "It is in region unknown; the job must stay in eu."),
    ("group", {"group": "lab"}, {"group": "club"}, "It does not share with the group lab."),
    ("drain", {}, {"state": NodeState.DRAINING}, "It is draining and takes nothing new."),
]


@pytest.mark.parametrize(
    ("job_fields", "node_fields", "sentence"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_every_no_is_a_sentence_and_is_kept(
    job_fields: dict[str, Any], node_fields: dict[str, Any], sentence: str
) -> None:
    """Protects the person who asks why, and the rule: what is said is what the plan does."""
    rig = Rig()
    job = rig.run(rig.submit(Range(0, 1, 1), **job_fields))
    number = rig.node(1, **node_fields)
    node = rig.engine.state.nodes[number]
    assert objections(job, node, rig.now) == [sentence]
    assert not suits(needs_of(job.base), node)
    assert rig.plan() == []
    fitting = {**_fitting(job_fields), "milli_cpus": 2000, "memory_bytes": 4 * GB}
    other = rig.node(1, **fitting)
    assert objections(job, rig.engine.state.nodes[other], rig.now) == []
    assert [holder for holder, _ in rig.leases()] == [other]


def _fitting(job_fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "runtimes": (job_fields.get("runtime", "wasm"),),
        "owner": "ada",
        "trusts": ("own",),
        "labels": (*job_fields.get("labels", ()), "more"),
        "region": job_fields.get("region", ""),
        "group": job_fields.get("group", ""),
        "trust": job_fields.get("min_trust", 1.0),
    }


def test_a_node_that_is_away_or_declined_has_a_sentence_too() -> None:
    rig = Rig()
    job = rig.submit()
    node = rig.node(1)
    rig.do(c.Decline(node, tuple(rig.plan())))
    assert objections(rig.run(job), rig.engine.state.nodes[node], rig.now) == [
        "It declined this job; it is asked again in 30 s."
    ]
    rig.fetch(node, 1)
    rig.now += limits.DECLINED_MS
    rig.do(c.Decline(node, tuple(rig.plan()), "No such module here."))
    assert objections(rig.run(job), rig.engine.state.nodes[node], rig.now) == [
        "It declined this job: No such module here. It is asked again in 30 s."
    ]
    rig.fetch(node, 1)
    rig.now += limits.DECLINED_MS
    rig.plan()
    rig.disconnect(node)
    assert objections(rig.run(job), rig.engine.state.nodes[node], rig.now) == ["It is not connected."]


def test_a_change_to_a_node_is_felt_at_its_next_offer() -> None:
    rig = Rig()
    rig.submit(labels=("gpu",))
    node = rig.node(1)
    assert rig.plan() == []
    rig.do(c.Update(msgspec.structs.replace(rig.record(node), labels=("gpu",))))
    rig.fetch(node, 1)
    assert len(rig.plan()) == 1


def test_a_task_bound_to_a_node_goes_nowhere_else() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 2, 1))
    bound, other = rig.node(), rig.node()
    rig.do(c.Pause(job))
    run = rig.run(job)
    run.units_cut, run.tasks, run.in_queue = 2, 2, 2
    tasks = [Task(job, n, n, n + 1, TaskState.IN_QUEUE, rig.now, bound_to=bound * (1 - n)) for n in (0, 1)]
    run.open, run.queue = {0: tasks[0], 1: tasks[1]}, [0, 1]
    rig.do(c.Resume(job))
    rig.fetch(other, 5)
    assert rig.plan() == [(job, 1, 0)]
    rig.fetch(bound, 5)
    assert [(node, a.ordinal) for node, a in rig.leases()] == [(bound, 0)]


def test_every_job_and_node_that_suit_are_brought_together() -> None:
    """Protects against a lost match: what `objections` allows, the plan leases, and nothing else."""
    kinds: list[dict[str, Any]] = [
        {},
        {"labels": ("gpu",)},
        {"labels": ("gpu", "big")},
        {"region": "eu"},
        {"runtime": "python"},
        {"runtime": "python", "group": "lab"},
        {"runtime": "python-pickle"},
        {"runtime": "echo"},
        {"min_trust": 3.0},
        {"group": "lab"},
        {"milli_cpus": 500},
    ]
    nodes: list[dict[str, Any]] = [
        {},
        {"labels": ("gpu",), "trust": 3.0},
        {"labels": ("big", "gpu"), "region": "eu"},
        {"runtimes": ("wasm", "python"), "group": "lab"},
        {"runtimes": ("wasm", "echo"), "trusts": ("ada",)},
        {"runtimes": ("python", "python-pickle"), "trusts": ("own",)},
        {"runtimes": ("python", "python-pickle"), "trusts": ("own",), "owner": "ada", "group": "lab"},
        {"runtimes": ("python", "python-pickle"), "trusts": ("group:lab",), "group": "lab"},
        {"runtimes": ("python", "python-pickle"), "trusts": ("ada", "everyone"), "owner": "ada"},
        {"trust": 9.0, "group": "lab", "region": "eu"},
    ]
    for fields in nodes:
        for needs in kinds:
            rig = Rig()
            job = rig.submit(Range(0, 1, 1), **needs)
            number = rig.node(1, **fields)
            allowed = not objections(rig.run(job), rig.engine.state.nodes[number], rig.now)
            assert bool(rig.plan()) == allowed, (fields, needs)


def test_new_jobs_find_offers_that_stand_already() -> None:
    rig = Rig()
    rig.node(1, labels=("gpu",))
    rig.node(1)
    job = rig.submit(Range(0, 5, 1), labels=("gpu",))
    assert rig.plan() == [(job, 0, 0)]
    rig.do(c.Cancel(job))
    assert rig.engine.state.pools == {}
    again = rig.submit(Range(0, 5, 1))
    assert rig.plan() == [(again, 0, 0)]


def test_pieces_grow_with_the_measured_speed_of_the_node_that_asks() -> None:
    rig = Rig()
    job = rig.submit(Items(), target_ms=1_000)
    rig.append(job, 0, 10_000)
    fast, slow = rig.node(1), rig.node(1)
    for _ in range(8):
        for node, wall_ms in ((fast, 1), (slow, 1_000)):
            rig.fetch(node, 1)
            for key in rig.plan():
                task = rig.run(job).open[key[1]]
                rig.report(node, key, wall_ms=wall_ms * (task.stop - task.start))
    rig.fetch(fast, 1)
    (_, large), *_ = rig.leases()
    rig.fetch(slow, 1)
    (_, small), *_ = rig.leases()
    sizes = [task.stop - task.start for task in (rig.task(job, large.ordinal), rig.task(job, small.ordinal))]
    assert sizes[0] >= 64
    assert sizes[1] <= 2


def test_nodes_are_records_of_their_own() -> None:
    """Protects the rig: a node made for a test joins as any other."""
    rig = Rig()
    number = rig.node(1, name="n7")
    assert isinstance(rig.record(number), Node)
    assert rig.record(number).name == "n7"
