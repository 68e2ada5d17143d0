"""When two numbers are close: |a − b| ≤ max(rtol · max(|a|, |b|), atol).

That is PEP 485 (`math.isclose`), and not numpy's `allclose`, because it is symmetric: who is compared with whom must
not matter. Beyond it:

- NaN is close to NaN and to nothing else, whatever its sign and payload: a program that has no number to give says so
  on every machine, and C prints `nan` or `-nan` as the processor likes.
- ∞ is close to ∞ of the same sign and to nothing else.
- Two integers are compared exactly, of any size; an integer and a float as floats.
- Complex numbers are close when their distance in the plane is within the tolerance of the larger modulus; if one of
  their parts is no finite number, part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import hypot, isclose, isfinite, isinf, isnan
from typing import Final

_EXACT_TO: Final = 1 << 53  # floats hold all integers up to this


class Tolerance:
    """rtol in [0, 1) and a finite atol ≥ 0."""

    __slots__ = ("_close", "_whole", "atol", "rtol")

    def __init__(self, rtol: float, atol: float) -> None:
        self.rtol = float(rtol)
        self.atol = float(atol)
        self._close = partial(isclose, rel_tol=self.rtol, abs_tol=self.atol)
        self._whole = self.rtol.as_integer_ratio()

    def near(self, one: float, other: float) -> bool:
        """Whether two integers or floats are close."""
        if type(one) is int and type(other) is int:
            apart = abs(one - other)
            part, whole = self._whole
            return apart <= self.atol or apart * whole <= part * max(abs(one), abs(other))
        try:
            one, other = float(one), float(other)
        except OverflowError:  # an integer no float can hold
            return False
        return self._close(one, other) or (isnan(one) and isnan(other))

    def near_complex(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether two complex numbers, each as (real, imaginary), are close."""
        if not all(map(isfinite, (*one, *other))):
            return self.near(one[0], other[0]) and self.near(one[1], other[1])
        apart = hypot(one[0] - other[0], one[1] - other[1])
        # Halved, because the modulus of two finite parts may be no finite number.
        half = max(hypot(one[0] / 2, one[1] / 2), hypot(other[0] / 2, other[1] / 2))
        return not isinf(apart) and (apart <= self.atol or apart <= self.rtol * half * 2)

    def all_near(self, ones: Sequence[float], others: Sequence[float]) -> bool:
        """Whether numbers of one type, as many here as there, are close each to each."""
        if not _exact_as_floats(ones) or not _exact_as_floats(others):
            return all(map(self.near, ones, others))
        return all(map(self._close, ones, others)) or all(map(self.near, ones, others))


def _exact_as_floats(numbers: Sequence[float]) -> bool:
    if not numbers or type(numbers[0]) is float:
        return True
    return max(numbers) <= _EXACT_TO and min(numbers) >= -_EXACT_TO
