"""Port: how a job is cut into tasks. One file a way; all of it pure.

The engine knows positions, not bytes: every split is a row of units 0, 1, … and a task is units
[start, stop) of it. What a unit means is told here (how many there are, what is wrong with a split) and in
`hub/inputs.py` (which bytes a node gets). Task bounds are positions: for `Range(100, 200)` the task [0, 10)
is the integers 100 … 109.

Invariants: cutting from a cursor with `sizing.piece` covers [0, units) without gap or overlap, whatever
the nodes' rates; a split that passed `check` never fails later.
"""

from __future__ import annotations

from crowdgrid.core.model import EachNode, Grid, Items, Lines, Range, Split
from crowdgrid.core.splitting import grid, items, lines
from crowdgrid.core.splitting import range as ranges
from crowdgrid.core.splitting.sizing import piece
from crowdgrid.errors import BadInput

__all__ = ["appended", "check", "per_item", "piece", "runs_in", "units"]


def units(split: Split) -> int:
    """How many units the split has from the start; 0 for items and lines, which are appended."""
    match split:
        case Range():
            return ranges.units(split)
        case Grid():
            return grid.units(split)
        case EachNode():
            return len(split.nodes)
        case _:
            return 0


def check(split: Split) -> None:
    """Refuse what cannot be cut, before a job of it exists.

    Raises:
        BadInput: with one sentence about what is wrong, and what to write instead where that is known.
    """
    match split:
        case Range():
            ranges.check(split)
        case Grid():
            grid.check(split)
        case Items():
            items.check(split)
        case Lines():
            lines.check(split)
        case _:
            raise BadInput("Splitting one task to each node is not offered yet.", hint="Use range or items.")


def runs_in(split: Split, start: int, stop: int) -> int:
    """How many times the program runs in a task of units [start, stop)."""
    return stop - start if per_item(split) else 1


def per_item(split: Split) -> bool:
    """Whether each unit is a run of its own, so that a task's payload is packed answers, one a unit."""
    return type(split) is Items or type(split) is Grid


def appended(split: Split) -> bool:
    """Whether the job's input is appended to it; otherwise it is known, and sealed, from the start."""
    return type(split) is Items or type(split) is Lines
