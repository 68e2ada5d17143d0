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

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from crowdgrid.errors import BadInput

FINISH_SECONDS: Final = 60.0
NEVER: Final = float("inf")
_DAY_MINUTES: Final = 24 * 60


class Action(StrEnum):
    """The three things an owner can want."""

    RUN = "run"
    FINISH_CURRENT = "finish_current"
    STOP_NOW = "stop_now"


class OwnerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner allows. Kept in the data folder, changed by `crowdgrid agent limits`.

    Attributes:
        wish: run, finish current or stop now, until the owner says otherwise.
        paused_until: seconds since the epoch until which only what runs is finished; 0 not paused.
        cpu_share: of the lent cores, 0.01 to 1. Whole workers are taken away; what is left of less
            than one core is one worker that rests in between.
        memory_bytes: lent to programs; 0 what the agent was started with.
        hours: minutes of the local day [from, to) in which to work, over midnight when from > to; empty any.
        idle_seconds: work only when nobody used the machine for so long; 0 whether used or not.
        mains_only: not on battery. battery_min: percent below which to stop on battery, 0 none.
        unmetered_only: not on a network that costs by volume.
        others_cpu_max: share of all cores that other programs may use before we step aside, 1 never.
        temperature_max: °C, 0 none.
    """

    wish: Action = Action.RUN
    paused_until: float = 0.0
    cpu_share: float = 1.0
    memory_bytes: int = 0
    hours: tuple[tuple[int, int], ...] = ()
    idle_seconds: int = 0
    mains_only: bool = True
    battery_min: int = 30
    unmetered_only: bool = False
    others_cpu_max: float = 1.0
    temperature_max: float = 95.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.cpu_share <= 1:
            raise BadInput("The CPU share must be from 1 % to 100 %.")
        if not 0 < self.others_cpu_max <= 1:
            raise BadInput("The CPU use of others must be above 0 and at most 100 %.")
        if any(not (0 <= a < _DAY_MINUTES and 0 <= b <= _DAY_MINUTES and a != b) for a, b in self.hours):
            raise BadInput("Hours are pairs of minutes of the day, from 0 to 1,440.", hint="Write 22:00-07:00.")
        if not 0 <= self.battery_min <= 100 or self.idle_seconds < 0 or self.memory_bytes < 0:
            raise BadInput("Battery must be from 0 to 100 percent; times and sizes cannot be negative.")


class Facts(msgspec.Struct, frozen=True):
    """What this machine can tell about itself; None for what it cannot.

    Attributes:
        wall: seconds since the epoch. minute: of the local day, 0 to 1439.
        idle_seconds: since somebody last used the machine.
        others_cpu: share of all cores used by other programs, 0 to 1.
        battery: percent. memory_free: share of RAM, 0 to 1. disk_free: bytes in the data folder.
        temperature: hottest sensor of the processor, °C.
    """

    wall: float
    minute: int
    idle_seconds: float | None = None
    others_cpu: float | None = None
    on_mains: bool | None = None
    battery: float | None = None
    metered: bool | None = None
    memory_free: float | None = None
    disk_free: int | None = None
    temperature: float | None = None


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


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    Attributes:
        asked: whether the owner wants it.
        wrong: whether the fact calls for blocking, None unknown; the second argument says whether it blocks
            now, and picks the threshold.
        says: the reason for people.
        action: what blocking asks for.
        stop_after, go_after: seconds the fact must last before blocking, and before letting go.
        fact: what it needs to know, in words.
        until: seconds until it can let go by itself, when known.
    """

    name: str
    asked: Callable[[OwnerLimits], bool]
    wrong: Callable[[Facts, OwnerLimits, bool], bool | None]
    says: Callable[[Facts, OwnerLimits], str]
    action: Action = Action.FINISH_CURRENT
    stop_after: float = 0.0
    go_after: float = 0.0
    fact: str = ""
    until: Callable[[Facts, OwnerLimits], float] = lambda facts, limits: NEVER


def _below(value: float | None, stop: float, go: float, blocks: bool) -> bool | None:
    """Whether `value` is too low: below `stop` to begin with, below `go` once it blocks."""
    return None if value is None else value < (go if blocks else stop)


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _outside(facts: Facts, limits: OwnerLimits) -> bool:
    return not any(_within(facts.minute, start, stop) for start, stop in limits.hours)


def _within(minute: int, start: int, stop: int) -> bool:
    return start <= minute < stop if start < stop else minute >= start or minute < stop


def _opens_in(facts: Facts, limits: OwnerLimits) -> float:
    return min((start - facts.minute) % _DAY_MINUTES for start, _ in limits.hours) * 60.0


def _hours(limits: OwnerLimits) -> str:
    return ", ".join(f"{a // 60:02}:{a % 60:02}–{b // 60 % 24:02}:{b % 60:02}" for a, b in limits.hours)


