"""Lines: one unit is one line of text appended to the job; a task is one run with a block of lines on stdin.

A line is stored as it was appended; on stdin each ends with exactly one newline (`protocol/packing.py`).
"""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core.model import Lines
from crowdgrid.errors import BadInput


def check(split: Lines) -> None:
    """Raises BadInput when a piece is negative."""
    if split.piece < 0:
        raise BadInput("The size of a piece is negative.", hint="Give 1 or more, or 0 to let the grid choose.")
    if split.piece > limits.JOB_ITEMS:  # no message could say what is over 64 bits
        raise BadInput(f"A piece has at most {limits.JOB_ITEMS:,} lines.", hint="0 lets the grid choose.")
