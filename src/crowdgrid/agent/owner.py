"""What an owner can want of a machine, and what a machine can tell about itself: the words of consent."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from crowdgrid.errors import BadInput

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


def unbound(limits: OwnerLimits) -> OwnerLimits:
    """The limits of a machine that is there for this work: only the owner's wish, hours and safety count."""
    return msgspec.structs.replace(
        limits, idle_seconds=0, mains_only=False, battery_min=0, unmetered_only=False, others_cpu_max=1.0
    )
