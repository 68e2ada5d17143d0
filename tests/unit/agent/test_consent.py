"""The owner's consent: each rule stops and goes on at its own thresholds, says why, and never flaps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid.agent import consent
from crowdgrid.agent.consent import Action, Decision, Facts, OwnerLimits, State, decide
from crowdgrid.errors import BadInput

FINE: dict[str, Any] = {
    "wall": 1_000_000.0,
    "minute": 12 * 60,
    "idle_seconds": 5000.0,
    "others_cpu": 0.0,
    "on_mains": True,
    "battery": 100.0,
    "metered": False,
    "memory_free": 0.5,
    "disk_free": 1 << 40,
    "temperature": 50.0,
}


class Machine:
    """A machine whose facts change while time passes."""

    def __init__(self, **limits: Any) -> None:
        self.limits = OwnerLimits(**limits)
        self.state = State()
        self.now = 0.0

    def after(self, seconds: float, **facts: Any) -> Decision:
        self.now += seconds
        wall = FINE["wall"] + self.now
        decision = decide(Facts(**(FINE | {"wall": wall} | facts)), self.limits, self.state, self.now)
        self.state = decision.state
        return decision


def test_a_machine_that_is_fine_runs_and_gives_no_reasons() -> None:
    decision = Machine(idle_seconds=300, others_cpu_max=0.5, unmetered_only=True).after(0)
    assert (decision.action, decision.why, decision.retry_after) == (Action.RUN, (), 0.0)


def test_what_a_machine_cannot_tell_does_not_stop_it_and_is_said() -> None:
    """Nobody can keep an owner's rule without its fact; hiding that would be a broken promise."""
    machine = Machine(idle_seconds=300, others_cpu_max=0.5, unmetered_only=True)
    nothing = dict.fromkeys(FINE, None) | {"wall": 0.0, "minute": 0}
    decision = machine.after(0, **nothing)
    assert decision.action is Action.RUN
    assert decision.unknown == (
        "This machine cannot tell when the machine was last used.",
        "This machine cannot tell how busy other programs are.",
        "This machine cannot tell whether it is on mains power.",
        "This machine cannot tell how full the battery is.",
        "This machine cannot tell whether the network costs by volume.",
    )
    assert Machine(mains_only=False, battery_min=0).after(0, **nothing).unknown == ()


# rule, its limits, a fact that blocks it, one between the thresholds, one that lets go, seconds to block, to let go
RULES = [
    ("idle", {"idle_seconds": 300}, {"idle_seconds": 2}, {"idle_seconds": 200}, {"idle_seconds": 301}, 0, 0),
    ("others", {"others_cpu_max": 0.5}, {"others_cpu": 0.6}, {"others_cpu": 0.4}, {"others_cpu": 0.2}, 10, 60),
    ("mains", {}, {"on_mains": False}, None, {"on_mains": True}, 5, 30),
    (
        "battery",
        {"mains_only": False},
        {"on_mains": False, "battery": 29},
        {"on_mains": False, "battery": 35},
        {"on_mains": False, "battery": 41},
        0,
        0,
    ),
    ("metered", {"unmetered_only": True}, {"metered": True}, None, {"metered": False}, 5, 30),
    ("memory", {}, {"memory_free": 0.03}, {"memory_free": 0.06}, {"memory_free": 0.09}, 5, 30),
    ("disk", {}, {"disk_free": 90 << 20}, {"disk_free": 150 << 20}, {"disk_free": 201 << 20}, 0, 30),
    ("temperature", {"temperature_max": 90}, {"temperature": 91}, {"temperature": 85}, {"temperature": 79}, 5, 60),
]


@pytest.mark.parametrize(
    ("limits", "bad", "between", "good", "stop", "go"), [row[1:] for row in RULES], ids=[row[0] for row in RULES]
)
def test_each_rule_has_two_thresholds_and_two_times(
    limits: dict[str, Any],
    bad: dict[str, Any],
    between: dict[str, Any] | None,
    good: dict[str, Any],
    stop: int,
    go: int,
) -> None:
    """In between the thresholds what was goes on, in either direction; a moment's spike turns nothing."""
    machine = Machine(**limits)
    assert machine.after(0, **(between or {})).action is Action.RUN
    if stop:
        machine.after(1, **bad)
        assert machine.after(stop - 0.5, **bad).action is Action.RUN
        assert machine.after(0.1).action is Action.RUN  # a break starts the time anew
        machine.after(0.1, **bad)
        assert machine.after(stop - 0.5, **bad).action is Action.RUN
    blocked = machine.after(0.6, **bad)
    assert blocked.action is not Action.RUN
    assert len(blocked.why) == 1
    assert blocked.why[0].endswith(".")
    if between is not None:
        assert machine.after(500, **between).action is not Action.RUN
    first = machine.after(1, **good)
    if go:
        assert first.action is not Action.RUN
        assert machine.after(go - 0.5, **good).action is not Action.RUN
    assert machine.after(0.6, **good).action is Action.RUN


def test_a_battery_on_the_mains_may_be_empty_but_on_its_own_it_stops_at_once() -> None:
    machine = Machine(mains_only=False)
    assert machine.after(0, battery=5).action is Action.RUN
    assert machine.after(1, battery=5, on_mains=False).action is Action.STOP_NOW


