"""The rules of consent as a table: what blocks, at which thresholds, for how long, and what is said.

Each rule has two thresholds and two dwell times, one pair for blocking and one for letting go; `consent`
applies them. A rule knows nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from crowdgrid.agent.owner import Action, Facts, OwnerLimits

NEVER: Final = float("inf")
_DAY_MINUTES: Final = 24 * 60


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


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes != 1)}" if minutes < 120 else f"{minutes / 60:.0f} hours"
