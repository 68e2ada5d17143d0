"""What is right: the true answer of each task, a function of its job and its bounds, known to the checkers alone.

A wrong answer has a number. Two errors are the same answer when their numbers are: a job with `wrong_answers = 1` is
a yes-or-no question, where all errors collide; with 0 there are 2⁶⁴, and none do by chance.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from crowdgrid.core.model import Task
from crowdgrid.simulation.scenario import Jobs
from crowdgrid.simulation.streams import draw, key_of, mixed, normal_of, spread

NONE: Final = b"none"
_A, _B = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


class Truth:
    """Of one job."""

    __slots__ = ("_cost", "_key", "_none", "order")

    def __init__(self, seed: int, number: int, order: Jobs) -> None:
        self.order = order
        self._key = key_of(seed, "truth", number)
        self._cost = key_of(seed, "cost", number)
        self._none = key_of(seed, "none", number)

    def answer(self, task: Task) -> bytes:
        """What a node that does not err reports."""
        if self.order.none_share > 0 and draw(self._none, task.start) < self.order.none_share:
            return NONE
        return b"%d" % (mixed(self._key + task.start * _A + task.stop * _B) >> 1)

    def digest(self, task: Task) -> bytes:
        """Of the true answer."""
        return sha256(self.answer(task)).digest()

    def wrong(self, task: Task, which: int) -> bytes:
        """Wrong answer number `which`."""
        count = self.order.wrong_answers
        number = which % count if count else which
        return b"-%d" % (1 + (mixed(self._key + task.start * _A + task.stop * _B + number + 1) >> 1))

    def work_ms(self, task: Task) -> float:
        """How long the task takes on a node of speed 1, ms."""
        order = self.order
        units = task.stop - task.start
        if order.work == "fixed":
            return order.unit_ms * units
        uniform = draw(self._cost, task.start)
        if order.work == "lognormal":
            return order.unit_ms * units * spread(uniform, order.spread)
        return max(order.unit_ms * units * (1.0 + order.spread * normal_of(uniform)), 1.0)