def test_hours_may_go_over_midnight_and_say_when_they_open() -> None:
    machine = Machine(hours=((22 * 60, 7 * 60),))
    assert machine.after(0, minute=23 * 60).action is Action.RUN
    assert machine.after(1, minute=6 * 60 + 59).action is Action.RUN
    closed = machine.after(1, minute=7 * 60)
    assert closed.action is Action.FINISH_CURRENT
    assert closed.why == ("It may only work at 22:00–07:00.",)
    assert closed.retry_after == 15 * 3600


def test_a_pause_ends_by_itself() -> None:
    machine = Machine(paused_until=FINE["wall"] + 600)
    paused = machine.after(0)
    assert paused.action is Action.FINISH_CURRENT
    assert paused.why == ("Its owner paused it for 10 minutes more.",)
    assert paused.retry_after == 600
    assert machine.after(601).action is Action.RUN


def test_run_finish_current_and_stop_now_are_the_owners_words() -> None:
    assert Machine(wish=Action.RUN).after(0).action is Action.RUN
    assert Machine(wish=Action.FINISH_CURRENT).after(0).action is Action.FINISH_CURRENT
    assert Machine(wish=Action.STOP_NOW).after(0).action is Action.STOP_NOW


def test_finishing_that_takes_too_long_becomes_stopping() -> None:
    """The owner wants the machine; a task of an hour cannot keep it."""
    machine = Machine(wish=Action.FINISH_CURRENT)
    assert machine.after(0).action is Action.FINISH_CURRENT
    assert machine.after(consent.FINISH_SECONDS - 1).action is Action.FINISH_CURRENT
    assert machine.after(2).action is Action.STOP_NOW


def test_the_strongest_reason_counts_and_every_reason_is_told() -> None:
    machine = Machine(hours=((0, 60),))
    machine.after(0, memory_free=0.01)
    both = machine.after(10, memory_free=0.01)
    assert both.action is Action.STOP_NOW
    assert len(both.why) == 2


def test_it_waits_for_the_rule_that_ends_last() -> None:
    machine = Machine(hours=((13 * 60, 14 * 60),), paused_until=FINE["wall"] + 60)
    assert machine.after(0).retry_after == 3600


def test_a_fact_that_hovers_around_a_threshold_does_not_flap() -> None:
    """BOINC's suspend flapping (boinc#6483): load that swings around one number must not stop and start work."""
    machine = Machine(others_cpu_max=0.5)
    seen = [machine.after(2, others_cpu=0.45 + 0.1 * (step % 2)).action for step in range(200)]
    assert set(seen) == {Action.RUN}
    for _ in range(10):
        machine.after(2, others_cpu=0.9)
    seen = [machine.after(2, others_cpu=0.2 + 0.2 * (step % 2)).action for step in range(200)]
    assert Action.RUN not in seen


@given(st.lists(st.tuples(st.floats(0.1, 30), st.booleans(), st.floats(0, 1), st.floats(0, 100)), max_size=60))
@settings(deadline=None, max_examples=60)
def test_it_never_turns_twice_within_a_dwell(steps: list[tuple[float, bool, float, float]]) -> None:
    """Whatever the facts do, a rule with a dwell time keeps still for at least that long after it let go."""
    machine = Machine(mains_only=True, battery_min=0, others_cpu_max=1.0)
    let_go = None
    before = Action.RUN
    for seconds, mains, memory, battery in steps:
        action = machine.after(seconds, on_mains=mains, battery=battery, memory_free=0.5 + memory / 2).action
        if before is not Action.RUN and action is Action.RUN:
            let_go = machine.now
        if before is Action.RUN and action is not Action.RUN and let_go is not None:
            assert machine.now - let_go >= 5
        before = action


def test_time_that_jumps_on_the_wall_changes_nothing_but_what_is_about_the_wall() -> None:
    machine = Machine()
    assert machine.after(1, wall=0.0).action is Action.RUN
    assert machine.after(1, wall=9e9).action is Action.RUN


def test_a_machine_made_for_this_keeps_the_owners_word_hours_and_safety() -> None:
    bound = OwnerLimits(
        idle_seconds=300, unmetered_only=True, others_cpu_max=0.2, hours=((0, 60),), wish=Action.FINISH_CURRENT
    )
    free = consent.unbound(bound)
    assert (free.idle_seconds, free.mains_only, free.unmetered_only, free.others_cpu_max) == (0, False, False, 1.0)
    assert (free.hours, free.wish) == (bound.hours, bound.wish)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_share": 0},
        {"cpu_share": 1.5},
        {"hours": ((60, 60),)},
        {"hours": ((0, 1441),)},
        {"battery_min": 101},
        {"idle_seconds": -1},
        {"others_cpu_max": 0},
        {"memory_bytes": -5},
    ],
)
def test_limits_that_make_no_sense_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        OwnerLimits(**wrong)


def test_limits_survive_being_written_down() -> None:
    limits = OwnerLimits(hours=((60, 120),), cpu_share=0.5, wish=Action.STOP_NOW)
    assert msgspec.json.decode(msgspec.json.encode(limits), type=OwnerLimits) == limits
