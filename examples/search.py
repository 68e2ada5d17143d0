"""Hyper-parameter search: which neighbours should a nearest-neighbour classifier ask, and how should it measure?

Each call cross-validates one combination of parameters. The data is a global of this file: it travels once, with the
function, not with each call. The model is a dozen lines of plain Python; only that is new to the grid.
"""

import math
import random
from itertools import product

import crowdgrid as cg

FOLDS = 5
NEIGHBOURS = [1, 3, 5, 9, 15, 25, 41]
METRICS = ["manhattan", "euclidean", "maximum"]


def two_moons(count, seed=2026):
    """Points of two interleaved half circles, blurred: (x, y, which half circle)."""
    chance = random.Random(seed)
    points = []
    for number in range(count):
        turn, label = math.pi * chance.random(), number % 2
        x, y = (1 - math.cos(turn), 0.5 - math.sin(turn)) if label else (math.cos(turn), math.sin(turn))
        points.append((x + chance.gauss(0, 0.3), y + chance.gauss(0, 0.3), label))
    return points


DATA = two_moons(300)


def distance(metric, a, b):
    x, y = abs(a[0] - b[0]), abs(a[1] - b[1])
    return x + y if metric == "manhattan" else max(x, y) if metric == "maximum" else math.hypot(x, y)


@cg.function
def accuracy(neighbours, metric):
    """The share of points whose label the others predict, by cross-validation."""
    right = 0
    for fold in range(FOLDS):
        known = [point for at, point in enumerate(DATA) if at % FOLDS != fold]
        for asked in DATA[fold::FOLDS]:
            near = sorted(known, key=lambda point: distance(metric, asked, point))[:neighbours]
            right += (sum(point[2] for point in near) * 2 > neighbours) == asked[2]
    return right / len(DATA)


def main() -> None:
    combinations = list(product(NEIGHBOURS, METRICS))
    found = dict(zip(combinations, accuracy.starmap(combinations), strict=True))
    alone = {each: accuracy(*each) for each in combinations}  # the same on this machine, one after the other
    best = max(found, key=lambda each: found[each])
    print(f"best of {len(found)}: {best[0]} neighbours, {best[1]} metric, accuracy {found[best]:.1%}")
    print("the same as here alone" if found == alone else "NOT the same as here alone")


if __name__ == "__main__":
    main()
