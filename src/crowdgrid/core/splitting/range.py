"""Ranges: one unit is one integer of [start, stop); a task is one run with its own START STOP.

Bounds fit a signed 64-bit integer, because the programs that read them in C or AssemblyScript have no other.
"""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core.model import Range
from crowdgrid.errors import BadInput


def units(split: Range) -> int:
    """How many integers the range holds."""
    return split.stop - split.start


def check(split: Range) -> None:
    """Raises BadInput when the range is empty, runs backwards or leaves 64 bits."""
    for name, bound in (("start", split.start), ("stop", split.stop)):
        if abs(bound) > limits.RANGE_BOUND:
            raise BadInput(
                f"The range's {name} is beyond ±{limits.RANGE_BOUND:,}.",
                hint="Programs read bounds as 64-bit integers; scale the range down and let the program scale it up.",
            )
    if split.stop < split.start:
        raise BadInput(
            f"The range ends ({split.stop:,}) before it starts ({split.start:,}).",
            hint=f"Did you mean {split.stop}:{split.start}?",
        )
    if split.stop == split.start:
        raise BadInput(
            f"The range {split.start}:{split.stop} is empty: it ends where it starts.",
            hint="The end is not part of a range; 0:10 is the integers 0 to 9.",
        )
    if split.stop - split.start > limits.RANGE_BOUND:
        raise BadInput(
            f"The range holds {split.stop - split.start:,} integers; {limits.RANGE_BOUND:,} is the most.",
            hint="Scale the range down and let the program scale it up.",
        )
    if split.piece < 0:
        raise BadInput("The size of a piece is negative.", hint="Give 1 or more, or 0 to let the grid choose.")
    if split.piece > limits.RANGE_BOUND:  # no message could say it
        raise BadInput(f"A piece has at most {limits.RANGE_BOUND:,} integers.", hint="0 lets the grid choose.")
