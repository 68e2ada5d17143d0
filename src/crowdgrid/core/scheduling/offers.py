"""The standing offers: one sorted list for each kind of need, so that the best node for a task is the first of it.

Order: CPU and memory of a slot (smallest first: the first is the closest fit), then load (assignments held a thousand
cores), then trust, then number. A pool holds all offers that suit the jobs of one kind of need and no other: an
empty one says at once that nobody fits, and however many nodes a job cannot use, they are not looked at for it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from crowdgrid import limits
from crowdgrid.core.scheduling.eligibility import needs_of, suits
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


# --- pools ---------------------------------------------------------------------------------------


def enter_pool(state: State, job: JobRun) -> None:
    """Give a job that comes into memory the pool of what it needs."""
    needs = needs_of(job.base)
    pool = state.pools.get(needs)
    if pool is None:
        pool = state.pools[needs] = Pool(needs)
        for node in state.offering.values():
            _put(pool, node)
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


def best(state: State, job: JobRun, closest_fit: bool) -> NodeRun | None:
    """The best waiting node for a task of `job`, passing over those that declined it.

    With `closest_fit` the smallest slot that is large enough, and of those the least loaded and most trusted;
    otherwise the least loaded node among the first `limits.OFFERS_TRIED`.
    """
    assert job.pool is not None
    found: tuple[int, int, int, float, int] | None = None
    tried = 0
    for key in job.pool.offers:
        if job.declined and job.declined.get(key[4], 0) > state.now:
            continue
        if closest_fit:
            return state.nodes[key[4]]
        if found is None or key[2:] < found[2:]:
            found = key
        tried += 1
        if tried >= limits.OFFERS_TRIED:
            break
    return state.nodes[found[4]] if found else None


def others(state: State, job: JobRun, than: NodeRun) -> Iterator[NodeRun]:
    """Other waiting nodes that may run tasks of `job`, the first `limits.OFFERS_TRIED` of them."""
    assert job.pool is not None
    for key in job.pool.offers[: limits.OFFERS_TRIED]:
        declined = job.declined and job.declined.get(key[4], 0) > state.now
        if key[4] != than.record.number and not declined:
            yield state.nodes[key[4]]
