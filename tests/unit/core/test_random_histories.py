"""Everything that may happen to a grid, in any order: the engine's invariants hold after each command, and in the
end every unit of input has been answered exactly once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.unit.core.healing import check_answers, heal
from tests.unit.core.memory_grid import small_limits
from tests.unit.core.truth import audit
from tests.unit.core.world import World

CHOICE = st.integers(0, 2**40)

# How often each thing happens, relative to the others.
WEIGHTS = {
    "submit": 4, "append": 12, "seal": 1, "check": 6, "pause": 1, "resume": 3, "cancel": 0.3, "retry": 3,
    "reprioritise": 1, "attend": 1, "join": 1, "connect": 12, "disconnect": 2, "fetch": 14, "heartbeat": 6,
    "report": 24, "report_badly": 4, "decline": 2, "retract": 4, "remainder": 4, "update": 0.3, "plan": 24, "tick": 4,
    "let_time_pass": 1, "commit": 16, "read": 12, "lose_read": 0.5, "recalled": 12, "fold": 4, "keep_fold": 3, "ask_why": 1, "restart": 1, "crash": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


class Histories(RuleBasedStateMachine):
    """One rule for each thing that may happen; `World.do_…` says what."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for number in (0, 1):
            self.world.do_join(number)
        self.world.commit()

    def teardown(self) -> None:
        self.world.commit()
        audit(self.world, self.world.jobs)
        heal(self.world)
        check_answers(self.world)


def _rule(name: str) -> Callable[..., None]:
    def happen(self: Histories, number: int) -> None:
        getattr(self.world, f"do_{name}")(number)

    happen.__name__ = name
    return rule(number=CHOICE)(happen)


for _name in WEIGHTS:
    setattr(Histories, _name, _rule(_name))

TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("seed", range(24))
def test_a_long_random_life_ends_with_every_unit_answered_once(seed: int) -> None:
    """Protects exactly-once: after 1,500 random events (losses, retries, lies, crashes) healthy nodes end every job."""
    dice = random.Random(seed)
    world = World("fifo" if seed % 3 == 0 else "priority_fit")
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    for name in dice.choices(names, weights, k=1_500):
        getattr(world, f"do_{name}")(dice.getrandbits(48))
    heal(world)
    check_answers(world)
