"""Pass the lines of a file through a program on the grid; what comes back is in the file's order."""

from pathlib import Path

from where import grid

import crowdgrid as cg

with grid() as g:
    job = g.run(cg.kernels.path("echo"), lines=__file__, reduce="concatenate")
    assert job.result(timeout=60) == Path(__file__).read_bytes()
    print(f"{job.counts.units} lines went out and came back in {job.counts.tasks} tasks")
