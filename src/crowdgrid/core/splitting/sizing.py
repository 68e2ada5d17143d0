"""How many units the next task gets, for the node that asks.

Sizes come from a ladder base·2ᵏ: few different sizes, so that what one piece's time proves about a node is
soon proved for the next one. The size asked for is `rate × target`, held down by four rules:

1. **Time-out.** A task that is one run (ranges, lines) gets at most a quarter of the time-out's worth of
   work, so that a rate measured 4 × too high still does not kill the run. Where each unit is a run of its own
   the time-out is that run's, and the size of the task does not matter to it.
2. **Tail.** At most remaining ÷ (2 · slots): guided self-scheduling (Polychronopoulos and Kuck, 1987),
   so that all nodes end at about the same time; never below the base.
3. **Proof.** At most 64 × the largest size whose time was measured: a rate taken from a tiny sample is mostly
   noise and fixed costs, and one wrong guess must not cost more than the work done so far, 64 times.
4. **Room.** At most `limits.APPEND_ITEMS` runs in one task.

With nothing measured the piece is the base. For items, lines and grids that is 1: a unit may be an hour of
work. For ranges a unit is usually nanoseconds, and a base of 1 would need some 30 doublings at 10⁹; a millionth
of the range costs little even when units turn out slow (a million tasks would do the job anyway), and
65,536 bounds the harm done by an enormous range of costly units.
"""

from __future__ import annotations

from typing import Final

from crowdgrid import limits
from crowdgrid.core.model import EachNode, Lines, Range, Split

BASE_MAX: Final = 1 << 16  # units of a range given to a node nothing is known about
BASE_SHIFT: Final = 20  # … and at most this part of it: 2⁻²⁰
PROOF_STEP: Final = 64
TIMEOUT_PARTS: Final = 4
TAIL_PARTS: Final = 2


def base(split: Split) -> int:
    """The smallest size the ladder gives, in units: at least 1."""
    if type(split) is Range:
        return min(BASE_MAX, (split.stop - split.start) >> BASE_SHIFT) or 1
    return 1


def piece(
    split: Split,
    *,
    units_left: int,
    rate: float,
    proved: int,
    target_ms: int,
    timeout_ms: int,
    slots: int,
) -> int:
    """The size of the next task, in units: between 1 and `units_left` (0 when nothing is left).

    Args:
        split: how the job is cut; a fixed `piece` is taken as it is.
        units_left: units known and not yet in a task.
        rate: units per ms the asking node does of this job; 0 unknown.
        proved: largest piece, in units, whose time was measured; 0 none, and then `rate` is a guess and not used.
        target_ms: how long the task should take.
        timeout_ms: the limit of one run.
        slots: runs the whole crowd does at once; taken as 1 when less.
    """
    if isinstance(split, EachNode):
        return min(1, units_left)
    if split.piece:
        return min(split.piece, units_left)
    smallest = base(split)
    if rate <= 0 or proved <= 0 or smallest >= units_left:
        return min(smallest, units_left)
    whole_run = type(split) is Range or type(split) is Lines
    time_ms = min(target_ms, timeout_ms / TIMEOUT_PARTS) if whole_run else target_ms
    most = min(proved * PROOF_STEP, units_left // (TAIL_PARTS * max(1, slots)))
    wanted = rate * time_ms
    if wanted < most:
        most = int(wanted)
    if not whole_run and most > limits.APPEND_ITEMS:
        most = limits.APPEND_ITEMS
    steps = most // smallest
    return smallest << (steps.bit_length() - 1) if steps > 1 else smallest
