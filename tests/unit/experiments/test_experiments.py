"""What the experiments measure with is right itself: the bound, the opponent, the oracle, the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdgrid.simulation import scenario as s
from experiments import boinc, oracle, page, tail
from experiments.crowds import MIXED, NODES, RIGHT, Crowd, Kind, mixed_with, steady
from experiments.deadlines import batch
from experiments.orchestration import RULES, Case, Task, bound, drawn, waits
from experiments.statistics import mean


def test_nobody_waits_less_than_the_bound() -> None:
    for rule in RULES:
        case = Case(5, 20, "proportional", rule, 3)
        least, found = bound(*drawn(case)), waits(case)
        assert found.least >= least.least
        assert found.mean >= least.mean > 0
        assert found.longest >= least.longest
        assert found.makespan >= least.makespan


def test_the_bound_is_reached_where_it_can_be() -> None:
    """Two nodes, four tasks all can do: 1 and 2 begin at once, 3 and 4 after them."""
    found = bound([(8, 16), (8, 16)], [Task(1, 1, seconds) for seconds in (4.0, 1.0, 3.0, 2.0)])
    assert found.mean == pytest.approx((0 + 0 + 1 + 2) / 4)
    assert found.makespan == 5.0
    assert bound([(2, 4), (8, 16)], [Task(4, 1, 3.0)] * 2).makespan == 6.0, "only one node has four cores"


def test_every_rule_has_the_same_nodes_and_tasks() -> None:
    assert len({str(drawn(Case(10, 50, "fixed", rule, 7))) for rule in RULES}) == 1
    assert drawn(Case(10, 50, "fixed", "fifo", 7)) != drawn(Case(10, 50, "fixed", "fifo", 8))


@pytest.mark.parametrize("rate", boinc.PUBLISHED)
def test_the_opponent_is_the_published_one(rate: float) -> None:
    executions, wrong = boinc.PUBLISHED[rate]
    many = [boinc.alone(rate, 20_000, seed) for seed in range(1, 21)]
    assert sum(each.executions for each in many) / len(many) == pytest.approx(executions, abs=0.01)
    assert sum(each.wrong for each in many) / 400_000 == pytest.approx(wrong, rel=0.06)


def test_the_opponent_takes_nothing_back_from_a_sleeper() -> None:
    crowd = mixed_with("sleepers", 0.1, s.Sleeper(after=600, share=0.5))
    asleep, awake = boinc.run(crowd, 0, 20_000, seed=1), boinc.run(crowd, 20_000, 60_000, seed=1)
    assert awake.wrong - 3 * asleep.wrong > 50, "beside what the erring third gets accepted"


def test_the_oracle_asks_nobody_twice_who_never_errs() -> None:
    assert oracle.executions(Crowd("honest", (Kind("honest", 1.0, s.Honest()),)), 1e-6, 1e-6, tasks=400) == 1.0
    assert oracle.executions(steady(0.05), 1e-3, 1e-6, tasks=4_000) == pytest.approx(2.105, abs=0.03)
    assert oracle.executions(steady(0.05), 1e-3, 1.0, tasks=4_000) > 3.0, "yes or no: two may be wrong alike"
    liars = mixed_with("liars", 0.2, s.Liar(1.0))
    without = oracle.executions(Crowd("volunteers", (Kind("volunteers", 1.0, MIXED),)), 1e-3, 1e-6, tasks=4_000)
    assert oracle.executions(liars, 1e-3, 1e-6, tasks=4_000) == pytest.approx(without, abs=0.1), (
        "liars are asked nothing"
    )


def test_a_crowd_is_the_same_for_the_simulator_and_as_chance() -> None:
    import random

    crowd = mixed_with("a ring", 0.1, s.Colluder(1.0), owners=1)
    nodes = crowd.nodes(random.Random(1))
    assert [table.count for table in crowd.tables()] == [45, 5]
    assert len(nodes) == NODES
    chance = random.Random(2)
    answers = {node.answer(7, chance) for node in nodes[45:]}
    assert len(answers) == 1
    assert answers != {RIGHT}


def test_under_deadlines_hosts_that_stay_work_one_task_after_another() -> None:
    crowd, jobs = s.Crowd("stay", 2), s.Jobs("batch", 5, unit_ms=1_000.0)
    assert batch(crowd, jobs, 1, 10_000) == [1_000, 1_000, 2_000, 2_000, 3_000]


def test_what_is_not_back_by_its_deadline_goes_to_the_next_host() -> None:
    """Some hosts go off for days; with a short deadline the batch does not wait for them, with a long one it does."""
    crowd = s.Crowd("volunteers", 40, availability=s.Churn(reading="wide"))
    jobs = s.Jobs("batch", 400, unit_ms=900_000.0)
    short, long = batch(crowd, jobs, 1, 4 * 3_600_000), batch(crowd, jobs, 1, 168 * 3_600_000)
    assert len(short) == len(long) == 400
    assert short[-1] * 3 < long[-1]
    assert long[-1] > 24 * 3_600_000


def test_the_end_of_a_batch_is_later_than_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "JOB", s.Jobs("batch", 200, unit_ms=300_000.0))
    monkeypatch.setitem(tail.CROWD, "wide", s.Crowd("volunteers", 40, availability=s.Churn(reading="wide"), ahead=0))
    found = {rule: tail.end(tail.Case("wide", rule, 2)) for rule in tail.RULES[:2]}
    assert all(0 < each.most <= each.all for each in found.values())
    assert found["with copies"].runs >= 1.0


def test_a_mean_comes_with_its_interval() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.half == pytest.approx(4.3027 / 3**0.5, rel=1e-3)  # t of two degrees of freedom
    assert str(found) == "2.00 ± 2.48"


def test_a_page_keeps_what_was_written_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGES", tmp_path)
    begin = page.BEGIN.format(command=page.command("x"))
    (tmp_path / "x.md").write_text(f"# Above\n\n{begin}\nold\n{page.END}\n\nBelow\n")
    page.put("x", ["new", "and more"])
    page.put("x", ["new", "and more"])
    assert (tmp_path / "x.md").read_text() == f"# Above\n\n{begin}\n\nnew\n\nand more\n\n{page.END}\n\nBelow\n"
    (tmp_path / "x.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the lines"):
        page.put("x", [])
