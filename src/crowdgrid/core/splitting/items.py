"""Items: one unit is one byte string appended to the job; each is a run of its own with the item on stdin.

A task of n items is n runs whose answers come packed, so one bad item fails itself only.
"""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core.model import Items
from crowdgrid.errors import BadInput


def check(split: Items) -> None:
    """Raises BadInput when a piece is negative or more runs than one task may have."""
    check_piece(split.piece)


def check_piece(piece: int) -> None:
    """The rule for every split whose units are runs of their own (items and grids)."""
    if piece < 0:
        raise BadInput("The size of a piece is negative.", hint="Give 1 or more, or 0 to let the grid choose.")
    if piece > limits.APPEND_ITEMS:
        raise BadInput(
            f"A piece of {piece:,} runs is over the limit of {limits.APPEND_ITEMS:,} runs a task.",
            hint="Give a smaller piece, or 0 to let the grid choose.",
        )
