"""How many more assignments to ask for: a pure function of what is here.

Each worker should have about `QUEUED_SECONDS` of work waiting, so that it never idles for a round trip,
and no more, so that little is lost or late when this machine goes away. For tasks of a second that is one
waiting per worker; for trivial ones it is as many as fit a frame.

An offer stands until it is filled, and sending one costs a message. So a new one is sent only when the
standing one is clearly too small or too large, or workers idle.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from crowdgrid import limits

QUEUED_SECONDS: Final = 0.3
UNKNOWN_PER_WORKER: Final = 1  # asked for ahead while nothing has been measured


class Load(msgspec.Struct, frozen=True, gc=False):
    """What is here now.

    Attributes:
        workers: processes that may run tasks. task_seconds: moving average of a task's time, 0 unknown.
        running, queued: assignments. unreported: answered, and the hub has not said what came of it.
        offered: what is left of the standing offer.
        open: whether anything may be taken at all.
    """

    workers: int
    task_seconds: float
    running: int
    queued: int
    unreported: int
    offered: int
    open: bool = True


def target(workers: int, task_seconds: float) -> int:
    """How many assignments to hold: one running and `QUEUED_SECONDS` waiting per worker, within a frame."""
    if task_seconds > 0:
        waiting = math.ceil(QUEUED_SECONDS / max(task_seconds, 1e-6))
    else:
        waiting = UNKNOWN_PER_WORKER
    return min(workers * (1 + waiting), max(workers, limits.FRAME_TASKS))


def wanted(load: Load) -> int:
    """How many more assignments to ask for now, 0 or more.

    Never so many that this node could hold over `limits.HELD_ASSIGNMENTS`, even if the hub fills the old
    offer and the new one because they crossed on the way.
    """
    if not load.open or load.workers < 1:
        return 0
    held = load.running + load.queued
    room = limits.HELD_ASSIGNMENTS - held - load.unreported - load.offered
    return max(0, min(target(load.workers, load.task_seconds) - held, room))


def should_send(load: Load, want: int) -> bool:
    """Whether `want` differs enough from what is left of the standing offer to be worth a message."""
    if want == load.offered:
        return False
    if not want or not load.offered:
        return True
    if want > load.offered:
        idle = load.running < load.workers
        return idle or want - load.offered > max(1, target(load.workers, load.task_seconds) // 4)
    return load.offered > 2 * want


def surplus(load: Load, queued_seconds: float) -> float:
    """Share (0 to 1) of the queue to give back because it would wait here far longer than planned.

    Happens when a standing offer for short tasks is filled with long ones.
    """
    planned = max(4 * QUEUED_SECONDS, 3 * load.task_seconds) * load.workers
    if load.queued <= load.workers or queued_seconds <= 4 * planned:
        return 0.0
    return 1.0 - planned / queued_seconds
