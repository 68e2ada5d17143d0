"""Whether the ledger balances: what was booked is what the answers that stand are worth, no more, no less, and once.

The hub's own code books (`store.booking`); here it is counted again from the rows, task by task, another way.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from crowdgrid.core.model import AssignmentState, Credit, Job, Node, TaskState
from crowdgrid.simulation.memory import done
from crowdgrid.store.booking import earns
from crowdgrid.store.memory import MemoryStore

_PAGE: Final = 10_000
_ANSWERED: Final = (AssignmentState.REPORTED, AssignmentState.RETRACTED)


class Unbalanced(Exception):
    """What is wrong with it, in a sentence."""


class Ledger:
    """What was committed of it. `earned`: millionths, by node."""

    def __init__(self) -> None:
        self.earned: Counter[int] = Counter()
        self._turns: dict[tuple[int, int], int] = {}
        self._units: Counter[tuple[int, int]] = Counter()
        self._amounts: Counter[tuple[int, int]] = Counter()
        self._prices: dict[tuple[int, int], float] = {}

    def book(self, entry: Credit, job: Job, node: Node) -> None:
        """An entry was committed. Raises Unbalanced when it cannot follow those there are."""
        key = (entry.job, entry.node)
        if entry.turn != self._turns.get(key, -1) + 1:
            raise Unbalanced(f"entry {entry.turn} of node {entry.node} for job {entry.job} is out of turn")
        if (entry.submitter, entry.owner) != (job.owner, node.owner):
            raise Unbalanced(f"credit for job {entry.job} goes from {entry.submitter} to {entry.owner}")
        self._turns[key] = entry.turn
        self._units[key] += entry.units
        self._amounts[key] += entry.amount
        self._prices[key] = entry.price
        self.earned[entry.node] += entry.amount
        if self._units[key] < 0 or self._amounts[key] < 0:
            raise Unbalanced(f"node {entry.node} has earned less than nothing by job {entry.job}")

    def check(self, store: MemoryStore, jobs: list[Job]) -> None:
        """Count again what was earned by each job that has ended. Raises Unbalanced when something else was booked."""
        for job in jobs:
            due = _due(store, job.number) if earns(job) else Counter()
            booked = {node for number, node in self._turns if number == job.number}
            for node in sorted(due.keys() | booked):
                key = (job.number, node)
                worth = round(self._units[key] * self._prices.get(key, 0.0))
                if self._units[key] != due[node] and (key in self._prices or self._price_of(job.number)):
                    raise Unbalanced(
                        f"node {node} earned {due[node]} units by job {job.number}, booked are {self._units[key]}"
                    )
                if abs(self._amounts[key] - worth) > 0:
                    raise Unbalanced(f"node {node} was paid {self._amounts[key]} for job {job.number}, {worth} is due")

    def _price_of(self, job: int) -> float:
        return max((price for (number, _), price in self._prices.items() if number == job), default=0.0)


def _due(store: MemoryStore, job: int) -> Counter[int]:
    """Units of tasks whose standing answer each node gave."""
    found: Counter[int] = Counter()
    after = -1
    while page := done(store.settled(job, after=after, limit=_PAGE)):
        after = page[-1].task.ordinal
        for row in page:
            task = row.task
            if task.state is not TaskState.VALIDATED:
                continue
            gave = {
                given.node
                for given in done(store.assignments(job, task.ordinal))
                if given.state in _ANSWERED and given.result is not None
                if (given.result.outcome, given.result.digest) == (task.outcome, task.digest)
            }
            found.update(dict.fromkeys(gave, task.stop - task.start))
    return found
