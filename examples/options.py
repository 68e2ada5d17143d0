"""The price of a European call option by Monte Carlo, with an error bar, compared with the Black–Scholes formula.

Antithetic draws: each random number is used with both signs, and the mean of the two pay-offs counts as one sample.
Samples of a task are summed where they are drawn; count, sum and sum of squares are all that has to come back.
"""

import math
import random
from statistics import NormalDist

import crowdgrid as cg

SPOT, STRIKE, RATE, VOLATILITY, YEARS = 100.0, 105.0, 0.03, 0.2, 1.0
SEED = 2026
TASKS = 100
SAMPLES = 20_000  # a task, two paths each


@cg.function
def payoffs(task):
    """The sum, and the sum of the squares, of discounted pay-offs of one task's samples."""
    gauss = random.Random(f"{SEED} {task}").gauss  # a text spreads over all of the generator's state
    drift = (RATE - VOLATILITY**2 / 2) * YEARS
    spread, discount = VOLATILITY * math.sqrt(YEARS), math.exp(-RATE * YEARS)
    total = squares = 0.0
    for _ in range(SAMPLES):
        step = spread * gauss(0, 1)
        up = max(SPOT * math.exp(drift + step) - STRIKE, 0)
        down = max(SPOT * math.exp(drift - step) - STRIKE, 0)
        value = discount * (up + down) / 2
        total += value
        squares += value**2
    return total, squares


def black_scholes() -> float:
    spread = VOLATILITY * math.sqrt(YEARS)
    d1 = (math.log(SPOT / STRIKE) + (RATE + VOLATILITY**2 / 2) * YEARS) / spread
    normal = NormalDist().cdf
    return SPOT * normal(d1) - STRIKE * math.exp(-RATE * YEARS) * normal(d1 - spread)


def main() -> None:
    count = TASKS * SAMPLES
    total, squares = map(math.fsum, zip(*payoffs.map(range(TASKS)), strict=True))
    price = total / count
    error = math.sqrt((squares / count - price**2) / (count - 1))
    exact = black_scholes()
    off = abs(price - exact) / error
    print(f"{price:.4f} ± {error:.4f} from {count:,} samples; the formula says {exact:.4f}, {off:.1f} errors away")
    if off > 4:
        raise SystemExit("That is more than chance explains.")


if __name__ == "__main__":
    main()
