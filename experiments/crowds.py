"""The crowds of the experiments on errors, as the simulator has them and as plain chance for the rules it does not run."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from crowdgrid.simulation import scenario as s

RIGHT: Final = 0
NODES: Final = 50
MIXED: Final = s.Erring(rate=0.006, of_nodes=1 / 3)


@dataclass(frozen=True)
class Kind:
    """So many of a crowd's nodes, all of one behaviour."""

    name: str
    share: float
    behaviour: s.Behaviour
    owners: int = 0


@dataclass(frozen=True)
class Crowd:
    """A crowd of `NODES`. `wrong_answers`: how many there are to a task, 0 so many that errors never agree by chance."""

    name: str
    kinds: tuple[Kind, ...]
    wrong_answers: int = 0

    def tables(self) -> tuple[s.Crowd, ...]:
        """As the simulator has it."""
        return tuple(s.Crowd(kind.name, count, kind.behaviour, owners=kind.owners) for kind, count in self._counts())

    def nodes(self, chance: random.Random) -> list[Node]:
        """As plain chance."""
        found: list[Node] = []
        for ring, (kind, count) in enumerate(self._counts(), 1):
            for _ in range(count):
                errs = not isinstance(kind.behaviour, s.Erring) or chance.random() < kind.behaviour.of_nodes
                found.append(Node(kind.behaviour, ring, errs=errs, wrong_answers=self.wrong_answers))
        return found

    def _counts(self) -> list[tuple[Kind, int]]:
        return [(kind, round(kind.share * NODES)) for kind in self.kinds if round(kind.share * NODES)]


class Node:
    """One node, whose answers depend on chance alone."""

    def __init__(self, behaviour: s.Behaviour, ring: int, *, errs: bool, wrong_answers: int) -> None:
        self._behaviour, self._ring, self._wrong_answers = behaviour, ring, wrong_answers
        self._errs = errs
        self._answered = 0

    @property
    def rate(self) -> float:
        """How often it is wrong, now."""
        match self._behaviour:
            case s.Erring(rate=rate):
                return rate if self._errs else 0.0
            case s.Liar(share=share) | s.Colluder(share=share):
                return share
            case s.Sleeper(after=after, share=share):
                return share if self._answered > after else 0.0
            case _:
                return 0.0

    def answer(self, task: int, chance: random.Random) -> int:
        """RIGHT, or which wrong answer. Colluders choose the same tasks and give the same one."""
        self._answered += 1
        if isinstance(self._behaviour, s.Colluder):
            told = random.Random(task * 1_000 + self._ring)
            return -self._ring if told.random() < self._behaviour.share else RIGHT
        if chance.random() >= self.rate:
            return RIGHT
        return 1 + (chance.randrange(self._wrong_answers) if self._wrong_answers else chance.getrandbits(60))


def steady(rate: float, wrong_answers: int = 0) -> Crowd:
    """Every node is wrong as often."""
    return Crowd(
        f"all err, {rate:.2%}".replace(".00%", " %").replace("%", " %").replace("  ", " "),
        (Kind("nodes", 1.0, s.Erring(rate=rate)),),
        wrong_answers,
    )


def mixed_with(name: str, share: float, behaviour: s.Behaviour, owners: int = 0) -> Crowd:
    """Volunteers as published (a third err, at 0.6 %), and so many others among them."""
    kinds = (Kind("volunteers", 1.0 - share, MIXED), Kind("others", share, behaviour, owners))
    return Crowd(name, kinds)
