"""Credit: what work that was validated is worth. Pure numbers.

One unit for every runtime: a credit is a second of one core of a reference machine (`limits.REFERENCE_SPEED` in the
agent's integer benchmark), booked in whole millionths. A node's word about its own use is never paid: what a unit of a job
costs is told by the tasks that several nodes answered, and there by the lower median of those who agree, so that one who
boasts moves nothing. Everybody is paid the same for the same units, whatever it took them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log
from statistics import median_low
from typing import Final

from crowdgrid import limits

MICRO: Final = 1_000_000
HALF_LIFE_DAYS: Final = 7.0


def cost(cpu_ms: int, speed: float) -> float:
    """What a run took, in millionths: its CPU time, at least a millisecond, on a node of this `speed` in the
    benchmark; 0 unknown, which counts as the reference. Speeds are what nodes say: none counts for more than
    `limits.SPEED_MOST`."""
    return max(cpu_ms, 1) * 1_000.0 * (min(speed, limits.SPEED_MOST) / limits.REFERENCE_SPEED if speed > 0 else 1.0)


def price(tasks: Iterable[tuple[int, list[float]]]) -> float:
    """What a unit costs, in millionths: for each task its units and the costs those who agreed claim. 0.0 when no task
    has two.

    The median over units, not over tasks: a job's first tasks are a few units long, to see how fast its nodes are, and
    what they cost is mostly that a run costs something at all."""
    found = sorted((median_low(costs) / units, units) for units, costs in tasks if len(costs) > 1 and units > 0)
    half = sum(units for _, units in found) / 2
    for each, units in found:
        half -= units
        if half <= 0:
            return float(each)
    return 0.0


def recent(days: Mapping[int, int], today: int) -> float:
    """The recent average, credits a day: each day's sum (millionths) counts half after `HALF_LIFE_DAYS`."""
    weighed = sum(amount * 0.5 ** (max(today - day, 0) / HALF_LIFE_DAYS) for day, amount in days.items())
    return float(weighed) / MICRO * log(2.0) / HALF_LIFE_DAYS
