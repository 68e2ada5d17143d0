"""Chance that replays: numbers that follow from a seed, a purpose and a place, and from nothing else.

Every purpose (a node's frames, its errors, a job's truth) has a key of its own, derived from the run's seed, so that
adding a node or a purpose leaves all other draws as they were. `draw(key, index)` is stateless: the same index gives
the same number, in whatever order they are asked for. `Stream` counts the index itself.

The generator is SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014): state of one integer, which matters with a million nodes, and the same on every machine and Python.
"""

from __future__ import annotations

from hashlib import blake2b
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 2.0**-53
_quantile: Final = NormalDist().inv_cdf


def mixed(value: int) -> int:
    """An integer's 64 well mixed bits."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def key_of(seed: int, purpose: str, *places: int) -> int:
    """The key of one purpose at one place, such as `key_of(seed, "errors", node)`."""
    word = int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "big")
    key = mixed(mixed(seed) + word)
    for place in places:
        key = mixed(key + (place + 1) * _GAMMA)
    return key


def draw(key: int, index: int) -> float:
    """The number at `index`, uniform in [0, 1)."""
    return (mixed(key + (index + 1) * _GAMMA) >> 11) * _UNIT


def normal_of(uniform: float) -> float:
    """The standard normal number at this quantile."""
    return _quantile(min(max(uniform, 1e-16), 1.0 - 1e-16))


def spread(uniform: float, sigma: float) -> float:
    """A log-normal factor with median 1."""
    return exp(sigma * normal_of(uniform)) if sigma > 0 else 1.0


class Stream:
    """Draws in a row under one key."""

    __slots__ = ("_index", "_key")

    def __init__(self, seed: int, purpose: str, *places: int) -> None:
        self._key = key_of(seed, purpose, *places)
        self._index = 0

    def bits(self) -> int:
        """64 bits."""
        self._index += 1
        return mixed(self._key + self._index * _GAMMA)

    def uniform(self) -> float:
        """In [0, 1)."""
        return (self.bits() >> 11) * _UNIT

    def chance(self, share: float) -> bool:
        """True so often."""
        return share > 0 and self.uniform() < share

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        return self.bits() % count

    def between(self, least: float, most: float) -> float:
        """Uniform between the two."""
        return least + (most - least) * self.uniform()

    def exponential(self, mean: float) -> float:
        """With this mean."""
        return -mean * log(1.0 - self.uniform())

    def normal(self) -> float:
        """Standard normal."""
        return normal_of(self.uniform())

    def lognormal(self, mu: float, sigma: float) -> float:
        """exp of a normal number with this mean and deviation."""
        return exp(mu + sigma * self.normal())

    def weibull(self, shape: float, scale: float) -> float:
        """By its inverse distribution."""
        return float(scale * (-log(1.0 - self.uniform())) ** (1.0 / shape))

    def gamma(self, shape: float) -> float:
        """With scale 1 and shape at least 1: G. Marsaglia and W. Tsang, "A simple method for generating gamma
        variables", ACM TOMS 26 (2000)."""
        d = shape - 1.0 / 3.0
        c = 1.0 / sqrt(9.0 * d)
        while True:
            x = self.normal()
            v = (1.0 + c * x) ** 3
            if v > 0 and log(1.0 - self.uniform()) < 0.5 * x * x + d - d * v + d * log(v):
                return d * v
