"""What is believed about how often a node is wrong, and how votes change it. Pure numbers; no records.

A node's error rate for one kind of program is one of `RATES`. What its history says is kept as **evidence**: how
many times likelier that history is at each rate than at the likeliest of them. What is believed is prior × evidence
(`posterior`), and `doubt` is the chance that the node's next answer is wrong.

The prior is a mixture learned from the crowd (`Crowd`): most nodes never err, some err now and then, few often. It
matters: under one Beta prior a node needs about 1/ε clean audits before it may stand alone, under a mixture whose
third errs at 0.6 % it needs 562 for ε = 10⁻⁴ and 1,330 for 10⁻⁶. What it assumes is that rates between 0 and the
smallest positive one do not occur: a node that errs less often than that is taken for one that never does.

A vote is judged against the other votes on its task, never against itself, so an answer nobody else looked at
teaches nothing (`learn` with a chance of being right equal to 1 − doubt changes nothing). How two wrong answers come
to be equal is the job's `collision`, the chance q that they are: 1 for yes or no, nearly 0 for digests. It is a
model of independent errors; nodes that agree on what to lie break it, see docs/agreement.md.

Sources: D. Dawid and A. Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm",
Applied Statistics 28 (1979), for votes of unequal judges; the prior's weights are an empirical Bayes estimate on a
fixed grid (N. Laird, "Nonparametric maximum likelihood estimation of a mixing distribution", JASA 73, 1978).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, log
from typing import Final, TypeAlias

Evidence: TypeAlias = tuple[float, ...]  # one number a rate, the largest 1

RATES: Final = (0.0, 0.001, 0.002, 0.006, 0.02, 0.06, 0.2, 0.5, 0.999)
PRIOR: Final = (0.60, 0.10, 0.10, 0.08, 0.05, 0.03, 0.02, 0.01, 0.01)
"""What a new grid believes of a stranger: three in five never err, one in fifty errs every second time or more."""

PRIOR_NODES: Final = 20.0
"""As many nodes does `PRIOR` weigh against what is learned from the crowd."""

CHANGE: Final = 1e-5
"""The chance, between two judged votes of a node, that it is from now on another one than before (a sleeper wakes, a
fan fails): old evidence fades by that much, and what comes back is the prior."""

NOTHING: Final[Evidence] = (1.0,) * len(RATES)
_FLOOR: Final = 1e-12  # the least likelihood: nothing is ruled out for ever


def posterior(prior: Sequence[float], evidence: Evidence) -> tuple[float, ...]:
    """The chance of each rate."""
    weights = [a * b for a, b in zip(prior, evidence, strict=True)]
    total = fsum(weights)
    return tuple(weight / total for weight in weights)


def doubt(prior: Sequence[float], evidence: Evidence) -> float:
    """The chance that the next answer is wrong, in (0, 1)."""
    total = wrong = 0.0
    for a, b, rate in zip(prior, evidence, RATES, strict=True):
        weight = a * b
        total += weight
        wrong += weight * rate
    return min(max(wrong / total, _FLOOR), 1.0 - _FLOOR)


def learn(prior: Sequence[float], evidence: Evidence, right: float) -> Evidence:
    """The evidence after a vote that is right with the chance `right`, given all votes on its task, its own included.

    The likelihood of those votes at rate r is (1 − r)·right/(1 − d) + r·(1 − right)/d, where d is the doubt there was.
    """
    was = doubt(prior, evidence)
    clean, bad = right / (1.0 - was), (1.0 - right) / was
    total = fsum(a * b for a, b in zip(prior, evidence, strict=True))
    # The node as it was, with the chance that it is another one now mixed in; in units of the prior.
    seen = [
        ((1.0 - rate) * clean + rate * bad) * ((1.0 - CHANGE) * each / total + CHANGE)
        for rate, each in zip(RATES, evidence, strict=True)
    ]
    most = max(seen)
    return tuple(max(each / most, _FLOOR) for each in seen)


def faded(evidence: Evidence, share: float) -> Evidence:
    """Evidence of which `share` (0 … 1) is left: a node long absent may be another one."""
    return tuple(1.0 - share + share * each for each in evidence) if share < 1.0 else evidence


class Crowd:
    """The prior, learned from the nodes of the grid.

    Its weights are the mean posterior of all nodes that were judged, with `PRIOR` counted as `PRIOR_NODES` nodes.

    Attributes:
        prior: the chance of each rate for a node nothing is known of.
        version: rises when `prior` has moved.
    """

    __slots__ = ("_count", "_moved", "_sums", "prior", "version")

    def __init__(self) -> None:
        self.prior: tuple[float, ...] = PRIOR
        self.version = 0
        self._sums = [0.0] * len(RATES)
        self._count = 0
        self._moved = 0

    def change(self, before: Sequence[float] | None, after: Sequence[float]) -> None:
        """A node's posterior moved; `before` None: it was never judged before."""
        sums = self._sums
        for at, value in enumerate(after):
            sums[at] += value - (before[at] if before is not None else 0.0)
        self._count += before is None
        self._moved += 1

    def settle(self) -> bool:
        """Take what was learned into the prior, when enough has changed to matter. Whether it has."""
        if self._moved * 16 < self._count + PRIOR_NODES:
            return False
        self._moved = 0
        whole = self._count + PRIOR_NODES
        weights = [(PRIOR_NODES * base + max(part, 0.0)) / whole for base, part in zip(PRIOR, self._sums, strict=True)]
        total = fsum(weights)
        self.prior = tuple(weight / total for weight in weights)
        self.version += 1
        return True


def chances(groups: Sequence[Sequence[float]], collision: float) -> tuple[list[float], float]:
    """How likely each group of equal answers is the right one, and that none of them is.

    Args:
        groups: for each answer, the doubts of those who gave it. Together there is at least one vote.
        collision: q, the chance that two wrong answers are equal, in [0, 1].

    A wrong answer is one of 1/q, all as likely; a right one is right. So the votes have, if answer A is right, the
    likelihood Π(1 − d) over those who gave it times Π d·q over all others; if none is, (1 + 1/q − groups)·Π d·q.
    """
    q = max(collision, 1e-15)
    logs: list[float] = []
    others = 0.0
    for group in groups:
        others += fsum(log(d) for d in group) + len(group) * log(q)
    for group in groups:
        own = fsum(log(d) for d in group) + len(group) * log(q)
        logs.append(others - own + fsum(log(1.0 - d) for d in group))
    unseen = 1.0 + 1.0 / q - len(groups)
    if unseen > 0:
        logs.append(others + log(unseen))
    most = max(logs)
    weights = [exp(each - most) for each in logs]
    total = fsum(weights)
    found = [weight / total for weight in weights[: len(groups)]]
    return found, fsum(weights[len(groups) :]) / total
