"""May this machine work now, and why not: the owner's consent as a pure function of facts.

`decide(facts, limits, state, now)` looks at each rule by itself. A rule blocks when its fact passes one
threshold for long enough, and lets go only when it passes *another* one for longer: a machine whose load
or battery hovers around a single number would otherwise flap between running and stopping, losing work
each time. What blocks asks either to finish what runs or to stop at once; finishing that takes
longer than `FINISH_SECONDS` becomes stopping.

A fact a machine cannot tell is None. Then its rule does not block, and if the owner asked for that rule
the decision says that it could not be kept.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crowdgrid.agent.owner import Action, Facts, OwnerLimits, unbound
from crowdgrid.agent.rules import RULES, Rule

__all__ = ["FINISH_SECONDS", "Action", "Decision", "Facts", "OwnerLimits", "State", "decide", "unbound"]

FINISH_SECONDS: Final = 60.0


class RuleState(msgspec.Struct, frozen=True):
    """Whether a rule blocks, and since when its fact says otherwise (None: it does not)."""

    blocks: bool = False
    turning_since: float | None = None


class State(msgspec.Struct, frozen=True):
    """What the next decision has to know of this one. `since`: of anything blocking, monotonic."""

    rules: dict[str, RuleState] = {}
    since: float | None = None


class Decision(msgspec.Struct, frozen=True):
    """What to do, a sentence for each reason, seconds after which it may have changed, and what is unknown."""

    action: Action
    why: tuple[str, ...]
    retry_after: float
    unknown: tuple[str, ...]
    state: State


def decide(facts: Facts, limits: OwnerLimits, state: State, now: float) -> Decision:
    """What the machine may do now.

    Args:
        now: monotonic seconds; only differences count.
        state: of the decision before, `State()` at first.
    """
    rules: dict[str, RuleState] = {}
    blocking: list[Rule] = []
    unknown: list[str] = []
    for rule in RULES:
        before = state.rules.get(rule.name, RuleState())
        if not rule.asked(limits):
            continue
        wrong = rule.wrong(facts, limits, before.blocks)
        if wrong is None and rule.fact:
            unknown.append(f"This machine cannot tell {rule.fact}.")
        after = _turn(before, bool(wrong), now, rule.go_after if before.blocks else rule.stop_after)
        rules[rule.name] = after
        if after.blocks:
            blocking.append(rule)
    since = None if not blocking else now if state.since is None else state.since
    action = _strongest(blocking)
    if action is Action.FINISH_CURRENT and since is not None and now - since >= FINISH_SECONDS:
        action = Action.STOP_NOW
    return Decision(
        action,
        tuple([rule.says(facts, limits) for rule in blocking]),
        _retry_after(blocking, facts, limits),
        tuple(unknown),
        State(rules, since),
    )


def _turn(before: RuleState, wrong: bool, now: float, dwell: float) -> RuleState:
    """A rule's next state: it turns once its fact has said so for `dwell` seconds without a break."""
    if wrong == before.blocks:
        return RuleState(before.blocks)
    since = now if before.turning_since is None else before.turning_since
    return RuleState(wrong) if now - since >= dwell else RuleState(before.blocks, since)


def _strongest(blocking: list[Rule]) -> Action:
    if not blocking:
        return Action.RUN
    stop = any(rule.action is Action.STOP_NOW for rule in blocking)
    return Action.STOP_NOW if stop else Action.FINISH_CURRENT


def _retry_after(blocking: list[Rule], facts: Facts, limits: OwnerLimits) -> float:
    """Seconds until every rule that knows its end has let go; 0 when nothing blocks, infinite when none knows."""
    ends = [rule.until(facts, limits) for rule in blocking]
    return max(0.0, max(ends, default=0.0))
