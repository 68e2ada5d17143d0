"""Tasks of heavy units: as many as a node should hold at once, however the job was appended and whatever it lasts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.model import Items, Lines
from tests.unit.core.rig import Rig

MB = 1 << 20


def cut(rig: Rig, job: int, units: int) -> list[tuple[int, int]]:
    """Bounds of the tasks that cover `units`, asked for a thousand units at a time."""
    node = rig.node()
    run = rig.run(job)
    run.rate, run.proved, run.rates = 1e6, 10**9, {}
    while run.units_cut < units:
        rig.fetch(node, 1)
        (key,) = rig.plan()
        rig.report(node, key, wall_ms=1)
    return [(task.start, task.stop) for task in rig.tasks_of(job)]


def test_a_task_of_heavy_items_has_as_many_as_fit() -> None:
    rig = Rig()
    job = rig.submit(Items(piece=1000))
    for first in range(0, 100, 4):
        rig.append(job, first, 4, size=4 * MB)
    assert cut(rig, job, 100) == [(0, 64), (64, 100)]


def test_an_item_larger_than_a_task_may_be_is_a_task_by_itself() -> None:
    """One unit is never refused for its weight, and light ones around it are not held up."""
    rig = Rig()
    job = rig.submit(Items(piece=1000))
    rig.append(job, 0, 500)
    rig.append(job, 500, 1, size=limits.ITEM_BYTES)
    rig.append(job, 501, 1, size=limits.ITEM_BYTES)
    rig.append(job, 502, 500)
    assert cut(rig, job, 1002) == [(0, 500), (500, 501), (501, 502), (502, 1002)]


def test_after_a_restart_what_is_not_cut_counts_as_heavy_as_the_heaviest() -> None:
    """Which units were the heavy ones is forgotten; tasks too small do no harm, one too large would."""
    rig = Rig()
    job = rig.submit(Items(piece=1000))
    rig.append(job, 0, 10)
    rig.append(job, 10, 1, size=32 * MB)
    rig.restart()
    assert rig.job(job).counts.unit_bytes == 32 * MB
    rig.append(job, 11, 500)
    assert cut(rig, job, 511) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 511)]


def test_a_piece_of_lines_that_was_asked_for_is_left_whole() -> None:
    """It is one run's input: a smaller one would be another computation."""
    rig = Rig()
    job = rig.submit(Lines(piece=50))
    rig.append(job, 0, 100, size=300 * MB)
    assert cut(rig, job, 100) == [(0, 50), (50, 100)]
    job = rig.submit(Lines())
    rig.append(job, 0, 100, size=100 * 4 * MB)
    assert max(stop - start for start, stop in cut(rig, job, 100)) <= 16


chunks = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0, 1, 3, 4, 200])), min_size=1, max_size=12)


@given(chunks)
def test_every_task_fits_or_has_one_unit_and_none_is_lost(appended: list[tuple[int, int]]) -> None:
    rig = Rig()
    job = rig.submit(Items(piece=1000))
    weights: list[int] = []
    for several, megabytes in appended:
        count = 1 if megabytes > 4 else several
        rig.append(job, len(weights), count, size=megabytes * MB * count)
        weights += [megabytes * MB] * count
    tasks = cut(rig, job, len(weights))
    assert [unit for start, stop in tasks for unit in range(start, stop)] == list(range(len(weights)))
    assert all(stop - start == 1 or sum(weights[start:stop]) <= limits.TASK_INPUT_BYTES for start, stop in tasks)
