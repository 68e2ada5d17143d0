"""The votes on one task: answers of different nodes, and what their nodes are worth."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import TypeAlias

from crowdgrid.core.model import Assignment, Outcome
from crowdgrid.core.trust.belief import chances

Answer: TypeAlias = tuple[Outcome, bytes]


class Vote:
    """An answer to an open task: ok or a program's error, never a node's.

    Attributes:
        assignment: with its result. owner: of its node. hit: see `commands.Reported`.
        doubt: the chance that its node is wrong, as believed now. trust: the node's trust index.
    """

    __slots__ = ("assignment", "doubt", "hit", "owner", "trust")

    def __init__(self, assignment: Assignment, owner: str, *, hit: bool, doubt: float, trust: float) -> None:
        self.assignment = assignment
        self.owner = owner
        self.hit = hit
        self.doubt = doubt
        self.trust = trust


class Ballot:
    """The votes on one open task, and which different answers of theirs are close enough to be the same.

    Attributes:
        votes: in the order they were counted. compared: the answers, by outcome and digest, that were compared with
            one another. close: pairs of them that are the same by the job's comparison, the lesser first. problem: why the
            submitter's own comparator could not tell some of them apart, in a sentence.
    """

    __slots__ = ("close", "compared", "problem", "votes")

    def __init__(self) -> None:
        self.votes: list[Vote] = []
        self.compared: set[Answer] = set()
        self.close: set[tuple[Answer, Answer]] = set()
        self.problem = ""


def answer_of(vote: Vote) -> Answer:
    """What is compared when bytes are: outcome and digest."""
    result = vote.assignment.result
    assert result is not None
    return result.outcome, result.digest


def rightness(votes: Sequence[Vote], groups: Sequence[Sequence[int]], collision: float) -> list[float]:
    """For each vote, the chance that it is right, given them all; see `belief.chances`."""
    found, _ = chances([[votes[at].doubt for at in group] for group in groups], collision)
    right = [0.0] * len(votes)
    for group, chance in zip(groups, found, strict=True):
        for at in group:
            right[at] = chance
    return right


def weight(votes: Sequence[Vote], group: Sequence[int]) -> float:
    """The trust of those who gave one answer, together."""
    return fsum(votes[at].trust for at in group)
