"""How many primes are there below 10^9?"""

from where import grid

import crowdgrid as cg

with grid() as g:
    job = g.run(cg.kernels.path("primes"), split=cg.Range(0, 10**9), reduce="sum")
    print(f"{job.result(timeout=300, progress=True):,} primes below 10^9")
