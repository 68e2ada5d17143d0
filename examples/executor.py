"""A program written for `concurrent.futures.ProcessPoolExecutor`, on a grid: one line is different.

It is the example of Python's own documentation, and some of what else such programs do. Everything that takes a
future of `concurrent.futures` takes these.
"""

import concurrent.futures
import math

import crowdgrid as cg

PRIMES = [112272535095293, 112582705942171, 112272535095293, 115280095190773, 115797848077099, 1099726899285419]


def is_prime(n):
    if n < 2:
        return False
    if n == 2:
        return True
    if n % 2 == 0:
        return False

    sqrt_n = math.isqrt(n)
    return all(n % i for i in range(3, sqrt_n + 1, 2))


def main():
    with cg.Executor() as executor:  # was: with concurrent.futures.ProcessPoolExecutor() as executor:
        for number, prime in zip(PRIMES, executor.map(is_prime, PRIMES), strict=True):
            print(f"{number} is prime: {prime}")

        asked = {executor.submit(is_prime, number): number for number in range(1_000)}
        found = [asked[future] for future in concurrent.futures.as_completed(asked) if future.result()]
        print(f"{len(found)} primes below 1,000")

        future = executor.submit(is_prime, "seven")
        print(f"a bad call: {type(future.exception()).__name__}: {future.exception()}")


if __name__ == "__main__":
    main()
