"""Estimate π by throwing points at a square, and say how far off the estimate may be.

Each task draws numbers of its own: its generator is seeded with a text, which Python spreads over all of the
generator's state with SHA-512, so neighbouring tasks have nothing in common, and a task that is run twice draws the
same. The error bar is honest: it comes from the spread of the tasks' own estimates, not from what theory expects.
"""

import math
import random
from statistics import fmean, stdev

import crowdgrid as cg

SEED = 2026
TASKS = 200
POINTS = 20_000  # a task


@cg.function
def estimate(task):
    """4 × the share of random points of the unit square that lie inside the quarter circle."""
    draw = random.Random(f"{SEED} {task}").random
    inside = sum(draw() ** 2 + draw() ** 2 <= 1 for _ in range(POINTS))
    return 4 * inside / POINTS


def main() -> None:
    estimates = list(estimate.map(range(TASKS)))
    pi, error = fmean(estimates), stdev(estimates) / math.sqrt(TASKS)
    off = abs(pi - math.pi) / error
    print(f"pi = {pi:.5f} ± {error:.5f}, from {TASKS * POINTS:,} points; the truth is {off:.1f} standard errors away")
    if off > 4:
        raise SystemExit("That is more than chance explains.")


if __name__ == "__main__":
    main()
