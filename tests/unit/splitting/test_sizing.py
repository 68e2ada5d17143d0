"""How large pieces are: exact cover whatever the nodes are like, and the four rules that hold sizes down."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.model import EachNode, Grid, Items, Lines, Range, Split
from crowdgrid.core.splitting import piece
from crowdgrid.core.splitting.sizing import BASE_MAX, base

Sized = Range | Items | Lines | Grid
GRID = Grid((("a", ("1", "2", "3")), ("b", ("x", "y"))))
splits = st.one_of(
    st.builds(
        lambda start, size, fixed: Range(start, start + size, fixed),
        st.integers(-(10**12), 10**12),
        st.integers(1, 10**13),
        st.one_of(st.just(0), st.integers(1, 10**6)),
    ),
    st.builds(Items, st.integers(0, limits.APPEND_ITEMS)),
    st.builds(Lines, st.integers(0, 10**6)),
    st.just(GRID),
)
askers = st.tuples(
    st.one_of(st.just(0.0), st.floats(0, 1e15), st.just(float("inf"))),  # rate
    st.integers(0, 10**15),  # proved
    st.integers(1, 10**6),  # target_ms
    st.integers(limits.TIMEOUT_MS_MIN, limits.TIMEOUT_MS_MAX),  # timeout_ms
    st.integers(0, 100_000),  # slots
)


def size(split: Split, left: int, *, rate: float = 0.0, proved: int = 0, **given: int) -> int:
    ask = {"target_ms": 1000, "timeout_ms": 60_000, "slots": 1, **given}
    return piece(split, units_left=left, rate=rate, proved=proved, **ask)


@given(splits, st.integers(1, 10**13), st.lists(askers, min_size=1, max_size=40))
def test_cutting_from_a_cursor_leaves_no_gap_and_no_overlap(split: Split, units: int, crowd: list) -> None:
    """Whatever rates nodes have, tasks cover [0, units): every piece is at least 1 and at most what is left."""
    cursor = 0
    for rate, proved, target_ms, timeout_ms, slots in crowd:
        if cursor == units:
            break
        cut = size(
            split, units - cursor, rate=rate, proved=proved,
            target_ms=target_ms, timeout_ms=timeout_ms, slots=slots,
        )  # fmt: skip
        assert 1 <= cut <= units - cursor
        cursor += cut
    assert size(split, 0) == 0


@given(splits, st.integers(1, 10**13), askers)
def test_sized_pieces_are_steps_of_the_ladder(split: Sized, units: int, asker: tuple) -> None:
    """A piece is base · 2ᵏ, or all that is left: few sizes, so times measured for one serve the next."""
    rate, proved, target_ms, timeout_ms, slots = asker
    cut = size(split, units, rate=rate, proved=proved, target_ms=target_ms, timeout_ms=timeout_ms, slots=slots)
    steps, rest = divmod(cut, base(split))
    assert split.piece or cut == units or (rest == 0 and steps & (steps - 1) == 0)


@given(splits, askers)
def test_no_rule_is_broken(split: Sized, asker: tuple) -> None:
    """A sized piece above the base keeps to target, time-out, tail, proof and room."""
    rate, proved, target_ms, timeout_ms, slots = asker
    left = 10**13
    cut = size(split, left, rate=rate, proved=proved, target_ms=target_ms, timeout_ms=timeout_ms, slots=slots)
    if split.piece or cut <= base(split):
        return
    assert cut <= rate * target_ms
    assert cut <= 64 * proved
    assert cut <= left // (2 * max(1, slots))
    if isinstance(split, Items | Grid):
        assert cut <= limits.APPEND_ITEMS
    else:
        assert cut <= rate * timeout_ms / 4


def test_an_unknown_node_gets_the_base() -> None:
    """With nothing measured a costly program must not be hurt: one unit, or a millionth of a range."""
    assert size(Items(), 10_000) == size(Lines(), 10_000) == size(GRID, 6) == 1
    assert size(Range(0, 1000), 1000) == 1
    assert size(Range(0, 10**10), 10**10) == 10**10 >> 20
    assert size(Range(0, 10**18), 10**18) == BASE_MAX


def test_a_rate_without_a_measured_piece_is_a_guess() -> None:
    """A rate taken from elsewhere must not give an unproved node a huge piece."""
    assert size(Range(0, 10**10), 10**10, rate=1e9) == base(Range(0, 10**10))


def test_a_known_node_gets_about_its_target() -> None:
    """1,000 units a ms for 1,000 ms is a million: the largest step of the ladder at or below it."""
    split = Range(0, 10**10)
    cut = size(split, 10**10, rate=1000, proved=10**6)
    assert cut <= 10**6 < 2 * cut


def test_a_step_of_the_ladder_is_never_rounded_up() -> None:
    """One unit short of a step, the step would be over the target."""
    split = Lines()
    assert size(split, 10**6, rate=1.023, proved=1000) == 512
    assert size(split, 10**6, rate=1.025, proved=1000) == 1024


def test_the_tail_is_shared_out() -> None:
    """Near the end every node gets a part of what is left, so that all end together."""
    split = Range(0, 1 << 20)
    assert size(split, 8000, rate=1e6, proved=10**6, slots=4) <= 1000
    assert size(split, 3, rate=1e6, proved=10**6, slots=4) == 1


def test_the_time_out_of_one_run_does_not_shrink_a_task_of_many() -> None:
    """Items have a time-out each; a range has one for the whole piece."""
    assert size(Items(), 10**6, rate=1, proved=512, timeout_ms=100) == 512
    assert size(Lines(), 10**6, rate=1, proved=512, timeout_ms=100) == 16


def test_a_fixed_piece_is_taken_exactly() -> None:
    """Who fixes the size gets it from every node, and the rest at the end."""
    assert size(Range(0, 10**6, 300), 10**6, rate=1e9, proved=10**9, slots=64) == 300
    assert size(Items(7), 5) == 5


@example(2)
@given(st.integers(1, 5))
def test_each_node_gets_one_task(nodes: int) -> None:
    assert size(EachNode(tuple(range(nodes))), nodes) == 1
