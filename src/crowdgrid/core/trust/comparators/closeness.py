"""From pairs of answers that are close to one answer that stands for many, although closeness is not transitive.

Three programs print 1.0, 1.4 and 1.8, the tolerance is 0.5: the second is close to both others, which are not close to
each other. So there are no classes to count votes by, and chains of close answers would reach anywhere. The rule:

    The group of a vote is all votes close to it, itself included. The vote whose group weighs most wins; of equally
    heavy groups the earlier vote's. What is delivered is the winning vote's own result.

Here, with equal weights, the second vote wins with all three: its 1.4 is delivered. Every vote that counts for an
answer is close to what is delivered, though perhaps not to another one that counts. Nothing is averaged: an answer is
something a node signed. Where closeness is transitive, as that of `exact` is, groups are classes of equal answers, and the
rule is the usual vote.

What a liar can do: place its answer so that it is close to all honest ones, and win by one vote more than they have
of one another. Then what is delivered is still close to each of the honest answers in its group.

Weights are whatever the consensus counts by: 1, a trust index, the odds of being right. They are added exactly, so
that groups of the same weights are equally heavy in whatever order they came.

n votes take n² steps here and n²/2 comparisons of those that have different digests; n is what the job's consensus asks for, a
handful, and never a stranger's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import fsum
from typing import NamedTuple, TypeAlias

import msgspec

from crowdgrid.core.model import Outcome, Result

Groups: TypeAlias = Sequence[tuple[int, ...]]  # for each vote the votes close to it, itself included, in order


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A result as it is compared: an answer, so not a node's error.

    Attributes:
        digest: of the answer, 32 bytes; checked against the payload by who received it.
        payload: the answer itself, None when it is not at hand: it agrees with the same digest then, and no other.
    """

    outcome: Outcome
    digest: bytes
    payload: bytes | None = None


def candidate(result: Result, blob: bytes | None = None) -> Candidate:
    """`result` with its payload, which is `blob` when it was kept as one."""
    return Candidate(result.outcome, result.digest, blob if result.blob else result.payload)


class Choice(NamedTuple):
    """Which of the votes won: `group` are the votes close to it, `weight` is theirs together."""

    vote: int
    group: tuple[int, ...]
    weight: float


def pairs(candidates: Sequence[Candidate]) -> Iterator[tuple[int, int]]:
    """The pairs of votes (the earlier one first) whose payloads have to be looked at.

    Votes of one outcome and digest are the same answer, and nothing else agrees with a program's error. Of several votes
    with the same answer only the first is named.
    """
    firsts = list(first_of(candidates).items())
    for at, (one, vote) in enumerate(firsts):
        for other, later in firsts[at + 1 :]:
            if one[0] is other[0] is Outcome.OK and None not in (candidates[vote].payload, candidates[later].payload):
                yield vote, later


def first_of(candidates: Sequence[Candidate]) -> dict[tuple[Outcome, bytes], int]:
    """For each answer there is, by outcome and digest, the first vote that gave it."""
    found: dict[tuple[Outcome, bytes], int] = {}
    for at, each in enumerate(candidates):
        found.setdefault((each.outcome, each.digest), at)
    return found


def groups(candidates: Sequence[Candidate], close: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """For each vote the votes close to it, itself included, in order; from those of `pairs` that are close."""
    firsts = first_of(candidates)
    answers = [firsts[each.outcome, each.digest] for each in candidates]
    near = {at: {at} for at in answers}
    for one, other in close:
        near[one].add(other)
        near[other].add(one)
    return [tuple(at for at, answer in enumerate(answers) if answer in near[mine]) for mine in answers]


def find_groups(
    candidates: Sequence[Candidate], agree: Callable[[Candidate, Candidate], bool]
) -> list[tuple[int, ...]]:
    """`groups`, with `agree` asked once for each of `pairs`."""
    close = [(one, other) for one, other in pairs(candidates) if agree(candidates[one], candidates[other])]
    return groups(candidates, close)


def choose(of: Groups, weights: Sequence[float]) -> Choice | None:
    """The winner by the module's rule; None when there are no votes. `weights` are finite, one a vote."""
    best: Choice | None = None
    for vote, group in enumerate(of):
        weight = fsum(weights[each] for each in group)
        if best is None or weight > best.weight:
            best = Choice(vote, group, weight)
    return best


def classes(of: Groups, weights: Sequence[float]) -> list[Choice]:
    """All votes in disjoint groups: the winner's, then the winner's of the votes that are left, and so on.

    For a consensus that weighs one answer against the others, which needs each vote to count for one of them. A vote
    close to two winners counts for the heavier one.
    """
    found: list[Choice] = []
    left = set(range(len(of)))
    while left:
        here = [tuple(each for each in group if each in left) if vote in left else () for vote, group in enumerate(of)]
        best = max(
            (Choice(vote, group, fsum(weights[each] for each in group)) for vote, group in enumerate(here) if group),
            key=lambda choice: (choice.weight, -choice.vote),
        )
        found.append(best)
        left.difference_update(best.group)
    return found
