"""What many runs say together: means with their 95 % intervals, shares with their upper bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy import stats


@dataclass(frozen=True)
class Mean:
    """A mean and half the width of its 95 % confidence interval (Student's t)."""

    value: float
    half: float

    @property
    def low(self) -> float:
        return self.value - self.half

    @property
    def high(self) -> float:
        return self.value + self.half

    def __str__(self) -> str:
        return f"{digits(self.value)} ± {digits(self.half)}"


def mean(values: Sequence[float]) -> Mean:
    """Of independent runs; at least two."""
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Mean(fmean(values), half)


def digits(value: float) -> str:
    """Three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"
