"""What nodes answer, as `scenario.Behaviour` has it: right, wrong, alike, or not at all.

A node knows the truth of what it computes; whether it tells it is its behaviour's. Nothing here knows what the hub
makes of it.
"""

from __future__ import annotations

from math import log1p
from typing import Final, NamedTuple

from crowdgrid.core.model import Task
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.streams import draw, key_of, mixed
from crowdgrid.simulation.truth import NONE, Truth

_HOUR_MS: Final = 3_600_000


class Told(NamedTuple):
    """An answer, and whether it is wrong. `claims`: times the use there was."""

    payload: bytes
    wrong: bool = False
    claims: float = 1.0


class Board:
    """What was first answered to each task: where copiers look. Kept only where there are some."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int, int], bytes] = {}

    def post(self, task: Task, payload: bytes) -> None:
        """Somebody answered."""
        self.seen.setdefault((task.job, task.start, task.stop), payload)

    def forget(self, job: int) -> None:
        """The job is over."""
        self.seen = {key: payload for key, payload in self.seen.items() if key[0] != job}


class Mind:
    """One node's behaviour.

    Args:
        kind: what it does. seed, crowd, place: of the run, its crowd, and its place there.
    """

    __slots__ = ("_answered", "_bad", "_errs", "_key", "_kind", "_ring", "_turn_at")

    def __init__(self, kind: s.Behaviour, seed: int, crowd: int, place: int) -> None:
        self._kind = kind
        self._key = key_of(seed, "answers", crowd, place)
        self._ring = key_of(seed, "ring", crowd)  # what a crowd of colluders shares
        self._answered = 0
        self._errs = not isinstance(kind, s.Erring) or draw(key_of(seed, "errs", crowd, place), 0) < kind.of_nodes
        self._bad = False
        if isinstance(kind, s.Bursty):  # turned once before it is asked
            self._bad = draw(self._key, 2) >= kind.bad_hours / (kind.good_hours + kind.bad_hours)
        self._turn_at = -1

    def leaves(self) -> bool:
        """Whether it is gone now that it was given something."""
        kind = self._kind
        if not isinstance(kind, s.Leaver):
            return False
        self._answered += 1
        return draw(self._key, 4 * self._answered + 3) < kind.share

    def answer(self, truth: Truth, task: Task, now: int, board: Board | None) -> Told:
        """What it says of a task."""
        self._answered += 1
        match self._kind:
            case s.Honest() | s.Leaver():
                return Told(truth.answer(task))
            case s.Erring(rate=rate):
                return self._maybe(self._errs and self._draw(0) < rate, truth, task)
            case s.Bursty() as kind:
                self._turn(kind, now)
                return self._maybe(self._bad and self._draw(0) < kind.rate, truth, task)
            case s.Liar(share=share):
                return self._maybe(self._draw(0) < share, truth, task)
            case s.Sleeper(after=after, share=share):
                return self._maybe(self._answered > after and self._draw(0) < share, truth, task)
            case s.Colluder(share=share, after=after):
                return self._collude(truth, task, share, asleep=self._answered <= after)
            case s.Copier():
                seen = board.seen.get((task.job, task.start, task.stop)) if board is not None else None
                return _made_up(seen if seen is not None else truth.wrong(task, self._bits()), truth, task)
            case s.FreeRider():
                return _made_up(NONE, truth, task)
            case s.Inflater(factor=factor):
                return Told(truth.answer(task), claims=factor)

    def _draw(self, purpose: int) -> float:
        return draw(self._key, 4 * self._answered + purpose)

    def _bits(self) -> int:
        return mixed(self._key + 4 * self._answered + 1)

    def _maybe(self, wrong: bool, truth: Truth, task: Task) -> Told:
        return Told(truth.wrong(task, self._bits()), True) if wrong else Told(truth.answer(task))

    def _collude(self, truth: Truth, task: Task, share: float, *, asleep: bool) -> Told:
        place = mixed(self._ring + task.job) + task.start
        if asleep or draw(place, 0) >= share:
            return Told(truth.answer(task))
        return Told(truth.wrong(task, mixed(place)), True)

    def _turn(self, kind: s.Bursty, now: int) -> None:
        """Let good and bad times follow one another until now."""
        while self._turn_at <= now:
            self._bad = not self._bad
            mean = kind.bad_hours if self._bad else kind.good_hours
            uniform = draw(self._key, (max(self._turn_at, 0) << 2) + 2)
            from_here = max(self._turn_at, 0)
            self._turn_at = from_here + max(1, int(-mean * _HOUR_MS * log1p(-uniform)))


def _made_up(payload: bytes, truth: Truth, task: Task) -> Told:
    return Told(payload, payload != truth.answer(task))
