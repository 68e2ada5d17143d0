"""How much a node asks for: enough never to idle, not so much that it hoards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.agent import offers
from crowdgrid.agent.offers import Load


def load(**changed: object) -> Load:
    fields: dict[str, object] = {
        "workers": 2,
        "task_seconds": 1.0,
        "running": 0,
        "queued": 0,
        "unreported": 0,
        "offered": 0,
    }
    return Load(**(fields | changed))  # type: ignore[arg-type]


def test_tasks_of_a_second_have_one_waiting_per_worker() -> None:
    assert offers.wanted(load()) == 4
    assert offers.wanted(load(running=2, queued=1)) == 1
    assert offers.wanted(load(running=2, queued=2)) == 0


def test_short_tasks_have_a_third_of_a_second_waiting() -> None:
    assert offers.target(2, 0.01) == 2 * (1 + 30)


def test_trivial_tasks_fill_one_frame_and_no_more() -> None:
    assert offers.wanted(load(task_seconds=1e-9)) == limits.FRAME_TASKS


def test_before_anything_is_measured_a_little_is_asked_for() -> None:
    assert offers.wanted(load(task_seconds=0.0)) == 4


@pytest.mark.parametrize("changed", [{"open": False}, {"workers": 0}])
def test_a_node_that_may_not_work_asks_for_nothing(changed: dict[str, object]) -> None:
    assert offers.wanted(load(**changed)) == 0


@given(
    workers=st.integers(1, 4096),
    seconds=st.floats(0, 1e6),
    running=st.integers(0, 4000),
    queued=st.integers(0, 4000),
    unreported=st.integers(0, 4000),
    offered=st.integers(0, 4000),
)
def test_never_more_than_a_node_may_hold(
    workers: int, seconds: float, running: int, queued: int, unreported: int, offered: int
) -> None:
    """Even when the hub fills the offer that stands and the new one, because they crossed on the way."""
    want = offers.wanted(Load(workers, seconds, running, queued, unreported, offered))
    assert want >= 0
    assert not want or running + queued + unreported + offered + want <= limits.HELD_ASSIGNMENTS


def test_an_offer_that_is_nearly_right_is_left_alone() -> None:
    """Each Fetch costs a message: with a thousand trivial tasks in flight not every result is followed by one."""
    busy = load(task_seconds=1e-6, running=2, queued=300, offered=600)
    assert not offers.should_send(busy, offers.wanted(busy))
    empty = load(task_seconds=1e-6, running=2, queued=100, offered=200)
    assert offers.should_send(empty, offers.wanted(empty))


def test_an_idle_worker_asks_at_once() -> None:
    idle = load(running=1, queued=0, offered=1)
    assert offers.should_send(idle, 3)


def test_the_first_offer_and_the_last_are_always_sent() -> None:
    assert offers.should_send(load(offered=0), 4)
    assert offers.should_send(load(offered=1), 0)
    assert not offers.should_send(load(offered=4), 4)


def test_an_offer_far_too_large_is_taken_back() -> None:
    assert offers.should_send(load(running=2, offered=900), 4)


def test_a_queue_that_would_last_far_too_long_is_given_back_but_for_the_plan() -> None:
    """An offer for a thousand trivial tasks may be filled with a thousand slow ones."""
    assert offers.surplus(load(running=2, queued=1000), queued_seconds=1000.0) == pytest.approx(1 - 6 / 1000)
    assert offers.surplus(load(running=2, queued=4), queued_seconds=4.0) == 0.0
    assert offers.surplus(load(running=2, queued=2), queued_seconds=900.0) == 0.0
