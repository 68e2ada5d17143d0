"""Estimate pi from 10^9 random points: the same count on every grid, whoever computes which part."""

from where import grid

import crowdgrid as cg

SAMPLES = 10**9

with grid() as g:
    job = g.run(cg.kernels.path("montecarlo"), args=[2026], split=cg.Range(0, SAMPLES), reduce="sum")
    inside = job.result(timeout=300, progress=True)
    print(f"{inside:,} of {SAMPLES:,} points lie inside: pi is about {4 * inside / SAMPLES:.5f}")
