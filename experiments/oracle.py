"""An oracle that knows every node's true error rate, and asks no more nodes than it must.

It decides as `bounded_error` does, with true rates in the place of doubts: alone where the rate is at most ε, else one
node more until the best answer is right with chance 1 − ε. Who asks for work is chance, as in a grid; nodes that are
wrong more often than right get none.
"""

from __future__ import annotations

import random
from typing import Final

from crowdgrid.core.trust.belief import chances
from experiments.crowds import Crowd

_LEAST, _MOST = 1e-12, 1 - 1e-12  # as in `core.trust.belief`
_USELESS: Final = 0.5
CROWDS: Final = 20


def executions(crowd: Crowd, bound: float, collision: float, tasks: int = 40_000, seed: int = 1) -> float:
    """Executions a task, the mean over several draws of who errs."""
    chance = random.Random(seed)
    used = 0
    for _ in range(CROWDS):
        nodes = [node for node in crowd.nodes(chance) if node.rate < _USELESS]
        for task in range(tasks // CROWDS):
            groups: dict[int, list[float]] = {}
            for count, node in enumerate(chance.sample(nodes, len(nodes)), 1):
                rate = min(max(node.rate, _LEAST), _MOST)
                groups.setdefault(node.answer(task, chance), []).append(rate)
                if count == 1 and rate > bound:
                    continue
                best = 1 - rate if count == 1 else max(chances(list(groups.values()), collision)[0])
                if 1 - best <= bound:
                    break
            used += count
    return used / (tasks // CROWDS * CROWDS)