DISK_STOP, DISK_GO = 100 << 20, 200 << 20
MEMORY_STOP, MEMORY_GO = 0.04, 0.08

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "wish",
        asked=lambda limits: limits.wish is Action.FINISH_CURRENT,
        wrong=lambda facts, limits, blocks: True,
        says=lambda facts, limits: "Its owner paused it.",
    ),
    Rule(
        "stop",
        asked=lambda limits: limits.wish is Action.STOP_NOW,
        wrong=lambda facts, limits, blocks: True,
        says=lambda facts, limits: "Its owner stopped it.",
        action=Action.STOP_NOW,
    ),
    Rule(
        "pause",
        asked=lambda limits: limits.paused_until > 0,
        wrong=lambda facts, limits, blocks: facts.wall < limits.paused_until,
        says=lambda facts, limits: f"Its owner paused it for {_span(limits.paused_until - facts.wall)} more.",
        until=lambda facts, limits: limits.paused_until - facts.wall,
    ),
    Rule(
        "hours",
        asked=lambda limits: bool(limits.hours),
        wrong=lambda facts, limits, blocks: _outside(facts, limits),
        says=lambda facts, limits: f"It may only work at {_hours(limits)}.",
        until=_opens_in,
    ),
    Rule(
        "idle",
        asked=lambda limits: limits.idle_seconds > 0,
        # Once blocked it takes the full idle time; to begin with, only somebody who is there right now.
        wrong=lambda facts, limits, blocks: _below(
            facts.idle_seconds, min(10, limits.idle_seconds), limits.idle_seconds, blocks
        ),
        says=lambda facts, limits: f"Somebody is using the machine; it waits for {_span(limits.idle_seconds)} of rest.",
        fact="when the machine was last used",
        until=lambda facts, limits: limits.idle_seconds - (facts.idle_seconds or 0),
    ),
    Rule(
        "others",
        asked=lambda limits: limits.others_cpu_max < 1,
        wrong=lambda facts, limits, blocks: _below(
            None if facts.others_cpu is None else -facts.others_cpu,
            -limits.others_cpu_max,
            -limits.others_cpu_max / 2,
            blocks,
        ),
        says=lambda facts, limits: f"Other programs use {(facts.others_cpu or 0):.0%} of the processor.",
        stop_after=10,
        go_after=60,
        fact="how busy other programs are",
    ),
    Rule(
        "mains",
        asked=lambda limits: limits.mains_only,
        wrong=lambda facts, limits, blocks: _not(facts.on_mains),
        says=lambda facts, limits: "It is not on mains power.",
        stop_after=5,
        go_after=30,
        fact="whether it is on mains power",
    ),
    Rule(
        "battery",
        asked=lambda limits: limits.battery_min > 0,
        wrong=lambda facts, limits, blocks: (
            False
            if facts.on_mains and not blocks
            else _below(facts.battery, limits.battery_min, min(100, limits.battery_min + 10), blocks)
        ),
        says=lambda facts, limits: (
            f"The battery is at {facts.battery or 0:.0f} %; the limit is {limits.battery_min} %."
        ),
        action=Action.STOP_NOW,
        fact="how full the battery is",
    ),
    Rule(
        "metered",
        asked=lambda limits: limits.unmetered_only,
        wrong=lambda facts, limits, blocks: facts.metered,
        says=lambda facts, limits: "The network costs by volume.",
        stop_after=5,
        go_after=30,
        fact="whether the network costs by volume",
    ),
    Rule(
        "memory",
        asked=lambda limits: True,
        wrong=lambda facts, limits, blocks: _below(facts.memory_free, MEMORY_STOP, MEMORY_GO, blocks),
        says=lambda facts, limits: f"Only {facts.memory_free or 0:.0%} of the memory is free.",
        action=Action.STOP_NOW,
        stop_after=5,
        go_after=30,
    ),
    Rule(
        "disk",
        asked=lambda limits: True,
        wrong=lambda facts, limits, blocks: _below(facts.disk_free, DISK_STOP, DISK_GO, blocks),
        says=lambda facts, limits: f"Only {(facts.disk_free or 0) >> 20} MB of disk are free.",
        go_after=30,
    ),
    Rule(
        "temperature",
        asked=lambda limits: limits.temperature_max > 0,
        wrong=lambda facts, limits, blocks: _below(
            None if facts.temperature is None else -facts.temperature,
            -limits.temperature_max,
            10 - limits.temperature_max,
            blocks,
        ),
        says=lambda facts, limits: f"The processor is {facts.temperature or 0:.0f} °C hot.",
        action=Action.STOP_NOW,
        stop_after=5,
        go_after=60,
    ),
)


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


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes != 1)}" if minutes < 120 else f"{minutes / 60:.0f} hours"


def unbound(limits: OwnerLimits) -> OwnerLimits:
    """The limits of a machine that is there for this work: only the owner's wish, hours and safety count."""
    return msgspec.structs.replace(
        limits, idle_seconds=0, mains_only=False, battery_min=0, unmetered_only=False, others_cpu_max=1.0
    )
