"""Run a program once for every combination of parameters, and look at each result as it comes."""

from where import grid

import crowdgrid as cg

with grid() as g:
    axes = cg.ParameterGrid(rate=[0.01, 0.1, 1.0], depth=range(1, 5))
    job = g.run(cg.kernels.path("echo"), args=["model"], split=axes)
    for row in job.results(ordered=False, timeout=60):
        print(row.start, row.text if row.ok else f"failed: {row.error}")
