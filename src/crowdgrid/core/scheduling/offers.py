"""The standing offers: one sorted list for each kind of need, so that the best node for a task is the first of it.

Order: CPU and memory of a slot (smallest first: the first is the closest fit), then load (assignments held a thousand
cores), then trust, then number. A pool holds all offers that suit the jobs of one kind of need and no other: an
empty one says at once that nobody fits, and however many nodes a job cannot use, they are not looked at for it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from crowdgrid import limits
from crowdgrid.core.scheduling import scarcity
from crowdgrid.core.scheduling.availability import stays
from crowdgrid.core.scheduling.eligibility import needs_of, suits
from crowdgrid.core.scheduling.ranking import Offer, Ranking
from crowdgrid.core.state import JobRun, NodeRun, Pool, State


def stand(state: State, node: NodeRun, slots: int, milli_cpus: int, memory_bytes: int) -> None:
    """Replace the node's offer; 0 slots withdraws it."""
    withdraw(state, node)
    slots = min(slots, limits.HELD_ASSIGNMENTS - len(node.held))
    if slots <= 0 or not node.session:
        return
    node.slots, node.milli_cpus, node.memory_bytes = slots, milli_cpus, memory_bytes
    load = len(node.held) * 1_000_000 // max(node.record.milli_cpus, 1)
    node.key = (milli_cpus, memory_bytes, load, -node.record.trust, node.record.number)
    state.offering[node.record.number] = node
    scarcity.offer_came(state)
    for pool in state.pools.values():
        _put(pool, node)


def withdraw(state: State, node: NodeRun) -> None:
    """Take the node's offer off every list."""
    node.slots = 0
    if node.key is None:
        return
    for pool in state.pools.values():
        at = bisect_left(pool.offers, node.key)
        if at < len(pool.offers) and pool.offers[at] == node.key:
            del pool.offers[at]
    del state.offering[node.record.number]
    node.key = None


def _put(pool: Pool, node: NodeRun) -> None:
    if node.key is not None and suits(pool.needs, node):
        insort(pool.offers, node.key)
        pool.skips = 0
        pool.came += 1.0


# --- pools ---------------------------------------------------------------------------------------


def enter_pool(state: State, job: JobRun) -> None:
    """Give a job that comes into memory the pool of what it needs."""
    needs = needs_of(job.base)
    pool = state.pools.get(needs)
    if pool is None:
        pool = state.pools[needs] = Pool(needs)
        for node in state.offering.values():
            _put(pool, node)
        scarcity.begin(state, pool)
    pool.jobs += 1
    job.pool = pool


def leave_pool(state: State, job: JobRun) -> None:
    """The job leaves memory; the last one of its needs takes their pool along."""
    pool = job.pool
    assert pool is not None
    pool.jobs -= 1
    if not pool.jobs:
        del state.pools[pool.needs]


# --- choosing --------------------------------------------------------------------------------------


def best(state: State, job: JobRun, rule: Ranking) -> NodeRun | None:
    """The best waiting node for a task of `job` by the hub's rule, passing over those that declined it."""
    assert job.pool is not None
    if rule.tried == 1 or len(job.pool.offers) == 1:
        return next(_willing(state, job), None)
    return next(in_order(state, job, rule), None)


def in_order(state: State, job: JobRun, rule: Ranking) -> Iterator[NodeRun]:
    """Waiting nodes that may run tasks of `job`, the first `rule.tried` of them in the order of their cost."""
    tried = list(islice(_willing(state, job), rule.tried))
    costs = [rule.cost(_offer(state, job, node)) for node in tried]
    yield from (tried[at] for at in sorted(range(len(tried)), key=costs.__getitem__))


def _willing(state: State, job: JobRun) -> Iterator[NodeRun]:
    assert job.pool is not None
    for key in job.pool.offers:
        if not (job.declined and job.declined.get(key[4], 0) > state.now):
            yield state.nodes[key[4]]


def _offer(state: State, job: JobRun, node: NodeRun) -> Offer:
    record = node.record
    assert node.key is not None
    seconds = expected_s(state, job, node)
    age = (state.now - node.since) / 1000
    return Offer(record.milli_cpus, record.memory_bytes, node.key[2], node.given, seconds, stays(age, seconds))


def expected_s(state: State, job: JobRun, node: NodeRun) -> float:
    """What a task of `job` is expected to take on the node, s; 0 unknown."""
    rate = job.rates.get(node.record.number) or job.rate * _relative_speed(state, node.record.speed)
    units = job.units_cut / job.tasks if job.tasks else 0.0
    return units / rate / 1000 if rate else 0.0


def _relative_speed(state: State, speed: float) -> float:
    """A node's measured speed beside that of the mean node; 1 when either is not known."""
    return speed * state.measured / state.speeds if speed > 0 and state.speeds > 0 else 1.0


def others(state: State, job: JobRun, than: NodeRun) -> Iterator[NodeRun]:
    """Other waiting nodes that may run tasks of `job`, the first `limits.OFFERS_TRIED` of them."""
    for node in list(islice(_willing(state, job), limits.OFFERS_TRIED)):
        if node is not than:
            yield node
