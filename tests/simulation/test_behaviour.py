"""Nodes err and lie as their crowd says, and the truth is known to the checkers alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import msgspec
import pytest

from crowdgrid.core.model import Task, TaskState
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.behaviour import Board, Mind, Told
from crowdgrid.simulation.truth import NONE, Truth
from tests.simulation.scenes import world

HOUR_MS = 3_600_000
TASKS = [Task(1, number, number, number + 1, TaskState.IN_PROGRESS, 0) for number in range(4_000)]


def _truth(**order: Any) -> Truth:
    return Truth(1, 1, msgspec.convert({"name": "sweep", "tasks": len(TASKS), **order}, s.Jobs))


def _told(
    kind: s.Behaviour, truth: Truth, *, place: int = 0, tasks: Sequence[Task] = TASKS, every_ms: int = 10_000
) -> list[Told]:
    mind, board = Mind(kind, 1, 0, place), Board()
    return [mind.answer(truth, task, at * every_ms, board) for at, task in enumerate(tasks)]


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        (s.Honest(), 0.0),
        (s.Leaver(), 0.0),
        (s.Inflater(), 0.0),
        (s.Erring(rate=0.006), 0.006),
        (s.Liar(share=1.0), 1.0),
        (s.Liar(share=0.5), 0.5),
        (s.Liar(share=0.1), 0.1),
        (s.Liar(share=0.02), 0.02),
        (s.Colluder(share=0.3), 0.3),
        (s.FreeRider(), 1.0),
        (s.Copier(), 1.0),
    ],
)
def test_so_many_answers_are_wrong(kind: s.Behaviour, share: float) -> None:
    truth = _truth()
    told = _told(kind, truth)
    assert fmean(each.wrong for each in told) == pytest.approx(share, abs=0.0005 + 0.1 * share)
    assert all(each.wrong == (each.payload != truth.answer(task)) for each, task in zip(told, TASKS, strict=True))


def test_only_a_share_of_nodes_ever_errs() -> None:
    kind = s.Erring(rate=0.2, of_nodes=0.33)
    erring = [any(each.wrong for each in _told(kind, _truth(), place=at, tasks=TASKS[:60])) for at in range(300)]
    assert fmean(erring) == pytest.approx(0.33, abs=0.08)


def test_bursts_come_together_and_are_as_rare_as_their_times() -> None:
    kind = s.Bursty(rate=1.0, good_hours=9.0, bad_hours=1.0)
    wrong = [each.wrong for at in range(40) for each in _told(kind, _truth(), place=at, every_ms=HOUR_MS // 20)]
    assert fmean(wrong) == pytest.approx(0.1, abs=0.025)
    changes = sum(a != b for a, b in pairwise(wrong))
    assert changes < len(wrong) * 0.02, "an independent error would be followed by another one in ten"


def test_a_sleeper_is_honest_until_it_wakes() -> None:
    wrong = [each.wrong for each in _told(s.Sleeper(after=1000, share=1.0), _truth())]
    assert wrong == [False] * 1000 + [True] * 3000


def test_colluders_agree_on_their_lies_and_on_where_to_tell_them_and_liars_do_not() -> None:
    truth = _truth()
    one, other = (_told(s.Colluder(share=0.3), truth, place=place) for place in (1, 2))
    assert one == other
    one, other = (_told(s.Liar(share=1.0), truth, place=place) for place in (1, 2))
    assert not any(a.payload == b.payload for a, b in zip(one, other, strict=True))


def test_yes_or_no_answers_collide() -> None:
    truth = _truth(wrong_answers=1)
    one, other = (_told(s.Liar(share=1.0), truth, place=place) for place in (1, 2))
    assert [each.payload for each in one] == [each.payload for each in other]
    three = _truth(wrong_answers=3)
    assert len({three.wrong(TASKS[0], which) for which in range(100)}) == 3


def test_a_copier_says_what_was_said_before_right_or_wrong() -> None:
    truth, board, mind = _truth(), Board(), Mind(s.Copier(), 1, 0, 0)
    board.post(TASKS[0], truth.answer(TASKS[0]))
    board.post(TASKS[1], b"a lie")
    board.post(TASKS[1], b"another one")
    assert mind.answer(truth, TASKS[0], 0, board) == Told(truth.answer(TASKS[0]))
    assert mind.answer(truth, TASKS[1], 0, board) == Told(b"a lie", wrong=True)
    assert mind.answer(truth, TASKS[2], 0, board).wrong
    board.forget(1)
    assert mind.answer(truth, TASKS[0], 0, board).wrong


def test_a_free_rider_is_right_where_there_is_nothing_to_find() -> None:
    truth = _truth(none_share=0.9)
    assert fmean(each.wrong for each in _told(s.FreeRider(), truth)) == pytest.approx(0.1, abs=0.02)
    assert {each.payload for each in _told(s.FreeRider(), truth)} == {NONE}


def test_the_truth_is_one_for_bounds_and_job_and_unlike_for_others() -> None:
    truth = _truth()
    assert len({truth.answer(task) for task in TASKS}) == len(TASKS)
    assert Truth(1, 2, truth.order).answer(TASKS[0]) != truth.answer(TASKS[0])
    assert Truth(2, 1, truth.order).answer(TASKS[0]) != truth.answer(TASKS[0])
    assert truth.answer(TASKS[0]) == _truth().answer(TASKS[0])


@pytest.mark.parametrize(("work", "mean"), [("fixed", 100.0), ("normal", 100.0), ("lognormal", 113.3)])
def test_work_varies_as_it_is_told(work: str, mean: float) -> None:
    truth = _truth(unit_ms=100.0, work=work, spread=0.5)
    times = [truth.work_ms(task) for task in TASKS]
    assert fmean(times) == pytest.approx(mean, rel=0.04)
    assert (len(set(times)) == 1) == (work == "fixed")
    assert min(times) >= 1.0


# --- in a run ------------------------------------------------------------------------------------


def test_inflaters_claim_more_than_they_used() -> None:
    crowd = [{"name": "inflaters", "count": 5, "behaviour": {"kind": "inflater", "factor": 10.0}}]
    done = world(crowd=crowd)
    assert done.run().fault == ""
    claims = [
        each.result.wall_ms for at in range(50) for each in done.store._below[1].assignments[at].values() if each.result
    ]
    assert set(claims) == {100_000}


def test_leavers_take_work_along_and_come_back() -> None:
    crowd = [
        {"name": "leavers", "count": 5, "behaviour": {"kind": "leaver", "share": 1.0, "back_s": 120.0}},
        {"name": "machines", "count": 5},
    ]
    found = world(crowd=crowd).run()
    assert found.fault == ""
    assert (found.crowd[0].answered, found.crowd[1].answered) == (0, 50)
    assert found.jobs[0].lost > 0


def test_one_liar_spoils_what_one_result_settles_and_a_majority_outvotes_him() -> None:
    crowd = [{"name": "honest", "count": 9}, {"name": "liar", "count": 1, "behaviour": {"kind": "liar", "share": 1.0}}]
    single = world(crowd=crowd).run().jobs[0]
    assert single.wrong_first == single.wrong_final > 0
    jobs = [{"name": "votes", "tasks": 50, "consensus": "majority", "overlap": 2}]
    voted = world(crowd=crowd, jobs=jobs).run()
    assert voted.jobs[0].wrong_first == 0
    assert voted.jobs[0].executions > 2.0


def test_sleepers_are_found_out_before_their_answers_are_final() -> None:
    crowd = [
        {"name": "honest", "count": 40},
        {"name": "sleepers", "count": 3, "behaviour": {"kind": "sleeper", "after": 60}},
    ]
    jobs = [
        {"name": "bounded", "tasks": 4000, "consensus": "bounded_error", "error_bound": 0.01, "final_after_s": 3600.0}
    ]
    found = world(crowd=crowd, jobs=jobs).run()
    assert found.fault == ""
    assert found.jobs[0].reopened > 0
    assert found.jobs[0].wrong_final <= found.jobs[0].wrong_first
