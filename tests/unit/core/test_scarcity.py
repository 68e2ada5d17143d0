"""What few nodes can do goes to them before what all can, as long as there is too much of it for them."""

from __future__ import annotations

from crowdgrid.core.model import Range
from crowdgrid.core.scheduling import scarcity
from crowdgrid.core.state import Pool
from tests.unit.core.rig import GB, Rig


def _pool(rig: Rig, job: int) -> Pool:
    pool = rig.run(job).pool
    assert pool is not None
    return pool


def test_what_waits_for_the_scarcest_nodes_goes_first() -> None:
    """Small ones come first, but not on the one node that can do the large ones."""
    rig = Rig("crowd")
    small = rig.submit(Range(0, 8, 1), milli_cpus=500)
    large = rig.submit(Range(0, 8, 1), milli_cpus=1000, memory_bytes=3 * GB)
    rig.now += 10_000
    for _ in range(3):
        rig.node(1, memory_bytes=GB)
    big = rig.node(1, memory_bytes=4 * GB)
    given = {node: assignment.key[0] for node, assignment in rig.leases()}
    assert given.pop(big) == large
    assert set(given.values()) == {small}
    assert _pool(rig, large).pressure == 2.0, "half of what waits, for a quarter of the nodes"
    assert _pool(rig, small).pressure == 1.0


def test_where_there_are_enough_nodes_the_small_one_goes_first() -> None:
    rig = Rig("crowd")
    large = rig.submit(Range(0, 1, 1), milli_cpus=1000, memory_bytes=3 * GB)
    small = rig.submit(Range(0, 9, 1), milli_cpus=500)
    rig.now += 10_000
    for _ in range(2):
        rig.node(1, memory_bytes=4 * GB)
    assert [assignment.key[0] for _, assignment in rig.leases()] == [small, small]
    assert _pool(rig, large).pressure < 1


def test_how_often_nodes_offer_themselves_is_remembered_for_a_while_only() -> None:
    """Nodes that were here once must not be counted on, however many they were."""
    rig = Rig("crowd")
    large = rig.submit(Range(0, 10**6, 1), milli_cpus=1000, memory_bytes=3 * GB)
    rig.submit(Range(0, 10**6, 1), milli_cpus=500, owner="bob")
    rig.now += 10_000
    big = [rig.node(1, memory_bytes=4 * GB) for _ in range(40)]
    rig.plan()
    rig.now += 10_000
    rig.plan()
    before = _pool(rig, large).pressure
    for node in big:
        rig.disconnect(node)
    small = rig.node()
    for _ in range(1_000):
        rig.fetch(small, 1)
    rig.now += 10_000
    rig.plan()
    assert rig.engine.state.came < 300
    assert _pool(rig, large).pressure > 10 * before


def test_of_very_many_kinds_of_need_none_is_called_scarce() -> None:
    """Each is compared with each, every second: a submitter with ten thousand kinds must not cost the hub that."""
    rig = Rig("crowd")
    jobs = [rig.submit(Range(0, 1, 1), memory_bytes=GB + n) for n in range(scarcity.KINDS_COMPARED + 1)]
    rig.now += 10_000
    rig.node(1, memory_bytes=GB)
    rig.plan()
    assert {_pool(rig, job).pressure for job in jobs} == {1.0}
