"""What each split means: units, runs, and a specific sentence for everything that cannot be cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.model import EachNode, Grid, Items, Lines, Range, Split
from crowdgrid.core.splitting import appended, check, grid, per_item, runs_in, units
from crowdgrid.errors import BadInput

axes = st.lists(
    st.tuples(st.text("abcdef", min_size=1, max_size=4), st.lists(st.text(max_size=4), min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
    unique_by=lambda axis: axis[0],
).map(lambda found: tuple((name, tuple(values)) for name, values in found))


@pytest.mark.parametrize(
    ("split", "count", "runs", "each", "grows"),
    [
        (Range(-5, 5), 10, 1, False, False),
        (Items(), 0, 4, True, True),
        (Lines(), 0, 1, False, True),
        (Grid((("a", ("1", "2")), ("b", ("x", "y", "z")))), 6, 4, True, False),
    ],
)
def test_what_a_split_is(split: Split, count: int, runs: int, each: bool, grows: bool) -> None:
    """Units known at the start, runs in a task of four, one answer a unit or one a task, appended or not."""
    check(split)
    assert units(split) == count
    assert runs_in(split, 2, 6) == runs
    assert per_item(split) is each
    assert appended(split) is grows


@given(axes)
def test_a_grid_runs_every_combination_once_last_axis_fastest(found: tuple) -> None:
    """Combination k is the k-th of the Cartesian product, as people would write nested loops."""
    split = Grid(found)
    expected = [
        tuple(word for (name, _), value in zip(found, values) for word in (f"--{name}", value))
        for values in itertools.product(*(values for _, values in found))
    ]
    assert [grid.tail(split, unit) for unit in range(units(split))] == expected


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (Range(5, 3), r"ends \(3\) before it starts \(5\)"),
        (Range(4, 4), "empty"),
        (Range(0, 1 << 63), "range's stop is beyond"),
        (Range(-(1 << 70), 0), "range's start is beyond"),
        (Range(0, 5, -1), "negative"),
        (Items(-1), "negative"),
        (Items(limits.APPEND_ITEMS + 1), "runs a task"),
        (Lines(-2), "negative"),
        (Grid(()), "no axis"),
        (Grid((("a", ()),)), "'a' has no values"),
        (Grid((("a", ("1",)), ("a", ("2",)))), "'a' twice"),
        (Grid((("", ("1",)),)), "Axis 1 of the grid has no name"),
        (Grid((("-a", ("1",)),)), "cannot be an option"),
        (Grid((("a b", ("1",)),)), "cannot be an option"),
        (Grid((("a=b", ("1",)),)), "cannot be an option"),
        (Grid((("a" * 300, ("1",)),)), "longer than 200"),
        (Grid((("a", ("x\0y",)),)), "zero byte"),
        (Grid((("a", ("é" * limits.ARG_BYTES,)),)), "over 32,768 bytes"),
        (Grid((("a", ("1",) * (limits.GRID_VALUES + 1)),)), "100,001 values"),
        (Grid(tuple((f"a{i}", ("1",)) for i in range(limits.GRID_AXES + 1))), "17 axes"),
        (Grid(tuple((f"a{i}", ("1",) * 1000) for i in range(5))), "combinations"),
        (Grid((("a", ("1",)),), -1), "negative"),
        (EachNode((1, 2)), "not offered yet"),
    ],
)
def test_what_cannot_be_cut_says_why(split: Split, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check(split)


def test_the_widest_range_passes() -> None:
    """Bounds are 64-bit, and so are the positions of tasks in the range: its width is bounded too."""
    check(Range(0, limits.RANGE_BOUND))
    check(Range(-limits.RANGE_BOUND, 0))
    with pytest.raises(BadInput, match="holds"):
        check(Range(-1, limits.RANGE_BOUND))


@pytest.mark.parametrize("split", [Range(0, 10, 10**30), Lines(10**30)])
def test_a_piece_no_message_could_say_is_refused(split: Split) -> None:
    """Protects links: JSON lets in integers of any size, and msgpack carries 64 bits."""
    with pytest.raises(BadInput):
        check(split)
