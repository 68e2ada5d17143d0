"""Parameter grids: one unit is one combination of the axes' values, the last axis fastest; one run each.

Combination k is the mixed-radix number k in the axes' lengths, so nothing is ever written out but the
combinations of one task. A run gets `--name value` for every axis, in the axes' order.
"""

from __future__ import annotations

import math

from crowdgrid import limits
from crowdgrid.core.model import Grid
from crowdgrid.core.splitting.items import check_piece
from crowdgrid.errors import BadInput


def units(split: Grid) -> int:
    """The product of the axes' lengths."""
    return math.prod(len(values) for _, values in split.axes)


def check(split: Grid) -> None:
    """Raises BadInput when axes are missing, empty, named twice or not usable as options, or too many."""
    check_piece(split.piece)
    if not split.axes:
        raise BadInput("The grid has no axis.", hint="Name at least one, for example rate=0.1,0.2.")
    if len(split.axes) > limits.GRID_AXES:
        raise BadInput(f"The grid has {len(split.axes)} axes; at most {limits.GRID_AXES} are allowed.")
    _check_names([name for name, _ in split.axes])
    for name, values in split.axes:
        _check_values(name, values)
    if units(split) > limits.JOB_ITEMS:
        raise BadInput(
            f"The grid has {units(split):,} combinations; at most {limits.JOB_ITEMS:,} are allowed.",
            hint="Take an axis out or give it fewer values.",
        )


def tail(split: Grid, unit: int) -> tuple[str, ...]:
    """The arguments of combination `unit`: `--name value` for every axis.

    Args:
        split: a checked grid.
        unit: in [0, units(split)).
    """
    rest = unit
    pairs: list[tuple[str, str]] = []
    for name, values in reversed(split.axes):
        rest, at = divmod(rest, len(values))
        pairs.append((f"--{name}", values[at]))
    return tuple(word for pair in reversed(pairs) for word in pair)


def _check_names(names: list[str]) -> None:
    for at, name in enumerate(names):
        if not name:
            raise BadInput(f"Axis {at + 1} of the grid has no name.")
        if len(name) > limits.NAME_CHARS:
            raise BadInput(f"The name of axis {at + 1} is longer than {limits.NAME_CHARS} characters.")
        if "=" in name or name.startswith("-") or not name.isprintable() or any(c.isspace() for c in name):
            raise BadInput(
                f"The axis name {name!r} cannot be an option.",
                hint="Use letters, digits, dashes and underscores; the dashes of --name are added for you.",
            )
        if name in names[:at]:
            raise BadInput(f"The grid names the axis {name!r} twice.", hint="Put all its values in one axis.")


def _check_values(name: str, values: tuple[str, ...]) -> None:
    if not values:
        raise BadInput(f"The axis {name!r} has no values.", hint=f"Write {name}=value1,value2.")
    if len(values) > limits.GRID_VALUES:
        raise BadInput(
            f"The axis {name!r} has {len(values):,} values; at most {limits.GRID_VALUES:,} are allowed.",
            hint="Split over a range and compute the value in the program.",
        )
    for value in values:
        if "\0" in value:
            raise BadInput(f"A value of the axis {name!r} holds a zero byte, which no argument can.")
        if len(value) * 4 > limits.ARG_BYTES and len(value.encode(errors="surrogatepass")) > limits.ARG_BYTES:
            raise BadInput(f"A value of the axis {name!r} is over {limits.ARG_BYTES:,} bytes.")
