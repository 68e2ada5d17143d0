"""A parameter sweep: how long does an oscillator swing after a push, for each damping and each stiffness?

Every combination is one call; `starmap` takes them from `itertools.product` and gives the results in the same order.
Theory says that the damping ratio near 0.78 comes to rest (within 2 %) first, whatever the stiffness.
"""

from itertools import product

import crowdgrid as cg

RATIOS = [round(0.1 * step, 1) for step in range(1, 16)]
STIFFNESSES = [1.0, 4.0, 16.0, 64.0]
SECONDS, STEP, BAND = 60.0, 0.005, 0.02


@cg.function
def settling_time(ratio, stiffness):
    """Seconds after which x″ + 2·ratio·√stiffness·x′ + stiffness·x = 0 with x(0) = 1 stays within the band."""
    damping = 2 * ratio * stiffness**0.5

    def pull(x, v):
        return -damping * v - stiffness * x

    x, v, outside = 1.0, 0.0, 0
    for step in range(int(SECONDS / STEP)):  # Runge–Kutta of second order: the midpoint rule
        if abs(x) > BAND:
            outside = step
        half_x, half_v = x + STEP / 2 * v, v + STEP / 2 * pull(x, v)
        x, v = x + STEP * half_v, v + STEP * pull(half_x, half_v)
    return (outside + 1) * STEP


def main() -> None:
    points = list(product(RATIOS, STIFFNESSES))
    seconds = dict(zip(points, settling_time.starmap(points), strict=True))
    best = {k: min(RATIOS, key=lambda ratio: seconds[ratio, k]) for k in STIFFNESSES}
    print("ratio" + "".join(f"   k = {k:<5g}" for k in STIFFNESSES))
    for ratio in RATIOS:
        cells = [f"{seconds[ratio, k]:8.2f} s{'*' if best[k] == ratio else ' '}" for k in STIFFNESSES]
        print(f"{ratio:5.1f}" + "".join(cells).rstrip())
    print(f"* comes to rest first: damping ratio {', '.join(f'{ratio:g}' for ratio in best.values())}")


if __name__ == "__main__":
    main()
